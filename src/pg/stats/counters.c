/*
 * counters.c
 *    What requests cost, counted for each database, model and role in shared memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"

#include "pg/stats/counters.h"

static PkpgCounter *find_or_add(Oid role, const char *model);
static PkpgCounter *take_counter(void);

void
pkpg_run_add(PkpgRun *sum, const PkpgRun *run)
{
	sum->n_prompt += run->n_prompt;
	sum->n_generated += run->n_generated;
	sum->n_reused += run->n_reused;
	sum->n_drafted += run->n_drafted;
	sum->n_accepted += run->n_accepted;
	sum->n_steps += run->n_steps;
	sum->n_step_rows += run->n_step_rows;
	if (sum->first_step == 0 || (run->first_step > 0 && run->first_step < sum->first_step))
		sum->first_step = run->first_step;
	sum->last_step = Max(sum->last_step, run->last_step);
	sum->queue_us += run->queue_us;
	sum->run_us += run->run_us;
}

/* Also called while memory is freed at the end of a session: without a PGPROC no lock is taken. */
void
pkpg_count_run(Oid role, const char *model, PkpgOutcome outcome, const PkpgRun *run)
{
	PkpgCounter *counter;

	if (pkpg_shared == NULL || MyProc == NULL)
		return;
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	counter = find_or_add(role, model);
	counter->used_at = ++pkpg_shared->n_counted;
	counter->n_answered += outcome == PKPG_ANSWERED;
	counter->n_cancelled += outcome == PKPG_CANCELLED;
	counter->n_failed += outcome == PKPG_FAILED;
	pkpg_run_add(&counter->run, run);
	LWLockRelease(pkpg_shared->lock);
}

static PkpgCounter *
find_or_add(Oid role, const char *model)
{
	PkpgCounter *counter;

	for (int i = 0; i < pkpg_shared->n_counters; i++)
	{
		counter = &pkpg_shared->counters[i];
		if (counter->database == MyDatabaseId && counter->role == role &&
		    strcmp(counter->model, model) == 0)
			return counter;
	}
	counter = take_counter();
	memset(counter, 0, sizeof(*counter));
	counter->database = MyDatabaseId;
	counter->role = role;
	strlcpy(counter->model, model, sizeof(counter->model));
	return counter;
}

/*
 * A new one; when there is no room, the one that was used longest ago, perhaps of a role that is
 * gone. A server with many short-lived roles would else not count the later ones at all.
 */
static PkpgCounter *
take_counter(void)
{
	PkpgCounter *oldest = &pkpg_shared->counters[0];

	if (pkpg_shared->n_counters < PKPG_MAX_COUNTERS)
		return &pkpg_shared->counters[pkpg_shared->n_counters++];
	for (int i = 1; i < pkpg_shared->n_counters; i++)
		if (pkpg_shared->counters[i].used_at < oldest->used_at)
			oldest = &pkpg_shared->counters[i];
	pkpg_shared->n_uncounted += oldest->n_answered + oldest->n_cancelled + oldest->n_failed;
	return oldest;
}

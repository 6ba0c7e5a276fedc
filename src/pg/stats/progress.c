/*
 * progress.c
 *    How far the long job of this backend is, for pg_stat_progress_polyko.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "pg/stats/progress.h"

static PkpgProgress *mine(void);
static void          begin(PkpgJob job, const char *model, Oid relation);

void
pkpg_progress_convert(const char *model)
{
	begin(PKPG_CONVERT, model, InvalidOid);
}

void
pkpg_progress_update(Oid relation)
{
	begin(PKPG_UPDATE, "", relation);
}

/* job is written last: a row that is seen is filled. */
static void
begin(PkpgJob job, const char *model, Oid relation)
{
	PkpgProgress *progress = mine();

	if (progress == NULL)
		return;
	memset(progress, 0, sizeof(*progress));
	progress->pid = MyProcPid;
	progress->database = MyDatabaseId;
	progress->relation = relation;
	strlcpy(progress->model, model, sizeof(progress->model));
	progress->started_at = GetCurrentTimestamp();
	pg_write_barrier();
	progress->job = job;
}

void
pkpg_progress_bytes(uint64 n_done, uint64 n_total)
{
	PkpgProgress *progress = mine();

	if (progress == NULL)
		return;
	progress->n_done = n_done;
	progress->n_total = n_total;
}

void
pkpg_progress_rows(uint64 n_done, uint64 n_failed, uint64 n_locked)
{
	PkpgProgress *progress = mine();

	if (progress == NULL)
		return;
	progress->n_done += n_done;
	progress->n_failed += n_failed;
	progress->n_locked += n_locked;
	progress->n_batches++;
}

void
pkpg_progress_end(void)
{
	PkpgProgress *progress = mine();

	if (progress != NULL)
		progress->job = PKPG_NO_JOB;
}

static PkpgProgress *
mine(void)
{
	PkpgBackend *backend = pkpg_my_backend();

	return backend == NULL ? NULL : &backend->progress;
}

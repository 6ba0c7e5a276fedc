/*
 * scheduler.c
 *    The plan of a step.
 */
#include "core/engine/scheduler.h"
#include "core/infer/kvcache.h"

#define NONE SIZE_MAX

/* A plan at work. */
typedef struct Plan
{
	PkSchedule  *schedule;
	PkSchedItem *items;
	size_t       n_items;
	size_t       oldest;     /* that is not paused, or NONE */
	size_t       n_decoding; /* blocks that may be wanted soon */
	bool         may_admit;  /* nobody waits in front for memory */
} Plan;

static void            begin(Plan *plan);
static bool            is_decoding(const PkSchedItem *item);
static bool            is_out(const PkSchedItem *item);
static void            plan_decode(Plan *plan, size_t i);
static void            add_draft(Plan *plan, size_t i);
static void            reserve_rest(Plan *plan, size_t i);
static void            admit_oldest(Plan *plan);
static void            serve_sessions(Plan *plan);
static PkSchedSession *next_session(const Plan *plan);
static bool            admit_next(Plan *plan, size_t i);
static bool   admit(Plan *plan, size_t i, size_t spare_bytes, size_t (*find)(const Plan *plan));
static bool   wants(Plan *plan, size_t i, size_t *bytes);
static void   take_over(Plan *plan, size_t i);
static void   reserve(Plan *plan, size_t i, size_t bytes);
static void   take_chunk(Plan *plan, size_t i);
static size_t bytes_needed(const PkSchedItem *item, size_t n_more);
static bool   make_room(Plan *plan, size_t i, size_t bytes);
static size_t find_any(const Plan *plan);
static size_t find_paused(const Plan *plan);
static size_t find_victim(const Plan *plan);
static void   preempt(Plan *plan, size_t i);

void
pk_scheduler_plan(PkSchedule *schedule)
{
	Plan plan = {.schedule = schedule, .items = schedule->items, .n_items = schedule->n_items};

	begin(&plan);
	for (size_t i = 0; i < plan.n_items; i++)
		if (is_decoding(&plan.items[i]))
			plan_decode(&plan, i);
	for (size_t i = 0; i < plan.n_items; i++)
		if (plan.items[i].n_blocks > 0 && !is_decoding(&plan.items[i]))
			reserve_rest(&plan, i);
	admit_oldest(&plan);
	serve_sessions(&plan);
	for (size_t i = 0; i < plan.n_items; i++)
		if (plan.items[i].n_draft > 0)
			add_draft(&plan, i);
}

static void
begin(Plan *plan)
{
	PkSchedSession *sessions = plan->schedule->sessions;

	plan->oldest = NONE;
	plan->n_decoding = 0;
	plan->may_admit = true;
	for (size_t s = 0; s < plan->schedule->n_sessions; s++)
		sessions[s].next = sessions[s].last = NONE;
	for (size_t i = 0; i < plan->n_items; i++)
	{
		PkSchedItem    *item = &plan->items[i];
		PkSchedSession *session = &sessions[item->session];

		item->n_take = item->reserved_bytes = 0;
		item->is_preempted = item->is_admitted = false;
		item->next = NONE;
		if (session->last == NONE)
			session->next = i;
		else
			plan->items[session->last].next = i;
		session->last = i;
		if (plan->oldest == NONE && !item->is_paused)
			plan->oldest = i;
	}
}

static bool
is_decoding(const PkSchedItem *item)
{
	return item->n_cached > 0 && item->n_todo == 1;
}

/* Of this step. */
static bool
is_out(const PkSchedItem *item)
{
	return item->is_paused || item->is_preempted;
}

static void
plan_decode(Plan *plan, size_t i)
{
	PkSchedItem   *item = &plan->items[i];
	PkSchedBudget *budget = &plan->schedule->budgets[item->model];
	size_t         bytes = bytes_needed(item, 1);

	if (is_out(item) || budget->n_tokens == 0 || !make_room(plan, i, bytes))
		return;
	reserve(plan, i, bytes);
	budget->n_tokens--;
	item->n_take = 1;
	plan->n_decoding++;
}

/* Nobody makes way for it. */
static void
add_draft(Plan *plan, size_t i)
{
	PkSchedItem   *item = &plan->items[i];
	PkSchedBudget *budget = &plan->schedule->budgets[item->model];
	size_t         n = item->n_draft < budget->n_tokens ? item->n_draft : budget->n_tokens;
	size_t         bytes;

	if (is_out(item) || !is_decoding(item) || item->n_take == 0)
		return;
	while (n > 0 && bytes_needed(item, 1 + n) > item->reserved_bytes + plan->schedule->free_bytes)
		n--;
	bytes = bytes_needed(item, 1 + n);
	plan->schedule->free_bytes -= bytes - item->reserved_bytes;
	item->reserved_bytes = bytes;
	budget->n_tokens -= n;
	item->n_take += n;
}

/* Of a prompt that is half-way, so that decoding and newer ones leave it alone. */
static void
reserve_rest(Plan *plan, size_t i)
{
	PkSchedItem *item = &plan->items[i];
	size_t       bytes = bytes_needed(item, item->n_todo);

	if (!is_out(item) && make_room(plan, i, bytes))
		reserve(plan, i, bytes);
}

static void
admit_oldest(Plan *plan)
{
	size_t i = plan->oldest;

	if (i != NONE && plan->items[i].n_blocks == 0 && !is_out(&plan->items[i]) &&
	    plan->schedule->budgets[plan->items[i].model].n_tokens > 0)
		(void) admit(plan, i, 0, find_any);
}

/* Until the tokens are used up or nobody has a prompt that can go on. */
static void
serve_sessions(Plan *plan)
{
	PkSchedSession *session;

	while ((session = next_session(plan)) != NULL)
	{
		size_t       i = session->next;
		PkSchedItem *item = &plan->items[i];

		session->next = item->next;
		if (is_out(item) || item->n_take > 0 || is_decoding(item))
			continue;
		if (item->n_blocks == 0 && !item->is_admitted && !admit_next(plan, i))
			continue;
		take_chunk(plan, i);
		session->n_served += item->n_take;
	}
}

/* Of those with items that were not looked at. */
static PkSchedSession *
next_session(const Plan *plan)
{
	PkSchedSession *best = NULL;

	for (size_t s = 0; s < plan->schedule->n_sessions; s++)
	{
		PkSchedSession *session = &plan->schedule->sessions[s];

		if (session->next != NONE && (best == NULL || session->n_served < best->n_served))
			best = session;
	}
	return best;
}

/* In its turn: only paused ones make way. */
static bool
admit_next(Plan *plan, size_t i)
{
	const PkSchedBudget *budget = &plan->schedule->budgets[plan->items[i].model];
	/* blocks that running ones want soon: they would push it out again */
	size_t               soon_bytes = plan->n_decoding * plan->items[i].block_bytes;

	return plan->may_admit && budget->n_prompt > 0 && budget->n_tokens > 0 &&
	       admit(plan, i, soon_bytes, find_paused);
}

/*
 * Item i begins once its blocks and spare_bytes are free; find says who may make way. What it wants
 * is asked again each time: those who go may have held what it shares.
 */
static bool
admit(Plan *plan, size_t i, size_t spare_bytes, size_t (*find)(const Plan *plan))
{
	size_t bytes;

	while (wants(plan, i, &bytes))
	{
		size_t victim;

		if (bytes + spare_bytes <= plan->schedule->free_bytes)
		{
			take_over(plan, i);
			return true;
		}
		victim = find(plan);
		if (victim == NONE)
		{
			plan->may_admit = false;
			return false;
		}
		preempt(plan, victim);
	}
	return false;
}

/* Bytes that must be free for item i to be admitted. False: it waits for what others compute. */
static bool
wants(Plan *plan, size_t i, size_t *bytes)
{
	PkSchedItem item = plan->items[i];
	size_t      n_positions;

	if (!plan->schedule->ops->look(plan->schedule, i, &n_positions, bytes))
		return false;
	item.n_cached = n_positions;
	item.n_blocks = pk_kv_n_blocks(n_positions);
	*bytes += bytes_needed(&item, item.n_todo - n_positions);
	return true;
}

/* What others computed is item i's too, and room for the rest is set aside. */
static void
take_over(Plan *plan, size_t i)
{
	const PkSchedItem *item = &plan->items[i];

	plan->schedule->free_bytes -= plan->schedule->ops->take(plan->schedule, i);
	reserve(plan, i, bytes_needed(item, item->n_todo));
}

static void
reserve(Plan *plan, size_t i, size_t bytes)
{
	plan->items[i].reserved_bytes = bytes;
	plan->items[i].is_admitted = true;
	plan->schedule->free_bytes -= bytes;
}

static void
take_chunk(Plan *plan, size_t i)
{
	PkSchedItem   *item = &plan->items[i];
	PkSchedBudget *budget = &plan->schedule->budgets[item->model];

	item->n_take = item->n_todo;
	if (item->n_take > budget->n_prompt)
		item->n_take = budget->n_prompt;
	if (item->n_take > budget->n_tokens)
		item->n_take = budget->n_tokens;
	budget->n_prompt -= item->n_take;
	budget->n_tokens -= item->n_take;
}

/* Bytes of the blocks that n_more positions need beyond those held. */
static size_t
bytes_needed(const PkSchedItem *item, size_t n_more)
{
	size_t n_blocks = pk_kv_n_blocks(item->n_cached + n_more);

	return n_blocks > item->n_blocks ? (n_blocks - item->n_blocks) * item->block_bytes : 0;
}

/* Until bytes are free for item i. False: it gave way itself, or nobody can. */
static bool
make_room(Plan *plan, size_t i, size_t bytes)
{
	while (bytes > plan->schedule->free_bytes)
	{
		size_t victim = find_any(plan);

		if (victim == NONE)
			return false;
		preempt(plan, victim);
		if (victim == i)
			return false;
	}
	return true;
}

static size_t
find_any(const Plan *plan)
{
	size_t victim = find_paused(plan);

	return victim != NONE ? victim : find_victim(plan);
}

/* The youngest that holds blocks and is paused. */
static size_t
find_paused(const Plan *plan)
{
	for (size_t i = plan->n_items; i-- > 0;)
		if (plan->items[i].is_paused && plan->items[i].n_blocks > 0)
			return i;
	return NONE;
}

/* The youngest of the session that holds most; of equals, the younger one. */
static size_t
find_victim(const Plan *plan)
{
	PkSchedSession *sessions = plan->schedule->sessions;
	size_t          victim = NONE;
	size_t          most = 0;

	for (size_t s = 0; s < plan->schedule->n_sessions; s++)
		sessions[s].held_bytes = 0;
	for (size_t i = 0; i < plan->n_items; i++)
		sessions[plan->items[i].session].held_bytes +=
			plan->items[i].n_blocks * plan->items[i].block_bytes;
	for (size_t i = 0; i < plan->n_items; i++)
	{
		size_t held_bytes = sessions[plan->items[i].session].held_bytes;

		if (i == plan->oldest || plan->items[i].n_blocks == 0 || held_bytes < most)
			continue;
		most = held_bytes;
		victim = i;
	}
	return victim;
}

static void
preempt(Plan *plan, size_t i)
{
	PkSchedule  *schedule = plan->schedule;
	PkSchedItem *item = &plan->items[i];

	/* what was planned for it in this step is given back too */
	schedule->free_bytes += item->reserved_bytes + schedule->ops->drop(schedule, i);
	schedule->budgets[item->model].n_tokens += item->n_take;
	plan->n_decoding -= item->n_take > 0 ? 1 : 0;
	item->n_take = item->reserved_bytes = 0;
	item->n_todo += item->n_cached;
	item->n_cached = item->n_blocks = 0;
	item->is_preempted = true;
}

/*
 * scheduler.h
 *    Who computes how much in the next step: a decision over numbers; blocks move through a table
 *    of functions, so that tests can stand in for the cache.
 *
 * Decode tokens of all running sequences come first. Then prompts, chunk by chunk: the session
 * that was given fewest prompt tokens so far is next, with its oldest prompt that can go on. So
 * sessions get the same, whatever each has waiting. A prompt is admitted when the blocks of all of
 * it are free; while the next one does not fit, none is admitted in its place. Drafted tokens come
 * last and take what is left.
 *
 * When blocks run out, paused sequences give theirs back first, then the youngest one of the
 * session that holds most; it is computed again later. The oldest of all never does, and makes
 * room for itself when it waits: so it always comes to its end, and then the next.
 */
#ifndef PK_SCHEDULER_H
#define PK_SCHEDULER_H

#include "core/base/platform.h"

/* A sequence that is not finished; items stand in order of arrival. */
typedef struct PkSchedItem
{
	size_t model;    /* index into the budgets */
	size_t session;  /* index into the sessions */
	size_t n_cached; /* positions whose keys and values are held */
	size_t n_todo;   /* positions to compute before the next answer, at least 1 */
	size_t n_blocks; /* blocks held */
	size_t n_draft;  /* positions behind a decode token that may be computed with it */
	size_t block_bytes;
	bool   is_paused;    /* takes part in nothing */
	size_t n_take;       /* out: positions to compute in this step, 0: waits */
	bool   is_preempted; /* out: gave its blocks back */

	/* of the plan at work */
	bool   is_admitted;
	size_t reserved_bytes; /* set aside for blocks that it does not hold yet */
	size_t next;           /* item of the same session that arrived after it */
} PkSchedItem;

/* Of equals the one that stands before the other goes first. */
typedef struct PkSchedSession
{
	uint64_t n_served; /* in and out: prompt tokens it was given so far */

	/* of the plan at work */
	size_t next, last; /* items: to be looked at next, and its youngest */
	size_t held_bytes;
} PkSchedSession;

/* Tokens of one step of one model. */
typedef struct PkSchedBudget
{
	size_t n_tokens; /* at most, at least 1 */
	size_t n_prompt; /* of these for prompts, counted without decode tokens; at least 1 */
} PkSchedBudget;

typedef struct PkSchedule PkSchedule;

/* What a plan does with blocks; i is an item. Sequences may share blocks. */
typedef struct PkSchedOps
{
	/*
	 * Item i holds nothing: how many positions it may take from what others computed, and how many
	 * bytes fewer would be free. False: others are computing what it needs, so it waits.
	 */
	bool (*look)(PkSchedule *schedule, size_t i, size_t *n_positions, size_t *bytes);

	/* Item i takes them: n_cached, n_todo and n_blocks follow. Returns the bytes. */
	size_t (*take)(PkSchedule *schedule, size_t i);

	/* Item i gives back all it holds. Returns the bytes that are free because of it. */
	size_t (*drop)(PkSchedule *schedule, size_t i);
} PkSchedOps;

struct PkSchedule
{
	PkSchedItem      *items;
	size_t            n_items;
	PkSchedSession   *sessions;
	size_t            n_sessions;
	PkSchedBudget    *budgets;    /* one for each model; used up */
	size_t            free_bytes; /* of blocks, that no sequence holds; used up */
	const PkSchedOps *ops;
	void             *arg; /* of the functions */
};

/* Fill n_take and is_preempted, and count what sessions were given. */
void pk_scheduler_plan(PkSchedule *schedule);

#endif

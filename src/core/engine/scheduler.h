/*
 * scheduler.h
 *    Who computes how much in the next step: a pure decision over numbers.
 *
 * Decode tokens of all running sequences come first, then prompts in order of arrival, up to the
 * tokens of a step. A prompt is admitted when the blocks of all of it are free, so none overtakes
 * and none starves. When blocks run out the youngest sequence gives its blocks back and is computed
 * again later; the oldest always moves.
 */
#ifndef PK_SCHEDULER_H
#define PK_SCHEDULER_H

#include "core/base/platform.h"

/* A sequence that is not finished; items stand in order of arrival. */
typedef struct PkSchedItem
{
	size_t model;    /* index into the budgets */
	size_t n_cached; /* positions whose keys and values are held */
	size_t n_todo;   /* positions to compute before the next answer, at least 1 */
	size_t n_blocks; /* blocks held */
	size_t block_bytes;
	size_t n_take;       /* out: positions to compute in this step, 0: waits */
	bool   is_preempted; /* out: gives its blocks back now */
} PkSchedItem;

/* Tokens of one step of one model. */
typedef struct PkSchedBudget
{
	size_t n_tokens; /* at most, at least 1 */
	size_t n_prompt; /* of these for prompts, counted without decode tokens; at least 1 */
} PkSchedBudget;

/* Fill n_take and is_preempted. budgets (one for each model) are used up. */
void pk_scheduler_plan(PkSchedItem *items, size_t n_items, PkSchedBudget *budgets, size_t kv_bytes);

/*
 * What a model's steps cost on this machine, from measurement; guessed until then. A chunk is as
 * long as fits 100 ms, or twice a step of one token where that alone takes longer (the weights are
 * read once a step, so shorter chunks would gain nothing).
 */
typedef struct PkPace
{
	double ns_token; /* a token among many */
	double ns_step;  /* a step of one token */
} PkPace;

/* weights: multiply-adds of one token. */
void   pk_pace_init(PkPace *pace, uint64_t n_weights, size_t n_threads, bool is_scalar);
void   pk_pace_measure(PkPace *pace, size_t n_tokens, double elapsed_ns);
size_t pk_pace_chunk(const PkPace *pace, size_t max_tokens);

#endif

/*
 * scheduler.c
 *    The plan of a step, and the length of a chunk.
 */
#include "core/engine/scheduler.h"
#include "core/infer/kvcache.h"

#define STEP_NS 100e6
/*
 * Before anything was measured, each nanosecond and thread: multiply-adds of the tiers, and weights
 * read from memory. High rather than low: a step that is too long can still be cancelled within
 * its tiles, but one that is too short reads all weights for a few tokens.
 */
#define GUESS_SCALAR 1.0
#define GUESS_VECTOR 60.0
#define GUESS_MEMORY 15.0
/*
 * Steps of at most this many tokens say what a step costs. What a token costs at most, each step
 * says; how much more than was thought, only one that takes longer than to read the weights. So
 * neither a slow step nor the short end of a prompt makes later chunks short for long.
 */
#define FEW_TOKENS 2

typedef struct Plan
{
	PkSchedItem   *items;
	size_t         n_items;
	PkSchedBudget *budgets;
	size_t         free_bytes;
} Plan;

static bool   is_decoding(const PkSchedItem *item);
static void   plan_decode(Plan *plan, size_t i);
static bool   plan_prompt(Plan *plan, size_t i);
static size_t bytes_needed(const PkSchedItem *item, size_t n_more);
static bool   make_room(Plan *plan, size_t i, size_t bytes);
static void   preempt(Plan *plan, size_t i);

void
pk_scheduler_plan(PkSchedItem *items, size_t n_items, PkSchedBudget *budgets, size_t kv_bytes)
{
	Plan plan = {items, n_items, budgets, kv_bytes};

	for (size_t i = 0; i < n_items; i++)
	{
		items[i].n_take = 0;
		items[i].is_preempted = false;
		plan.free_bytes -= items[i].n_blocks * items[i].block_bytes;
	}
	for (size_t i = 0; i < n_items; i++)
		if (is_decoding(&items[i]))
			plan_decode(&plan, i);
	for (size_t i = 0; i < n_items; i++)
		if (!is_decoding(&items[i]) && !plan_prompt(&plan, i))
			break;
}

static bool
is_decoding(const PkSchedItem *item)
{
	return item->n_cached > 0 && item->n_todo == 1;
}

static void
plan_decode(Plan *plan, size_t i)
{
	PkSchedItem   *item = &plan->items[i];
	PkSchedBudget *budget = &plan->budgets[item->model];
	size_t         bytes;

	if (item->is_preempted || budget->n_tokens == 0)
		return;
	bytes = bytes_needed(item, 1);
	if (!make_room(plan, i, bytes))
	{
		preempt(plan, i); /* it is the youngest itself */
		return;
	}
	plan->free_bytes -= bytes;
	budget->n_tokens--;
	item->n_take = 1;
}

/* False: no prompt after it may be taken in this step. */
static bool
plan_prompt(Plan *plan, size_t i)
{
	PkSchedItem   *item = &plan->items[i];
	PkSchedBudget *budget = &plan->budgets[item->model];
	bool           may_preempt = item->n_cached > 0 || i == 0;
	size_t         bytes;

	if (item->is_preempted)
		return false; /* it just made way for an older one */

	bytes = bytes_needed(item, item->n_todo);
	if (bytes > plan->free_bytes && (!may_preempt || !make_room(plan, i, bytes)))
		return false;
	plan->free_bytes -= bytes; /* of the whole prompt, so that younger ones leave it alone */

	item->n_take = item->n_todo;
	if (item->n_take > budget->n_prompt)
		item->n_take = budget->n_prompt;
	if (item->n_take > budget->n_tokens)
		item->n_take = budget->n_tokens;
	budget->n_prompt -= item->n_take;
	budget->n_tokens -= item->n_take;
	return true;
}

/* Bytes of the blocks that n_more positions need beyond those held. */
static size_t
bytes_needed(const PkSchedItem *item, size_t n_more)
{
	size_t n_blocks = pk_kv_n_blocks(item->n_cached + n_more);

	return n_blocks > item->n_blocks ? (n_blocks - item->n_blocks) * item->block_bytes : 0;
}

/* Take blocks from sequences younger than item i, youngest first, until bytes are free. */
static bool
make_room(Plan *plan, size_t i, size_t bytes)
{
	for (size_t k = plan->n_items; bytes > plan->free_bytes && k-- > i + 1;)
		if (plan->items[k].n_blocks > 0 && !plan->items[k].is_preempted)
			preempt(plan, k);
	return bytes <= plan->free_bytes;
}

static void
preempt(Plan *plan, size_t i)
{
	PkSchedItem *item = &plan->items[i];

	/* what was planned for it in this step is given back too */
	if (item->n_take > 0)
		plan->free_bytes += bytes_needed(item, item->n_take);
	plan->budgets[item->model].n_tokens += item->n_take;
	plan->free_bytes += item->n_blocks * item->block_bytes;
	item->n_take = 0;
	item->is_preempted = true;
}

void
pk_pace_init(PkPace *pace, uint64_t n_weights, size_t n_threads, bool is_scalar)
{
	double n = (double) n_weights;

	pace->ns_token = n / ((is_scalar ? GUESS_SCALAR : GUESS_VECTOR) * (double) n_threads);
	pace->ns_step = n / GUESS_MEMORY;
}

void
pk_pace_measure(PkPace *pace, size_t n_tokens, double elapsed_ns)
{
	double ns_token = elapsed_ns / (double) n_tokens;

	if (n_tokens <= FEW_TOKENS)
		pace->ns_step = elapsed_ns;
	if (ns_token < pace->ns_token || elapsed_ns > 2 * pace->ns_step)
		pace->ns_token = ns_token;
}

size_t
pk_pace_chunk(const PkPace *pace, size_t max_tokens)
{
	double target = 2 * pace->ns_step > STEP_NS ? 2 * pace->ns_step : STEP_NS;
	double n_tokens = pace->ns_token > 0 ? target / pace->ns_token : (double) max_tokens;

	if (n_tokens < 1)
		return 1;
	return n_tokens < (double) max_tokens ? (size_t) n_tokens : max_tokens;
}

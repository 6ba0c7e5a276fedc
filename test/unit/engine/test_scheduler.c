/*
 * test_scheduler.c
 *    Plans for hand-made situations, and properties over random ones.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/engine/scheduler.h"
#include "core/infer/kvcache.h"

#define BLOCK 100 /* bytes of a block in these tests */
#define N_RANDOM 3000

/* Sequences that are not there, for a cache that is not there. */
typedef struct Load
{
	PkSchedItem    items[64];
	size_t         left[64];   /* tokens still to be generated */
	size_t         number[64]; /* of the request, counted within its session */
	size_t         n;
	PkSchedSession sessions[8];
	size_t         n_sessions;
	size_t         kv_bytes;
} Load;

static void test_order(void);
static void test_turns(void);
static void test_memory(void);
static void test_pause(void);
static void test_drafts(void);
static void test_fairness(void);
static void test_random(void);

int
main(void)
{
	test_order();
	test_turns();
	test_memory();
	test_pause();
	test_drafts();
	test_fairness();
	test_random();
	return done_testing();
}

static PkSchedItem
item(size_t session, size_t n_cached, size_t n_todo)
{
	return (PkSchedItem){.session = session,
	                     .n_cached = n_cached,
	                     .n_todo = n_todo,
	                     .n_blocks = pk_kv_n_blocks(n_cached),
	                     .block_bytes = BLOCK};
}

static size_t
drop(PkSchedule *schedule, size_t i)
{
	return schedule->items[i].n_blocks * BLOCK;
}

/* Nothing is shared here; test_reuse.c has it. */
static bool
look(PkSchedule *schedule, size_t i, size_t *n_positions, size_t *bytes)
{
	(void) schedule;
	(void) i;
	*n_positions = *bytes = 0;
	return true;
}

static size_t
take(PkSchedule *schedule, size_t i)
{
	(void) schedule;
	(void) i;
	return 0;
}

static const PkSchedOps ops = {.look = look, .take = take, .drop = drop};

static size_t
used_bytes(const PkSchedItem *items, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++)
		used += items[i].n_blocks * BLOCK;
	return used;
}

/* Plan for three sessions that were given 0, 1 and 2 tokens before. */
static void
plan(PkSchedItem *items, size_t n, PkSchedBudget *budgets, size_t n_blocks)
{
	PkSchedSession sessions[3] = {{.n_served = 0}, {.n_served = 1}, {.n_served = 2}};
	PkSchedule     schedule = {.items = items,
	                           .n_items = n,
	                           .sessions = sessions,
	                           .n_sessions = 3,
	                           .budgets = budgets,
	                           .free_bytes = n_blocks * BLOCK - used_bytes(items, n),
	                           .ops = &ops};

	pk_scheduler_plan(&schedule);
}

static void
test_order(void)
{
	PkSchedItem   items[4] = {item(0, 0, 50), item(0, 20, 1), item(0, 0, 30), item(0, 40, 1)};
	PkSchedBudget budget = {.n_tokens = 64, .n_prompt = 60};

	plan(items, 4, &budget, 100);
	ok(items[1].n_take == 1 && items[3].n_take == 1, "running sequences decode first");
	ok(items[0].n_take == 50 && items[2].n_take == 10,
	   "then prompts of a session in order, up to the chunk");

	PkSchedItem   many[3] = {item(0, 20, 1), item(1, 20, 1), item(2, 0, 5)};
	PkSchedBudget narrow = {.n_tokens = 1, .n_prompt = 1};

	plan(many, 3, &narrow, 100);
	ok(many[0].n_take == 1 && many[1].n_take == 0 && many[2].n_take == 0,
	   "when a step is one token the oldest has it");

	PkSchedItem   two[2] = {item(0, 0, 9), item(0, 0, 9)};
	PkSchedBudget budgets[2] = {{4, 4}, {6, 6}};

	two[1].model = 1;
	plan(two, 2, budgets, 100);
	ok(two[0].n_take == 4 && two[1].n_take == 6, "each model has its own budget");
}

static void
test_turns(void)
{
	PkSchedItem   items[5] = {item(2, 0, 9), item(2, 0, 9), item(0, 0, 8), item(0, 0, 8),
	                          item(1, 0, 7)};
	PkSchedBudget budget = {.n_tokens = 64, .n_prompt = 28};

	plan(items, 5, &budget, 100);
	ok(items[2].n_take == 8 && items[4].n_take == 7 && items[0].n_take == 9,
	   "each session has a turn");
	ok(items[3].n_take == 4 && items[1].n_take == 0, "then who was given least a second one");

	PkSchedItem   half[2] = {item(1, 0, 9), item(0, 16, 300)};
	PkSchedBudget small = {.n_tokens = 64, .n_prompt = 20};

	plan(half, 2, &small, 100);
	ok(half[1].n_take == 20 && half[0].n_take == 0, "a prompt that is half-way has a turn too");
}

static void
test_memory(void)
{
	PkSchedItem   items[3] = {item(0, 16, 1), item(0, 16, 1), item(0, 16, 1)};
	PkSchedBudget budget = {.n_tokens = 64, .n_prompt = 64};

	plan(items, 3, &budget, 4);
	ok(items[0].n_take == 1 && items[1].n_take == 1, "the two oldest go on when blocks run out");
	ok(items[2].is_preempted && items[2].n_take == 0, "the youngest gives its blocks back");

	PkSchedItem rich[4] = {item(0, 16, 1), item(1, 64, 1), item(1, 16, 1), item(2, 16, 1)};

	budget = (PkSchedBudget){64, 64};
	plan(rich, 4, &budget, 9);
	ok(rich[2].is_preempted && !rich[1].is_preempted,
	   "it is the youngest of the session that holds most");
	ok(rich[0].n_take == 1 && rich[1].n_take == 1 && rich[3].n_take == 1, "and the others go on");

	PkSchedItem waiting[4] = {item(0, 20, 1), item(1, 0, 40), item(1, 0, 5), item(2, 0, 5)};

	budget = (PkSchedBudget){64, 64};
	plan(waiting, 4, &budget, 4);
	ok(waiting[1].n_take == 0, "a prompt is not admitted before all of it fits");
	ok(waiting[2].n_take == 0 && waiting[3].n_take == 0 && !waiting[0].is_preempted,
	   "and no shorter one overtakes it, of its session or another");

	PkSchedItem behind[3] = {item(0, 20, 1), item(2, 0, 40), item(1, 0, 5)};

	budget = (PkSchedBudget){64, 64};
	plan(behind, 3, &budget, 4);
	ok(behind[2].n_take == 5 && behind[1].n_take == 0,
	   "but not one of a session that was given less");

	PkSchedItem soon[2] = {item(0, 32, 1), item(1, 0, 16)};

	budget = (PkSchedBudget){64, 64};
	plan(soon, 2, &budget, 4);
	is_int((long long) soon[1].n_take, 0, "nor while running ones would push it out at once");

	PkSchedItem oldest[2] = {item(0, 0, 40), item(1, 40, 1)};

	budget = (PkSchedBudget){64, 64};
	plan(oldest, 2, &budget, 4);
	ok(oldest[0].n_take == 40 && oldest[1].is_preempted, "the oldest always moves");

	PkSchedItem large[2] = {item(0, 48, 1), item(1, 16, 1)};

	budget = (PkSchedBudget){64, 64};
	plan(large, 2, &budget, 4);
	ok(large[0].n_take == 1 && large[1].is_preempted, "even if it holds most");
}

static void
test_pause(void)
{
	PkSchedItem   items[4] = {item(0, 40, 1), item(0, 16, 1), item(0, 0, 20), item(1, 16, 100)};
	PkSchedBudget budget = {.n_tokens = 64, .n_prompt = 64};

	items[0].is_paused = items[2].is_paused = items[3].is_paused = true;
	plan(items, 4, &budget, 100);
	ok(items[0].n_take == 0 && items[2].n_take == 0 && items[3].n_take == 0 && items[1].n_take == 1,
	   "who is paused computes nothing");
	ok(!items[0].is_preempted && !items[3].is_preempted,
	   "but holds its blocks while there is room");

	PkSchedItem tight[4] = {item(0, 40, 1), item(0, 16, 1), item(1, 64, 1), item(2, 0, 20)};

	budget = (PkSchedBudget){64, 64};
	tight[0].is_paused = true;
	plan(tight, 4, &budget, 8);
	ok(tight[0].is_preempted && !tight[1].is_preempted && tight[2].n_take == 1,
	   "it is the first to make way for running sequences");

	PkSchedItem admits[3] = {item(0, 40, 1), item(1, 0, 1), item(1, 0, 30)};

	budget = (PkSchedBudget){64, 64};
	admits[0].is_paused = true;
	plan(admits, 3, &budget, 4);
	ok(admits[0].is_preempted && admits[1].n_take == 1 && admits[2].n_take == 30,
	   "and for new ones");
}

static PkSchedItem
drafted(size_t n_cached, size_t n_draft)
{
	PkSchedItem decodes = item(0, n_cached, 1);

	decodes.n_draft = n_draft;
	return decodes;
}

static void
test_drafts(void)
{
	PkSchedItem   items[3] = {drafted(16, 20), drafted(20, 5), item(1, 0, 30)};
	PkSchedBudget budget = {.n_tokens = 64, .n_prompt = 60};

	plan(items, 3, &budget, 100);
	ok(items[0].n_take == 21 && items[1].n_take == 6 && items[2].n_take == 30,
	   "drafted tokens are computed with the one they follow");

	PkSchedItem narrow[3] = {drafted(16, 20), drafted(20, 5), item(1, 0, 30)};

	budget = (PkSchedBudget){36, 36};
	plan(narrow, 3, &budget, 100);
	ok(narrow[0].n_take == 5 && narrow[1].n_take == 1 && narrow[2].n_take == 30,
	   "as far as a step has room beside decode tokens and prompts");

	PkSchedItem full[3] = {drafted(16, 20), drafted(20, 20), item(1, 16, 1)};

	budget = (PkSchedBudget){64, 64};
	plan(full, 3, &budget, 6);
	ok(full[0].n_take == 16 && full[1].n_take == 12 && full[2].n_take == 1 && !full[2].is_preempted,
	   "and keys and values: nobody makes way for them");

	PkSchedItem paused[2] = {drafted(16, 20), drafted(0, 20)};

	paused[0].is_paused = true;
	budget = (PkSchedBudget){64, 64};
	plan(paused, 2, &budget, 100);
	ok(paused[0].n_take == 0 && paused[1].n_take == 1, "only behind a decode token");
}

/* One step of a load: plan, compute, let go of who has ended. ended[s]: more of session s. */
static bool
step(Load *load, PkSchedBudget budget, size_t *n_preempted, size_t *ended)
{
	size_t     kept = 0, n_taken = 0, n_tokens = budget.n_tokens;
	PkSchedule schedule = {.items = load->items,
	                       .n_items = load->n,
	                       .sessions = load->sessions,
	                       .n_sessions = load->n_sessions,
	                       .budgets = &budget,
	                       .free_bytes = load->kv_bytes - used_bytes(load->items, load->n),
	                       .ops = &ops};

	for (size_t i = 0; i < load->n; i++)
		load->items[i].n_draft = (size_t) rand() % 20; /* none will turn out right */
	pk_scheduler_plan(&schedule);
	for (size_t i = 0; i < load->n; i++)
	{
		PkSchedItem *it = &load->items[i];

		*n_preempted += it->is_preempted;
		n_taken += it->n_take;
		if (pk_kv_n_blocks(it->n_cached + it->n_take) > it->n_blocks)
			it->n_blocks = pk_kv_n_blocks(it->n_cached + it->n_take);
		it->n_take = it->n_take < it->n_todo ? it->n_take : it->n_todo;
		it->n_cached += it->n_take;
		it->n_todo -= it->n_take;
	}

	bool is_within = used_bytes(load->items, load->n) <= load->kv_bytes && n_taken <= n_tokens;

	for (size_t i = 0; i < load->n; i++)
	{
		if (load->items[i].n_todo == 0 && load->left[i] == 0)
		{
			ended[load->items[i].session]++;
			continue;
		}
		if (load->items[i].n_todo == 0)
		{
			load->items[i].n_todo = 1;
			load->left[i]--;
		}
		load->items[kept] = load->items[i];
		load->left[kept] = load->left[i];
		load->number[kept++] = load->number[i];
	}
	load->n = kept;
	return is_within;
}

/*
 * Sessions with queues of unequal length and the same kind of requests. At any time, those who
 * still have requests waiting have been served the same number of times, give or take one.
 */
static void
test_fairness(void)
{
	unsigned seed = 4321;
	size_t   n_unfair = 0;
	size_t   n_disorder = 0;
	size_t   n_stuck = 0;
	size_t   n_preempted = 0;

	diag("seed %u", seed);
	srand(seed);
	for (size_t round = 0; round < N_RANDOM / 3; round++)
	{
		Load   load = {.n_sessions = 2 + (size_t) rand() % 7};
		size_t n_prompt = 1 + (size_t) rand() % 40;
		size_t n_new = (size_t) rand() % 30;
		size_t ended[8] = {0};
		size_t waiting[8];
		size_t begun[8] = {0};
		size_t total[8] = {0};
		size_t n_steps = 0;
		bool   is_roomy = round % 2 == 0; /* in the other half the cache is the limit */

		load.kv_bytes = is_roomy ? 1000 * BLOCK : (5 + (size_t) rand() % 20) * BLOCK;
		/* queues arrive one after the other: the first ones would all go before the last */
		for (size_t s = 0; s < load.n_sessions; s++)
			for (size_t k = 1 + (size_t) rand() % 8; k > 0 && load.n < 64; k--)
			{
				load.items[load.n] = item(s, 0, n_prompt);
				load.number[load.n] = total[s]++;
				load.left[load.n++] = n_new;
			}
		for (; load.n > 0 && n_steps < 4000; n_steps++)
		{
			PkSchedBudget budget = {64, 1 + (size_t) rand() % 64};

			if (!step(&load, budget, &n_preempted, ended))
				n_stuck++;
			for (size_t s = 0; s < load.n_sessions; s++)
				waiting[s] = 0;
			for (size_t i = 0; i < load.n; i++)
			{
				size_t s = load.items[i].session;

				if (load.items[i].n_cached == 0 && load.number[i] >= begun[s])
					waiting[s]++;
				else if (load.number[i] >= begun[s])
					begun[s] = load.number[i] + 1;
			}
			for (size_t s = 0; s < load.n_sessions; s++)
			{
				if (begun[s] + waiting[s] > total[s])
					n_disorder++;
				begun[s] = total[s] - waiting[s];
				for (size_t other = 0; is_roomy && other < s; other++)
					if (waiting[s] > 0 && waiting[other] > 0 &&
					    (begun[s] > begun[other] + 1 || begun[other] > begun[s] + 1))
						n_unfair++;
			}
		}
		n_stuck += load.n > 0;
		for (size_t s = 0; s < load.n_sessions; s++)
			n_stuck += ended[s] != total[s];
	}
	is_int((long long) n_unfair, 0, "sessions that wait are served equally, give or take one");
	is_int((long long) n_disorder, 0, "each in the order in which its requests came");
	is_int((long long) n_stuck, 0, "every request comes to its end");
	diag("%zu gave way", n_preempted);
}

/* Run random loads to their end: blocks never exceed the limit, and everything finishes. */
static void
test_random(void)
{
	unsigned seed = 1234;
	size_t   n_over = 0;
	size_t   n_stuck = 0;
	size_t   n_preempted = 0;

	diag("seed %u", seed);
	srand(seed);
	for (size_t round = 0; round < N_RANDOM; round++)
	{
		Load   load = {.n_sessions = 1 + (size_t) rand() % 4, .n = 1 + (size_t) rand() % 8};
		size_t ended[8] = {0};
		size_t n_steps = 0;

		load.kv_bytes = (4 + (size_t) rand() % 8) * BLOCK;
		for (size_t i = 0; i < load.n; i++)
		{
			load.items[i] = item((size_t) rand() % load.n_sessions, 0, 1 + (size_t) rand() % 40);
			load.left[i] = (size_t) rand() % 24;
		}
		for (; load.n > 0 && n_steps < 4000; n_steps++)
		{
			PkSchedBudget budget = {1 + (size_t) rand() % 40, 1 + (size_t) rand() % 20};

			/* pauses last: a reader goes for a coffee, and comes back */
			for (size_t i = 0; i < load.n; i++)
				if (rand() % 16 == 0)
					load.items[i].is_paused = !load.items[i].is_paused;
			n_over += !step(&load, budget, &n_preempted, ended);
		}
		n_stuck += load.n > 0;
	}
	is_int((long long) n_over, 0, "blocks never exceed the limit");
	is_int((long long) n_stuck, 0, "every sequence comes to its end");
	ok(n_preempted > N_RANDOM / 10, "though many gave way (%zu)", n_preempted);
}

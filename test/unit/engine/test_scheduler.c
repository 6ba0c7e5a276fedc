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

static void test_order(void);
static void test_memory(void);
static void test_pace(void);
static void test_random(void);

int
main(void)
{
	test_order();
	test_memory();
	test_pace();
	test_random();
	return done_testing();
}

static PkSchedItem
item(size_t n_cached, size_t n_todo)
{
	return (PkSchedItem){.n_cached = n_cached,
	                     .n_todo = n_todo,
	                     .n_blocks = pk_kv_n_blocks(n_cached),
	                     .block_bytes = BLOCK};
}

static void
test_order(void)
{
	PkSchedItem   items[4] = {item(0, 50), item(20, 1), item(0, 30), item(40, 1)};
	PkSchedBudget budget = {.n_tokens = 64, .n_prompt = 60};

	pk_scheduler_plan(items, 4, &budget, 100 * BLOCK);
	ok(items[1].n_take == 1 && items[3].n_take == 1, "running sequences decode first");
	ok(items[0].n_take == 50 && items[2].n_take == 10, "then prompts in order, up to the chunk");

	PkSchedItem   many[3] = {item(20, 1), item(20, 1), item(0, 5)};
	PkSchedBudget narrow = {.n_tokens = 1, .n_prompt = 1};

	pk_scheduler_plan(many, 3, &narrow, 100 * BLOCK);
	ok(many[0].n_take == 1 && many[1].n_take == 0 && many[2].n_take == 0,
	   "when a step is one token the oldest has it");

	PkSchedItem   two[2] = {item(0, 9), item(0, 9)};
	PkSchedBudget budgets[2] = {{4, 4}, {6, 6}};

	two[1].model = 1;
	pk_scheduler_plan(two, 2, budgets, 100 * BLOCK);
	ok(two[0].n_take == 4 && two[1].n_take == 6, "each model has its own budget");
}

static void
test_memory(void)
{
	PkSchedItem   items[3] = {item(16, 1), item(16, 1), item(16, 1)};
	PkSchedBudget budget = {.n_tokens = 64, .n_prompt = 64};

	pk_scheduler_plan(items, 3, &budget, 4 * BLOCK);
	ok(items[0].n_take == 1 && items[1].n_take == 1, "the two oldest go on when blocks run out");
	ok(items[2].is_preempted && items[2].n_take == 0, "the youngest gives its blocks back");

	PkSchedItem waiting[3] = {item(20, 1), item(0, 40), item(0, 5)};

	budget = (PkSchedBudget){64, 64};
	pk_scheduler_plan(waiting, 3, &budget, 4 * BLOCK);
	ok(waiting[1].n_take == 0, "a prompt is not admitted before all of it fits");
	ok(waiting[2].n_take == 0 && !waiting[0].is_preempted, "and no shorter one overtakes it");

	PkSchedItem oldest[2] = {item(0, 40), item(40, 1)};

	budget = (PkSchedBudget){64, 64};
	pk_scheduler_plan(oldest, 2, &budget, 4 * BLOCK);
	ok(oldest[0].n_take == 40 && oldest[1].is_preempted, "the oldest always moves");
}

static void
test_pace(void)
{
	PkPace pace;

	pk_pace_init(&pace, 1300000000, 2, false);
	pk_pace_measure(&pace, 1, 30e6);
	pk_pace_measure(&pace, 64, 128e6);
	is_int((long long) pk_pace_chunk(&pace, 512), 50, "2 ms a token: 50 tokens fit 100 ms");
	is_int((long long) pk_pace_chunk(&pace, 32), 32, "a chunk keeps to the tokens of a step");
	pk_pace_measure(&pace, 1, 400e6);
	is_int((long long) pk_pace_chunk(&pace, 2000), 400,
	       "where one token takes 400 ms, a step may take twice that");
	pk_pace_measure(&pace, 10, 60e9);
	is_int((long long) pk_pace_chunk(&pace, 512), 1, "a chunk is at least one token");
	for (size_t i = 0; i < 5; i++)
	{
		size_t n = pk_pace_chunk(&pace, 512);

		pk_pace_measure(&pace, n, 30e6 + (double) n * 1e6);
	}
	ok(pk_pace_chunk(&pace, 512) > 50, "one slow step is forgotten in five");

	size_t n = pk_pace_chunk(&pace, 512);

	pk_pace_measure(&pace, 3, 33e6);
	is_int((long long) pk_pace_chunk(&pace, 512), (long long) n,
	       "the short end of a prompt says nothing of long chunks");
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
		PkSchedItem items[8];
		size_t      left[8]; /* tokens still to be generated */
		size_t      n = 1 + (size_t) rand() % 8;
		size_t      limit = (4 + (size_t) rand() % 8) * BLOCK;
		size_t      steps = 0;

		for (size_t i = 0; i < n; i++)
		{
			items[i] = item(0, 1 + (size_t) rand() % 40);
			left[i] = (size_t) rand() % 24;
		}
		for (; n > 0 && steps < 2000; steps++)
		{
			PkSchedBudget budget = {1 + (size_t) rand() % 40, 1 + (size_t) rand() % 20};
			size_t        used = 0;
			size_t        kept = 0;

			pk_scheduler_plan(items, n, &budget, limit);
			for (size_t i = 0; i < n; i++)
			{
				if (items[i].is_preempted)
				{
					items[i].n_todo += items[i].n_cached;
					items[i].n_cached = items[i].n_blocks = 0;
					n_preempted++;
				}
				items[i].n_cached += items[i].n_take;
				items[i].n_todo -= items[i].n_take;
				if (pk_kv_n_blocks(items[i].n_cached) > items[i].n_blocks)
					items[i].n_blocks = pk_kv_n_blocks(items[i].n_cached);
				used += items[i].n_blocks * BLOCK;
			}
			n_over += used > limit;
			for (size_t i = 0; i < n; i++)
			{
				if (items[i].n_todo == 0 && left[i] == 0)
					continue;
				if (items[i].n_todo == 0)
				{
					items[i].n_todo = 1;
					left[i]--;
				}
				items[kept] = items[i];
				left[kept++] = left[i];
			}
			n = kept;
		}
		n_stuck += n > 0;
	}
	is_int((long long) n_over, 0, "blocks never exceed the limit");
	is_int((long long) n_stuck, 0, "every sequence comes to its end");
	ok(n_preempted > N_RANDOM / 10, "though many gave way (%zu)", n_preempted);
}

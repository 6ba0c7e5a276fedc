/*
 * test_lookup.c
 *    Drafts against a search that tries every place, and what is learnt from them.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/sample/lookup.h"

#define N_RANDOM 20000
#define RUN_THAT_MATTERS 8

static void test_cases(void);
static void test_random(void);
static void test_rates(void);

int
main(void)
{
	test_cases();
	test_random();
	test_rates();
	return done_testing();
}

#define LOOK(n_most, ...)                                                                          \
	pk_lookup((const int32_t[]){__VA_ARGS__}, PK_LENGTH(((const int32_t[]){__VA_ARGS__})), n_most, \
	          draft)

static void
test_cases(void)
{
	int32_t draft[PK_LOOKUP_MAX] = {0};

	ok(LOOK(3, 7) == 0 && LOOK(3, 1, 2, 3) == 0, "no draft where nothing occurs twice");
	ok(LOOK(3, 1, 2, 9, 4, 1, 2) == 2 && draft[0] == 9 && draft[1] == 4 && draft[2] == 1,
	   "what followed the same two tokens");
	ok(LOOK(1, 1, 2, 9, 5, 2, 8, 1, 2) == 2 && draft[0] == 9, "the longer run goes first");
	ok(LOOK(1, 2, 9, 2, 8, 2) == 1 && draft[0] == 8, "of equally long ones the later");
	ok(LOOK(5, 3, 1, 2, 1, 2) == 2 && draft[0] == 1 && draft[1] == 2 && draft[4] == 1,
	   "what repeats itself goes on repeating");
	ok(LOOK(2, 6, 6) == 1 && draft[0] == 6 && draft[1] == 6, "also a single token");
	draft[1] = -1;
	ok(LOOK(1, 6, 5, 6) == 1 && draft[0] == 5 && draft[1] == -1, "as many as are asked for");
}

/* The longest run that ends before the end and is the end, and the last such place. */
static size_t
naive(const int32_t *tokens, size_t n, size_t *after)
{
	size_t longest = 0;

	for (size_t end = 1; end < n; end++)
	{
		size_t length = 0;

		while (length < end && length < RUN_THAT_MATTERS &&
		       tokens[end - 1 - length] == tokens[n - 1 - length])
			length++;
		if (length > 0 && length >= longest)
		{
			longest = length;
			*after = end;
		}
	}
	return longest;
}

static void
test_random(void)
{
	size_t n_wrong = 0, n_drafts = 0;

	srand(1);
	for (size_t r = 0; r < N_RANDOM; r++)
	{
		int32_t tokens[64], text[64 + PK_LOOKUP_MAX], draft[PK_LOOKUP_MAX];
		size_t  n = 1 + (size_t) rand() % PK_LENGTH(tokens), after = 0;
		size_t  n_most = 1 + (size_t) rand() % PK_LOOKUP_MAX, n_ids = 1 + (size_t) rand() % 6;

		for (size_t i = 0; i < n; i++)
			tokens[i] = text[i] = rand() % (int) n_ids;

		size_t want = naive(tokens, n, &after);
		size_t got = pk_lookup(tokens, n, n_most, draft);

		n_wrong += got != want;
		n_drafts += want > 0;
		for (size_t i = 0; want > 0 && i < n_most; i++)
		{
			text[n + i] = text[after + i];
			n_wrong += draft[i] != text[n + i];
		}
	}
	ok(n_wrong == 0 && n_drafts > N_RANDOM / 2, "%d random texts: %zu drafts, %zu wrong", N_RANDOM,
	   n_drafts, n_wrong);
}

static void
test_rates(void)
{
	PkLookupRates rates;
	double        before, other;

	pk_lookup_rates_init(&rates);
	for (size_t n = 2; n < 12; n++)
		ok(pk_lookup_chance(&rates, n) >= pk_lookup_chance(&rates, n - 1) &&
		       pk_lookup_chance(&rates, n) < 1,
		   "a run of %zu promises at least as much as a shorter one", n);
	before = pk_lookup_chance(&rates, 4);
	other = pk_lookup_chance(&rates, 3);
	pk_lookup_learn(&rates, 5, false);
	ok(pk_lookup_chance(&rates, 4) < before, "a wrong token counts against runs of that class");
	is_near(pk_lookup_chance(&rates, 3), other, 0, "and against no other");
	for (int i = 0; i < 1000; i++)
		pk_lookup_learn(&rates, 100, true);
	ok(pk_lookup_chance(&rates, 8) > 0.95, "a text that repeats itself is believed");
	for (int i = 0; i < 40; i++)
		pk_lookup_learn(&rates, 100, false);
	ok(pk_lookup_chance(&rates, 8) < 0.5, "until it stops");
}

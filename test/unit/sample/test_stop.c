/*
 * test_stop.c
 *    Stop strings against a search of the whole text, for every cut into pieces.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/sample/stop.h"

#define N_RANDOM 20000

static PkStop *make(const char *const *strings, size_t n);
static bool    feed(PkStop *stop, const char *text, size_t *at);
static void    test_cases(void);
static void    test_errors(void);
static void    test_random(void);
static bool    naive(const char *text, size_t len, const char (*strings)[5], size_t n, size_t *at);
static size_t  naive_held(const char *text, size_t len, const char (*strings)[5], size_t n);

int
main(void)
{
	test_cases();
	test_errors();
	test_random();
	return done_testing();
}

static PkStop *
make(const char *const *strings, size_t n)
{
	PkStop *stop = NULL;
	size_t  lens[8];

	for (size_t i = 0; i < n; i++)
		lens[i] = strlen(strings[i]);
	if (pk_stop_create(strings, lens, n, &stop, NULL) != PK_OK)
		abort();
	return stop;
}

static bool
feed(PkStop *stop, const char *text, size_t *at)
{
	return pk_stop_feed(stop, text, strlen(text), at);
}

static void
test_cases(void)
{
	size_t  at = 99;
	PkStop *stop = make((const char *const[]){"다.", "끝"}, 2);

	ok(!feed(stop, "영화", &at) && pk_stop_held(stop) == 0,
	   "other text passes and nothing is held");
	ok(!feed(stop, "이다", &at), "half a stop string is no stop");
	is_int((long long) pk_stop_held(stop), 3, "it is held back");
	ok(feed(stop, ".", &at), "its other half, in the next piece, stops");
	is_int((long long) at, 9, "the text ends before it");
	pk_stop_destroy(stop);

	stop = make((const char *const[]){"abcd", "bc"}, 2);
	ok(feed(stop, "xabcd", &at) && at == 2, "the earliest end wins over the earliest begin");
	pk_stop_destroy(stop);

	stop = make((const char *const[]){"c", "abc"}, 2);
	ok(feed(stop, "xabc", &at) && at == 1, "of two that end together the longer is cut off");
	pk_stop_destroy(stop);

	stop = make((const char *const[]){"aab"}, 1);
	ok(feed(stop, "aaab", &at) && at == 1, "a false start does not hide the string");
	pk_stop_destroy(stop);

	stop = make(NULL, 0);
	ok(!feed(stop, "anything", &at) && pk_stop_held(stop) == 0, "no stop strings, no stop");
	pk_stop_destroy(stop);
	pk_stop_destroy(NULL);
}

static void
test_errors(void)
{
	PkStop     *stop = NULL;
	PkError     err;
	const char *strings[2] = {"a", ""};
	size_t      lens[2] = {1, 0};

	is_int(pk_stop_create(strings, lens, 2, &stop, &err), PK_BAD_ARGUMENT,
	       "an empty stop string is refused");
	ok(strstr(err.text, "empty") != NULL, "and the message says so");

	size_t all[PK_STOP_MAX_STRINGS + 1];

	for (size_t i = 0; i <= PK_STOP_MAX_STRINGS; i++)
		all[i] = PK_STOP_MAX_BYTES / PK_STOP_MAX_STRINGS;
	is_int(pk_stop_check(all, PK_STOP_MAX_STRINGS, &err), PK_OK, "as many and as long as allowed");
	is_int(pk_stop_check(all, PK_STOP_MAX_STRINGS + 1, &err), PK_BAD_ARGUMENT, "one more");
	all[0]++;
	is_int(pk_stop_check(all, PK_STOP_MAX_STRINGS, &err), PK_BAD_ARGUMENT, "a byte more");
	all[0] = SIZE_MAX;
	is_int(pk_stop_check(all, 2, &err), PK_BAD_ARGUMENT, "a length that would overflow the sum");
}

/* Three letters, so that strings overlap a lot. */
static void
test_random(void)
{
	unsigned seed = 20260;
	size_t   n_wrong = 0;

	diag("seed %u", seed);
	srand(seed);
	for (size_t round = 0; round < N_RANDOM; round++)
	{
		char        strings[3][5];
		const char *pointers[3];
		char        text[25];
		size_t      n = (size_t) rand() % 4;
		size_t      len = (size_t) rand() % 24;
		size_t      want_at = 0;
		size_t      got_at = 0;
		bool        stopped = false;

		for (size_t i = 0; i < n; i++)
		{
			size_t k = 1 + (size_t) rand() % 4;

			for (size_t j = 0; j < k; j++)
				strings[i][j] = (char) ('a' + rand() % 3);
			strings[i][k] = '\0';
			pointers[i] = strings[i];
		}
		for (size_t i = 0; i < len; i++)
			text[i] = (char) ('a' + rand() % 3);

		PkStop *stop = make(pointers, n);
		bool    want = naive(text, len, (const char(*)[5]) strings, n, &want_at);

		for (size_t i = 0; i < len && !stopped;)
		{
			size_t piece = (size_t) rand() % 5;

			if (piece > len - i)
				piece = len - i;
			stopped = pk_stop_feed(stop, text + i, piece, &got_at);
			i += piece;
			if (!stopped &&
			    pk_stop_held(stop) != naive_held(text, i, (const char(*)[5]) strings, n))
				n_wrong++;
		}
		n_wrong += stopped != want || (want && got_at != want_at);
		pk_stop_destroy(stop);
	}
	is_int((long long) n_wrong, 0, "random strings and cuts agree with a search of the whole text");
}

static bool
naive(const char *text, size_t len, const char (*strings)[5], size_t n, size_t *at)
{
	for (size_t end = 1; end <= len; end++)
	{
		size_t longest = 0;

		for (size_t i = 0; i < n; i++)
		{
			size_t k = strlen(strings[i]);

			if (k <= end && memcmp(text + end - k, strings[i], k) == 0 && k > longest)
				longest = k;
		}
		if (longest > 0)
		{
			*at = end - longest;
			return true;
		}
	}
	return false;
}

static size_t
naive_held(const char *text, size_t len, const char (*strings)[5], size_t n)
{
	size_t held = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 1; k < strlen(strings[i]) && k <= len; k++)
			if (memcmp(text + len - k, strings[i], k) == 0 && k > held)
				held = k;
	return held;
}

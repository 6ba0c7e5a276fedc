/*
 * test_cost.c
 *    The time grows with the length of the text, whatever it holds: eight times the text must not
 *    take the 64 times that it would if any part of it were read again and again.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../tap.h"
#include "core/pii/pii.h"

#define SMALL ((size_t) 64 << 10)
#define LARGE (8 * SMALL)
#define MOST 20 /* times; 8 and what a busy machine adds */
#define RUNS 5

/* Processor time: others on the machine don't count. */
static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

/* The least of some runs. */
static double
cost(const char *text, size_t len, uint32_t kinds, PkPiiStyle style)
{
	double best = 1e9;

	for (int run = 0; run < RUNS; run++)
	{
		PkPiiScan  scan;
		PkPiiMatch match;
		PkError    err;
		bool       found = true;
		double     start = seconds();

		pk_pii_begin(&scan, text, len, kinds, style, NULL);
		while (pk_pii_next(&scan, &match, &found, &err) == PK_OK && found)
			continue;
		best = seconds() - start < best ? seconds() - start : best;
	}
	return best;
}

int
main(void)
{
	static const char *const units[] = {"7",
	                                    "-",
	                                    "010-",
	                                    "010 ",
	                                    "010",
	                                    "일",
	                                    "공",
	                                    "공일공",
	                                    "공 ",
	                                    "*",
	                                    " ",
	                                    "1-",
	                                    "(0)",
	                                    "(02) ",
	                                    "0 - ",
	                                    "0123456 ",
	                                    "+82 ",
	                                    "1588-",
	                                    "11012345678 ",
	                                    "a@",
	                                    "a.",
	                                    "<|tell|>",
	                                    "ᄀ",
	                                    "계좌",
	                                    "010-1234-5678 ",
	                                    "880101-1234567",
	                                    "880101-1",
	                                    "1234567가",
	                                    "０",
	                                    "010-1234-5678은행"};
	const uint32_t           all = (1u << PK_N_PII_KINDS) - 1;
	char                    *text = malloc(LARGE);

	for (size_t i = 0; text != NULL && i < PK_LENGTH(units); i++)
	{
		size_t n = strlen(units[i]), small = SMALL / n * n, large = LARGE / n * n;

		for (size_t at = 0; at < large; at += n)
			memcpy(text + at, units[i], n);

		PkPiiStyle style = (PkPiiStyle) (i % PK_N_PII_STYLES);
		double     less = cost(text, small, all, style), more = cost(text, large, all, style);

		ok(more <= MOST * less + 1e-3, "\"%s\" repeated: %.2f ms a megabyte", units[i],
		   more * 1e3 / (double) large * 1e6);
	}
	free(text);
	return done_testing();
}

/*
 * timing.h
 *    What the programs here share: the clock, the order of figures, the end on an error.
 */
#ifndef PK_BENCH_TIMING_H
#define PK_BENCH_TIMING_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/status.h"

/* Of a clock that is never set. */
static inline double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

/* For qsort() of doubles. */
static inline int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

static inline void
must(PkStatus status, const PkError *err)
{
	if (status == PK_OK)
		return;
	fprintf(stderr, "%s\n", err->text);
	exit(1);
}

#endif

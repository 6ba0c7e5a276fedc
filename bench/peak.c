/*
 * peak.c
 *    The most integer products a second that these processors do: 6 tokens x 64 rows in registers,
 *    weights in the second-level cache. What gemm_q8 is measured against.
 *
 * Usage: peak [THREADS]    prints "peak: G Gop/s"; a multiplication and an addition are two.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/kernels/kernels.h"
#include "core/kernels/tiers.h"
#include "core/kernels/vnni_dots.h"

#if defined(__x86_64__)

#define N_COLS 2048
#define N_ROWS (PK_DOTS_BLOCKS * PK_LANES)
#define ROUNDS 200
#define RUNS 50
#define MAX_THREADS 256

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

/* All of K is one group, so nothing but products and their loads is left. */
PK_TARGET_VNNI static void
multiply(const PkDots *dots)
{
	for (int i = 0; i < ROUNDS; i++)
		pk_dots_6(dots);
}

/* The best of RUNS, in Gop/s, to *arg. */
static void *
thread_main(void *arg)
{
	uint8_t *w = aligned_alloc(64, (size_t) N_ROWS * N_COLS);
	int8_t  *q = aligned_alloc(64, (size_t) PK_DOTS_TOKENS * N_COLS);
	int32_t *sums = aligned_alloc(64, sizeof(int32_t) * PK_DOTS_TOKENS * N_ROWS);
	int32_t  start[PK_DOTS_TOKENS] = {0};
	PkDots   dots = {.w = w,
	                 .w_stride = (size_t) PK_LANES * N_COLS,
	                 .q = q,
	                 .q_stride = N_COLS,
	                 .n_quads = N_COLS / PK_QUAD,
	                 .start = start,
	                 .dots = sums};
	double   best = 0;

	if (w == NULL || q == NULL || sums == NULL)
		exit(1);
	memset(w, 1, (size_t) N_ROWS * N_COLS);
	memset(q, 1, (size_t) PK_DOTS_TOKENS * N_COLS);
	for (int i = 0; i < RUNS; i++)
	{
		double begin = seconds();

		multiply(&dots);

		double rate = 2.0 * N_ROWS * N_COLS * PK_DOTS_TOKENS * ROUNDS / (seconds() - begin) / 1e9;

		best = rate > best ? rate : best;
	}
	*(double *) arg = best;
	free(w), free(q), free(sums);
	return NULL;
}

int
main(int argc, char **argv)
{
	int       n_threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t threads[MAX_THREADS];
	double    rates[MAX_THREADS], sum = 0;

	if (n_threads < 1 || n_threads > MAX_THREADS)
		return 2;
	if ((pk_cpu_features() & PK_CPU_VNNI) == 0)
	{
		fputs("peak: this processor has no AVX-512 VNNI\n", stderr);
		return 1;
	}
	for (int i = 0; i < n_threads; i++)
		if (pthread_create(&threads[i], NULL, thread_main, &rates[i]) != 0)
			return 1;
	for (int i = 0; i < n_threads; i++)
	{
		pthread_join(threads[i], NULL);
		sum += rates[i];
	}
	printf("peak: %.0f Gop/s\n", sum);
	return 0;
}

#else

int
main(void)
{
	fputs("peak: only for x86-64\n", stderr);
	return 1;
}

#endif

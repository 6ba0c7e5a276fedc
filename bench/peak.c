/*
 * peak.c
 *    The most integer products a second that these processors do: 6 tokens x 64 rows in registers,
 *    weights in the second-level cache. What gemm_q8 is measured against.
 *
 * Usage: peak [THREADS]    prints "peak: G Gop/s, sustained G"; a multiplication and an addition
 * are two. All threads work at once for about a second, as with a prompt, in pieces of a
 * millisecond. The peak is the best piece; what is sustained is all of them over all the time, as
 * the rate of a prompt is: the clock, and the neighbours of a guest, change from one moment to the
 * next.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/kernels.h"
#include "core/kernels/tiers.h"
#include "core/kernels/vnni_tile.h"

#include "timing.h"

#if defined(__x86_64__)

#define N_COLS 2048
#define N_ROWS (PK_TILE_BLOCKS * PK_LANES)
#define ROUNDS 500
#define RUNS 1000
#define MAX_THREADS 256

/* The tile of gemm_q8 with nothing left but products and their loads: all of K is one group. */
PK_TARGET_VNNI static void
products(const uint8_t *w, const int8_t *q)
{
	const size_t w_stride = (size_t) PK_LANES * N_COLS, q_stride = N_COLS;

	for (int round = 0; round < ROUNDS; round++)
	{
		const uint8_t *w_at = w;
		const int8_t  *q_at = q;
		size_t         left = N_COLS / PK_QUAD / 4;

		/* clang-format off */
		__asm__ volatile("1:\n\t"
		                 PK_QUAD_Q8("0", PK_DOTS_6) PK_QUAD_Q8("1", PK_DOTS_6)
		                 PK_QUAD_Q8("2", PK_DOTS_6) PK_QUAD_Q8("3", PK_DOTS_6)
		                 "add $256, %[w]\n\t"
		                 "add $16, %[q]\n\t"
		                 "dec %[left]\n\t"
		                 "jnz 1b\n\t"
		                 : [w] "+r"(w_at), [q] "+r"(q_at), [left] "+r"(left)
		                 : [ws] "r"(w_stride), [ws3] "r"(3 * w_stride), [qs] "r"(q_stride),
		                   [qs3] "r"(3 * q_stride), [qs5] "r"(5 * q_stride)
		                 : "cc", "memory", PK_CLOBBERED_ZMM);
		/* clang-format on */
	}
}

typedef struct Member
{
	pthread_barrier_t *barrier;
	double             best, sustained; /* Gop/s */
} Member;

static void *
thread_main(void *arg)
{
	Member  *member = arg;
	uint8_t *w = aligned_alloc(64, (size_t) N_ROWS * N_COLS);
	int8_t  *q = aligned_alloc(64, (size_t) PK_PANEL_TOKENS * N_COLS);
	double   n_ops = 2.0 * N_ROWS * N_COLS * PK_PANEL_TOKENS * ROUNDS;
	double   begin, last, best = INFINITY; /* seconds */

	if (w == NULL || q == NULL)
		exit(1);
	memset(w, 1, (size_t) N_ROWS * N_COLS);
	memset(q, 1, (size_t) PK_PANEL_TOKENS * N_COLS);
	pthread_barrier_wait(member->barrier);
	begin = last = seconds();
	for (int i = 0; i < RUNS; i++)
	{
		products(w, q);

		double now = seconds();

		best = fmin(best, now - last);
		last = now;
	}
	member->best = n_ops / best / 1e9;
	member->sustained = RUNS * n_ops / (last - begin) / 1e9;
	free(w), free(q);
	return NULL;
}

int
main(int argc, char **argv)
{
	int               n_threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t         threads[MAX_THREADS];
	static Member     members[MAX_THREADS];
	pthread_barrier_t barrier;
	double            best = 0, sustained = 0;

	if (n_threads < 1 || n_threads > MAX_THREADS)
		return 2;
	if ((pk_cpu_features() & PK_CPU_VNNI) == 0)
	{
		fputs("peak: this processor has no AVX-512 VNNI\n", stderr);
		return 1;
	}
	pthread_barrier_init(&barrier, NULL, (unsigned) n_threads);
	for (int i = 0; i < n_threads; i++)
	{
		members[i].barrier = &barrier;
		if (pthread_create(&threads[i], NULL, thread_main, &members[i]) != 0)
			return 1;
	}
	for (int i = 0; i < n_threads; i++)
	{
		pthread_join(threads[i], NULL);
		best += members[i].best;
		sustained += members[i].sustained;
	}
	printf("peak: %.0f Gop/s, sustained %.0f\n", best, sustained);
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

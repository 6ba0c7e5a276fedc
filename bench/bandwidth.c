/*
 * bandwidth.c
 *    How fast memory is read: 2 GiB, each thread its part, the median of several runs, as decode is
 *    a mean over many reads. What decode is measured against.
 *
 * Usage: bandwidth [THREADS]    prints "bandwidth: G GB/s"
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"
#include "timing.h"

#define N_BYTES ((size_t) 2 << 30)
#define RUNS 9
#define MAX_THREADS 256

typedef struct Part
{
	const char        *bytes;
	size_t             n;
	pthread_barrier_t *barrier;
	uint64_t           sum;
} Part;

static void *
thread_main(void *arg)
{
	Part *part = arg;

	for (int run = 0; run < RUNS; run++)
	{
		pthread_barrier_wait(part->barrier);
		part->sum += read_memory(part->bytes, part->n);
		pthread_barrier_wait(part->barrier);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	int               n_threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t         threads[MAX_THREADS];
	static Part       parts[MAX_THREADS];
	pthread_barrier_t barrier;
	double            rates[RUNS];
	void             *memory;

	if (n_threads < 1 || n_threads > MAX_THREADS)
		return 2;
	memory = mmap(NULL, N_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	(void) madvise(memory, N_BYTES, MADV_HUGEPAGE);
	memset(memory, 1, N_BYTES);
	pthread_barrier_init(&barrier, NULL, (unsigned) n_threads + 1);
	for (int i = 0; i < n_threads; i++)
	{
		size_t n_lines = N_BYTES / LINE_BYTES, begin = n_lines * (size_t) i / (size_t) n_threads;
		size_t end = n_lines * ((size_t) i + 1) / (size_t) n_threads;

		parts[i] = (Part){.bytes = (const char *) memory + begin * LINE_BYTES,
		                  .n = (end - begin) * LINE_BYTES,
		                  .barrier = &barrier};
		if (pthread_create(&threads[i], NULL, thread_main, &parts[i]) != 0)
			return 1;
	}
	for (int run = 0; run < RUNS; run++)
	{
		double begin;

		pthread_barrier_wait(&barrier);
		begin = seconds();
		pthread_barrier_wait(&barrier);

		rates[run] = (double) N_BYTES / (seconds() - begin) / 1e9;
	}
	for (int i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	qsort(rates, RUNS, sizeof(double), compare);
	printf("bandwidth: %.1f GB/s\n", rates[RUNS / 2]);
	return 0;
}

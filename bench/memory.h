/*
 * memory.h
 *    Memory read as fast as a core can: what the decode of one sequence is measured against.
 */
#ifndef PK_BENCH_MEMORY_H
#define PK_BENCH_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define LINE_BYTES 64
#define AHEAD_BYTES 4096 /* a core that waits for its own loads alone reads some 15 % less */

/*
 * The sum of n bytes, as words, less a rest that fills no line; memory is aligned to a line.
 * Vectors as wide as every processor has: of wider ones gcc keeps the sums in memory, and these are
 * measured.
 */
static inline uint64_t
read_memory(const void *memory, size_t n)
{
	typedef uint64_t Words __attribute__((vector_size(16)));
	const char      *at = memory;
	const char      *end = at + n - n % LINE_BYTES;
	Words            sum[4] = {{0}};

	for (; at < end; at += LINE_BYTES)
	{
		const Words *words = (const void *) at;

		__builtin_prefetch(at + AHEAD_BYTES);
		sum[0] += words[0];
		sum[1] += words[1];
		sum[2] += words[2];
		sum[3] += words[3];
	}
	sum[0] += sum[1] + sum[2] + sum[3];
	return sum[0][0] + sum[0][1];
}

#endif

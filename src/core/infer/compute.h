/*
 * compute.h
 *    What every part of the forward pass works with: arithmetic, threads, the flag that stops.
 */
#ifndef PK_COMPUTE_H
#define PK_COMPUTE_H

#include "core/base/cancel.h"
#include "core/base/threads.h"
#include "core/kernels/kernels.h"

typedef struct PkCompute
{
	const PkKernels *kernels;
	PkPool          *pool;
	PkCancel        *cancel; /* may be NULL */
} PkCompute;

/*
 * Multiply-adds of a row block that one tile may hold, so that four of them, a panel, end in about
 * 1 ms also on a slow machine. The scalar tier does about 1 per ns, the vector tiers 20 (f16, f32)
 * to 200 (integers with VNNI).
 */
static inline size_t
pk_tile_work(const PkCompute *compute, PkQuant quant)
{
	bool is_integer = quant == PK_QUANT_Q8 || quant == PK_QUANT_Q4;

	if (compute->kernels->needs == 0 && quant != PK_QUANT_F32)
		return (size_t) 1 << 20;
	if (is_integer && (compute->kernels->needs & PK_CPU_VNNI) != 0)
		return (size_t) 1 << 26;
	return (size_t) 1 << (quant == PK_QUANT_F16 ? 23 : 24);
}

/* Tiles of n_each items that cover n items. */
static inline size_t
pk_n_tiles(size_t n, size_t n_each)
{
	return (n + n_each - 1) / n_each;
}

/* Items of work_each that fit in a tile: at least 1, at most n. */
static inline size_t
pk_tile_items(size_t work, size_t work_each, size_t n)
{
	size_t items = work / (work_each > 0 ? work_each : 1);

	if (items < 1)
		items = 1;
	return items < n ? items : (n > 0 ? n : 1);
}

#endif

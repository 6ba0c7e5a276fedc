/*
 * amx_column.h
 *    A stretch of groups of one block of 16 rows times up to 32 tokens, on AMX tiles.
 *
 * Steps in which some sequences are decoded together are bound by memory, so each line of weights
 * is read once, in the order of the file (the scales of a block of q8 after it), and asked for 4 kB
 * before. Weights of q8 are the second
 * operand of tdpbsud as they lie there; the offset with which they are stored is taken back with
 * the sum of the activations, as vnni does it. Those of q4 are widened two groups ahead, as tiles
 * are not loaded from stores that are under way. The float part of a group is that of gemm.h, and
 * runs beside the products of the next.
 *
 * It is done for 8, 16, 24 or 32 tokens, whose numbers stay in registers as far as these go; what
 * it makes of tokens that there are not is never looked at.
 *
 * Tiles: 0 and 1 sums of the first 16 tokens and of the others, 4 and 5 activations, 6 weights.
 */
#ifndef PK_AMX_COLUMN_H
#define PK_AMX_COLUMN_H

#if defined(__x86_64__)

#include "core/kernels/amx_tile.h"
#include "core/kernels/vnni_tile.h"

#define PK_AMX_AHEAD 4096 /* bytes; farther is no faster, 2 kB are slower */
#define PK_AMX_WIDE 4     /* groups of q4 that are kept widened; a power of two */

/* Operands of a stretch. n is the number of tokens that the floats are done for. */
typedef struct PkAmxColumn
{
	const uint8_t     *w; /* the first group */
	const int8_t      *q; /* activations of the first token, each token q_stride further */
	size_t             q_stride;
	size_t             n_groups; /* at least 1 */
	const PkTokenMeta *meta;     /* (n); start is for q8 only */
	PkV16             *y;        /* (n), added to */

	/* scratch */
	PkI16   dots[PK_AMX_TOKENS];
	uint8_t wide[PK_AMX_WIDE][PK_Q4_GROUP * PK_LANES];
} PkAmxColumn;

/* Lines [first, end) of a group that is PK_AMX_AHEAD behind the one at w. */
PK_INLINE void
pk_amx_column_ahead(const uint8_t *w, size_t first, size_t end)
{
#pragma GCC unroll 16
	for (size_t i = first; i < end; i++)
		__builtin_prefetch(w + PK_AMX_AHEAD + i * PK_AMX_BYTES, 0, 2);
}

/* The float part of group j, which is at w, for tokens [begin, end). */
PK_TARGET_VNNI PK_INLINE void
pk_amx_column_floats(const PkAmxColumn *c, const uint8_t *w, size_t j, size_t begin, size_t end,
                     bool is_q8, PkV16 *y)
{
	PkV16 w_scale = {0};

	if (!is_q8)
		w_scale = (PkV16) _mm512_cvtph_ps(_mm256_loadu_si256((const void *) w));
#pragma GCC unroll 32
	for (size_t t = begin; t < end; t++)
	{
		PkI16 dot = c->dots[t];
		PkV16 scaled;

		if (is_q8)
			dot += (PkI16) _mm512_set1_epi32(c->meta[t].start[j]);
		scaled = __builtin_convertvector(dot, PkV16);
		if (!is_q8)
			scaled *= w_scale;
		y[t] = (PkV16) _mm512_fmadd_ps((__m512) scaled, _mm512_set1_ps(c->meta[t].scale[j]),
		                               (__m512) y[t]);
	}
}

/* The sums of the last group, which is at w, leave; y is complete. */
PK_TARGET_VNNI PK_INLINE void
pk_amx_column_end(PkAmxColumn *c, const uint8_t *w, size_t n, bool is_q8, PkV16 *y)
{
	const size_t dots_stride = sizeof(c->dots[0]);

	PK_AMX_STORE(0, &c->dots[0], dots_stride);
	if (n > PK_AMX_ROWS)
		PK_AMX_STORE(1, &c->dots[PK_AMX_ROWS], dots_stride);
	pk_amx_column_floats(c, w, c->n_groups - 1, 0, n, is_q8, y);
	memcpy(c->y, y, n * sizeof(y[0]));
}

/* Sums of a group begin, those of the group before leave: see amx_tile.h. half: 0 or 1. */
#define PK_AMX_COLUMN_START(half)                                          \
	do                                                                     \
	{                                                                      \
		if (j > 0)                                                         \
			PK_AMX_STORE(half, &c->dots[half * PK_AMX_ROWS], dots_stride); \
		PK_AMX_ZERO(half);                                                 \
	} while (0)

/* n is constant where it is inlined: 8, 16, 24 or 32. */
PK_TARGET_VNNI PK_INLINE void
pk_amx_column_q8(PkAmxColumn *c, size_t n)
{
	const size_t   w_stride = PK_AMX_BYTES, q_stride = c->q_stride;
	const size_t   dots_stride = sizeof(c->dots[0]), step = PK_AMX_BYTES * PK_AMX_ROWS;
	const bool     has_second = n > PK_AMX_ROWS;
	const uint8_t *w = c->w;
	const int8_t  *q = c->q, *other = q + (has_second ? PK_AMX_ROWS * q_stride : 0);
	PkV16          y[PK_AMX_TOKENS];

	memcpy(y, c->y, n * sizeof(y[0]));
	for (size_t j = 0; j < c->n_groups; j++)
	{
		PK_AMX_LOAD(6, w, w_stride);
		PK_AMX_LOAD(4, q, q_stride);
		PK_AMX_COLUMN_START(0);
		PK_AMX_DOT_UNSIGNED(0, 4, 6);
		if (has_second)
		{
			PK_AMX_LOAD(5, other, q_stride);
			PK_AMX_COLUMN_START(1);
			PK_AMX_DOT_UNSIGNED(1, 5, 6);
		}
		pk_amx_column_ahead(w, 0, 16);
		if (j > 0)
			pk_amx_column_floats(c, w - PK_Q8_GROUP_BYTES, j - 1, 0, n / 2, true, y);
		PK_AMX_LOAD(6, w + step, w_stride);
		PK_AMX_LOAD(4, q + PK_AMX_BYTES, q_stride);
		PK_AMX_DOT_UNSIGNED(0, 4, 6);
		if (has_second)
		{
			PK_AMX_LOAD(5, other + PK_AMX_BYTES, q_stride);
			PK_AMX_DOT_UNSIGNED(1, 5, 6);
		}
		pk_amx_column_ahead(w, 16, PK_Q8_GROUP_BYTES / PK_AMX_BYTES);
		if (j > 0)
			pk_amx_column_floats(c, w - PK_Q8_GROUP_BYTES, j - 1, n / 2, n, true, y);
		w += PK_Q8_GROUP_BYTES;
		q += PK_Q8_GROUP;
		other += PK_Q8_GROUP;
	}
	pk_amx_column_end(c, w - PK_Q8_GROUP_BYTES, n, true, y);
}

PK_TARGET_VNNI PK_INLINE void
pk_amx_column_q4(PkAmxColumn *c, size_t n)
{
	const size_t   w_stride = PK_AMX_BYTES, q_stride = c->q_stride;
	const size_t   dots_stride = sizeof(c->dots[0]);
	const bool     has_second = n > PK_AMX_ROWS;
	const uint8_t *w = c->w;
	const int8_t  *q = c->q, *other = q + (has_second ? PK_AMX_ROWS * q_stride : 0);
	PkV16          y[PK_AMX_TOKENS];

	memcpy(y, c->y, n * sizeof(y[0]));
	for (size_t j = 0; j < 2 && j < c->n_groups; j++)
		pk_amx_widen_q4(c->wide[j], w + j * PK_Q4_GROUP_BYTES);
	for (size_t j = 0; j < c->n_groups; j++)
	{
		PK_AMX_LOAD(6, c->wide[j % PK_AMX_WIDE], w_stride);
		PK_AMX_LOAD(4, q, q_stride);
		PK_AMX_COLUMN_START(0);
		PK_AMX_DOT(0, 4, 6);
		if (has_second)
		{
			PK_AMX_LOAD(5, other, q_stride);
			PK_AMX_COLUMN_START(1);
			PK_AMX_DOT(1, 5, 6);
		}
		pk_amx_column_ahead(w, 0, (PK_Q4_GROUP_BYTES + PK_AMX_BYTES - 1) / PK_AMX_BYTES);
		if (j + 2 < c->n_groups)
			pk_amx_widen_q4(c->wide[(j + 2) % PK_AMX_WIDE], w + 2 * PK_Q4_GROUP_BYTES);
		if (j > 0)
			pk_amx_column_floats(c, w - PK_Q4_GROUP_BYTES, j - 1, 0, n, false, y);
		w += PK_Q4_GROUP_BYTES;
		q += PK_Q4_GROUP;
		other += PK_Q4_GROUP;
	}
	pk_amx_column_end(c, w - PK_Q4_GROUP_BYTES, n, false, y);
}

#undef PK_AMX_COLUMN_START

#endif

#endif

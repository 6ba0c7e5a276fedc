/*
 * gemm.h
 *    Products of packed weights with activations, force-inlined into each tier.
 *
 * The tier gives the steps that differ: adding the dot products of a quad (4 inputs, 16 rows) to 16
 * integer sums, and a * b + c rounded once. Integer sums are exact, so the order within a group is
 * free; the float part is written once, here, and is the same in every tier.
 */
#ifndef PK_GEMM_H
#define PK_GEMM_H

#include "core/kernels/bodies.h"
#include "core/kernels/quant_layout.h"

/* Most tokens that one pass over the weights serves; their sums stay in registers. */
#define PK_TILE_TOKENS 8

/*
 * sum + dot products of 16 rows x 4 weights (64 bytes, stored with the offset) with 4 activations.
 * A tier either multiplies stored values (the caller starts from minus offset times the sum of
 * the activations) or takes the offset off itself: has_offset of the bodies tells which.
 */
typedef PkI16 (*PkQuadFn)(PkI16 sum, const uint8_t *quad, const int8_t *acts);

PK_INLINE size_t
pk_rows_of_block(const PkGemm *g, size_t row)
{
	return g->w->n_rows - row < PK_LANES ? g->w->n_rows - row : PK_LANES;
}

/* What is added to y of a block in the end: without a bias -0, which changes no bits. */
PK_INLINE PkV16
pk_bias_of_block(const PkGemm *g, size_t row)
{
	size_t n = pk_rows_of_block(g, row);

	if (g->bias == NULL)
		return pk_v_all(-0.0f);
	return n < PK_LANES ? pk_v_load_n(g->bias + row, n, 0.0f) : pk_v_load(g->bias + row);
}

PK_INLINE void
pk_store_rows(const PkGemm *g, size_t t, size_t row, PkV16 y)
{
	size_t n = pk_rows_of_block(g, row);
	float *out = g->y + t * g->y_stride + row;

	if (n < PK_LANES)
	{
		float rest[PK_LANES];

		pk_v_store(rest, y);
		memcpy(out, rest, n * sizeof(float));
		return;
	}
	pk_v_store(out, y);
}

/* N tokens from t0 of one block of rows, q8. */
PK_INLINE void
pk_body_q8_tile(const PkGemm *g, const uint8_t *block, size_t row, size_t t0, size_t n,
                PkQuadFn quad, bool has_offset, PkMulAddFn mul_add)
{
	const PkActs *acts = g->acts;
	PkV16         y[PK_TILE_TOKENS], bias = pk_bias_of_block(g, row), w_scale;

	memcpy(&w_scale, block, sizeof(w_scale));
#pragma GCC unroll 8
	for (size_t t = 0; t < n; t++)
		y[t] = pk_v_all(0.0f);
	for (size_t j = 0; j < acts->n_groups; j++)
	{
		const uint8_t *group = block + PK_Q8_SCALE_BYTES + j * PK_Q8_GROUP_BYTES;
		const int8_t  *q = acts->q + t0 * acts->q_stride + j * PK_Q8_GROUP;
		size_t         at = t0 * acts->n_groups + j;
		PkI16          dot[PK_TILE_TOKENS];

		__builtin_prefetch(group + 4 * PK_Q8_GROUP_BYTES);
#pragma GCC unroll 8
		for (size_t t = 0; t < n; t++)
			dot[t] = pk_i_all(has_offset ? -PK_Q8_OFFSET * acts->sum[at + t * acts->n_groups] : 0);
#pragma GCC unroll 16
		for (size_t i = 0; i < PK_Q8_GROUP / PK_QUAD; i++)
#pragma GCC unroll 8
			for (size_t t = 0; t < n; t++)
				dot[t] = quad(dot[t], group + i * PK_LANES * PK_QUAD,
				              q + t * acts->q_stride + i * PK_QUAD);
#pragma GCC unroll 8
		for (size_t t = 0; t < n; t++)
			y[t] = mul_add(__builtin_convertvector(dot[t], PkV16),
			               pk_v_all(acts->scale[at + t * acts->n_groups]), y[t]);
	}
#pragma GCC unroll 8
	for (size_t t = 0; t < n; t++)
		pk_store_rows(g, t0 + t, row, mul_add(y[t], w_scale, bias));
}

/* The same for q4; load16 reads the half scales, nibbles are widened to bytes. */
PK_INLINE void
pk_body_q4_tile(const PkGemm *g, const uint8_t *block, size_t row, size_t t0, size_t n,
                PkQuadFn quad, bool has_offset, PkMulAddFn mul_add,
                PkV16 (*load16)(const void *items))
{
	typedef uint8_t Bytes __attribute__((vector_size(64)));
	const PkActs   *acts = g->acts;
	PkV16           y[PK_TILE_TOKENS], bias = pk_bias_of_block(g, row);

#pragma GCC unroll 8
	for (size_t t = 0; t < n; t++)
		y[t] = pk_v_all(0.0f);
	for (size_t j = 0; j < acts->n_groups; j++)
	{
		const uint8_t *group = block + j * PK_Q4_GROUP_BYTES;
		const int8_t  *q = acts->q + t0 * acts->q_stride + j * PK_Q4_GROUP;
		size_t         at = t0 * acts->n_groups + j;
		PkV16          w_scale = load16(group);
		PkI16          dot[PK_TILE_TOKENS];
		uint8_t        wide[2 * PK_Q4_PIECES][PK_Q4_PIECE_BYTES];

		__builtin_prefetch(group + 8 * PK_Q4_GROUP_BYTES);
#pragma GCC unroll 4
		for (size_t p = 0; p < PK_Q4_PIECES; p++)
		{
			Bytes piece, low, high;

			memcpy(&piece, group + PK_Q4_SCALE_BYTES + p * PK_Q4_PIECE_BYTES, sizeof(piece));
			low = piece & 15;
			high = piece >> 4;
			if (!has_offset) /* signed bytes, with q8's offset as the step expects it */
			{
				low = low + (PK_Q8_OFFSET - PK_Q4_OFFSET);
				high = high + (PK_Q8_OFFSET - PK_Q4_OFFSET);
			}
			memcpy(wide[2 * p], &low, sizeof(low));
			memcpy(wide[2 * p + 1], &high, sizeof(high));
		}
#pragma GCC unroll 8
		for (size_t t = 0; t < n; t++)
			dot[t] = pk_i_all(has_offset ? -PK_Q4_OFFSET * acts->sum[at + t * acts->n_groups] : 0);
#pragma GCC unroll 8
		for (size_t i = 0; i < PK_Q4_GROUP / PK_QUAD; i++)
#pragma GCC unroll 8
			for (size_t t = 0; t < n; t++)
				dot[t] = quad(dot[t], wide[i], q + t * acts->q_stride + i * PK_QUAD);
#pragma GCC unroll 8
		for (size_t t = 0; t < n; t++)
			y[t] = mul_add(__builtin_convertvector(dot[t], PkV16) * w_scale,
			               pk_v_all(acts->scale[at + t * acts->n_groups]), y[t]);
	}
#pragma GCC unroll 8
	for (size_t t = 0; t < n; t++)
		pk_store_rows(g, t0 + t, row, y[t] + bias);
}

/* f16: products are fused with the sums. */
PK_INLINE void
pk_body_f16_tile(const PkGemm *g, const uint8_t *block, size_t row, size_t t0, size_t n,
                 PkV16 (*load16)(const void *items), PkV16 (*fma)(float x, PkV16 v, PkV16 sum))
{
	const PkActs *acts = g->acts;
	const float  *x = acts->x + t0 * acts->x_stride;
	PkV16         y[PK_TILE_TOKENS], bias = pk_bias_of_block(g, row);

#pragma GCC unroll 8
	for (size_t t = 0; t < n; t++)
		y[t] = pk_v_all(0.0f);
	for (size_t k = 0; k < acts->n_cols; k++)
	{
		PkV16 w = load16(block + k * PK_LANES * sizeof(uint16_t));

#pragma GCC unroll 8
		for (size_t t = 0; t < n; t++)
			y[t] = fma(x[t * acts->x_stride + k], w, y[t]);
	}
#pragma GCC unroll 8
	for (size_t t = 0; t < n; t++)
		pk_store_rows(g, t0 + t, row, y[t] + bias);
}

/*
 * Row blocks outside, so that a block's weights stay in the cache for all tokens. tokens: how many
 * at a time, as many as the tier's registers hold sums for (a constant: it is unrolled); what is
 * left goes in pairs and alone.
 */
#define PK_GEMM_LOOP(g, begin, end, block_bytes, TILE, tokens)                         \
	do                                                                                 \
	{                                                                                  \
		for (size_t b = (begin); b < (end); b++)                                       \
		{                                                                              \
			const uint8_t *block = (const uint8_t *) (g)->w->data + b * (block_bytes); \
			size_t         t = 0;                                                      \
                                                                                       \
			for (; t + (tokens) <= (g)->acts->n_tokens; t += (tokens))                 \
				TILE(g, block, b *PK_LANES, t, tokens);                                \
			for (; (tokens) > 2 && t + 2 <= (g)->acts->n_tokens; t += 2)               \
				TILE(g, block, b *PK_LANES, t, 2);                                     \
			for (; (tokens) > 1 && t < (g)->acts->n_tokens; t++)                       \
				TILE(g, block, b *PK_LANES, t, 1);                                     \
		}                                                                              \
	} while (0)

#endif

/*
 * attend.h
 *    Attention of one query head, force-inlined like bodies.h.
 *
 * Two passes over blocks of PK_KV_BLOCK positions that start at fixed places. Scores: positions
 * are the lanes; the sum over d runs in four chains (d mod 4), added ((0 + 1) + (2 + 3)). Values:
 * dimensions are the lanes; positions are added in order. So a query gives the same bits whatever
 * chunk it came in.
 */
#ifndef PK_ATTEND_H
#define PK_ATTEND_H

#include "core/kernels/bodies.h"

#define PK_CHAINS 4

/* 16 items of the cache's format as floats. */
typedef PkV16 (*PkLoad16Fn)(const void *items);
typedef float (*PkLoad1Fn)(const void *items, size_t i);

PK_INLINE PkV16
pk_load16_f32(const void *items)
{
	return pk_v_load(items);
}

PK_INLINE float
pk_load1_f32(const void *items, size_t i)
{
	return ((const float *) items)[i];
}

PK_INLINE float
pk_load1_f16(const void *items, size_t i)
{
	return pk_half_to_float(((const uint16_t *) items)[i]);
}

PK_INLINE PkV16
pk_body_score_block(const PkAttend *a, const char *keys, size_t item_bytes, PkLoad16Fn load16)
{
	size_t D = a->head_size;
	PkV16  chain[PK_CHAINS] = {{0}, {0}, {0}, {0}};
	size_t d = 0;

	for (; d + PK_CHAINS <= D; d += PK_CHAINS)
		for (size_t c = 0; c < PK_CHAINS; c++)
			chain[c] = chain[c] + a->q[d + c] * load16(keys + (d + c) * PK_KV_BLOCK * item_bytes);
	for (; d < D; d++)
		chain[d % PK_CHAINS] =
			chain[d % PK_CHAINS] + a->q[d] * load16(keys + d * PK_KV_BLOCK * item_bytes);
	return ((chain[0] + chain[1]) + (chain[2] + chain[3])) * a->scale;
}

/* Scores of all keys to a->scores; positions that are not seen get -infinity. Returns the maximum.
 */
PK_INLINE float
pk_body_scores(const PkAttend *a, size_t item_bytes, PkLoad16Fn load16)
{
	PkV16 most = pk_v_all(-INFINITY);

	for (size_t b = 0; b * PK_KV_BLOCK < a->n_keys; b++)
	{
		PkV16  score = pk_body_score_block(a, a->k_blocks[b], item_bytes, load16);
		size_t n_here = a->n_keys - b * PK_KV_BLOCK;

		if (n_here < PK_KV_BLOCK)
		{
			float seen[PK_KV_BLOCK];

			memcpy(seen, &score, sizeof(seen));
			score = pk_v_load_n(seen, n_here, -INFINITY);
		}
		pk_v_store(a->scores + b * PK_KV_BLOCK, score);
		most = pk_v_select(score > most, score, most);
	}
	return pk_v_max(most);
}

/* Sum of p[pos] * v[pos][d] for N vectors of dimensions from d0 on. */
#define PK_VALUE_VECTORS 4

PK_INLINE void
pk_body_values(const PkAttend *a, size_t d0, size_t n_vectors, float inverse, size_t item_bytes,
               PkLoad16Fn load16)
{
	PkV16 sum[PK_VALUE_VECTORS] = {{0}, {0}, {0}, {0}};

	for (size_t pos = 0; pos < a->n_keys; pos++)
	{
		const char *values = a->v_blocks[pos / PK_KV_BLOCK];
		const char *row = values + (pos % PK_KV_BLOCK * a->head_size + d0) * item_bytes;

		for (size_t i = 0; i < n_vectors; i++)
			sum[i] = sum[i] + a->scores[pos] * load16(row + i * PK_LANES * item_bytes);
	}
	for (size_t i = 0; i < n_vectors; i++)
		pk_v_store(a->out + d0 + i * PK_LANES, sum[i] * inverse);
}

PK_INLINE void
pk_body_value_rest(const PkAttend *a, size_t d0, float inverse, PkLoad1Fn load1)
{
	for (size_t d = d0; d < a->head_size; d++)
	{
		float sum = 0.0f;

		for (size_t pos = 0; pos < a->n_keys; pos++)
			sum = sum + a->scores[pos] * load1(a->v_blocks[pos / PK_KV_BLOCK],
			                                   pos % PK_KV_BLOCK * a->head_size + d);
		a->out[d] = sum * inverse;
	}
}

PK_INLINE void
pk_body_attend(const PkAttend *a, size_t item_bytes, PkLoad16Fn load16, PkLoad1Fn load1)
{
	float most = pk_body_scores(a, item_bytes, load16);
	PkV16 total = pk_v_all(0.0f);

	for (size_t i = 0; i < a->n_keys; i += PK_LANES)
	{
		PkV16 p = pk_v_exp(pk_v_load(a->scores + i) - most);

		pk_v_store(a->scores + i, p);
		total = total + p;
	}

	float  inverse = 1.0f / pk_v_sum(total);
	size_t d = 0;

	for (; d + PK_VALUE_VECTORS * PK_LANES <= a->head_size; d += PK_VALUE_VECTORS * PK_LANES)
		pk_body_values(a, d, PK_VALUE_VECTORS, inverse, item_bytes, load16);
	for (; d + PK_LANES <= a->head_size; d += PK_LANES)
		pk_body_values(a, d, 1, inverse, item_bytes, load16);
	pk_body_value_rest(a, d, inverse, load1);
}

#endif

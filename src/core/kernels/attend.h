/*
 * attend.h
 *    Attention of one head, force-inlined like bodies.h.
 *
 * Passes over blocks of PK_KV_BLOCK positions that start at fixed places. Scores: positions are the
 * lanes; the sum over d runs in four chains (d mod 4), added ((0 + 1) + (2 + 3)). Weights: exp of
 * them. Values: dimensions are the lanes; positions are added in order. Products are fused with the
 * sums in every tier. So a query gives the same bits whatever chunk it came in.
 *
 * n queries go through the keys together, so that a key is read and widened once for all of them;
 * n is a constant of the instance.
 */
#ifndef PK_ATTEND_H
#define PK_ATTEND_H

#include "core/kernels/bodies.h"

#define PK_CHAINS 4
/* Keys and values of a head lie in pages far from one another, where the processor's own prefetch
   does not follow: so many blocks before they are used their lines are asked for. */
#define PK_ATTEND_AHEAD 3

/* 16 items of the cache's format as floats. */
typedef PkV16 (*PkLoad16Fn)(const void *items);
typedef float (*PkLoad1Fn)(const void *items, size_t i);
/* x * v + sum, rounded once. */
typedef PkV16 (*PkFmaFn)(float x, PkV16 v, PkV16 sum);

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

/* Blocks of the keys that n queries from first on see. */
PK_INLINE size_t
pk_attend_blocks(const PkAttend *a, size_t first, size_t n)
{
	return (a->n_keys + first + n - 1 + PK_KV_BLOCK - 1) / PK_KV_BLOCK;
}

/* The block that is prefetched beside block b of n_blocks. */
PK_INLINE const char *
pk_attend_ahead(const void *const *blocks, size_t b, size_t n_blocks)
{
	return blocks[b + PK_ATTEND_AHEAD < n_blocks ? b + PK_ATTEND_AHEAD : n_blocks - 1];
}

/* Registers hold 16 sums: so many chains, or vectors of values, of n rows of sums go together. */
#define PK_AT_ONCE(n) (PK_CHAINS * (n) > 16 ? 16 / (n) : PK_CHAINS)

/* Blocks of keys that queries go through together, so that a query is loaded once for both; where
   a vector takes several registers, they hold the sums of one. */
#define PK_MOST_KEY_BLOCKS 2
#define PK_KEY_BLOCKS (PK_PART_LANES == PK_LANES ? PK_MOST_KEY_BLOCKS : 1)

typedef PkV16 PkChains[PK_ATTEND_QUERIES][PK_CHAINS];

/*
 * n_blocks (a constant) blocks of keys, and what is prefetched beside each. Functions are no
 * members: clang would call them.
 */
typedef struct PkKeys
{
	size_t      n_blocks;
	size_t      item_bytes;
	const char *block[PK_MOST_KEY_BLOCKS];
	const char *ahead[PK_MOST_KEY_BLOCKS];
} PkKeys;

/* Dimension d of the keys times that of n queries, added to their chain c. */
PK_INLINE void
pk_body_score_dimension(const PkAttend *a, const float *q, size_t n, const PkKeys *keys, size_t d,
                        PkLoad16Fn load16, PkFmaFn fma, size_t c, PkChains *chain)
{
	PkV16 key[PK_MOST_KEY_BLOCKS];

#pragma GCC unroll 2
	for (size_t b = 0; b < keys->n_blocks; b++)
		key[b] = load16(keys->block[b] + d * PK_KV_BLOCK * keys->item_bytes);
#pragma GCC unroll 8
	for (size_t i = 0; i < n; i++)
#pragma GCC unroll 2
		for (size_t b = 0; b < keys->n_blocks; b++)
			chain[b][i][c] = fma(q[i * a->q_stride + d], key[b], chain[b][i][c]);
}

/* Chains [begin, begin + n_chains) for n queries from q on. */
PK_INLINE void
pk_body_score_chains(const PkAttend *a, const float *q, size_t n, const PkKeys *keys,
                     PkLoad16Fn load16, PkFmaFn fma, size_t begin, size_t n_chains, PkChains *chain)
{
	size_t D = a->head_size, d = begin, key_bytes = PK_KV_BLOCK * keys->item_bytes;

#pragma GCC unroll 2
	for (size_t b = 0; b < keys->n_blocks; b++)
#pragma GCC unroll 8
		for (size_t i = 0; i < n; i++)
#pragma GCC unroll 4
			for (size_t c = begin; c < begin + n_chains; c++)
				chain[b][i][c] = pk_v_all(0.0f);
	for (; d + PK_CHAINS - begin <= D; d += PK_CHAINS)
	{
#pragma GCC unroll 2
		for (size_t b = 0; b < keys->n_blocks; b++)
			for (size_t at = 0; at < n_chains * key_bytes; at += PK_ALIGNMENT)
				__builtin_prefetch(keys->ahead[b] + d * key_bytes + at);
#pragma GCC unroll 4
		for (size_t c = 0; c < n_chains; c++)
			pk_body_score_dimension(a, q, n, keys, d + c, load16, fma, begin + c, chain);
	}
#pragma GCC unroll 4
	for (size_t c = 0; c < n_chains; c++)
		if (d + c < D)
			pk_body_score_dimension(a, q, n, keys, d + c, load16, fma, begin + c, chain);
}

/* Scores of the keys for n queries from q on. */
PK_INLINE void
pk_body_score_keys(const PkAttend *a, const float *q, size_t n, const PkKeys *keys,
                   PkLoad16Fn load16, PkFmaFn fma, PkV16 (*score)[PK_ATTEND_QUERIES])
{
	const size_t n_chains = PK_AT_ONCE(n * keys->n_blocks);
	PkChains     chain[PK_MOST_KEY_BLOCKS];
	PkV16        half[PK_MOST_KEY_BLOCKS][PK_ATTEND_QUERIES];

#pragma GCC unroll 4
	for (size_t begin = 0; begin < PK_CHAINS; begin += n_chains)
	{
		pk_body_score_chains(a, q, n, keys, load16, fma, begin, n_chains, chain);
		if (begin + n_chains < 2 || begin >= 2)
			continue;
#pragma GCC unroll 2
		for (size_t b = 0; b < keys->n_blocks; b++)
#pragma GCC unroll 8
			for (size_t i = 0; i < n; i++)
				half[b][i] = chain[b][i][0] + chain[b][i][1];
	}
#pragma GCC unroll 2
	for (size_t b = 0; b < keys->n_blocks; b++)
#pragma GCC unroll 8
		for (size_t i = 0; i < n; i++)
			score[b][i] = (half[b][i] + (chain[b][i][2] + chain[b][i][3])) * a->scale;
}

/* The n_blocks (a constant) blocks of keys from block b of n_all on. */
PK_INLINE PkKeys
pk_keys_at(const PkAttend *a, size_t b, size_t n_blocks, size_t n_all, size_t item_bytes)
{
	PkKeys keys = {.n_blocks = n_blocks, .item_bytes = item_bytes};

#pragma GCC unroll 2
	for (size_t i = 0; i < n_blocks; i++)
	{
		keys.block[i] = a->k_blocks[b + i];
		keys.ahead[i] = pk_attend_ahead(a->k_blocks, b + i, n_all);
	}
	return keys;
}

/* Scores are (blocks, n, PK_KV_BLOCK) when n queries go together: those of query i with a block. */
PK_INLINE float *
pk_scores_of(const PkAttend *a, size_t block, size_t n, size_t i)
{
	return a->scores + (block * n + i) * PK_KV_BLOCK;
}

/* Scores of a block of keys; those that aren't seen: -infinity. */
PK_INLINE void
pk_body_keep_scores(const PkAttend *a, size_t n_keys, size_t n, size_t block, PkV16 *score,
                    PkV16 *high)
{
	size_t k = block * PK_KV_BLOCK;

#pragma GCC unroll 8
	for (size_t i = 0; i < n; i++)
	{
		size_t n_seen = n_keys + i > k ? n_keys + i - k : 0;

		if (n_seen < PK_KV_BLOCK)
		{
			float seen[PK_KV_BLOCK];

			pk_v_store(seen, score[i]);
			score[i] = pk_v_load_n(seen, n_seen, -INFINITY);
		}
		pk_v_store(pk_scores_of(a, block, n, i), score[i]);
		high[i] = pk_v_select(pk_v_less(high[i], score[i]), score[i], high[i]);
	}
}

/* Scores of all keys. most: the maxima of the queries. */
PK_INLINE void
pk_body_scores(const PkAttend *a, size_t first, size_t n, size_t item_bytes, PkLoad16Fn load16,
               PkFmaFn fma, float *most)
{
	const float *q = a->q + first * a->q_stride;
	size_t       n_keys = a->n_keys + first; /* of the first; the last sees n - 1 more */
	size_t       n_blocks = pk_attend_blocks(a, first, n), b = 0;
	PkV16        high[PK_ATTEND_QUERIES], score[PK_MOST_KEY_BLOCKS][PK_ATTEND_QUERIES];

	for (size_t i = 0; i < n; i++)
		high[i] = pk_v_all(-INFINITY);
	for (; b + PK_KEY_BLOCKS <= n_blocks; b += PK_KEY_BLOCKS)
	{
		PkKeys keys = pk_keys_at(a, b, PK_KEY_BLOCKS, n_blocks, item_bytes);

		pk_body_score_keys(a, q, n, &keys, load16, fma, score);
		for (size_t i = 0; i < PK_KEY_BLOCKS; i++)
			pk_body_keep_scores(a, n_keys, n, b + i, score[i], high);
	}
	if (b < n_blocks)
	{
		PkKeys keys = pk_keys_at(a, b, 1, n_blocks, item_bytes);

		pk_body_score_keys(a, q, n, &keys, load16, fma, score);
		pk_body_keep_scores(a, n_keys, n, b, score[0], high);
	}
	for (size_t i = 0; i < n; i++)
		most[i] = pk_v_max(high[i]);
}

/* The values of a position from some dimension on, and what is prefetched beside. */
typedef struct PkValues
{
	const char *row, *ahead;
	size_t      row_bytes, item_bytes;
} PkValues;

PK_INLINE PkValues
pk_values_at(const PkAttend *a, size_t block, size_t n_blocks, size_t d0, size_t item_bytes)
{
	return (PkValues){.row = (const char *) a->v_blocks[block] + d0 * item_bytes,
	                  .ahead = pk_attend_ahead(a->v_blocks, block, n_blocks) + d0 * item_bytes,
	                  .row_bytes = a->head_size * item_bytes,
	                  .item_bytes = item_bytes};
}

/*
 * The values of a position times the weights of queries [begin, n), added to their sums. weight:
 * that of query 0, the others each PK_KV_BLOCK further.
 */
PK_INLINE void
pk_body_value(const float *weight, size_t begin, size_t n, const PkValues *values, size_t n_vectors,
              PkLoad16Fn load16, PkFmaFn fma, PkV16 (*sum)[PK_CHAINS])
{
#pragma GCC unroll 4
	for (size_t v = 0; v < n_vectors; v++)
	{
		PkV16 value = load16(values->row + v * PK_LANES * values->item_bytes);

#pragma GCC unroll 8
		for (size_t i = 0; i < n; i++)
			if (i >= begin)
				sum[i][v] = fma(weight[i * PK_KV_BLOCK], value, sum[i][v]);
	}
}

/* The first n_seen positions of a block, which all queries see. */
PK_INLINE void
pk_body_value_block(const float *weight, size_t n_seen, size_t n, PkValues values, size_t n_vectors,
                    PkLoad16Fn load16, PkFmaFn fma, PkV16 (*sum)[PK_CHAINS])
{
	for (const float *end = weight + n_seen; weight < end; weight++)
	{
		for (size_t at = 0; at < n_vectors * PK_LANES * values.item_bytes; at += PK_ALIGNMENT)
			__builtin_prefetch(values.ahead + at);
		pk_body_value(weight, 0, n, &values, n_vectors, load16, fma, sum);
		values.row += values.row_bytes;
		values.ahead += values.row_bytes;
	}
}

/* Sum of p[pos] * v[pos][d] for vectors of dimensions from d0 on. */
PK_INLINE void
pk_body_values(const PkAttend *a, size_t first, size_t n, size_t d0, size_t n_vectors,
               const float *inverse, size_t item_bytes, PkLoad16Fn load16, PkFmaFn fma)
{
	size_t n_keys = a->n_keys + first;
	size_t n_blocks = pk_attend_blocks(a, first, n);
	PkV16  sum[PK_ATTEND_QUERIES][PK_CHAINS];

#pragma GCC unroll 8
	for (size_t i = 0; i < n; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < n_vectors; v++)
			sum[i][v] = pk_v_all(0.0f);
	for (size_t b = 0; b * PK_KV_BLOCK < n_keys; b++)
	{
		size_t n_left = n_keys - b * PK_KV_BLOCK;

		pk_body_value_block(pk_scores_of(a, b, n, 0), n_left < PK_KV_BLOCK ? n_left : PK_KV_BLOCK,
		                    n, pk_values_at(a, b, n_blocks, d0, item_bytes), n_vectors, load16, fma,
		                    sum);
	}
	/* the last positions are seen by the later queries only */
	for (size_t k = 1; k < n; k++)
	{
		size_t   pos = n_keys + k - 1, block = pos / PK_KV_BLOCK, at = pos % PK_KV_BLOCK;
		PkValues values = pk_values_at(a, block, n_blocks, d0, item_bytes);

		values.row += at * values.row_bytes;
		pk_body_value(pk_scores_of(a, block, n, 0) + at, k, n, &values, n_vectors, load16, fma,
		              sum);
	}
#pragma GCC unroll 8
	for (size_t i = 0; i < n; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < n_vectors; v++)
			pk_v_store(a->out + (first + i) * a->out_stride + d0 + v * PK_LANES,
			           sum[i][v] * inverse[i]);
}

PK_INLINE void
pk_body_value_rest(const PkAttend *a, size_t first, size_t n, size_t i, size_t d0, float inverse,
                   PkLoad1Fn load1)
{
	for (size_t d = d0; d < a->head_size; d++)
	{
		float sum = 0.0f;

		for (size_t pos = 0; pos < a->n_keys + first + i; pos++)
		{
			size_t block = pos / PK_KV_BLOCK, at = pos % PK_KV_BLOCK;

			sum = fmaf(pk_scores_of(a, block, n, i)[at],
			           load1(a->v_blocks[block], at * a->head_size + d), sum);
		}
		a->out[(first + i) * a->out_stride + d] = sum * inverse;
	}
}

/* Scores of n queries from first on become weights, exp(score - maximum); inverse: one over the sum
 * of each query's. */
PK_INLINE void
pk_body_weights(const PkAttend *a, size_t first, size_t n, const float *most, float *inverse,
                PkMulAddFn mul_add)
{
	const size_t at_once = n < PK_SIDE_BY_SIDE ? n : PK_SIDE_BY_SIDE;
	size_t       n_blocks = pk_attend_blocks(a, first, n);

	for (size_t begin = 0; begin < n; begin += at_once)
	{
		PkV16 p[PK_SIDE_BY_SIDE], total[PK_SIDE_BY_SIDE] = {0};

		for (size_t b = 0; b < n_blocks; b++)
		{
			float *scores = pk_scores_of(a, b, n, begin);

#pragma GCC unroll 4
			for (size_t i = 0; i < at_once; i++)
				p[i] = pk_v_load(scores + i * PK_KV_BLOCK) - most[begin + i];
			pk_v_exp_bounded(p, at_once, mul_add);
#pragma GCC unroll 4
			for (size_t i = 0; i < at_once; i++)
			{
				pk_v_store(scores + i * PK_KV_BLOCK, p[i]);
				total[i] = total[i] + p[i];
			}
		}
		for (size_t i = 0; i < at_once; i++)
			inverse[begin + i] = 1.0f / pk_v_sum(total[i]);
	}
}

/* n queries from first on. */
PK_INLINE void
pk_body_attend_n(const PkAttend *a, size_t first, size_t n, size_t item_bytes, PkLoad16Fn load16,
                 PkLoad1Fn load1, PkFmaFn fma, PkMulAddFn mul_add)
{
	float  most[PK_ATTEND_QUERIES], inverse[PK_ATTEND_QUERIES];
	size_t d = 0;

	pk_body_scores(a, first, n, item_bytes, load16, fma, most);
	pk_body_weights(a, first, n, most, inverse, mul_add);
	for (; d + PK_AT_ONCE(n) * PK_LANES <= a->head_size; d += PK_AT_ONCE(n) * PK_LANES)
		pk_body_values(a, first, n, d, PK_AT_ONCE(n), inverse, item_bytes, load16, fma);
	for (; d + PK_LANES <= a->head_size; d += PK_LANES)
		pk_body_values(a, first, n, d, 1, inverse, item_bytes, load16, fma);
	for (size_t i = 0; i < n; i++)
		pk_body_value_rest(a, first, n, i, d, inverse[i], load1);
}

/* at_once: 1 or PK_ATTEND_QUERIES, what the registers of the tier hold sums for. */
PK_INLINE void
pk_body_attend(const PkAttend *a, size_t at_once, size_t item_bytes, PkLoad16Fn load16,
               PkLoad1Fn load1, PkFmaFn fma, PkMulAddFn mul_add)
{
	size_t i = 0;

	for (; at_once > 1 && i + PK_ATTEND_QUERIES <= a->n_queries; i += PK_ATTEND_QUERIES)
		pk_body_attend_n(a, i, PK_ATTEND_QUERIES, item_bytes, load16, load1, fma, mul_add);
	if (at_once > 1 && i + PK_ATTEND_QUERIES / 2 <= a->n_queries)
	{
		pk_body_attend_n(a, i, PK_ATTEND_QUERIES / 2, item_bytes, load16, load1, fma, mul_add);
		i += PK_ATTEND_QUERIES / 2;
	}
	for (; i < a->n_queries; i++)
		pk_body_attend_n(a, i, 1, item_bytes, load16, load1, fma, mul_add);
}

#endif

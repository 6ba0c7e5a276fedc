/*
 * quantize.h
 *    Activations to int8, force-inlined like bodies.h.
 */
#ifndef PK_QUANTIZE_H
#define PK_QUANTIZE_H

#include "core/kernels/bodies.h"

/* The bits of max|x| of n floats: without their sign they are ordered like integers, NaN above all.
 */
typedef int32_t (*PkMostBitsFn)(const float *x, size_t n);
/* n times 16 integers in [-128, 127] as bytes; n is a constant, 1 or PK_NARROW_AT_ONCE: a line. */
#define PK_NARROW_AT_ONCE 4
typedef void (*PkNarrowFn)(int8_t *out, const PkI16 *v, size_t n);

#define PK_I4_SWAP_HALVES(v) __builtin_shufflevector(v, v, 2, 3, 0, 1)
#define PK_I4_SWAP_PAIRS(v) __builtin_shufflevector(v, v, 1, 0, 3, 2)

PK_INLINE int32_t
pk_i_sum(PkI16 v)
{
	PkI4 part[4], four;

	memcpy(part, &v, sizeof(part));
	four = (part[0] + part[1]) + (part[2] + part[3]);
	four = four + PK_I4_SWAP_HALVES(four);
	return four[0] + four[1];
}

PK_INLINE PkI16
pk_i_larger(PkI16 a, PkI16 b)
{
	PkI16 mask = pk_i_greater(a, b);

	return (mask & a) | (~mask & b);
}

PK_INLINE PkI4
pk_i4_larger(PkI4 a, PkI4 b)
{
	PkI4 mask = a > b;

	return (mask & a) | (~mask & b);
}

PK_INLINE int32_t
pk_i_max(PkI16 v)
{
	PkI4 part[4], four;

	memcpy(part, &v, sizeof(part));
	four = pk_i4_larger(pk_i4_larger(part[0], part[1]), pk_i4_larger(part[2], part[3]));
	four = pk_i4_larger(four, PK_I4_SWAP_HALVES(four));
	return pk_i4_larger(four, PK_I4_SWAP_PAIRS(four))[0];
}

PK_INLINE void
pk_narrow(int8_t *out, const PkI16 *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < PK_LANES; k++)
			out[i * PK_LANES + k] = (int8_t) v[i][k];
}

/*
 * The integers nearest to v * inverse, half to even: the magic number leaves them in the low bits
 * of its own fraction.
 */
PK_INLINE PkI16
pk_body_level(PkV16 v, float inverse)
{
	const float magic = 12582912.0f;

	return (PkI16) (v * inverse + magic) - (PkI16) pk_v_all(magic);
}

/* n floats times inverse to q, up to group zeros. Gives the sum of q. */
PK_INLINE int32_t
pk_body_levels(const float *x, size_t n, size_t group, float inverse, int8_t *q, PkNarrowFn narrow)
{
	PkI16  level[PK_NARROW_AT_ONCE], total = {0};
	size_t i = 0;

	for (; i + PK_NARROW_AT_ONCE * PK_LANES <= n; i += PK_NARROW_AT_ONCE * PK_LANES)
	{
#pragma GCC unroll 4
		for (size_t k = 0; k < PK_NARROW_AT_ONCE; k++)
		{
			level[k] = pk_body_level(pk_v_load(x + i + k * PK_LANES), inverse);
			total = total + level[k];
		}
		narrow(q + i, level, PK_NARROW_AT_ONCE);
	}
	for (; i < group; i += PK_LANES)
	{
		size_t n_here = n - i < PK_LANES ? n - i : PK_LANES;
		PkV16  v = i < n ? pk_v_load_n(x + i, n_here, 0.0f) : pk_v_all(0.0f);

		level[0] = pk_body_level(v, inverse);
		total = total + level[0];
		narrow(q + i, level, 1);
	}
	return pk_i_sum(total);
}

PK_INLINE int32_t
pk_body_most_bits(const float *x, size_t n)
{
	PkI16 high = {0};

	PK_MAP(n, high = pk_i_larger(high, (PkI16) pk_v_load_n(x + i, n_here, 0.0f) & 0x7fffffff););
	return pk_i_max(high);
}

/*
 * Per group: scale = max|x| / 127; q = x * (127 / max|x|) rounded half to even. A group that holds
 * NaN or infinity gives q = 0 and scale = 0: no undefined conversion.
 */
PK_INLINE void
pk_body_quantize(const float *x, size_t n_cols, size_t group, int8_t *q, float *scale, int32_t *sum,
                 PkMostBitsFn get_most_bits, PkNarrowFn narrow)
{
	for (size_t g = 0; g * group < n_cols; g++)
	{
		const float *from = x + g * group;
		size_t       n = n_cols - g * group < group ? n_cols - g * group : group;
		int32_t      most_bits = get_most_bits(from, n);
		float        most;

		memcpy(&most, &most_bits, sizeof(most));

		/* a maximum so small that its inverse is infinite counts as zero */
		bool  is_finite = most > 0.0f && most <= 3.4e38f;
		float inverse = is_finite ? 127.0f / most : 0.0f;

		if (!is_finite || inverse > 3.4e38f)
		{
			memset(q + g * group, 0, group);
			scale[g] = 0.0f;
			sum[g] = 0;
			continue;
		}
		scale[g] = most / 127.0f;
		sum[g] = pk_body_levels(from, n, group, inverse, q + g * group, narrow);
	}
}

#endif

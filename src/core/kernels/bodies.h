/*
 * bodies.h
 *    The bodies of the operations, written once, force-inlined into a wrapper of each tier.
 *
 * A PkV16 is PK_LANES floats in GCC's vector extension: the compiler makes SSE2, AVX2, AVX-512 or
 * NEON of it, by the target of the function it is inlined into. Every step is an IEEE operation on
 * each lane, so the bits are the same everywhere. Vectors are never passed to a function that is
 * not inlined (their calling convention depends on the target), so core is built with -Wno-psabi.
 */
#ifndef PK_BODIES_H
#define PK_BODIES_H

#include <math.h>
#include <string.h>

#include "core/kernels/half.h"
#include "core/kernels/kernels.h"

typedef float   PkV16 __attribute__((vector_size(64)));
typedef int32_t PkI16 __attribute__((vector_size(64)));
typedef float   PkV8 __attribute__((vector_size(32)));
typedef float   PkV4 __attribute__((vector_size(16)));
typedef int32_t PkI4 __attribute__((vector_size(16)));

/*
 * Lanes that an instruction of the tier compares: a tier with wider ones says so before it includes
 * this. gcc makes single lanes of a comparison of vectors that no instruction has, while it cuts
 * additions and the like into parts.
 */
#ifndef PK_PART_LANES
#define PK_PART_LANES 4
#endif
#define PK_PART_BYTES (PK_PART_LANES * 4)
typedef float   PkVPart __attribute__((vector_size(PK_PART_BYTES)));
typedef int32_t PkIPart __attribute__((vector_size(PK_PART_BYTES)));

/* 16 floats as halves. */
typedef void (*PkHalvesFn)(uint16_t *out, const float *x);
/* a * b + sum in each lane, rounded once. */
typedef PkV16 (*PkMulAddFn)(PkV16 a, PkV16 b, PkV16 sum);

PK_INLINE PkV16
pk_v_all(float x)
{
	return (PkV16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

PK_INLINE PkI16
pk_i_all(int32_t x)
{
	return (PkI16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

PK_INLINE PkV16
pk_v_load(const float *p)
{
	PkV16 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

PK_INLINE void
pk_v_store(float *p, PkV16 v)
{
	memcpy(p, &v, sizeof(v));
}

/* The first n (1 to PK_LANES) lanes from p, the others fill. */
PK_INLINE PkV16
pk_v_load_n(const float *p, size_t n, float fill)
{
	PkV16 v = pk_v_all(fill);

	memcpy(&v, p, n * sizeof(float));
	return v;
}

PK_INLINE PkV16
pk_v_select(PkI16 mask, PkV16 yes, PkV16 no)
{
	return (PkV16) ((mask & (PkI16) yes) | (~mask & (PkI16) no));
}

/* All ones where a < b or, of integers, a > b. */
#define PK_COMPARE(name, vector, part, operator)                   \
	PK_INLINE PkI16 name(vector a, vector b)                       \
	{                                                              \
		PkI16 out;                                                 \
                                                                   \
		for (size_t i = 0; i < sizeof(out); i += PK_PART_BYTES)    \
		{                                                          \
			part    a_part, b_part;                                \
			PkIPart mask;                                          \
                                                                   \
			memcpy(&a_part, (const char *) &a + i, PK_PART_BYTES); \
			memcpy(&b_part, (const char *) &b + i, PK_PART_BYTES); \
			mask = a_part operator b_part;                         \
			memcpy((char *) &out + i, &mask, PK_PART_BYTES);       \
		}                                                          \
		return out;                                                \
	}
PK_COMPARE(pk_v_less, PkV16, PkVPart, <)
PK_COMPARE(pk_i_greater, PkI16, PkIPart, >)

/* The tree of every sum: halves are added lane by lane, 8, 4, 2, 1. */
PK_INLINE float
pk_v_sum(PkV16 v)
{
	PkV8 half[2], eight;
	PkV4 quarter[2], four;

	memcpy(half, &v, sizeof(half));
	eight = half[0] + half[1];
	memcpy(quarter, &eight, sizeof(quarter));
	four = quarter[0] + quarter[1];
	return (four[0] + four[2]) + (four[1] + four[3]);
}

PK_INLINE float
pk_v_max(PkV16 v)
{
	float most, lane[PK_LANES];

	memcpy(lane, &v, sizeof(v));
	most = lane[0];
	for (size_t i = 1; i < PK_LANES; i++)
		most = lane[i] > most ? lane[i] : most;
	return most;
}

/* Vectors whose polynomials go side by side: a step of one waits for its step before. */
#define PK_SIDE_BY_SIDE (PK_PART_LANES == PK_LANES ? 4 : 2)

/* The next coefficient of n polynomials (a constant) in x. */
PK_INLINE void
pk_v_horner(PkV16 *p, const PkV16 *x, size_t n, float coefficient, PkMulAddFn mul_add)
{
#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
		p[k] = mul_add(p[k], x[k], pk_v_all(coefficient));
}

/* p 2^i in two steps, so that results near the ends are right. */
PK_INLINE PkV16
pk_v_scale(PkV16 p, PkI16 i)
{
	PkI16 low = i >> 1;

	return p * (PkV16) ((low + 127) << 23) * (PkV16) ((i - low + 127) << 23);
}

/*
 * exp of n vectors (a constant) of x at most 89, after Cephes expf: x = i ln 2 + r, a polynomial in
 * r, and 2^i. Below -104 it is 0, above 88.8 infinity. NaN stays NaN: whatever i is then, 2^i is
 * none.
 */
PK_INLINE void
pk_v_exp_bounded(PkV16 *x, size_t n, PkMulAddFn mul_add)
{
	const PkV16 magic = pk_v_all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
	const PkV16 least = pk_v_all(-104.0f);
	PkV16       r[PK_SIDE_BY_SIDE], p[PK_SIDE_BY_SIDE];
	PkI16       i[PK_SIDE_BY_SIDE];

#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
	{
		PkV16 c = pk_v_select(pk_v_less(x[k], least), least, x[k]);
		PkV16 shifted = mul_add(c, pk_v_all(1.44269504088896341f), magic);
		PkV16 whole = shifted - magic;

		i[k] = (PkI16) shifted - (PkI16) magic;
		r[k] = mul_add(whole, pk_v_all(2.12194440e-4f), mul_add(whole, pk_v_all(-0.693359375f), c));
		p[k] = pk_v_all(1.9875691500e-4f);
	}
	pk_v_horner(p, r, n, 1.3981999507e-3f, mul_add);
	pk_v_horner(p, r, n, 8.3334519073e-3f, mul_add);
	pk_v_horner(p, r, n, 4.1665795894e-2f, mul_add);
	pk_v_horner(p, r, n, 1.6666665459e-1f, mul_add);
	pk_v_horner(p, r, n, 5.0000001201e-1f, mul_add);
#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
		x[k] = pk_v_scale(mul_add(p[k], r[k] * r[k], r[k]) + 1.0f, i[k]);
}

/* exp of any x: below -104 it is 0, above 88.8 infinity; NaN stays NaN. */
PK_INLINE PkV16
pk_v_exp(PkV16 x, PkMulAddFn mul_add)
{
	const PkV16 most = pk_v_all(89.0f);

	x = pk_v_select(pk_v_less(most, x), most, x);
	pk_v_exp_bounded(&x, 1, mul_add);
	return x;
}

/*
 * x / 2 (1 + erf(x / sqrt 2)). Over x the second factor's erf is a function of x^2: the Chebyshev
 * series of degree 15 for |x| <= 5.5, as a polynomial in u = 2 (x / 5.5)^2 - 1, so that no terms
 * cancel. At 5.5 it gives 1 exactly, and does so beyond. Off by at most 1.3e-7 times max(1, |x|),
 * what rounding 1 + erf costs; NaN stays NaN. Coefficients are literals: out of an array gcc 12
 * puts a vector together lane by lane.
 */
#define PK_GELU_END 5.5f

PK_INLINE void
pk_v_gelu_polynomials(PkV16 *p, const PkV16 *u, size_t n, PkMulAddFn mul_add)
{
#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
		p[k] = pk_v_all(-0.000571352635728f);
	pk_v_horner(p, u, n, 0.00131247329411f, mul_add);
	pk_v_horner(p, u, n, -0.000713509227933f, mul_add);
	pk_v_horner(p, u, n, 0.00127981300583f, mul_add);
	pk_v_horner(p, u, n, -0.00531740475591f, mul_add);
	pk_v_horner(p, u, n, 0.00944713924861f, mul_add);
	pk_v_horner(p, u, n, -0.0133013567081f, mul_add);
	pk_v_horner(p, u, n, 0.0203284240275f, mul_add);
	pk_v_horner(p, u, n, -0.0301250480403f, mul_add);
	pk_v_horner(p, u, n, 0.0407696138359f, mul_add);
	pk_v_horner(p, u, n, -0.0520723029705f, mul_add);
	pk_v_horner(p, u, n, 0.0641344464084f, mul_add);
	pk_v_horner(p, u, n, -0.0775875878031f, mul_add);
	pk_v_horner(p, u, n, 0.0954755917808f, mul_add);
	pk_v_horner(p, u, n, -0.128344629337f, mul_add);
	pk_v_horner(p, u, n, 0.257103858776f, mul_add);
}

/* n vectors (a constant). */
PK_INLINE void
pk_v_gelu(PkV16 *x, size_t n, PkMulAddFn mul_add)
{
	PkV16 least = pk_v_all(-PK_GELU_END), most = pk_v_all(PK_GELU_END);
	PkV16 c[PK_SIDE_BY_SIDE], u[PK_SIDE_BY_SIDE], p[PK_SIDE_BY_SIDE];

#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
	{
		c[k] = pk_v_select(pk_v_less(x[k], least), least, x[k]);
		c[k] = pk_v_select(pk_v_less(most, c[k]), most, c[k]);
		u[k] = mul_add(c[k], c[k] * (2 / (PK_GELU_END * PK_GELU_END)), pk_v_all(-1.0f));
	}
	pk_v_gelu_polynomials(p, u, n, mul_add);
#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
	{
		PkV16 half = 0.5f * x[k];

		x[k] = mul_add(half, c[k] * p[k], half);
	}
}

/* tanh(u) = 1 - 2 / (exp(2u) + 1) */
PK_INLINE PkV16
pk_v_gelu_tanh(PkV16 x, PkMulAddFn mul_add)
{
	PkV16 u = 0.79788456080286536f * (x + 0.044715f * (x * x * x));
	PkV16 t = 1.0f - 2.0f / (pk_v_exp(u + u, mul_add) + 1.0f);

	return 0.5f * x * (1.0f + t);
}

/* y[i] = f(...) for whole vectors and a last part that is padded; v and rest name the loop's state.
 */
#define PK_MAP(n, body)                                                     \
	do                                                                      \
	{                                                                       \
		for (size_t i = 0; i + PK_LANES <= (n); i += PK_LANES)              \
		{                                                                   \
			const size_t n_here = PK_LANES;                                 \
			body                                                            \
		}                                                                   \
		if ((n) % PK_LANES != 0)                                            \
		{                                                                   \
			const size_t i = (n) - (n) % PK_LANES, n_here = (n) % PK_LANES; \
			body                                                            \
		}                                                                   \
	} while (0)

PK_INLINE void
pk_v_store_n(float *p, PkV16 v, size_t n)
{
	memcpy(p, &v, n * sizeof(float));
}

PK_INLINE void
pk_body_gelu(float *x, size_t n, PkMulAddFn mul_add)
{
	PkV16  v[PK_SIDE_BY_SIDE];
	size_t at = 0;

	for (; at + PK_SIDE_BY_SIDE * PK_LANES <= n; at += PK_SIDE_BY_SIDE * PK_LANES)
	{
		memcpy(v, x + at, sizeof(v));
		pk_v_gelu(v, PK_SIDE_BY_SIDE, mul_add);
		memcpy(x + at, v, sizeof(v));
	}
	x += at;
	n -= at;
	PK_MAP(n, v[0] = pk_v_load_n(x + i, n_here, 0.0f); pk_v_gelu(v, 1, mul_add);
	       pk_v_store_n(x + i, v[0], n_here););
}

PK_INLINE void
pk_body_gelu_tanh(float *x, size_t n, PkMulAddFn mul_add)
{
	PK_MAP(n,
	       pk_v_store_n(x + i, pk_v_gelu_tanh(pk_v_load_n(x + i, n_here, 0.0f), mul_add), n_here););
}

PK_INLINE void
pk_body_add(float *y, const float *x, size_t n)
{
	PK_MAP(n,
	       pk_v_store_n(y + i, pk_v_load_n(y + i, n_here, 0.0f) + pk_v_load_n(x + i, n_here, 0.0f),
	                    n_here););
}

PK_INLINE void
pk_body_add_sum(float *y, const float *a, const float *b, size_t n)
{
	PK_MAP(n, PkV16 sum = pk_v_load_n(a + i, n_here, 0.0f) + pk_v_load_n(b + i, n_here, 0.0f);
	       pk_v_store_n(y + i, sum + pk_v_load_n(y + i, n_here, 0.0f), n_here););
}

PK_INLINE void
pk_body_scale(float *y, float factor, size_t n)
{
	PK_MAP(n, pk_v_store_n(y + i, pk_v_load_n(y + i, n_here, 0.0f) * factor, n_here););
}

PK_INLINE float
pk_body_sum(const float *x, size_t n)
{
	PkV16 sum = pk_v_all(0.0f);

	PK_MAP(n, sum = sum + pk_v_load_n(x + i, n_here, 0.0f););
	return pk_v_sum(sum);
}

PK_INLINE float
pk_body_sum_squares(const float *x, size_t n)
{
	PkV16 sum = pk_v_all(0.0f);

	PK_MAP(n, PkV16 v = pk_v_load_n(x + i, n_here, 0.0f); sum = sum + v * v;);
	return pk_v_sum(sum);
}

PK_INLINE float
pk_body_max(const float *x, size_t n)
{
	PkV16 most = pk_v_all(x[0]);

	PK_MAP(n, PkV16 v = pk_v_load_n(x + i, n_here, x[0]);
	       most = pk_v_select(pk_v_less(most, v), v, most););
	return pk_v_max(most);
}

PK_INLINE float
pk_body_sum_exp(const float *x, float shift, size_t n, PkMulAddFn mul_add)
{
	PkV16 sum = pk_v_all(0.0f);

	PK_MAP(n, sum = sum + pk_v_exp(pk_v_load_n(x + i, n_here, -INFINITY) - shift, mul_add););
	return pk_v_sum(sum);
}

PK_INLINE void
pk_body_exp_shifted(float *out, const float *x, float shift, size_t n, PkMulAddFn mul_add)
{
	PK_MAP(n, pk_v_store_n(out + i, pk_v_exp(pk_v_load_n(x + i, n_here, 0.0f) - shift, mul_add),
	                       n_here););
}

PK_INLINE void
pk_body_layernorm(float *out, const float *x, const float *gain, const float *bias, size_t n,
                  float eps)
{
	float mean = pk_body_sum(x, n) / (float) n;
	PkV16 sum = pk_v_all(0.0f);

	PK_MAP(n, PkV16 off = pk_v_load_n(x + i, n_here, mean) - mean; sum = sum + off * off;);

	float rstd = 1.0f / sqrtf(pk_v_sum(sum) / (float) n + eps);

	PK_MAP(n, PkV16 norm = (pk_v_load_n(x + i, n_here, 0.0f) - mean) * rstd; pk_v_store_n(
			   out + i,
			   norm * pk_v_load_n(gain + i, n_here, 0.0f) + pk_v_load_n(bias + i, n_here, 0.0f),
			   n_here););
}

/* 16 dimensions of a block of keys: k (PK_KV_BLOCK, 16), stride floats apart, transposed. */
PK_INLINE void
pk_body_keys(uint16_t *out, const float *k, size_t stride, PkHalvesFn halves)
{
	for (size_t i = 0; i < PK_KV_BLOCK; i++)
	{
		uint16_t half[PK_LANES];

		halves(half, k + i * stride);
		for (size_t d = 0; d < PK_LANES; d++)
			out[d * PK_KV_BLOCK + i] = half[d];
	}
}

PK_INLINE void
pk_body_rope(float *x, const float *cos, const float *sin, size_t n_rot)
{
	size_t half = n_rot / 2;
	float *y = x + half;

	PK_MAP(half, PkV16 a = pk_v_load_n(x + i, n_here, 0.0f);
	       PkV16 b = pk_v_load_n(y + i, n_here, 0.0f); PkV16 c = pk_v_load_n(cos + i, n_here, 0.0f);
	       PkV16 s = pk_v_load_n(sin + i, n_here, 0.0f); pk_v_store_n(x + i, a * c - b * s, n_here);
	       pk_v_store_n(y + i, b * c + a * s, n_here););
}

#endif

/*
 * x86_avx2.c
 *    AVX2 with FMA and F16C: any x86-64 server of the last ten years.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#define PK_PART_LANES 8

#include "core/kernels/gemm.h"
#include "core/kernels/quantize.h"
#include "core/kernels/tiers.h"

PK_TARGET_AVX2 PK_INLINE PkV16
load16_f16(const void *items)
{
	const __m128i *half = items;
	__m256         parts[2] = {_mm256_cvtph_ps(_mm_loadu_si128(half)),
	                           _mm256_cvtph_ps(_mm_loadu_si128(half + 1))};
	PkV16          v;

	memcpy(&v, parts, sizeof(v));
	return v;
}

PK_TARGET_AVX2 PK_INLINE PkV16
fma16(float x, PkV16 v, PkV16 sum)
{
	__m256 x8 = _mm256_set1_ps(x), parts[2], sums[2];

	memcpy(parts, &v, sizeof(v));
	memcpy(sums, &sum, sizeof(sum));
	sums[0] = _mm256_fmadd_ps(x8, parts[0], sums[0]);
	sums[1] = _mm256_fmadd_ps(x8, parts[1], sums[1]);
	memcpy(&sum, sums, sizeof(sum));
	return sum;
}

PK_TARGET_AVX2 PK_INLINE PkV16
mul_add16(PkV16 a, PkV16 b, PkV16 sum)
{
	__m256 a_parts[2], b_parts[2], sums[2];

	memcpy(a_parts, &a, sizeof(a));
	memcpy(b_parts, &b, sizeof(b));
	memcpy(sums, &sum, sizeof(sum));
	sums[0] = _mm256_fmadd_ps(a_parts[0], b_parts[0], sums[0]);
	sums[1] = _mm256_fmadd_ps(a_parts[1], b_parts[1], sums[1]);
	memcpy(&sum, sums, sizeof(sum));
	return sum;
}

PK_TARGET_AVX2 PK_INLINE void
narrow(int8_t *out, const PkI16 *v, size_t n)
{
#pragma GCC unroll 4
	for (size_t i = 0; i < n; i++)
	{
		__m128i parts[4], bytes;

		memcpy(parts, &v[i], sizeof(parts));
		bytes = _mm_packs_epi16(_mm_packs_epi32(parts[0], parts[1]),
		                        _mm_packs_epi32(parts[2], parts[3]));
		memcpy(out + i * PK_LANES, &bytes, sizeof(bytes));
	}
}

PK_TARGET_AVX2 PK_INLINE void
halves(uint16_t *out, const float *x)
{
	for (size_t i = 0; i < PK_LANES; i += 8)
		_mm_storeu_si128((__m128i *) (void *) (out + i),
		                 _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
}

#define PK_WRAP_TARGET PK_TARGET_AVX2
#define PK_WRAP_LOAD16 load16_f16
#define PK_WRAP_FMA fma16
#define PK_WRAP_MUL_ADD mul_add16
#define PK_WRAP_MOST_BITS pk_body_most_bits
#define PK_WRAP_NARROW narrow
#define PK_WRAP_HALVES halves
#define PK_WRAP_QUERIES 1
#include "core/kernels/wrap.inc"

/*
 * vpmaddubsw adds two products in 16 bits and saturates above 32,767: stored weights up to 255
 * would. So the offset is taken off, and |w| times (a with the sign of w) stays within 2 * 128 *
 * 127.
 */
PK_TARGET_AVX2 PK_INLINE __m256i
half_quad(__m256i sum, __m256i stored, __m256i acts)
{
	__m256i w = _mm256_xor_si256(stored, _mm256_set1_epi8((char) PK_Q8_OFFSET));
	__m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(acts, w));

	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

PK_TARGET_AVX2 PK_INLINE PkI16
quad(PkI16 sum, const uint8_t *w, const int8_t *acts)
{
	const __m256i *stored = (const __m256i *) (const void *) w;
	__m256i        parts[2];
	int32_t        four;

	memcpy(&four, acts, sizeof(four));
	memcpy(parts, &sum, sizeof(parts));

	__m256i a = _mm256_set1_epi32(four);

	parts[0] = half_quad(parts[0], _mm256_loadu_si256(stored), a);
	parts[1] = half_quad(parts[1], _mm256_loadu_si256(stored + 1), a);
	memcpy(&sum, parts, sizeof(sum));
	return sum;
}

#define HAS_OFFSET false
#define TARGET PK_TARGET_AVX2

#define TOKENS 2     /* two: 16 registers of 8 lanes */
#define TOKENS_F16 4 /* four: fewer are needed beside the sums */
#define TILE_Q8(g, block, row, t, n) \
	pk_body_q8_tile(g, block, row, t, n, quad, HAS_OFFSET, mul_add16)
#define TILE_Q4(g, block, row, t, n) \
	pk_body_q4_tile(g, block, row, t, n, quad, HAS_OFFSET, mul_add16, load16_f16)

TARGET static void
gemm_q8(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, PK_Q8_BLOCK_BYTES(g->acts->n_groups), TILE_Q8, TOKENS);
}

TARGET static void
gemm_q4(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, g->acts->n_groups * PK_Q4_GROUP_BYTES, TILE_Q4, TOKENS);
}

/*
 * As pk_body_f16_tile(), in registers of 8: gcc 12 moves the halves of a vector of 16 through
 * memory in each step, which made this several times slower.
 */
TARGET PK_INLINE void
f16_tile(const PkGemm *g, const uint8_t *block, size_t row, size_t t0, size_t n)
{
	const PkActs *acts = g->acts;
	const float  *x = acts->x + t0 * acts->x_stride;
	__m256        y[TOKENS_F16][2];

#pragma GCC unroll 4
	for (size_t t = 0; t < n; t++)
		y[t][0] = y[t][1] = _mm256_setzero_ps();
	for (size_t k = 0; k < acts->n_cols; k++)
	{
		const __m128i *half = (const __m128i *) (const void *) block + 2 * k;
		__m256         w0 = _mm256_cvtph_ps(_mm_loadu_si128(half));
		__m256         w1 = _mm256_cvtph_ps(_mm_loadu_si128(half + 1));

#pragma GCC unroll 4
		for (size_t t = 0; t < n; t++)
		{
			__m256 x_k = _mm256_broadcast_ss(x + t * acts->x_stride + k);

			y[t][0] = _mm256_fmadd_ps(x_k, w0, y[t][0]);
			y[t][1] = _mm256_fmadd_ps(x_k, w1, y[t][1]);
		}
	}
#pragma GCC unroll 4
	for (size_t t = 0; t < n; t++)
	{
		PkV16 sum;

		memcpy(&sum, y[t], sizeof(sum));
		pk_store_rows(g, t0 + t, row, sum + pk_bias_of_block(g, row));
	}
}

TARGET static void
gemm_f16(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, g->acts->n_cols * PK_LANES * sizeof(uint16_t), f16_tile,
	             TOKENS_F16);
}

const PkKernels pk_kernels_avx2 = {
	.name = "avx2",
	.needs = PK_CPU_AVX2,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
	.gemm_f16 = gemm_f16,
	PK_WRAP_SLOTS,
};

#else
typedef int PkEmptyUnit;
#endif

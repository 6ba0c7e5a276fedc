/*
 * x86_avx512.c
 *    AVX-512 F, BW, VL, DQ without VNNI.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#define PK_PART_LANES 16

#include "core/kernels/gemm.h"
#include "core/kernels/quantize.h"
#include "core/kernels/tiers.h"

PK_TARGET_AVX512 PK_INLINE PkV16
load16_f16(const void *items)
{
	return (PkV16) _mm512_cvtph_ps(_mm256_loadu_si256(items));
}

PK_TARGET_AVX512 PK_INLINE PkV16
fma16(float x, PkV16 v, PkV16 sum)
{
	return (PkV16) _mm512_fmadd_ps(_mm512_set1_ps(x), (__m512) v, (__m512) sum);
}

PK_TARGET_AVX512 PK_INLINE PkV16
mul_add16(PkV16 a, PkV16 b, PkV16 sum)
{
	return (PkV16) _mm512_fmadd_ps((__m512) a, (__m512) b, (__m512) sum);
}

/* gcc compares to a mask and blends, a chain of some 6 cycles a step, where this takes one. */
PK_TARGET_AVX512 PK_INLINE int32_t
most_bits(const float *x, size_t n)
{
	const __m512i no_sign = _mm512_set1_epi32(0x7fffffff);
	__m512i       high = _mm512_setzero_si512();
	size_t        i = 0;

	for (; i + PK_LANES <= n; i += PK_LANES)
		high = _mm512_max_epi32(high, _mm512_and_si512(_mm512_loadu_si512(x + i), no_sign));
	if (i < n)
	{
		__m512i rest = _mm512_maskz_loadu_epi32((__mmask16) ((1u << (n - i)) - 1), x + i);

		high = _mm512_max_epi32(high, _mm512_and_si512(rest, no_sign));
	}
	return _mm512_reduce_max_epi32(high);
}

PK_TARGET_AVX512 PK_INLINE void
narrow(int8_t *out, const PkI16 *v, size_t n)
{
	if (n == PK_NARROW_AT_ONCE)
	{
		/* each quarter of a vector holds 4 bytes of v[0], 4 of v[1] and so on */
		const __m512i order =
			_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
		__m512i low = _mm512_packs_epi32((__m512i) v[0], (__m512i) v[1]);
		__m512i high = _mm512_packs_epi32((__m512i) v[2], (__m512i) v[3]);

		_mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high)));
		return;
	}

	__m128i bytes = _mm512_cvtepi32_epi8((__m512i) v[0]);

	memcpy(out, &bytes, sizeof(bytes));
}

PK_TARGET_AVX512 PK_INLINE __m256i
to_halves(const float *x)
{
	return _mm512_cvtps_ph(_mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
}

PK_TARGET_AVX512 PK_INLINE void
halves(uint16_t *out, const float *x)
{
	_mm256_storeu_si256((__m256i *) (void *) out, to_halves(x));
}

/*
 * 8 rows of 16 halves, transposed: column[c] has items c of the rows in its low half, items c + 8
 * in the other.
 */
PK_TARGET_AVX512 PK_INLINE void
transpose_8(const __m256i *row, __m256i *column)
{
	__m256i pair[8], four[8];

#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
	{
		pair[i] = _mm256_unpacklo_epi16(row[2 * i], row[2 * i + 1]);
		pair[i + 4] = _mm256_unpackhi_epi16(row[2 * i], row[2 * i + 1]);
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
	{
		four[2 * i] = _mm256_unpacklo_epi32(pair[2 * i], pair[2 * i + 1]);
		four[2 * i + 1] = _mm256_unpackhi_epi32(pair[2 * i], pair[2 * i + 1]);
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
	{
		size_t at = i / 2 * 4 + i % 2;

		column[2 * i] = _mm256_unpacklo_epi64(four[at], four[at + 2]);
		column[2 * i + 1] = _mm256_unpackhi_epi64(four[at], four[at + 2]);
	}
}

/* 16 dimensions of a block of keys. */
PK_TARGET_AVX512 PK_INLINE void
keys(uint16_t *out, const float *k, size_t stride)
{
	__m256i row[PK_KV_BLOCK], low[8], high[8];

#pragma GCC unroll 16
	for (size_t i = 0; i < PK_KV_BLOCK; i++)
		row[i] = to_halves(k + i * stride);
	transpose_8(row, low);
	transpose_8(row + 8, high);
#pragma GCC unroll 8
	for (size_t c = 0; c < 8; c++)
	{
		__m256i *to = (__m256i *) (void *) (out + c * PK_KV_BLOCK);

		_mm256_storeu_si256(to, _mm256_permute2x128_si256(low[c], high[c], 0x20));
		_mm256_storeu_si256(to + 8, _mm256_permute2x128_si256(low[c], high[c], 0x31));
	}
}

#define PK_WRAP_TARGET PK_TARGET_AVX512
#define PK_WRAP_LOAD16 load16_f16
#define PK_WRAP_FMA fma16
#define PK_WRAP_MUL_ADD mul_add16
#define PK_WRAP_MOST_BITS most_bits
#define PK_WRAP_NARROW narrow
#define PK_WRAP_HALVES halves
#define PK_WRAP_KEYS keys
#define PK_WRAP_QUERIES PK_ATTEND_QUERIES
#include "core/kernels/wrap.inc"

/* As in x86_avx2.c; AVX-512 has no vpsignb, so activations are negated where w is negative. */
PK_TARGET_AVX512 PK_INLINE PkI16
quad(PkI16 sum, const uint8_t *stored, const int8_t *acts)
{
	int32_t four;

	memcpy(&four, acts, sizeof(four));

	__m512i w = _mm512_xor_si512(_mm512_loadu_si512(stored), _mm512_set1_epi8((char) PK_Q8_OFFSET));
	__m512i a = _mm512_set1_epi32(four);
	__mmask64 is_negative = _mm512_movepi8_mask(w);
	__m512i   signed_a = _mm512_mask_sub_epi8(a, is_negative, _mm512_setzero_si512(), a);
	__m512i   pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w), signed_a);

	return (PkI16) _mm512_add_epi32((__m512i) sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#define HAS_OFFSET false
#define TARGET PK_TARGET_AVX512

#define TOKENS PK_TILE_TOKENS
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

#define TILE_F16(g, block, row, t, n) pk_body_f16_tile(g, block, row, t, n, load16_f16, fma16)

TARGET static void
gemm_f16(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, g->acts->n_cols * PK_LANES * sizeof(uint16_t), TILE_F16, TOKENS);
}

const PkKernels pk_kernels_avx512 = {
	.name = "avx512",
	.needs = PK_CPU_AVX2 | PK_CPU_AVX512,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
	.gemm_f16 = gemm_f16,
	PK_WRAP_SLOTS,
};

#else
typedef int PkEmptyUnit;
#endif

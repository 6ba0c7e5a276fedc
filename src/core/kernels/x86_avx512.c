/*
 * x86_avx512.c
 *    AVX-512 F, BW, VL, DQ without VNNI.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#define PK_PART_LANES 16

#include "core/kernels/gemm.h"
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

PK_TARGET_AVX512 PK_INLINE void
narrow(int8_t *out, PkI16 v)
{
	__m128i bytes = _mm512_cvtepi32_epi8((__m512i) v);

	memcpy(out, &bytes, sizeof(bytes));
}

#define PK_WRAP_TARGET PK_TARGET_AVX512
#define PK_WRAP_LOAD16 load16_f16
#define PK_WRAP_FMA fma16
#define PK_WRAP_MUL_ADD mul_add16
#define PK_WRAP_NARROW narrow
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
	PK_GEMM_LOOP(g, begin, end, g->acts->n_groups * PK_Q8_GROUP_BYTES, TILE_Q8, TOKENS);
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

TARGET static void
f32_to_f16(uint16_t *out, const float *x, size_t n)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		_mm_storeu_si128((__m128i *) (void *) (out + i),
		                 _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
	for (; i < n; i++)
		out[i] = pk_float_to_half(x[i]);
}

const PkKernels pk_kernels_avx512 = {
	.name = "avx512",
	.needs = PK_CPU_AVX2 | PK_CPU_AVX512,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
	.gemm_f16 = gemm_f16,
	.f32_to_f16 = f32_to_f16,
	PK_WRAP_SLOTS,
};

#else
typedef int PkEmptyUnit;
#endif

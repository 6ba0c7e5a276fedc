/*
 * x86_vnni.c
 *    AVX-512 VNNI: only the integer products differ from x86_avx512.c.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#include "core/kernels/gemm.h"
#include "core/kernels/tiers.h"

PK_TARGET_VNNI PK_INLINE PkV16
load16_f16(const void *items)
{
	return (PkV16) _mm512_cvtph_ps(_mm256_loadu_si256(items));
}

/*
 * Unsigned stored weights times signed activations, four at a time, into 32 bits: nothing
 * saturates. gcc 12 spills and copies the sums around the intrinsic, hence the asm; the four
 * activations are broadcast by the instruction itself.
 */
PK_TARGET_VNNI PK_INLINE PkI16
quad(PkI16 sum, const uint8_t *stored, const int8_t *acts)
{
	typedef struct Four
	{
		int8_t items[PK_QUAD];
	} Four;
	__m512i w = _mm512_loadu_si512(stored);

	__asm__("vpdpbusd %2%{1to16%}, %1, %0"
	        : "+v"(sum)
	        : "v"(w), "m"(*(const Four *) (const void *) acts));
	return sum;
}

#define HAS_OFFSET true
#define TARGET PK_TARGET_VNNI

#define TOKENS PK_TILE_TOKENS
#define TILE_Q8(g, block, row, t, n) pk_body_q8_tile(g, block, row, t, n, quad, HAS_OFFSET)
#define TILE_Q4(g, block, row, t, n) \
	pk_body_q4_tile(g, block, row, t, n, quad, HAS_OFFSET, load16_f16)

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

const PkKernels pk_kernels_vnni = {
	.name = "vnni",
	.needs = PK_CPU_AVX2 | PK_CPU_AVX512 | PK_CPU_VNNI,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
};

#else
typedef int PkEmptyUnit;
#endif

/*
 * arm_neon.c
 *    arm64: the shared bodies with the processor's half conversion. (Written for any compiler with
 *    the vector extensions; products are left to the compiler's vectoriser.)
 */
#if defined(__aarch64__)

#include <arm_neon.h>

#include "core/kernels/gemm.h"
#include "core/kernels/tiers.h"

PK_INLINE PkV16
load16_f16(const void *items)
{
	const uint16_t *half = items;
	PkV16           v;
	float32x4_t     parts[4];

	for (size_t i = 0; i < 4; i++)
		parts[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half + 4 * i)));
	memcpy(&v, parts, sizeof(v));
	return v;
}

PK_INLINE PkV16
fma16(float x, PkV16 v, PkV16 sum)
{
	float32x4_t parts[4], sums[4];

	memcpy(parts, &v, sizeof(v));
	memcpy(sums, &sum, sizeof(sum));
	for (size_t i = 0; i < 4; i++)
		sums[i] = vfmaq_n_f32(sums[i], parts[i], x);
	memcpy(&sum, sums, sizeof(sum));
	return sum;
}

PK_INLINE PkV16
mul_add16(PkV16 a, PkV16 b, PkV16 sum)
{
	float32x4_t a_parts[4], b_parts[4], sums[4];

	memcpy(a_parts, &a, sizeof(a));
	memcpy(b_parts, &b, sizeof(b));
	memcpy(sums, &sum, sizeof(sum));
	for (size_t i = 0; i < 4; i++)
		sums[i] = vfmaq_f32(sums[i], a_parts[i], b_parts[i]);
	memcpy(&sum, sums, sizeof(sum));
	return sum;
}

PK_INLINE void
halves(uint16_t *out, const float *x)
{
	for (size_t i = 0; i < PK_LANES; i += 4)
		vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
}

#define PK_WRAP_TARGET
#define PK_WRAP_LOAD16 load16_f16
#define PK_WRAP_FMA fma16
#define PK_WRAP_MUL_ADD mul_add16
#define PK_WRAP_MOST_BITS pk_body_most_bits
#define PK_WRAP_NARROW pk_narrow
#define PK_WRAP_HALVES halves
#define PK_WRAP_QUERIES 1
#include "core/kernels/wrap.inc"

/* 4 rows at a time: widen to 16 bits, multiply to 32, add the four inputs of each row. */
PK_INLINE PkI16
quad(PkI16 sum, const uint8_t *stored, const int8_t *acts)
{
	const int16_t four[4] = {acts[0], acts[1], acts[2], acts[3]};
	int16x4_t     a = vld1_s16(four);
	int32x4_t     parts[4];

	memcpy(parts, &sum, sizeof(parts));
	for (size_t i = 0; i < 4; i++)
	{
		uint8x16_t bytes = vld1q_u8(stored + 16 * i);
		int16x8_t  low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
		int16x8_t  high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes)));
		int32x4_t  p0 = vmull_s16(vget_low_s16(low), a);
		int32x4_t  p1 = vmull_s16(vget_high_s16(low), a);
		int32x4_t  p2 = vmull_s16(vget_low_s16(high), a);
		int32x4_t  p3 = vmull_s16(vget_high_s16(high), a);

		parts[i] = vaddq_s32(parts[i], vpaddq_s32(vpaddq_s32(p0, p1), vpaddq_s32(p2, p3)));
	}
	memcpy(&sum, parts, sizeof(sum));
	return sum;
}

#define HAS_OFFSET true
#define TARGET

#define TOKENS 2 /* two: 32 registers of 4 lanes */
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

static void
gemm_f16(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, g->acts->n_cols * PK_LANES * sizeof(uint16_t), TILE_F16, TOKENS);
}

const PkKernels pk_kernels_neon = {
	.name = "neon",
	.needs = PK_CPU_NEON,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
	.gemm_f16 = gemm_f16,
	PK_WRAP_SLOTS,
};

#else
typedef int PkEmptyUnit;
#endif

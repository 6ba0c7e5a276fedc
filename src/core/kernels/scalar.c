/*
 * scalar.c
 *    The reference tier: the definition of each operation, in plain C for any machine.
 *
 * A product of q8 or q4, for output row r and token t: for each group in order
 *     dot = sum of w * q in integers
 *     y = fma((float) dot, q_scale, y), of q4 fma((float) dot * w_scale, q_scale, y)
 * then y = fma(y, w_scale, bias), of q4 y + bias. f16: for each k in order y = fma(x, w, y), then +
 * bias.
 */
#include "core/kernels/gemm.h"
#include "core/kernels/tiers.h"

PK_INLINE PkV16
load16_f16(const void *items)
{
	const uint16_t *half = items;
	float           out[PK_LANES];

	for (size_t i = 0; i < PK_LANES; i++)
		out[i] = pk_half_to_float(half[i]);
	return pk_v_load(out);
}

PK_INLINE PkV16
fma16(float x, PkV16 v, PkV16 sum)
{
	for (size_t i = 0; i < PK_LANES; i++)
		sum[i] = fmaf(x, v[i], sum[i]);
	return sum;
}

PK_INLINE PkV16
mul_add16(PkV16 a, PkV16 b, PkV16 sum)
{
	for (size_t i = 0; i < PK_LANES; i++)
		sum[i] = fmaf(a[i], b[i], sum[i]);
	return sum;
}

PK_INLINE void
halves(uint16_t *out, const float *x)
{
	for (size_t i = 0; i < PK_LANES; i++)
		out[i] = pk_float_to_half(x[i]);
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

PK_INLINE PkI16
quad(PkI16 sum, const uint8_t *w, const int8_t *acts)
{
	int32_t dot[PK_LANES];

	for (size_t i = 0; i < PK_LANES; i++)
		dot[i] = w[4 * i] * acts[0] + w[4 * i + 1] * acts[1] + w[4 * i + 2] * acts[2] +
		         w[4 * i + 3] * acts[3];

	PkI16 add;

	memcpy(&add, dot, sizeof(add));
	return sum + add;
}

#define TOKENS 1 /* one: the definition needs no speed, and compiles soon */
#define TILE_Q8(g, block, row, t, n) pk_body_q8_tile(g, block, row, t, n, quad, true, mul_add16)
#define TILE_Q4(g, block, row, t, n) \
	pk_body_q4_tile(g, block, row, t, n, quad, true, mul_add16, load16_f16)
#define TILE_F16(g, block, row, t, n) pk_body_f16_tile(g, block, row, t, n, load16_f16, fma16)

static void
gemm_q8(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, PK_Q8_BLOCK_BYTES(g->acts->n_groups), TILE_Q8, TOKENS);
}

static void
gemm_q4(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, g->acts->n_groups * PK_Q4_GROUP_BYTES, TILE_Q4, TOKENS);
}

static void
gemm_f16(const PkGemm *g, size_t begin, size_t end)
{
	PK_GEMM_LOOP(g, begin, end, g->acts->n_cols * PK_LANES * sizeof(uint16_t), TILE_F16, TOKENS);
}

const PkKernels pk_kernels_scalar = {
	.name = "scalar",
	.needs = 0,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
	.gemm_f16 = gemm_f16,
	PK_WRAP_SLOTS,
};

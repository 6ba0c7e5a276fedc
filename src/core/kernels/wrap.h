/*
 * wrap.h
 *    One wrapper of each shared body for a tier. Before including it a tier defines
 *    PK_WRAP_TARGET (its target attribute, may be empty) and PK_WRAP_LOAD16 (16 halves as floats).
 */
#include "core/kernels/attend.h"

PK_WRAP_TARGET static void
wrap_quantize(const float *x, size_t n_cols, size_t group, int8_t *q, float *scale, int32_t *sum)
{
	pk_body_quantize(x, n_cols, group, q, scale, sum);
}

PK_WRAP_TARGET static void
wrap_layernorm(float *out, const float *x, const float *gain, const float *bias, size_t n,
               float eps)
{
	pk_body_layernorm(out, x, gain, bias, n, eps);
}

PK_WRAP_TARGET static void
wrap_gelu(float *x, size_t n)
{
	pk_body_gelu(x, n);
}

PK_WRAP_TARGET static void
wrap_gelu_tanh(float *x, size_t n)
{
	pk_body_gelu_tanh(x, n);
}

PK_WRAP_TARGET static void
wrap_rope(float *x, const float *cos, const float *sin, size_t n_rot)
{
	pk_body_rope(x, cos, sin, n_rot);
}

PK_WRAP_TARGET static void
wrap_attend_f16(const PkAttend *a)
{
	pk_body_attend(a, sizeof(uint16_t), PK_WRAP_LOAD16, pk_load1_f16);
}

PK_WRAP_TARGET static void
wrap_attend_f32(const PkAttend *a)
{
	pk_body_attend(a, sizeof(float), pk_load16_f32, pk_load1_f32);
}

PK_WRAP_TARGET static void
wrap_f16_to_f32(float *out, const uint16_t *x, size_t n)
{
	size_t i = 0;

	for (; i + PK_LANES <= n; i += PK_LANES)
	{
		PkV16 v = PK_WRAP_LOAD16(x + i);

		memcpy(out + i, &v, sizeof(v));
	}
	for (; i < n; i++)
		out[i] = pk_half_to_float(x[i]);
}

PK_WRAP_TARGET static void
wrap_add(float *y, const float *x, size_t n)
{
	pk_body_add(y, x, n);
}

PK_WRAP_TARGET static void
wrap_scale(float *y, float factor, size_t n)
{
	pk_body_scale(y, factor, n);
}

PK_WRAP_TARGET static float
wrap_sum_squares(const float *x, size_t n)
{
	return pk_body_sum_squares(x, n);
}

PK_WRAP_TARGET static float
wrap_max(const float *x, size_t n)
{
	return pk_body_max(x, n);
}

PK_WRAP_TARGET static float
wrap_sum_exp(const float *x, float shift, size_t n)
{
	return pk_body_sum_exp(x, shift, n);
}

PK_WRAP_TARGET static void
wrap_exp_shifted(float *out, const float *x, float shift, size_t n)
{
	pk_body_exp_shifted(out, x, shift, n);
}

/* The slots that wrap.h fills, for the tier's table. */
#define PK_WRAP_SLOTS \
	.quantize = wrap_quantize, .layernorm = wrap_layernorm, .gelu = wrap_gelu, \
	.gelu_tanh = wrap_gelu_tanh, .rope = wrap_rope, .attend_f16 = wrap_attend_f16, \
	.attend_f32 = wrap_attend_f32, .f16_to_f32 = wrap_f16_to_f32, .add = wrap_add, \
	.scale = wrap_scale, .sum_squares = wrap_sum_squares, .max = wrap_max, \
	.sum_exp = wrap_sum_exp, .exp_shifted = wrap_exp_shifted

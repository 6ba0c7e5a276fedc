/*
 * test_tiers.c
 *    Every operation in every tier of this machine gives the bits of the scalar tier, at awkward
 *    lengths; the scalar tier is near a double-precision reference.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "../tap.h"
#include "core/base/rng.h"
#include "core/kernels/kernels.h"

#define SEED 20261123
#define MAX_N 1040
#define MAX_T 20
#define MAX_ROWS 80
#define PANEL_ROWS 128  /* two panels */
#define MANY_TOKENS 530 /* more than a range of x86_amx.c */

#define TOL_F16 2e-3     /* 11-bit weights, sums of up to 1,023 products */
#define TOL_PANEL 1e-2   /* sums of up to 8400 products of floats */
#define TOL_NORM 2e-5    /* float sums of 1,023 items */
#define TOL_ELEMENT 3e-7 /* a few units in the last place near 1 */

static uint64_t  n_drawn;
static PkKernels scalar;

static float
draw(float low, float high)
{
	return low + (high - low) * (float) pk_rng_uniform(SEED, n_drawn++);
}

static void
fill(float *x, size_t n, float low, float high)
{
	for (size_t i = 0; i < n; i++)
		x[i] = draw(low, high);
}

static void *
room(size_t bytes)
{
	void *memory = aligned_alloc(PK_ALIGNMENT, (bytes / PK_ALIGNMENT + 1) * PK_ALIGNMENT);

	memset(memory, 0, (bytes / PK_ALIGNMENT + 1) * PK_ALIGNMENT);
	return memory;
}

static const size_t lengths[] = {1,  2,  3,  5,  7,  12, 15, 16,  17,  24,  31,  32,   33,
                                 47, 48, 63, 64, 65, 67, 96, 127, 128, 129, 255, 1000, 1023};

typedef struct Shape
{
	size_t n_rows, n_cols, n_tokens;
} Shape;

static bool
gemm_agrees(PkQuant quant, const PkKernels *tier, Shape s, double *worst)
{
	size_t   group = pk_quant_group(quant), n_groups = (s.n_cols + group - 1) / group;
	size_t   size = 0, bad;
	float   *w = room(s.n_rows * s.n_cols * sizeof(float));
	float   *x = room(s.n_tokens * s.n_cols * sizeof(float));
	float   *bias = room(s.n_rows * sizeof(float));
	float   *want = room(s.n_tokens * s.n_rows * sizeof(float));
	float   *got = room(s.n_tokens * s.n_rows * sizeof(float));
	float   *row = room(s.n_cols * sizeof(float));
	PkActs   acts = {.n_tokens = s.n_tokens, .n_cols = s.n_cols, .x = x, .x_stride = s.n_cols};
	PkMatrix m = {quant, s.n_rows, s.n_cols, NULL};
	bool     passed = pk_matrix_size(quant, s.n_rows, s.n_cols, &size);
	void    *packed = room(size);

	m.data = packed;
	fill(w, s.n_rows * s.n_cols, -1, 1);
	fill(x, s.n_tokens * s.n_cols, -2, 2);
	fill(bias, s.n_rows, -1, 1);
	passed &= pk_matrix_pack(quant, packed, s.n_rows, s.n_cols, 0, s.n_rows, w, &bad, &bad);
	acts.n_groups = n_groups;
	acts.q_stride = n_groups * group + PK_ALIGNMENT;
	acts.q = room(s.n_tokens * acts.q_stride);
	acts.scale = room(s.n_tokens * n_groups * sizeof(float));
	acts.sum = room(s.n_tokens * n_groups * sizeof(int32_t));
	if (quant != PK_QUANT_F16)
		for (size_t t = 0; t < s.n_tokens; t++)
			tier->quantize(x + t * s.n_cols, s.n_cols, group, acts.q + t * acts.q_stride,
			               acts.scale + t * n_groups, acts.sum + t * n_groups);

	PkGemm g = {.w = &m,
	            .acts = &acts,
	            .bias = s.n_tokens % 2 == 0 ? bias : NULL,
	            .y = want,
	            .y_stride = s.n_rows};
	size_t n_blocks = (s.n_rows + PK_LANES - 1) / PK_LANES;

	void (*reference)(const PkGemm *, size_t, size_t) = quant == PK_QUANT_Q8   ? scalar.gemm_q8
	                                                    : quant == PK_QUANT_Q4 ? scalar.gemm_q4
	                                                                           : scalar.gemm_f16;
	void (*fast)(const PkGemm *, size_t, size_t) = quant == PK_QUANT_Q8   ? tier->gemm_q8
	                                               : quant == PK_QUANT_Q4 ? tier->gemm_q4
	                                                                      : tier->gemm_f16;

	reference(&g, 0, n_blocks);
	g.y = got;
	fast(&g, 0, n_blocks / 2);
	fast(&g, n_blocks / 2, n_blocks);
	passed &= memcmp(want, got, s.n_tokens * s.n_rows * sizeof(float)) == 0;
	for (size_t i = 0; i < s.n_rows; i++)
	{
		pk_matrix_unpack_row(&m, i, row);
		for (size_t t = 0; t < s.n_tokens; t++)
		{
			double sum = g.bias != NULL ? bias[i] : 0;

			for (size_t k = 0; k < s.n_cols; k++)
				sum += (double) row[k] * (quant == PK_QUANT_F16
				                              ? (double) x[t * s.n_cols + k]
				                              : (double) acts.q[t * acts.q_stride + k] *
				                                    acts.scale[t * n_groups + k / group]);
			*worst = fmax(*worst, fabs(sum - want[t * s.n_rows + i]));
		}
	}
	free(w), free(x), free(bias), free(want), free(got), free(row), free(packed);
	free(acts.q), free(acts.scale), free(acts.sum);
	return passed;
}

static void
test_products(const PkKernels *tier)
{
	static const PkQuant quants[] = {PK_QUANT_Q8, PK_QUANT_Q4, PK_QUANT_F16};

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		bool   passed = true;
		double worst = 0;

		for (size_t k = 0; k < PK_LENGTH(lengths); k++)
			for (size_t t = 1; t <= MAX_T; t += 3)
				passed &= gemm_agrees(quants[i], tier,
				                      (Shape){1 + (k * 13 + t) % MAX_ROWS, lengths[k], t}, &worst);
		ok(passed, "%s: products with %s weights have the scalar tier's bits", tier->name,
		   pk_quant_name(quants[i]));
		is_near(worst, 0, TOL_F16, "and are near the product in double precision");
	}
}

/*
 * Tiles of 32, 16 and fewer tokens, several ranges of groups and of tokens, rows in no panel; each
 * half of the call has panels of 32 rows. An odd number of tokens has no bias.
 */
static void
test_many_tokens(const PkKernels *tier)
{
	static const PkQuant quants[] = {PK_QUANT_Q8, PK_QUANT_Q4};
	static const Shape   shapes[] = {
		  {64, 128, 29},  {64, 160, 32},  {72, 2200, 33},  {64, 544, 47},   {64, 33, 48},
		  {96, 1100, 63}, {79, 2048, 64}, {64, 1024, 100}, {64, 2200, 225}, {128, 160, MANY_TOKENS}};

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		bool   passed = true;
		double worst = 0;

		for (size_t k = 0; k < PK_LENGTH(shapes); k++)
			passed &= gemm_agrees(quants[i], tier, shapes[k], &worst);
		ok(passed, "%s: many tokens with %s weights have them, too", tier->name,
		   pk_quant_name(quants[i]));
		is_near(worst, 0, TOL_PANEL, "and are near the product in double precision");
	}
}

/* Each number of tokens of a step that decodes some together; for some, several stretches. */
static void
test_some_tokens(const PkKernels *tier)
{
	static const Shape shapes[2][3] = {{{33, 100, 0}, {64, 1100, 0}, {32, 8400, 0}},
	                                   {{33, 30, 0}, {64, 544, 0}, {32, 4200, 0}}};

	for (size_t i = 0; i < PK_LENGTH(shapes); i++)
	{
		PkQuant quant = i == 0 ? PK_QUANT_Q8 : PK_QUANT_Q4;
		bool    passed = true;
		double  worst = 0;

		for (size_t k = 0; k < PK_LENGTH(shapes[i]); k++)
			for (size_t t = 7; t <= 33; t += k < 2 ? 1 : 5)
				passed &= gemm_agrees(quant, tier,
				                      (Shape){shapes[i][k].n_rows, shapes[i][k].n_cols, t}, &worst);
		ok(passed, "%s: 7 to 33 tokens with %s weights have them, too", tier->name,
		   pk_quant_name(quant));
		is_near(worst, 0, TOL_PANEL, "and are near the product in double precision");
	}
}

/*
 * Rows that fill panels of 4 blocks and inputs that go in several stretches, in both halves of the
 * call; each number of tokens in a tile, and tiles of two sizes: one, several and many.
 */
static void
test_panels(const PkKernels *tier)
{
	static const PkQuant quants[] = {PK_QUANT_Q8, PK_QUANT_Q4};
	static const size_t  n_cols[] = {33, 2048, 4200};
	static const size_t  n_tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 19, 24, 61, 66};

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		bool   passed = true;
		double worst = 0;

		for (size_t k = 0; k < PK_LENGTH(n_cols); k++)
			for (size_t j = 0; j < PK_LENGTH(n_tokens); j++)
			{
				size_t n_rows = PANEL_ROWS + n_tokens[j] % 2 * 17;

				passed &=
					gemm_agrees(quants[i], tier, (Shape){n_rows, n_cols[k], n_tokens[j]}, &worst);
			}
		ok(passed, "%s: panels of %s rows over stretches of inputs have them, too", tier->name,
		   pk_quant_name(quants[i]));
		is_near(worst, 0, TOL_PANEL, "and are near the product in double precision");
	}
}

/* Quantised rows of every length and group, as bytes, scales and sums. */
static bool
quantize_agrees(const PkKernels *tier, const float *x, size_t n, size_t group)
{
	size_t   n_groups = (n + group - 1) / group;
	int8_t  *q[2];
	float   *scale[2];
	int32_t *sum[2];

	for (int i = 0; i < 2; i++)
	{
		q[i] = room(n_groups * group);
		scale[i] = room(n_groups * sizeof(float));
		sum[i] = room(n_groups * sizeof(int32_t));
		(i == 0 ? &scalar : tier)->quantize(x, n, group, q[i], scale[i], sum[i]);
	}

	bool same = memcmp(q[0], q[1], n_groups * group) == 0 &&
	            memcmp(scale[0], scale[1], n_groups * sizeof(float)) == 0 &&
	            memcmp(sum[0], sum[1], n_groups * sizeof(int32_t)) == 0;

	for (int i = 0; i < 2; i++)
		free(q[i]), free(scale[i]), free(sum[i]);
	return same;
}

static void
test_quantize(const PkKernels *tier)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};
	float             *x = room(MAX_N * sizeof(float));
	int8_t             q[128];
	float              scale;
	int32_t            sum;
	bool               same = true, is_zero = true;

	for (size_t i = 0; i < PK_LENGTH(lengths); i++)
	{
		fill(x, lengths[i], -3, 3);
		for (size_t group = 32; group <= 128; group *= 2)
			same &= quantize_agrees(tier, x, lengths[i], group);
	}
	for (size_t i = 0; i < PK_LENGTH(bad); i++)
	{
		for (size_t at = 0; at < PK_LENGTH(q); at++)
		{
			fill(x, PK_LENGTH(q), -3, 3);
			x[at] = bad[i];
			tier->quantize(x, PK_LENGTH(q), PK_LENGTH(q), q, &scale, &sum);
			is_zero &= scale == 0 && sum == 0;
			for (size_t k = 0; k < PK_LENGTH(q); k++)
				is_zero &= q[k] == 0;
		}
	}
	ok(same, "%s: quantised activations have the scalar tier's bits", tier->name);
	ok(is_zero, "%s: a group with NaN or infinity anywhere is all zero", tier->name);
	free(x);
}

/* Each element-wise and reducing operation on n items, results one after another in out. */
static size_t
run_all(const PkKernels *k, const float *x, size_t n, float *out)
{
	size_t    at = 0;
	float    *other = room(n * sizeof(float));
	float    *gain = room(n * sizeof(float));
	uint16_t *half = room(n * sizeof(uint16_t));

	for (size_t i = 0; i < n; i++)
		gain[i] = 1.0f + 0.001f * (float) i;
#define KEEP(values) (memcpy(out + at, values, n * sizeof(float)), at += n)
	k->layernorm(other, x, gain, x, n, 1e-5f), KEEP(other);
	memcpy(other, x, n * sizeof(float)), k->gelu(other, n), KEEP(other);
	memcpy(other, x, n * sizeof(float)), k->gelu_tanh(other, n), KEEP(other);
	memcpy(other, x, n * sizeof(float)), k->rope(other, gain, x, n / 2 * 2), KEEP(other);
	memcpy(other, x, n * sizeof(float)), k->add(other, gain, n), KEEP(other);
	memcpy(other, x, n * sizeof(float)), k->add_sum(other, gain, x, n), KEEP(other);
	memcpy(other, x, n * sizeof(float)), k->scale(other, 0.37f, n), KEEP(other);
	k->exp_shifted(other, x, 1.5f, n), KEEP(other);
	k->f32_to_f16(half, x, n), k->f16_to_f32(other, half, n), KEEP(other);
	out[at++] = k->sum_squares(x, n);
	out[at++] = k->max(x, n);
	out[at++] = k->sum_exp(x, 2.0f, n);
	free(other), free(gain), free(half);
	return at;
}

/* A block of keys is what its rows are one by one, item by item of all head sizes. */
static void
test_keys(const PkKernels *tier)
{
	enum
	{
		MOST = 130,
		STRIDE = 144,
		N = PK_KV_BLOCK * STRIDE
	};
	float    *k = room(N * sizeof(float));
	uint16_t *half = room(N * sizeof(uint16_t)), *out = room(N * sizeof(uint16_t));
	bool      same = true;

	fill(k, N, -70000, 70000);
	scalar.f32_to_f16(half, k, N);
	for (size_t n = 1; n <= MOST; n++)
	{
		memset(out, 0x55, N * sizeof(uint16_t));
		tier->keys_to_f16(out, k, STRIDE, n);
		for (size_t d = 0; d < n; d++)
			for (size_t i = 0; i < PK_KV_BLOCK; i++)
				same &= out[d * PK_KV_BLOCK + i] == half[i * STRIDE + d];
		same &= out[n * PK_KV_BLOCK] == 0x5555;
	}
	ok(same, "%s: a block of keys has the bits of its rows", tier->name);
	free(k), free(half), free(out);
}

static void
test_elements(const PkKernels *tier)
{
	float *x = room(MAX_N * sizeof(float));
	float *want = room(MAX_N * 10 * sizeof(float));
	float *got = room(MAX_N * 10 * sizeof(float));
	bool   passed = true;

	for (size_t i = 0; i < PK_LENGTH(lengths); i++)
	{
		fill(x, lengths[i], -9, 9);

		size_t n_want = run_all(&scalar, x, lengths[i], want);
		size_t n_got = run_all(tier, x, lengths[i], got);

		passed &= n_want == n_got && memcmp(want, got, n_got * sizeof(float)) == 0;
	}
	ok(passed, "%s: element-wise operations and sums have the scalar tier's bits", tier->name);
	free(x), free(want), free(got);
}

static void
test_attention(const PkKernels *tier)
{
	static const size_t head_sizes[] = {2, 6, 12, 24, 64, 80, 128, 256};
	bool                passed = true;

	for (size_t i = 0; i < PK_LENGTH(head_sizes); i++)
	{
		size_t D = head_sizes[i], n_keys = 1 + (i * 37 + 5) % 100;
		size_t n_blocks = (n_keys + PK_KV_BLOCK - 1) / PK_KV_BLOCK;
		float *q = room(D * sizeof(float)), *out[2], *scores = room((n_keys + 16) * sizeof(float));
		uint16_t   *kv = room(2 * n_blocks * PK_KV_BLOCK * D * sizeof(uint16_t));
		float      *kv_f32 = room(2 * n_blocks * PK_KV_BLOCK * D * sizeof(float));
		const void *k[8], *v[8], *kf[8], *vf[8];

		fill(q, D, -2, 2);
		fill(kv_f32, 2 * n_blocks * PK_KV_BLOCK * D, -2, 2);
		scalar.f32_to_f16(kv, kv_f32, 2 * n_blocks * PK_KV_BLOCK * D);
		for (size_t b = 0; b < n_blocks; b++)
		{
			k[b] = kv + 2 * b * PK_KV_BLOCK * D, v[b] = kv + (2 * b + 1) * PK_KV_BLOCK * D;
			kf[b] = kv_f32 + 2 * b * PK_KV_BLOCK * D,
			vf[b] = kv_f32 + (2 * b + 1) * PK_KV_BLOCK * D;
		}
		for (int j = 0; j < 2; j++)
		{
			const PkKernels *kernels = j == 0 ? &scalar : tier;
			PkAttend         a = {.n_queries = 1,
			                      .q = q,
			                      .head_size = D,
			                      .n_keys = n_keys,
			                      .scale = 1.0f / sqrtf((float) D),
			                      .k_blocks = k,
			                      .v_blocks = v,
			                      .scores = scores};

			out[j] = room(2 * (D + 16) * sizeof(float));
			a.out = out[j];
			kernels->attend_f16(&a);
			a.k_blocks = kf, a.v_blocks = vf, a.out = out[j] + (D + 15) / 16 * 16;
			kernels->attend_f32(&a);
		}
		passed &= memcmp(out[0], out[1], 2 * D * sizeof(float)) == 0;
		if (tier->needs == 0)
		{
			double sum[256] = {0}, total = 0;

			for (size_t p = 0; p < n_keys; p++)
			{
				const float *key = kf[p / 16], *value = vf[p / 16];
				double       dot = 0;

				for (size_t d = 0; d < D; d++)
					dot += (double) q[d] * key[d * 16 + p % 16];

				double weight = exp(dot / sqrt((double) D));

				total += weight;
				for (size_t d = 0; d < D; d++)
					sum[d] += weight * value[p % 16 * D + d];
			}
			for (size_t d = 0; d < D; d++)
				passed &= fabs(sum[d] / total - out[0][(D + 15) / 16 * 16 + d]) < TOL_NORM;
		}
		free(q), free(scores), free(kv), free(kv_f32), free(out[0]), free(out[1]);
	}
	ok(passed, "%s: attention has the scalar tier's bits, and those are near a double reference",
	   tier->name);
}

/* Several queries in one call give the bits that each gives alone, whatever lies past its keys. */
static void
test_many_queries(const PkKernels *tier, bool is_f32)
{
	enum
	{
		D = 74, /* of whole chains and vectors, and rests */
		MOST = PK_ATTEND_QUERIES + PK_ATTEND_QUERIES / 2 + 1,
		STRIDE = 80,
		N_BLOCKS = 5
	};
	float      *q = room(MOST * STRIDE * sizeof(float)), *kv = room(2 * N_BLOCKS * 16 * D * 4);
	float      *out = room(MOST * STRIDE * sizeof(float)), *alone = room(STRIDE * sizeof(float));
	float      *scores = room(PK_ATTEND_QUERIES * N_BLOCKS * 16 * sizeof(float));
	uint16_t   *half = room(2 * N_BLOCKS * 16 * D * 2);
	const void *k[N_BLOCKS], *v[N_BLOCKS];
	bool        passed = true;
	void (*attend)(const PkAttend *) = is_f32 ? tier->attend_f32 : tier->attend_f16;

	fill(q, MOST * STRIDE, -2, 2);
	fill(kv, 2 * N_BLOCKS * 16 * D, -2, 2);
	for (size_t i = 0; i < D; i++)
		kv[(2 * N_BLOCKS - 1) * 16 * D + i] = INFINITY; /* value of position 64 */
	scalar.f32_to_f16(half, kv, 2 * N_BLOCKS * 16 * D);
	for (size_t i = 0; i < N_BLOCKS; i++)
	{
		size_t key = 2 * i * 16 * D, value = key + 16 * D;

		k[i] = is_f32 ? (const void *) (kv + key) : half + key;
		v[i] = is_f32 ? (const void *) (kv + value) : half + value;
	}
	for (size_t n = 1; n <= MOST; n++)
		for (size_t n_keys = 56; n_keys <= 64; n_keys++)
		{
			PkAttend a = {.n_queries = n,
			              .q = q,
			              .q_stride = STRIDE,
			              .out_stride = STRIDE,
			              .head_size = D,
			              .n_keys = n_keys,
			              .scale = 0.125f,
			              .k_blocks = k,
			              .v_blocks = v,
			              .scores = scores,
			              .out = out};

			attend(&a);
			for (size_t i = 0; i < n; i++)
			{
				a.n_queries = 1, a.q = q + i * STRIDE, a.n_keys = n_keys + i, a.out = alone;
				attend(&a);
				passed &= memcmp(alone, out + i * STRIDE, D * sizeof(float)) == 0;
			}
		}
	ok(passed, "%s: queries that go together have the bits of each alone, %s", tier->name,
	   is_f32 ? "f32" : "f16");
	free(q), free(kv), free(out), free(alone), free(scores), free(half);
}

/* NaN of a key reaches every query that sees it, and NaN of an element what exp makes of it: callers
 * look for it in the results. */
static void
test_nan(const PkKernels *tier)
{
	enum
	{
		D = 24,
		MOST = PK_ATTEND_QUERIES + PK_ATTEND_QUERIES / 2 + 1,
		N_BLOCKS = 3
	};
	float *q = room(MOST * D * sizeof(float)), *kv = room(N_BLOCKS * 16 * D * sizeof(float));
	float *out = room(MOST * D * sizeof(float)), x[PK_LANES + 1] = {0}, y[PK_LANES + 1];
	float *scores = room(PK_ATTEND_QUERIES * N_BLOCKS * 16 * sizeof(float));
	const void *k[N_BLOCKS], *v[N_BLOCKS];
	size_t      n_seen = 0, n_kept = 0;
	PkAttend    a = {.n_queries = MOST,
	                 .q = q,
	                 .q_stride = D,
	                 .out_stride = D,
	                 .head_size = D,
	                 .n_keys = 19,
	                 .scale = 0.125f,
	                 .k_blocks = k,
	                 .v_blocks = v,
	                 .scores = scores,
	                 .out = out};

	fill(q, MOST * D, -2, 2);
	fill(kv, N_BLOCKS * 16 * D, -2, 2);
	for (size_t i = 0; i < N_BLOCKS; i++)
		k[i] = v[i] = kv + i * 16 * D;
	kv[16 * D + 8] = NAN; /* dimension 0 of key 24, which queries 6 and later see */
	v[1] = kv;
	tier->attend_f32(&a);
	for (size_t i = 0; i < MOST; i++)
		for (size_t d = 0; d < D; d++)
			n_seen += isnan(out[i * D + d]) == (i >= 24 - 19 + 1);
	ok(n_seen == MOST * D, "%s: NaN of a key reaches the queries that see it, and no other",
	   tier->name);

	for (size_t i = 0; i < PK_LENGTH(x); i++)
	{
		x[i] = NAN;
		tier->exp_shifted(y, x, 0.5f, PK_LENGTH(x));
		for (size_t j = 0; j < PK_LENGTH(x); j++)
			n_kept += isnan(y[j]) == (j == i);
		memcpy(y, x, sizeof(y));
		tier->gelu_tanh(y, PK_LENGTH(x));
		for (size_t j = 0; j < PK_LENGTH(x); j++)
			n_kept += isnan(y[j]) == (j == i);
		x[i] = 0;
	}
	ok(n_kept == 2 * PK_LENGTH(x) * PK_LENGTH(x), "%s: exp and gelu_tanh keep NaN", tier->name);
	free(q), free(kv), free(out), free(scores);
}

static void
test_scalar_reference(void)
{
	float *x = room(MAX_N * sizeof(float)), *y = room(MAX_N * sizeof(float));
	double gelu = 0, tanh_gelu = 0, exponent = 0;

	for (size_t i = 0; i < MAX_N; i++)
		x[i] = -10.0f + 20.0f * (float) i / MAX_N;
	memcpy(y, x, MAX_N * sizeof(float)), scalar.gelu(y, MAX_N);
	for (size_t i = 0; i < MAX_N; i++)
		gelu =
			fmax(gelu, fabs(y[i] - 0.5 * x[i] * (1 + erf(x[i] / sqrt(2.0)))) / fmax(1, fabs(x[i])));
	memcpy(y, x, MAX_N * sizeof(float)), scalar.gelu_tanh(y, MAX_N);
	for (size_t i = 0; i < MAX_N; i++)
		tanh_gelu =
			fmax(tanh_gelu,
		         fabs(y[i] -
		              0.5 * x[i] * (1 + tanh(sqrt(2 / M_PI) * (x[i] + 0.044715 * pow(x[i], 3))))) /
		             fmax(1, fabs(x[i])));
	scalar.exp_shifted(y, x, 0, MAX_N);
	for (size_t i = 0; i < MAX_N; i++)
		exponent = fmax(exponent, fabs(y[i] / exp(x[i]) - 1));
	is_near(gelu, 0, TOL_ELEMENT, "gelu is near libm's");
	is_near(tanh_gelu, 0, TOL_ELEMENT, "gelu_tanh is near libm's");
	is_near(exponent, 0, TOL_ELEMENT, "exp is near libm's");

	float ends[] = {-INFINITY, -200, -103, 88, 200, INFINITY};

	scalar.exp_shifted(ends, ends, 0, 6);
	ok(ends[0] == 0 && ends[1] == 0 && ends[2] > 0 && ends[2] < 1e-44f && isfinite(ends[3]) &&
	       isinf(ends[4]) && isinf(ends[5]),
	   "exp is 0, subnormal, finite and infinite where it should be");

	float far[] = {-1e30f, -5.5f, -0.0f, 5.5f, 1e30f, INFINITY, NAN};

	scalar.gelu(far, 7);
	ok(far[0] == 0 && far[1] == 0 && far[2] == 0 && far[3] == 5.5f && far[4] == 1e30f &&
	       isinf(far[5]) && isnan(far[6]),
	   "gelu is 0 or x itself from 5.5 on");
	free(x), free(y);
}

static void
test_half(void)
{
	bool passed = true;

	for (uint32_t h = 0; h < 65536; h++)
	{
		uint16_t half = (uint16_t) h, back;
		float    value;

		scalar.f16_to_f32(&value, &half, 1);
		scalar.f32_to_f16(&back, &value, 1);
		passed &=
			back == half || (isnan(value) && (back & 0x7c00) == 0x7c00 && (back & 0x3ff) != 0);
	}
	ok(passed, "every half survives the way to float and back");
}

int
main(void)
{
	PkError err;

	diag("seed %d", SEED);
	if (!ok(pk_kernels_select(0, NULL, &scalar, &err) == PK_OK, "the scalar tier needs nothing"))
		return done_testing();
	test_scalar_reference();
	test_half();
	for (size_t i = 0; pk_kernels_tier_name(i) != NULL; i++)
	{
		PkKernels tier;
		PkStatus  status = pk_kernels_select(pk_cpu_claim(), pk_kernels_tier_name(i), &tier, &err);

		if (status == PK_UNSUPPORTED)
		{
			skip("this machine has no such tier");
			continue;
		}
		test_quantize(&tier);
		test_keys(&tier);
		test_products(&tier);
		test_panels(&tier);
		test_many_tokens(&tier);
		test_some_tokens(&tier);
		test_elements(&tier);
		test_attention(&tier);
		test_many_queries(&tier, false);
		test_many_queries(&tier, true);
		test_nan(&tier);
	}
	ok(pk_kernels_select(pk_cpu_claim(), "sse9", &scalar, &err) == PK_BAD_ARGUMENT,
	   "an unknown tier is refused");
	return done_testing();
}

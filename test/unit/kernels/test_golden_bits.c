/*
 * test_golden_bits.c
 *    Every operation that promises its bits gives the committed ones, in every tier of this
 * machine.
 *
 * What test_tiers.c compares inside one program, this compares across compilers and machines: the
 * sums below were printed once (run with PRINT=1) by gcc 12 on x86-64, in the scalar tier. One of
 * them changes only with the numerics number of doc/numerics.md.
 */
#include <float.h>
#include <stdlib.h>

#include "../tap.h"
#include "core/base/rng.h"
#include "core/kernels/kernels.h"

#define SEED 20261123
#define MAX_N 1030

static const size_t lengths[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129, 333, 1024};

typedef struct Golden
{
	const char *name;
	uint64_t    want;
} Golden;

static const Golden golden[] = {
	{"q8 packed", 0x2b8a1056fcb036c4},   {"q4 packed", 0xf201db4c31164bae},
	{"f16 packed", 0xc5d3f4bc085dfc69},  {"q8 product", 0x0c372fe55999dbd9},
	{"q4 product", 0x218d2f238fadb69c},  {"quantize", 0x0eeafb09906b6150},
	{"layernorm", 0xf64206f90777ab44},   {"gelu", 0x9677488bee971c1f},
	{"gelu_tanh", 0x5246060bdf557299},   {"rope", 0x061ce38cb77e1b7e},
	{"attend_f16", 0x96449cc936bc8286},  {"attend_f32", 0xed41df50a38fd199},
	{"f32_to_f16", 0xbcdd75d5230c8771},  {"f16_to_f32", 0x562e1b416708e491},
	{"add", 0x5d3c67b27e18d67b},         {"add_sum", 0x567412116b173953},
	{"scale", 0xa6fb8c63e6508413},       {"sum_squares", 0x66f6c2ae167d6fde},
	{"max", 0x55f0b683cd13aecb},         {"sum_exp", 0xdb82e4ffe4c758f3},
	{"exp_shifted", 0xa25d2407bbfb1a9b},
};

static uint64_t sums[PK_LENGTH(golden)];
static uint64_t n_drawn;

/* FNV-1a over the bytes of little-endian items, added to the sum of an operation. */
static void
add(const char *name, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < PK_LENGTH(golden); i++)
	{
		if (strcmp(golden[i].name, name) != 0)
			continue;
		for (size_t k = 0; k < len; k++)
			sums[i] = (sums[i] ^ bytes[k]) * 0x100000001b3u;
		return;
	}
	abort();
}

static void *
room(size_t bytes)
{
	size_t rounded = (bytes / PK_ALIGNMENT + 1) * PK_ALIGNMENT;
	void  *memory = aligned_alloc(PK_ALIGNMENT, rounded);

	memset(memory, 0, rounded);
	return memory;
}

static float *
draw(size_t n, float most)
{
	float *x = room(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		x[i] = most * (float) (2 * pk_rng_uniform(SEED, n_drawn++) - 1);
	return x;
}

static void
run_product(const PkKernels *k, PkQuant quant, size_t n_rows, size_t n_cols, size_t n_tokens)
{
	size_t   group = pk_quant_group(quant), n_groups = (n_cols + group - 1) / group, size = 0, bad;
	float   *w = draw(n_rows * n_cols, 0.7f), *x = draw(n_tokens * n_cols, 3);
	float   *bias = draw(n_rows, 1), *y = room(n_tokens * n_rows * sizeof(float));
	bool     fits = pk_matrix_size(quant, n_rows, n_cols, &size);
	void    *packed = room(size);
	PkMatrix m = {quant, n_rows, n_cols, packed};
	PkActs   acts = {.n_tokens = n_tokens,
	                 .n_cols = n_cols,
	                 .x = x,
	                 .x_stride = n_cols,
	                 .n_groups = n_groups,
	                 .q_stride = n_groups * group,
	                 .q = room(n_tokens * n_groups * group),
	                 .scale = room(n_tokens * n_groups * sizeof(float)),
	                 .sum = room(n_tokens * n_groups * sizeof(int32_t))};
	PkGemm   g = {&m, &acts, n_tokens % 2 == 0 ? bias : NULL, y, n_rows};

	if (!fits || !pk_matrix_pack(quant, packed, n_rows, n_cols, 0, n_rows, w, &bad, &bad))
		exit(2);
	for (size_t t = 0; t < n_tokens; t++)
		k->quantize(x + t * n_cols, n_cols, group, acts.q + t * n_groups * group,
		            acts.scale + t * n_groups, acts.sum + t * n_groups);
	(quant == PK_QUANT_Q8 ? k->gemm_q8 : k->gemm_q4)(&g, 0, (n_rows + PK_LANES - 1) / PK_LANES);
	add(quant == PK_QUANT_Q8 ? "q8 packed" : "q4 packed", packed, size);
	add(quant == PK_QUANT_Q8 ? "q8 product" : "q4 product", y, n_tokens * n_rows * sizeof(float));
	add("quantize", acts.q, n_tokens * n_groups * group);
	add("quantize", acts.scale, n_tokens * n_groups * sizeof(float));
	add("quantize", acts.sum, n_tokens * n_groups * sizeof(int32_t));
	free(w), free(x), free(bias), free(y), free(packed);
	free(acts.q), free(acts.scale), free(acts.sum);
}

static void
run_products(const PkKernels *k)
{
	for (size_t i = 0; i < PK_LENGTH(lengths); i++)
	{
		run_product(k, PK_QUANT_Q8, 1 + i * 5, lengths[i], 1 + i);
		run_product(k, PK_QUANT_Q4, 1 + i * 5, lengths[i], 1 + i);
	}
}

static void
run_pack_f16(void)
{
	size_t size = 0, bad;
	float *w = draw(33 * 65, 0.7f);
	bool   fits = pk_matrix_size(PK_QUANT_F16, 33, 65, &size);
	void  *packed = room(size);

	if (!fits || !pk_matrix_pack(PK_QUANT_F16, packed, 33, 65, 0, 33, w, &bad, &bad))
		exit(2);
	add("f16 packed", packed, size);
	free(w), free(packed);
}

/* Element-wise operations and sums of n items of magnitude most. */
static void
run_elements(const PkKernels *k, size_t n, float most)
{
	float    *x = draw(n, most), *other = draw(n, 2), *y = room(n * sizeof(float));
	uint16_t *half = room(n * sizeof(uint16_t));
	size_t    bytes = n * sizeof(float);
	float     one;

	k->layernorm(y, x, other, x, n, 1e-5f), add("layernorm", y, bytes);
	memcpy(y, x, bytes), k->gelu(y, n), add("gelu", y, bytes);
	memcpy(y, x, bytes), k->gelu_tanh(y, n), add("gelu_tanh", y, bytes);
	memcpy(y, x, bytes), k->rope(y, other, x, n / 2 * 2), add("rope", y, bytes);
	memcpy(y, x, bytes), k->add(y, other, n), add("add", y, bytes);
	memcpy(y, x, bytes), k->add_sum(y, other, x, n), add("add_sum", y, bytes);
	memcpy(y, x, bytes), k->scale(y, 0.37f, n), add("scale", y, bytes);
	k->exp_shifted(y, x, 1.5f, n), add("exp_shifted", y, bytes);
	k->f32_to_f16(half, x, n), add("f32_to_f16", half, n * sizeof(uint16_t));
	k->f16_to_f32(y, half, n), add("f16_to_f32", y, bytes);
	one = k->sum_squares(x, n), add("sum_squares", &one, sizeof(one));
	one = k->max(x, n), add("max", &one, sizeof(one));
	one = k->sum_exp(x, 2.0f, n), add("sum_exp", &one, sizeof(one));
	free(x), free(other), free(y), free(half);
}

/* Ends of the range: infinities, the least and the greatest, signed zeros; what gives no NaN. */
static void
run_ends(const PkKernels *k)
{
	static const float ends[] = {0.0f,     -0.0f,    FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MIN, FLT_MAX,
	                             -FLT_MAX, INFINITY, 1e-20f,       -1e20f,        88.7f,   -87.4f,
	                             -103.9f,  65519.0f, 65520.0f,     6e-8f,         -2e-8f,  3e-5f};
	float              y[PK_LENGTH(ends)];
	uint16_t           half[PK_LENGTH(ends)];

	memcpy(y, ends, sizeof(y)), k->gelu(y, PK_LENGTH(y)), add("gelu", y, sizeof(y));
	memcpy(y, ends, sizeof(y)), k->gelu_tanh(y, PK_LENGTH(y)), add("gelu_tanh", y, sizeof(y));
	k->exp_shifted(y, ends, 0, PK_LENGTH(y)), add("exp_shifted", y, sizeof(y));
	k->f32_to_f16(half, ends, PK_LENGTH(y)), add("f32_to_f16", half, sizeof(half));
}

static void
run_halves(const PkKernels *k)
{
	uint16_t *half = room(65536 * sizeof(uint16_t)), *back = room(65536 * sizeof(uint16_t));
	float    *x = room(65536 * sizeof(float));

	for (uint32_t i = 0; i < 65536; i++)
		half[i] = (uint16_t) i;
	for (size_t begin = 0; begin < 2; begin++) /* a start at 1 leaves a rest of 15 */
	{
		k->f16_to_f32(x, half + begin, 65536 - begin);
		k->f32_to_f16(back, x, 65536 - begin);
		add("f16_to_f32", x, (65536 - begin) * sizeof(float));
		add("f32_to_f16", back, (65536 - begin) * sizeof(uint16_t));
	}
	free(half), free(back), free(x);
}

/* Lanes past the last key hold NaN: nothing of them may be seen. */
static void
run_attention(const PkKernels *k, size_t D, size_t n_keys)
{
	size_t      n_blocks = (n_keys + PK_KV_BLOCK - 1) / PK_KV_BLOCK;
	size_t      n_items = n_blocks * PK_KV_BLOCK * D;
	float      *q = draw(D, 2), *keys = draw(n_items, 2), *values = draw(n_items, 2);
	float      *scores = room(n_blocks * PK_KV_BLOCK * sizeof(float));
	float      *out = room(D * sizeof(float));
	uint16_t   *keys_f16 = room(n_items * 2), *values_f16 = room(n_items * 2);
	const void *kb[8], *vb[8], *kb_f16[8], *vb_f16[8];
	PkAttend    a = {.n_queries = 1,
	                 .q = q,
	                 .head_size = D,
	                 .n_keys = n_keys,
	                 .scale = 1.0f / sqrtf((float) D),
	                 .k_blocks = kb,
	                 .v_blocks = vb,
	                 .scores = scores,
	                 .out = out};

	for (size_t p = n_keys; p < n_blocks * PK_KV_BLOCK; p++)
	{
		for (size_t d = 0; d < D; d++)
		{
			keys[(p / PK_KV_BLOCK * D + d) * PK_KV_BLOCK + p % PK_KV_BLOCK] =
				d % 2 ? NAN : INFINITY;
			values[p * D + d] = d % 2 ? -INFINITY : NAN;
		}
	}
	k->f32_to_f16(keys_f16, keys, n_items);
	k->f32_to_f16(values_f16, values, n_items);
	for (size_t b = 0; b < n_blocks; b++)
	{
		kb[b] = keys + b * PK_KV_BLOCK * D, vb[b] = values + b * PK_KV_BLOCK * D;
		kb_f16[b] = keys_f16 + b * PK_KV_BLOCK * D, vb_f16[b] = values_f16 + b * PK_KV_BLOCK * D;
	}
	k->attend_f32(&a);
	add("attend_f32", out, D * sizeof(float));
	for (size_t d = 0; d < D; d++)
		if (!isfinite(out[d]))
			add("attend_f32", "NaN seen", 8);
	a.k_blocks = kb_f16, a.v_blocks = vb_f16;
	k->attend_f16(&a);
	add("attend_f16", out, D * sizeof(float));
	for (size_t d = 0; d < D; d++)
		if (!isfinite(out[d]))
			add("attend_f16", "NaN seen", 8);
	free(q), free(keys), free(values), free(scores), free(out), free(keys_f16), free(values_f16);
}

static void
run_all(const PkKernels *k)
{
	static const size_t head_sizes[] = {2, 3, 6, 12, 24, 64, 80, 100, 128, 256};

	n_drawn = 0;
	for (size_t i = 0; i < PK_LENGTH(sums); i++)
		sums[i] = 0xcbf29ce484222325u;
	run_products(k);
	run_pack_f16();
	for (size_t i = 0; i < PK_LENGTH(lengths); i++)
	{
		run_elements(k, lengths[i], 1.5f);
		run_elements(k, lengths[i], 12.0f);
		run_elements(k, lengths[i], 1e-4f);
	}
	run_ends(k);
	run_halves(k);
	for (size_t i = 0; i < PK_LENGTH(head_sizes); i++)
		for (size_t n_keys = 1; n_keys <= 128; n_keys = n_keys * 2 + 1)
			run_attention(k, head_sizes[i], n_keys);
}

int
main(void)
{
	PkError err;

	for (size_t i = 0; pk_kernels_tier_name(i) != NULL; i++)
	{
		const char *name = pk_kernels_tier_name(i);
		PkKernels   k;

		if (pk_kernels_select(pk_cpu_claim(), name, &k, &err) != PK_OK)
		{
			skip("this machine has no such tier");
			continue;
		}
		run_all(&k);
		for (size_t j = 0; j < PK_LENGTH(golden); j++)
		{
			if (getenv("PRINT") != NULL && i == 0)
				printf("# {\"%s\", 0x%016llx},\n", golden[j].name, (unsigned long long) sums[j]);
			if (!ok(sums[j] == golden[j].want, "%s: %s has the committed bits", name,
			        golden[j].name))
				diag("got 0x%016llx", (unsigned long long) sums[j]);
		}
	}
	return done_testing();
}

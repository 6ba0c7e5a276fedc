/*
 * test_amx_emulated.c
 *    The amx tier gives the bits of the scalar tier on tiles emulated in C, for machines without
 * AMX.
 *
 * The sources of the tier are compiled into the test, with amx_emulated.h for its instructions; the
 * rest of them needs what vnni needs. test_tiers.c has the instructions, where there are some.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "../tap.h"
#include "core/base/rng.h"
#include "core/kernels/kernels.h"

#if defined(__x86_64__)

#include "amx_emulated.h"

/* Both files with other names of what they export, and of what both call the same. */
#define pk_kernels_amx emulated_amx
#define pk_amx_columns emulated_columns
#include "core/kernels/x86_amx_column.c"
#undef STRETCH_GROUPS
#define configure configure_panels
#define load_meta load_meta_panels
#include "core/kernels/x86_amx.c"

#define SEED 20261204
#define MOST_TOKENS 530 /* more than a range of x86_amx.c */
#define EACH_TOKENS 70  /* as many as that one by one */
#define BESIDE 13       /* floats between two rows of y */
#define UNTOUCHED 0xc5  /* bytes of what is not written */

static uint64_t n_drawn;
static size_t   n_unreleased; /* calls that kept their tiles */

/* n random floats, for the caller to free. */
static float *
draw(size_t n)
{
	float *x = malloc(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		x[i] = -1 + 2 * (float) pk_rng_uniform(SEED, n_drawn++);
	return x;
}

static void *
room(size_t bytes)
{
	return aligned_alloc(PK_ALIGNMENT, (bytes + PK_ALIGNMENT - 1) / PK_ALIGNMENT * PK_ALIGNMENT);
}

/* The call by both tiers leaves the same bytes in y, and beside its blocks. */
static bool
agrees(PkGemm g, size_t begin, size_t end, float *y[2])
{
	bool   is_q8 = g.w->quant == PK_QUANT_Q8;
	size_t size = (g.acts->n_tokens + 1) * g.y_stride * sizeof(float);

	memset(y[0], UNTOUCHED, size);
	memset(y[1], UNTOUCHED, size);
	g.y = y[0];
	(is_q8 ? pk_kernels_scalar.gemm_q8 : pk_kernels_scalar.gemm_q4)(&g, begin, end);
	g.y = y[1];
	(is_q8 ? emulated_amx.gemm_q8 : emulated_amx.gemm_q4)(&g, begin, end);
	n_unreleased += emulated[0].n_rows != 0;
	if (memcmp(y[0], y[1], size) == 0)
		return true;
	diag("%zu tokens, bias: %d, blocks %zu to %zu", g.acts->n_tokens, g.bias != NULL, begin, end);
	return false;
}

/* Some numbers of tokens, the last of all, in calls that begin and end at blocks in the middle. */
static bool
all_agree(const PkMatrix *w, const PkActs *all, const float *bias)
{
	static const size_t more_tokens[] = {97, 224, 225, 512, MOST_TOKENS};
	const size_t        y_stride = w->n_rows + BESIDE, n_blocks = (w->n_rows - 1) / PK_LANES + 1;
	float              *y[2];
	bool                passed = true;

	for (int i = 0; i < 2; i++)
		y[i] = room((MOST_TOKENS + 1) * y_stride * sizeof(float));
	/* of long rows every third number will do */
	for (size_t i = 1; i <= EACH_TOKENS + PK_LENGTH(more_tokens);
	     i += w->n_cols > 1000 && i < EACH_TOKENS ? 3 : 1)
	{
		size_t n = i <= EACH_TOKENS ? i : more_tokens[i - EACH_TOKENS - 1], t0 = MOST_TOKENS - n;
		size_t first = i % n_blocks, second = (first + n_blocks + 1) / 2;
		PkActs acts = *all;
		PkGemm g = {.w = w, .acts = &acts, .y_stride = y_stride};

		acts.n_tokens = n;
		acts.q += t0 * acts.q_stride;
		acts.scale += t0 * acts.n_groups;
		acts.sum += t0 * acts.n_groups;
		g.bias = i % 2 == 0 ? bias : NULL;
		passed &= agrees(g, 0, first, y) && agrees(g, second, n_blocks, y);
		g.bias = i % 2 == 1 ? bias : NULL;
		passed &= agrees(g, first, second, y);
	}
	free(y[0]), free(y[1]);
	return passed;
}

static void
test_product(PkQuant quant, size_t n_rows, size_t n_groups, size_t n_short)
{
	size_t   group = pk_quant_group(quant), n_cols = n_groups * group - n_short, size = 0, bad;
	size_t   q_stride = n_groups * group + PK_ALIGNMENT;
	float   *rows = draw(n_rows * n_cols), *x = draw(MOST_TOKENS * n_cols), *bias = draw(n_rows);
	bool     passed = pk_matrix_size(quant, n_rows, n_cols, &size);
	void    *packed = room(size);
	PkMatrix w = {quant, n_rows, n_cols, packed};
	PkActs   acts = {.n_cols = n_cols, .n_groups = n_groups, .q_stride = q_stride};

	passed &= pk_matrix_pack(quant, packed, n_rows, n_cols, 0, n_rows, rows, &bad, &bad);
	acts.q = room(MOST_TOKENS * q_stride);
	acts.scale = room(MOST_TOKENS * n_groups * sizeof(float));
	acts.sum = room(MOST_TOKENS * n_groups * sizeof(int32_t));
	memset(acts.q, UNTOUCHED, MOST_TOKENS * q_stride);
	for (size_t t = 0; t < MOST_TOKENS; t++)
		pk_kernels_scalar.quantize(x + t * n_cols, n_cols, group, acts.q + t * q_stride,
		                           acts.scale + t * n_groups, acts.sum + t * n_groups);
	ok(passed && all_agree(&w, &acts, bias), "%s, %zu rows of %zu inputs: the scalar tier's bits",
	   pk_quant_name(quant), n_rows, n_cols);
	free(rows), free(x), free(bias), free(packed), free(acts.q), free(acts.scale), free(acts.sum);
}

int
main(void)
{
	/* rows, groups, inputs that the last group lacks; a stretch has 16 groups, of few tokens 64 */
	static const size_t shapes[][3] = {
		{100, 1, 0}, {45, 2, 31}, {79, 17, 3}, {112, 33, 5}, {52, 65, 24}};

	diag("seed %d", SEED);
	if ((pk_kernels_vnni.needs & ~pk_cpu_features()) != 0)
	{
		skip("this machine has no AVX-512 VNNI");
		return done_testing();
	}
	for (size_t i = 0; i < 2 * PK_LENGTH(shapes); i++)
	{
		const size_t *shape = shapes[i / 2];

		test_product(i % 2 == 0 ? PK_QUANT_Q8 : PK_QUANT_Q4, shape[0], shape[1], shape[2]);
	}
	is_int((long long) emulated_n_faults, 0, "a processor would refuse no instruction");
	is_int((long long) n_unreleased, 0, "and tiles are released");
	return done_testing();
}

#else
int
main(void)
{
	skip("this machine has no AVX-512 VNNI");
	return done_testing();
}
#endif

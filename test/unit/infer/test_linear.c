/*
 * test_linear.c
 *    Tiles that are finished by whoever computed them hold whole heads, each token of each once,
 *    and the product is there.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../tap.h"
#include "core/base/alloc.h"
#include "core/infer/linear.h"

#define N_COLS 128
#define MOST_TOKENS 600

/* What finish() saw. */
typedef struct Seen
{
	const PkLinear *linear;
	size_t          head_size, n_heads;
	atomic_int     *n; /* (tokens, heads): how often */
	atomic_bool     is_cut, is_missing;
} Seen;

static void
finish(void *arg, size_t thread, const PkTileRange *range)
{
	Seen *seen = arg;

	(void) thread;
	if (range->row_begin % seen->head_size != 0 || range->row_end % seen->head_size != 0)
		atomic_store(&seen->is_cut, true);
	for (size_t t = range->t0; t < range->t0 + range->n_tokens; t++)
		for (size_t row = range->row_begin; row < range->row_end; row++)
		{
			if (seen->linear->y[t * seen->linear->y_stride + row] != 0.0f)
				atomic_store(&seen->is_missing, true);
			if (row % seen->head_size == 0)
				atomic_fetch_add(&seen->n[t * seen->n_heads + row / seen->head_size], 1);
		}
}

static void *
room(size_t bytes)
{
	void *memory = aligned_alloc(PK_ALIGNMENT, pk_round_up(bytes + 1, PK_ALIGNMENT));

	memset(memory, 0, bytes);
	return memory;
}

/* Zero weights: y was NaN and is 0 where a product was made. */
static void
test_heads(const PkCompute *compute, size_t head_size, size_t n_heads, size_t n_tokens)
{
	size_t   n_rows = head_size * n_heads, size;
	size_t   y_stride = pk_round_up(n_rows, PK_LANES);
	PkMatrix w = {PK_QUANT_Q8, n_rows, N_COLS, NULL};
	PkActs   acts = {.n_tokens = n_tokens, .n_cols = N_COLS, .n_groups = 1, .q_stride = N_COLS};
	bool     is_once = true;

	if (!pk_matrix_size(w.quant, n_rows, N_COLS, &size))
		abort();
	w.data = room(size);
	acts.q = room(n_tokens * N_COLS);
	acts.scale = room(n_tokens * sizeof(float));
	acts.sum = room(n_tokens * sizeof(int32_t));

	Seen     seen = {.head_size = head_size,
	                 .n_heads = n_heads,
	                 .n = room(n_tokens * n_heads * sizeof(atomic_int))};
	PkLinear linear = {.w = &w,
	                   .acts = &acts,
	                   .y = room(n_tokens * y_stride * sizeof(float)),
	                   .y_stride = y_stride,
	                   .finish = finish,
	                   .finish_arg = &seen,
	                   .finish_rows = head_size};

	seen.linear = &linear;
	for (size_t i = 0; i < n_tokens * y_stride; i++)
		linear.y[i] = NAN;
	if (pk_linear(compute, &linear) != PK_OK)
		abort();
	for (size_t i = 0; i < n_tokens * n_heads; i++)
		is_once &= atomic_load(&seen.n[i]) == 1;
	ok(is_once && !seen.is_cut && !seen.is_missing, "%s: %zu heads of %zu, %zu tokens",
	   compute->kernels->name, n_heads, head_size, n_tokens);
	free((void *) (uintptr_t) w.data), free(acts.q), free(acts.scale), free(acts.sum);
	free(seen.n), free(linear.y);
}

int
main(void)
{
	static const size_t      head_sizes[] = {12, 15, 64, 80, 96, 125, 128, 256};
	static const size_t      tokens[] = {1, 17, MOST_TOKENS};
	static const char *const tiers[] = {"scalar", NULL}; /* and the best of this machine */
	PkPool                  *pool = NULL;
	PkKernels                kernels;

	if (pk_pool_create(2, &pool, NULL) != PK_OK)
		abort();
	for (size_t t = 0; t < PK_LENGTH(tiers); t++)
	{
		if (pk_kernels_select(pk_cpu_claim(), tiers[t], &kernels, NULL) != PK_OK)
			abort();
		for (size_t i = 0; i < PK_LENGTH(head_sizes); i++)
			for (size_t k = 0; k < PK_LENGTH(tokens); k++)
				test_heads(&(PkCompute){.kernels = &kernels, .pool = pool}, head_sizes[i], 24,
				           tokens[k]);
	}
	pk_pool_destroy(pool);
	return done_testing();
}

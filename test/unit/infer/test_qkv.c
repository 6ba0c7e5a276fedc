/*
 * test_qkv.c
 *    Keys, values and queries of many tokens are those of each token alone, also where a tile of
 *    tokens ends within a block of keys: in the scalar tier after 48.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/base/alloc.h"
#include "core/base/rng.h"
#include "core/infer/linear.h"
#include "core/infer/qkv.h"

#define HIDDEN 1024
#define N_HEADS 8
#define HEAD_SIZE (HIDDEN / N_HEADS)
#define ROTARY_DIMS 32
#define N_POSITIONS 128
#define N_TOKENS 80

/* The first tokens of the batch are of one sequence from position 5 on, the others of a second one,
 * whose positions go on where those of the first end, within a block. Row 48 is within one, too. */
#define N_FIRST 30
#define N_SEQS 2
static const size_t first_pos[N_SEQS] = {5, 5 + N_FIRST};

static const PkConfig config = {.hidden_size = HIDDEN,
                                .num_hidden_layers = 1,
                                .num_attention_heads = N_HEADS,
                                .max_position_embeddings = N_POSITIONS,
                                .rotary_dims = ROTARY_DIMS};

/* A layer, and what goes into it. */
typedef struct Fixture
{
	void     *packed;
	float    *bias, *cos, *sin, *x; /* x: (N_TOKENS, HIDDEN) */
	PkLayer   layer;
	PkWeights weights;
} Fixture;

/* Keys and values of the sequences, and the queries. */
typedef struct Result
{
	PkKvBudget budget;
	PkKvCache *cache;
	PkKvSeq    seq[N_SEQS];
	float     *queries; /* (N_TOKENS, HIDDEN) */
} Result;

static float *
draw(size_t n, uint64_t seed)
{
	float *out = aligned_alloc(PK_ALIGNMENT, pk_round_up(n * sizeof(float), PK_ALIGNMENT));

	for (size_t i = 0; i < n; i++)
		out[i] = (float) (2 * pk_rng_uniform(seed, i) - 1);
	return out;
}

static void
make_fixture(Fixture *f)
{
	float *rows = draw((size_t) 3 * HIDDEN * HIDDEN, 1);
	size_t size, bad_row, bad_col;

	if (!pk_matrix_size(PK_QUANT_Q8, 3 * HIDDEN, HIDDEN, &size))
		abort();
	f->packed = aligned_alloc(PK_ALIGNMENT, pk_round_up(size, PK_ALIGNMENT));
	if (!pk_matrix_pack(PK_QUANT_Q8, f->packed, 3 * HIDDEN, HIDDEN, 0, 3 * HIDDEN, rows, &bad_row,
	                    &bad_col))
		abort();
	free(rows);
	f->bias = draw(3 * HIDDEN, 2);
	f->cos = draw(N_POSITIONS * ROTARY_DIMS / 2, 3);
	f->sin = draw(N_POSITIONS * ROTARY_DIMS / 2, 4);
	f->x = draw(N_TOKENS * HIDDEN, 5);
	f->layer.qkv = (PkMatrix){PK_QUANT_Q8, 3 * HIDDEN, HIDDEN, f->packed};
	f->layer.qkv_bias = f->bias;
	f->weights = (PkWeights){.layers = &f->layer, .rope_cos = f->cos, .rope_sin = f->sin};
}

static void
free_fixture(Fixture *f)
{
	free(f->packed), free(f->bias), free(f->cos), free(f->sin), free(f->x);
}

static void
make_result(Result *result)
{
	*result = (Result){.budget = {.max_bytes = (size_t) 64 << 20}};
	result->queries = malloc(N_TOKENS * HIDDEN * sizeof(float));
	if (pk_kv_cache_create(&config, PK_QUANT_Q8, &result->budget, &result->cache, NULL) != PK_OK)
		abort();
	for (size_t s = 0; s < N_SEQS; s++)
	{
		if (pk_kv_seq_init(&result->seq[s], result->cache, N_POSITIONS, NULL) != PK_OK ||
		    pk_kv_seq_grow(&result->seq[s], N_POSITIONS, NULL) != PK_OK)
			abort();
		for (size_t b = 0; b < result->seq[s].n_blocks; b++)
			memset(result->seq[s].blocks[b], 0, pk_kv_block_bytes(result->cache));
	}
}

static void
free_result(Result *result)
{
	for (size_t s = 0; s < N_SEQS; s++)
		pk_kv_seq_free(&result->seq[s]);
	pk_kv_cache_destroy(result->cache);
	free(result->queries);
}

/* Tokens [begin, end) in one step. y was NaN before: what is read too early is seen. */
static void
run(const PkCompute *compute, const Fixture *f, PkWorkspace *space, Result *result, size_t begin,
    size_t end)
{
	PkBatch batch = {0};
	PkQkv   qkv = {.config = &config, .weights = &f->weights, .batch = &batch, .space = space};

	if (pk_batch_reserve(&batch, end - begin, NULL) != PK_OK)
		abort();
	space->n_rows = end - begin;
	pk_acts_set(&space->acts_attn, f->x + begin * HIDDEN, HIDDEN, end - begin, HIDDEN, PK_QUANT_Q8);
	for (size_t t = begin; t < end; t++)
	{
		size_t s = t < N_FIRST ? 0 : 1, i = s == 0 ? t : t - N_FIRST, row = t - begin;

		pk_batch_add(&batch, &result->seq[s], 0, first_pos[s] + i, false, PK_NO_CAPTURE);
		space->rows[row] = row;
		pk_acts_quantize(compute->kernels, &space->acts_attn, row, PK_QUANT_Q8);
		memset(space->qkv + row * space->qkv_stride, 0xff, 3 * HIDDEN * sizeof(float));
	}
	if (pk_qkv_run(compute, &qkv, PK_QUERIES, PK_QKV_END) != PK_OK)
		abort();
	for (size_t t = begin; t < end; t++)
		memcpy(result->queries + t * HIDDEN, space->qkv + (t - begin) * space->qkv_stride,
		       HIDDEN * sizeof(float));
	pk_batch_free(&batch);
}

static void
compare(const char *tier, const Result *a, const Result *b)
{
	ok(memcmp(a->queries, b->queries, N_TOKENS * HIDDEN * sizeof(float)) == 0,
	   "%s: queries of many tokens are those of each alone", tier);
	for (size_t s = 0; s < N_SEQS; s++)
	{
		bool is_same = a->seq[s].n_blocks == b->seq[s].n_blocks;

		for (size_t i = 0; is_same && i < a->seq[s].n_blocks; i++)
			is_same =
				memcmp(a->seq[s].blocks[i], b->seq[s].blocks[i], pk_kv_block_bytes(a->cache)) == 0;
		ok(is_same, "%s: keys and values of sequence %zu, too", tier, s);
	}
}

int
main(void)
{
	static const char *const tiers[] = {"scalar", NULL}; /* and the best of this machine */
	PkWorkShape              shape = {.n_tokens = N_TOKENS,
	                                  .n_outputs = 1,
	                                  .n_threads = 2,
	                                  .hidden = HIDDEN,
	                                  .ffn = HIDDEN,
	                                  .vocab = 64,
	                                  .head_size = HEAD_SIZE,
	                                  .n_context = N_POSITIONS};
	PkPool                  *pool = NULL;
	PkWorkspace              space = {0};
	Fixture                  fixture = {0};
	PkKernels                kernels;

	make_fixture(&fixture);
	if (pk_pool_create(2, &pool, NULL) != PK_OK || pk_workspace_fit(&space, &shape, NULL) != PK_OK)
		abort();
	for (size_t i = 0; i < PK_LENGTH(tiers); i++)
	{
		PkCompute compute = {.kernels = &kernels, .pool = pool};
		Result    together, alone;

		if (pk_kernels_select(pk_cpu_claim(), tiers[i], &kernels, NULL) != PK_OK)
			abort();
		make_result(&together);
		make_result(&alone);
		run(&compute, &fixture, &space, &together, 0, N_TOKENS);
		for (size_t t = 0; t < N_TOKENS; t++)
			run(&compute, &fixture, &space, &alone, t, t + 1);
		compare(kernels.name, &together, &alone);
		free_result(&together);
		free_result(&alone);
	}
	pk_workspace_free(&space);
	pk_pool_destroy(pool);
	free_fixture(&fixture);
	return done_testing();
}

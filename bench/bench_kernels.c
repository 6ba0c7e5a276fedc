/*
 * bench_kernels.c
 *    How fast the kernels are here: products of each format and tier, the memory they could at best
 *    be bound by, and attention. Each measurement takes part of a second; the best run counts.
 *
 * Usage: bench_kernels [TIER...]      without: all tiers that this machine has
 * A multiplication and an addition are two operations (Gop/s).
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/rng.h"
#include "core/base/threads.h"
#include "core/kernels/kernels.h"

#include "memory.h"
#include "timing.h"

#define N_ROWS 8192
#define N_COLS 2048
#define MAX_TOKENS 512
#define MAX_THREADS 2
#define TILE_BLOCKS 8 /* row blocks of a tile, and its tokens; the engine cuts like this */
#define TILE_TOKENS 64
#define MANY_ROWS 1024 /* rows for 64 tokens and more: a measurement stays short */
#define MEASURE_S 0.25 /* runs are repeated for so long */
#define STREAM_BYTES ((size_t) 1 << 30)
#define STREAM_TILE ((size_t) 1 << 20)
#define HEAD_SIZE 128
#define MAX_KEYS 2000
#define N_HEADS 16

typedef struct Bench
{
	PkPool     *pools[MAX_THREADS];
	PkKernels   kernels;
	PkMatrix    w[PK_N_QUANT];
	size_t      w_bytes[PK_N_QUANT];
	size_t      n_copies[PK_N_QUANT]; /* so many that no cache holds them */
	PkActs      acts[PK_N_QUANT];
	float      *y;
	float      *scores, *out, *q;
	const void *k_blocks[MAX_KEYS / PK_KV_BLOCK], *v_blocks[MAX_KEYS / PK_KV_BLOCK];
	const char *stream;
} Bench;

/* What a tile of the pool does; copy counts runs, so that each reads other memory. */
typedef struct Job
{
	Bench  *bench;
	PkGemm  gemm;
	PkQuant quant;
	size_t  n_keys;
	void (*product)(const PkGemm *g, size_t block_begin, size_t block_end);
	_Atomic uint64_t sum;
} Job;

static void   make_weights(Bench *bench, PkQuant quant);
static void   make_acts(Bench *bench, PkQuant quant);
static void   make_cache(Bench *bench);
static double measure(Bench *bench, PkTileFn fn, Job *job, size_t n_tiles, size_t n_threads);
static void   stream_tile(void *arg, size_t thread, size_t tile);
static void   product_tile(void *arg, size_t thread, size_t tile);
static void   single_tile(void *arg, size_t thread, size_t tile);
static void   attend_tile(void *arg, size_t thread, size_t tile);
static void   bench_stream(Bench *bench);
static void   bench_products(Bench *bench, PkQuant quant);
static void   bench_attention(Bench *bench);
static bool   is_asked(const char *tier, int argc, char **argv);

static void *
pages(size_t size_bytes)
{
	void   *memory;
	PkError err;

	must(pk_pages_alloc(size_bytes, &memory, &err), &err);
	return memory;
}

int
main(int argc, char **argv)
{
	static Bench bench;
	PkError      err;

	for (size_t i = 0; i < MAX_THREADS; i++)
		must(pk_pool_create(i + 1, &bench.pools[i], &err), &err);
	bench.y = pages((size_t) MAX_TOKENS * N_ROWS * sizeof(float));
	must(pk_kernels_select(pk_cpu_claim(), NULL, &bench.kernels, &err), &err);
	for (PkQuant quant = PK_QUANT_F16; quant < PK_N_QUANT; quant++)
	{
		make_weights(&bench, quant);
		make_acts(&bench, quant);
	}
	make_cache(&bench);
	bench_stream(&bench);
	printf("\nproducts of (T, %d) with (%d, %d): Gop/s, one token also as GB/s of weights\n",
	       N_COLS, N_ROWS, N_COLS);
	printf("%-8s %-5s %8s %13s %8s %8s %8s\n", "tier", "quant", "threads", "T = 1", "8", "64",
	       "512");
	for (size_t i = 0; pk_kernels_tier_name(i) != NULL; i++)
	{
		const char *tier = pk_kernels_tier_name(i);

		if (!is_asked(tier, argc, argv) ||
		    pk_kernels_select(pk_cpu_claim(), tier, &bench.kernels, &err) != PK_OK)
			continue;
		bench_products(&bench, PK_QUANT_Q8);
		bench_products(&bench, PK_QUANT_Q4);
		bench_products(&bench, PK_QUANT_F16);
	}
	printf("\nattention, %d heads of %d, f16: us a token and layer, 1 thread\n", N_HEADS,
	       HEAD_SIZE);
	printf("%-8s %8s %8s %8s\n", "tier", "128 keys", "512", "2000");
	for (size_t i = 0; pk_kernels_tier_name(i) != NULL; i++)
	{
		const char *tier = pk_kernels_tier_name(i);

		if (is_asked(tier, argc, argv) &&
		    pk_kernels_select(pk_cpu_claim(), tier, &bench.kernels, &err) == PK_OK)
			bench_attention(&bench);
	}
	for (size_t i = 0; i < MAX_THREADS; i++)
		pk_pool_destroy(bench.pools[i]);
	return 0;
}

static bool
is_asked(const char *tier, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], tier) == 0)
			return true;
	return argc < 2;
}

/* The same packed rows again and again, in as many copies as make 256 MB. */
static void
make_weights(Bench *bench, PkQuant quant)
{
	static float rows[PK_LANES * N_COLS];
	size_t       size, one, bad;

	if (!pk_matrix_size(quant, N_ROWS, N_COLS, &size) ||
	    !pk_matrix_size(quant, PK_LANES, N_COLS, &one))
		exit(1);
	for (size_t i = 0; i < PK_LENGTH(rows); i++)
		rows[i] = (float) pk_rng_uniform(1, i) - 0.5f;
	bench->w_bytes[quant] = size;
	bench->n_copies[quant] = ((size_t) 256 << 20) / size + 1;

	char *data = pages(size * bench->n_copies[quant]);

	pk_matrix_pack(quant, data, N_ROWS, N_COLS, 0, PK_LANES, rows, &bad, &bad);
	for (size_t at = one; at < size * bench->n_copies[quant]; at += one)
		memcpy(data + at, data, one);
	bench->w[quant] = (PkMatrix){quant, N_ROWS, N_COLS, data};
}

static void
make_acts(Bench *bench, PkQuant quant)
{
	size_t  group = pk_quant_group(quant), n_groups = N_COLS / group;
	float  *x = pages((size_t) MAX_TOKENS * N_COLS * sizeof(float));
	PkActs *acts = &bench->acts[quant];

	*acts = (PkActs){.n_cols = N_COLS,
	                 .x = x,
	                 .x_stride = N_COLS,
	                 .n_groups = n_groups,
	                 .q_stride = N_COLS + PK_ALIGNMENT};
	for (size_t i = 0; i < (size_t) MAX_TOKENS * N_COLS; i++)
		x[i] = (float) pk_rng_uniform(2, i) - 0.5f;
	if (group == 1)
		return;
	acts->q = pages((size_t) MAX_TOKENS * acts->q_stride);
	acts->scale = pages(MAX_TOKENS * n_groups * sizeof(float));
	acts->sum = pages(MAX_TOKENS * n_groups * sizeof(int32_t));
	for (size_t t = 0; t < MAX_TOKENS; t++)
		bench->kernels.quantize(x + t * N_COLS, N_COLS, group, acts->q + t * acts->q_stride,
		                        acts->scale + t * n_groups, acts->sum + t * n_groups);
}

static void
make_cache(Bench *bench)
{
	size_t    n_items = (size_t) PK_KV_BLOCK * HEAD_SIZE;
	float    *block = pages(n_items * sizeof(float));
	uint16_t *cache = pages(2 * MAX_KEYS * HEAD_SIZE * sizeof(uint16_t));

	for (size_t b = 0; b < 2 * MAX_KEYS / PK_KV_BLOCK; b++)
	{
		for (size_t i = 0; i < n_items; i++)
			block[i] = (float) pk_rng_uniform(b, i) - 0.5f;
		bench->kernels.f32_to_f16(cache + b * n_items, block, n_items);
		(b % 2 == 0 ? bench->k_blocks : bench->v_blocks)[b / 2] = cache + b * n_items;
	}
	pk_pages_free(block, n_items * sizeof(float));
	bench->q = pages(PK_ATTEND_QUERIES * HEAD_SIZE * sizeof(float));
	for (size_t i = 0; i < HEAD_SIZE; i++)
		bench->q[i] = (float) pk_rng_uniform(3, i) - 0.5f;
	bench->scores = pages(PK_ATTEND_QUERIES * MAX_KEYS * sizeof(float));
	bench->out = pages(PK_ATTEND_QUERIES * HEAD_SIZE * sizeof(float));
}

/* Seconds of the fastest run. */
static double
measure(Bench *bench, PkTileFn fn, Job *job, size_t n_tiles, size_t n_threads)
{
	double best = INFINITY, end = seconds() + MEASURE_S;
	int    n = 0;

	while (n++ < 1 || seconds() < end)
	{
		double begin = seconds();

		(void) pk_pool_run(bench->pools[n_threads - 1], fn, job, n_tiles, NULL);
		best = fmin(best, seconds() - begin);
	}
	return best;
}

static void
bench_stream(Bench *bench)
{
	void *stream = pages(STREAM_BYTES);

	memset(stream, 1, STREAM_BYTES);
	bench->stream = stream;
	for (size_t n_threads = 1; n_threads <= MAX_THREADS; n_threads++)
	{
		Job    job = {.bench = bench};
		double s = measure(bench, stream_tile, &job, STREAM_BYTES / STREAM_TILE, n_threads);

		printf("reading 1 GiB with %zu thread%s: %.1f GB/s\n", n_threads, n_threads > 1 ? "s" : "",
		       (double) STREAM_BYTES / s * 1e-9);
	}
	pk_pages_free(stream, STREAM_BYTES);
}

/* Eight sums, so that additions do not wait for each other. */
static void
stream_tile(void *arg, size_t thread, size_t tile)
{
	Job *job = arg;

	(void) thread;
	job->sum += read_memory(job->bench->stream + tile * STREAM_TILE, STREAM_TILE);
}

static void
bench_products(Bench *bench, PkQuant quant)
{
	static const size_t n_tokens[] = {1, 8, 64, 512};

	for (size_t n_threads = 1; n_threads <= MAX_THREADS; n_threads++)
	{
		printf("%-8s %-5s %8zu", bench->kernels.name, pk_quant_name(quant), n_threads);
		for (size_t i = 0; i < PK_LENGTH(n_tokens); i++)
		{
			const PkKernels *k = &bench->kernels;
			PkActs           acts = bench->acts[quant];
			Job              job = {.bench = bench,
			                        .gemm = {&bench->w[quant], &acts, NULL, bench->y, N_ROWS},
			                        .quant = quant,
			                        .product = quant == PK_QUANT_Q8   ? k->gemm_q8
			                                   : quant == PK_QUANT_Q4 ? k->gemm_q4
			                                                          : k->gemm_f16};
			size_t           n_rows = n_tokens[i] < 64 ? N_ROWS : MANY_ROWS;
			size_t           copies = i == 0 ? bench->n_copies[quant] : 1;
			size_t           n_tiles = n_rows / PK_LANES / TILE_BLOCKS * copies *
			                 ((n_tokens[i] + TILE_TOKENS - 1) / TILE_TOKENS);

			acts.n_tokens = n_tokens[i];

			double s =
				measure(bench, i == 0 ? single_tile : product_tile, &job, n_tiles, n_threads);

			s /= (double) copies;
			printf(" %8.1f", 2.0 * (double) n_rows * N_COLS * (double) n_tokens[i] / s * 1e-9);
			if (i == 0)
				printf("%5.1f", (double) bench->w_bytes[quant] / s * 1e-9);
			fflush(stdout);
		}
		printf("\n");
	}
}

/* Some rows for some tokens; token ranges are the fast index, as in the engine. */
static void
product_tile(void *arg, size_t thread, size_t tile)
{
	Job   *job = arg;
	PkActs acts = *job->gemm.acts;
	PkGemm g = job->gemm;
	size_t n_ranges = (acts.n_tokens + TILE_TOKENS - 1) / TILE_TOKENS;
	size_t t0 = tile % n_ranges * TILE_TOKENS, rows = tile / n_ranges * TILE_BLOCKS;

	(void) thread;
	if (acts.n_tokens > TILE_TOKENS)
		acts.n_tokens = TILE_TOKENS;
	acts.x += t0 * acts.x_stride;
	if (acts.q != NULL)
	{
		acts.q += t0 * acts.q_stride;
		acts.scale += t0 * acts.n_groups;
		acts.sum += t0 * acts.n_groups;
	}
	g.acts = &acts;
	g.y += t0 * g.y_stride;
	job->product(&g, rows, rows + TILE_BLOCKS);
}

/* One token, over all copies of the weights: they come from memory, as in a large model. */
static void
single_tile(void *arg, size_t thread, size_t tile)
{
	const size_t n_tiles = N_ROWS / PK_LANES / TILE_BLOCKS;
	Job         *job = arg;
	PkMatrix     w = job->bench->w[job->quant];
	PkGemm       g = job->gemm;

	(void) thread;
	w.data = (const char *) w.data + tile / n_tiles * job->bench->w_bytes[job->quant];
	g.w = &w;
	job->product(&g, tile % n_tiles * TILE_BLOCKS, (tile % n_tiles + 1) * TILE_BLOCKS);
}

static void
bench_attention(Bench *bench)
{
	static const size_t n_keys[] = {128, 512, 2000};

	printf("%-8s", bench->kernels.name);
	for (size_t i = 0; i < PK_LENGTH(n_keys); i++)
	{
		Job    job = {.bench = bench, .n_keys = n_keys[i]};
		double s = measure(bench, attend_tile, &job, N_HEADS, 1);

		printf(" %8.1f", s * 1e6 / PK_ATTEND_QUERIES);
	}
	printf("\n");
}

static void
attend_tile(void *arg, size_t thread, size_t tile)
{
	Job     *job = arg;
	Bench   *b = job->bench;
	PkAttend a = {.n_queries = PK_ATTEND_QUERIES,
	              .q = b->q,
	              .q_stride = HEAD_SIZE,
	              .out_stride = HEAD_SIZE,
	              .head_size = HEAD_SIZE,
	              .n_keys = job->n_keys - PK_ATTEND_QUERIES + 1,
	              .scale = 1.0f / sqrtf(HEAD_SIZE),
	              .k_blocks = b->k_blocks,
	              .v_blocks = b->v_blocks,
	              .scores = b->scores,
	              .out = b->out};

	(void) thread, (void) tile;
	b->kernels.attend_f16(&a);
}

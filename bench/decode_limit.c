/*
 * decode_limit.c
 *    How near the decode of one sequence is to the speed of memory.
 *
 * By turns a few tokens are decoded, and as many bytes as a token needs are read from the same
 * mapped image by the same number of threads: what other guests of the machine do to memory meets
 * both alike.
 *
 * Usage: decode_limit IMAGE [TOKENS]      (96)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/base/machine.h"
#include "core/base/threads.h"
#include "core/engine/engine.h"

#include "memory.h"
#include "timing.h"

#define KV_BYTES ((size_t) 1 << 30)
#define N_PROMPT 8
#define TOKENS_A_TURN 2
#define MAX_TURNS 1000
#define TILE_BYTES ((size_t) 1 << 20)

typedef struct Weights
{
	const char *bytes;
	size_t      n;
	uint64_t    sums[PK_MAX_THREADS];
} Weights;

static void       read_tile(void *arg, size_t thread, size_t tile);
static double     read_all(PkPool *pool, Weights *weights);
static double     decode_some(PkEngine *engine, size_t n);
static PkRequest *submit(PkEngine *engine, PkModel *model, size_t n_new);

int
main(int argc, char **argv)
{
	static Weights weights;
	static double  shares[MAX_TURNS], decodes[MAX_TURNS], reads[MAX_TURNS];

	size_t         n_tokens = argc > 2 ? strtoul(argv[2], NULL, 10) : 96;
	size_t         n_turns = n_tokens / TOKENS_A_TURN;
	PkEngineConfig config = {.kv_cache_bytes = KV_BYTES};
	PkEngine      *engine;
	PkModel       *model;
	PkPool        *pool;
	PkError        err;
	struct stat    st;
	int            fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || fstat(fd, &st) != 0 || n_turns < 1 || n_turns > MAX_TURNS)
	{
		fprintf(stderr, "usage: decode_limit IMAGE [TOKENS]\n");
		return 2;
	}
	weights.bytes = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (weights.bytes == MAP_FAILED)
		return 1;
	must(pk_model_open(argv[1], &model, &err), &err);
	weights.n = pk_model_info(model)->weight_bytes;
	must(pk_engine_create(&config, &engine, &err), &err);
	must(pk_pool_create(pk_n_processors(), &pool, &err), &err);

	PkRequest *request = submit(engine, model, n_tokens + 8);

	(void) decode_some(engine, 4);
	(void) read_all(pool, &weights);
	for (size_t i = 0; i < n_turns; i++)
	{
		double before = read_all(pool, &weights);

		decodes[i] = decode_some(engine, TOKENS_A_TURN) / TOKENS_A_TURN;
		reads[i] = (before + read_all(pool, &weights)) / 2;
		shares[i] = reads[i] / decodes[i];
	}
	qsort(shares, n_turns, sizeof(double), compare);
	qsort(decodes, n_turns, sizeof(double), compare);
	qsort(reads, n_turns, sizeof(double), compare);
	printf("decode: %.2f ms a token, %.2f ms to read its weights: %.1f %% of the limit "
	       "(%.1f..%.1f for half of %zu turns)\n",
	       1e3 * decodes[n_turns / 2], 1e3 * reads[n_turns / 2], 100 * shares[n_turns / 2],
	       100 * shares[n_turns / 4], 100 * shares[n_turns * 3 / 4], n_turns);
	pk_request_free(request);
	pk_engine_destroy(engine);
	pk_model_release(model);
	pk_pool_destroy(pool);
	return 0;
}

static void
read_tile(void *arg, size_t thread, size_t tile)
{
	Weights *weights = arg;
	size_t   begin = tile * TILE_BYTES, left = weights->n - begin;

	weights->sums[thread] +=
		read_memory(weights->bytes + begin, left < TILE_BYTES ? left : TILE_BYTES);
}

static double
read_all(PkPool *pool, Weights *weights)
{
	size_t n_tiles = (weights->n + TILE_BYTES - 1) / TILE_BYTES;
	double begin = seconds();

	(void) pk_pool_run(pool, read_tile, weights, n_tiles, NULL);
	return seconds() - begin;
}

static double
decode_some(PkEngine *engine, size_t n)
{
	double  begin = seconds();
	PkError err;

	for (size_t i = 0; i < n; i++)
		must(pk_engine_step(engine, NULL, &err), &err);
	return seconds() - begin;
}

static PkRequest *
submit(PkEngine *engine, PkModel *model, size_t n_new)
{
	static int32_t tokens[N_PROMPT] = {1, 2, 3, 5, 7, 11, 13, 17};

	PkRequestSpec spec = {
		.kind = PK_REQUEST_GENERATE,
		.model = model,
		.tokens = tokens,
		.n_tokens = N_PROMPT,
		.max_tokens = (int32_t) n_new,
		.sample = {.top_p = 1.0f, .repetition_penalty = 1.0f, .min_tokens = (int32_t) n_new}};
	PkRequest *request;
	PkError    err;

	must(pk_engine_submit(engine, &spec, &request, &err), &err);
	return request;
}

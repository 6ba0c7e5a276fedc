/*
 * bench_engine.c
 *    What the engine gains and keeps when requests share it.
 *
 *    shared    rows with a common beginning, with reuse of prefixes and without, side by side
 *    enter     time between tokens of 16 sequences, undisturbed and while a long prompt enters
 *
 * Usage: bench_engine IMAGE shared [ROWS COMMON OWN NEW]      (256 500 20 1)
 *        bench_engine IMAGE enter [SEQUENCES PROMPT NEW]      (16 2000 64)
 * Tokens are made up; sampling is greedy without end tokens.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/engine.h"

#include "timing.h"

#define MAX_ROWS 4096
#define MAX_GAPS ((size_t) 1 << 16)
#define KV_BYTES ((size_t) 2 << 30)
#define RUNS 3
#define KEY 1

typedef struct Bench
{
	PkModel  *model;
	PkEngine *engine;
} Bench;

/* Tokens of a prompt: common ones, the same for all, then own ones. */
typedef struct Row
{
	size_t   n_common, n_own, n_new;
	size_t   number;
	uint64_t cache_key;
} Row;

static void   bench_shared(const Bench *bench, const size_t *n);
static double run_shared(const Bench *bench, const size_t *n, uint64_t cache_key, double *reused);
static void   bench_enter(const Bench *bench, const size_t *n);
static size_t run_gaps(const Bench *bench, PkRequest *until, double *gaps);
static void   report_gaps(const char *name, double *gaps, size_t n);
static PkRequest *submit(const Bench *bench, const Row *row);
static void       step(const Bench *bench);

int
main(int argc, char **argv)
{
	Bench          bench;
	PkEngineConfig config = {.kv_cache_bytes = KV_BYTES};
	PkError        err;
	bool           is_enter = argc > 2 && strcmp(argv[2], "enter") == 0;
	size_t         n[4] = {256, 500, 20, 1};

	if (argc < 3 || (!is_enter && strcmp(argv[2], "shared") != 0) || argc > 7)
	{
		fprintf(stderr, "usage: bench_engine IMAGE shared [ROWS COMMON OWN NEW]\n"
		                "       bench_engine IMAGE enter [SEQUENCES PROMPT NEW]\n");
		return 2;
	}
	if (is_enter)
		memcpy(n, (size_t[]){16, 2000, 64, 0}, sizeof(n));
	for (int i = 3; i < argc; i++)
		n[i - 3] = strtoul(argv[i], NULL, 10);
	if (n[0] < 1 || n[0] > MAX_ROWS)
		n[0] = MAX_ROWS;
	must(pk_model_open(argv[1], &bench.model, &err), &err);
	must(pk_engine_create(&config, &bench.engine, &err), &err);
	if (is_enter)
		bench_enter(&bench, n);
	else
		bench_shared(&bench, n);
	pk_engine_destroy(bench.engine);
	pk_model_release(bench.model);
	return 0;
}

/* n: rows, common tokens, own tokens, new tokens. A run of few rows warms up. */
static void
bench_shared(const Bench *bench, const size_t *n)
{
	size_t few[4] = {2, n[1], n[2], n[3]};
	double ratios[RUNS];
	double reused;

	run_shared(bench, few, 0, &reused);
	for (size_t run = 0; run < RUNS; run++)
	{
		double without = run_shared(bench, n, 0, &reused);
		double with = run_shared(bench, n, KEY + run, &reused); /* nothing is there before */

		ratios[run] = without / with;
		printf("%zu rows, %zu + %zu tokens, %zu new: without %.2f s, with %.2f s, %.2f times as "
		       "fast, %.1f %% of prompt tokens reused\n",
		       n[0], n[1], n[2], n[3], without, with, ratios[run], 100 * reused);
	}
	qsort(ratios, RUNS, sizeof(double), compare);
	printf("shared: %.2f (%.2f..%.2f)\n", ratios[RUNS / 2], ratios[0], ratios[RUNS - 1]);
}

static double
run_shared(const Bench *bench, const size_t *n, uint64_t cache_key, double *reused)
{
	static PkRequest *requests[MAX_ROWS];
	double            begin = seconds();
	double            elapsed;
	size_t            n_reused = 0;

	for (size_t i = 0; i < n[0]; i++)
		requests[i] = submit(bench, &(Row){n[1], n[2], n[3], i + 1, cache_key});
	while (pk_engine_n_running(bench->engine) > 0)
		step(bench);
	elapsed = seconds() - begin;
	for (size_t i = 0; i < n[0]; i++)
	{
		n_reused += pk_request_n_reused(requests[i]);
		pk_request_free(requests[i]);
	}
	*reused = (double) n_reused / (double) (n[0] * (n[1] + n[2]));
	return elapsed;
}

/* n: sequences, tokens of the prompt, tokens of undisturbed decoding. */
static void
bench_enter(const Bench *bench, const size_t *n)
{
	static PkRequest *requests[MAX_ROWS];
	double           *gaps = malloc(MAX_GAPS * sizeof(double));
	size_t            n_gaps;

	if (gaps == NULL)
		abort();
	for (size_t i = 0; i < n[0]; i++)
		requests[i] = submit(bench, &(Row){0, 16 + i, 1500, i + 1, 0});
	for (size_t i = 0; i < n[0]; i++)
		while (pk_request_n_completion(requests[i]) < 4)
			step(bench);

	/* until a first sequence has n[2] tokens more */
	for (size_t run = 0; run < RUNS; run++)
	{
		size_t end = pk_request_n_completion(requests[0]) + n[2];
		double begin = seconds();

		n_gaps = 0;
		while (pk_request_n_completion(requests[0]) < end && n_gaps < MAX_GAPS)
		{
			double before = seconds();

			step(bench);
			gaps[n_gaps++] = seconds() - before;
		}
		report_gaps("undisturbed", gaps, n_gaps);

		PkRequest *prompt = submit(bench, &(Row){n[1], 0, 1, run, 0});

		begin = seconds();
		n_gaps = run_gaps(bench, prompt, gaps);
		report_gaps("while a prompt enters", gaps, n_gaps);
		printf("  %zu tokens in %.2f s\n", n[1], seconds() - begin);
		pk_request_free(prompt);
	}
	for (size_t i = 0; i < n[0]; i++)
		pk_request_free(requests[i]);
	free(gaps);
}

/* Each step gives each sequence a token, so the steps are the gaps. */
static size_t
run_gaps(const Bench *bench, PkRequest *until, double *gaps)
{
	size_t n = 0;

	while (pk_request_n_completion(until) == 0 && n < MAX_GAPS)
	{
		double begin = seconds();

		step(bench);
		gaps[n++] = seconds() - begin;
	}
	return n;
}

static void
report_gaps(const char *name, double *gaps, size_t n)
{
	qsort(gaps, n, sizeof(double), compare);
	printf("%s: %zu steps, median %.1f ms, p99 %.1f ms, most %.1f ms\n", name, n, 1e3 * gaps[n / 2],
	       1e3 * gaps[n - 1 - n / 100], 1e3 * gaps[n - 1]);
}

static PkRequest *
submit(const Bench *bench, const Row *row)
{
	size_t        n_tokens = row->n_common + row->n_own;
	uint32_t      n_vocab = pk_model_config(bench->model)->n_tokens;
	int32_t      *tokens = malloc((n_tokens + 1) * sizeof(int32_t));
	PkRequest    *request;
	PkError       err;
	PkRequestSpec spec = {
		.kind = PK_REQUEST_GENERATE,
		.model = bench->model,
		.tokens = tokens,
		.n_tokens = n_tokens,
		.session = row->number % 4,
		.cache_key = row->cache_key,
		.max_tokens = (int32_t) row->n_new,
		.sample = {.top_p = 1.0f, .repetition_penalty = 1.0f, .min_tokens = (int32_t) row->n_new}};

	if (tokens == NULL)
		abort();
	for (size_t i = 0; i < n_tokens; i++)
		tokens[i] =
			(int32_t) ((i < row->n_common ? i + 1 : (row->number + 1) * (i + 1)) * 7919 % n_vocab);
	must(pk_engine_submit(bench->engine, &spec, &request, &err), &err);
	free(tokens);
	return request;
}

static void
step(const Bench *bench)
{
	PkError err;

	must(pk_engine_step(bench->engine, NULL, &err), &err);
}

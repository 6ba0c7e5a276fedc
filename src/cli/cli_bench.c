/*
 * cli_bench.c
 *    Tokens a second of prefill, of decode of one or many rows, and of embedding a file of texts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* What a run of requests took. */
typedef struct Timing
{
	double first; /* until the last of them had its first token */
	double total;
	size_t n_decoded; /* all but the first of each row; the context may end before what was asked */
} Timing;

static PkStatus bench(const CliOptions *options, CliSession *session, PkError *err);
static PkStatus bench_texts(const CliOptions *options, CliSession *session, PkError *err);
static PkStatus run_rows(CliSession *session, size_t n_rows, size_t n_prompt, size_t n_new,
                         Timing *out, PkError *err);
static PkStatus submit_row(CliSession *session, size_t row, size_t n_prompt, size_t n_new,
                           PkRequest **out, PkError *err);
static bool     all_began(PkRequest *const *requests, size_t n);
static PkStatus read_texts(const CliOptions *options, const PkModel *model, PkTokens **out,
                           size_t *n_texts, double *mb_s, PkError *err);
static PkStatus embed_all(CliSession *session, const PkTokens *texts, size_t n_texts, PkError *err);

int
cli_command_bench(const CliOptions *options)
{
	CliSession session;
	PkError    err;

	if (cli_session_open(options, options->args[0], &session, &err) != PK_OK)
		return cli_fail(&err);

	PkStatus status = options->texts != NULL ? bench_texts(options, &session, &err)
	                                         : bench(options, &session, &err);

	cli_session_close(&session);
	return status == PK_OK ? CLI_OK : cli_fail(&err);
}

/* A run before, so that memory and threads are there. */
static PkStatus
bench(const CliOptions *options, CliSession *session, PkError *err)
{
	Timing timing;

	PK_FORWARD(run_rows(session, 1, options->n_prefill, 1, &timing, err));
	PK_FORWARD(run_rows(session, 1, options->n_prefill, 1, &timing, err));
	printf("kernels: %s\nprefill: %zu tokens, %.3f s, %.1f tokens/s\n",
	       pk_engine_kernels(session->engine), options->n_prefill, timing.total,
	       (double) options->n_prefill / timing.total);
	PK_FORWARD(run_rows(session, options->n_rows, 1, options->n_decode + 1, &timing, err));
	printf("decode: %zu tokens, %.3f s, %.1f tokens/s\n", timing.n_decoded,
	       timing.total - timing.first, (double) timing.n_decoded / (timing.total - timing.first));
	return PK_OK;
}

static PkStatus
run_rows(CliSession *session, size_t n_rows, size_t n_prompt, size_t n_new, Timing *out,
         PkError *err)
{
	PkRequest **requests = calloc(n_rows, sizeof(PkRequest *));
	PkStatus    status = requests != NULL ? PK_OK : pk_error(err, PK_NO_MEMORY, "out of memory");
	double      begin = cli_seconds();

	*out = (Timing){0};
	for (size_t i = 0; status == PK_OK && i < n_rows; i++)
		status = submit_row(session, i, n_prompt, n_new, &requests[i], err);
	while (status == PK_OK && pk_engine_n_running(session->engine) > 0)
	{
		status = pk_engine_step(session->engine, NULL, err);
		if (out->first == 0 && all_began(requests, n_rows))
			out->first = cli_seconds() - begin;
	}
	out->total = cli_seconds() - begin;
	for (size_t i = 0; status == PK_OK && i < n_rows; i++)
		out->n_decoded += pk_request_n_completion(requests[i]) - 1;
	for (size_t i = 0; requests != NULL && i < n_rows; i++)
		pk_request_free(requests[i]);
	free(requests);
	return status;
}

static PkStatus
submit_row(CliSession *session, size_t row, size_t n_prompt, size_t n_new, PkRequest **out,
           PkError *err)
{
	const PkConfig *config = pk_model_config(session->model);
	int32_t        *tokens = malloc(n_prompt * sizeof(int32_t));
	PkRequestSpec   spec = {
		  .kind = PK_REQUEST_GENERATE,
		  .model = session->model,
		  .tokens = tokens,
		  .n_tokens = n_prompt,
		  .max_tokens = (int32_t) n_new,
		  .sample = {.top_p = 1.0f, .repetition_penalty = 1.0f, .min_tokens = (int32_t) n_new}};

	if (tokens == NULL)
		return pk_error(err, PK_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < n_prompt; i++)
		tokens[i] = (int32_t) ((row + 1) * (i + 1) * 7919 % config->n_tokens);

	PkStatus status = pk_engine_submit(session->engine, &spec, out, err);

	free(tokens);
	return status;
}

static bool
all_began(PkRequest *const *requests, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pk_request_n_completion(requests[i]) == 0)
			return false;
	return true;
}

static PkStatus
bench_texts(const CliOptions *options, CliSession *session, PkError *err)
{
	PkTokens *texts = NULL;
	size_t    n_texts = 0, n_tokens = 0;
	double    mb_s = 0, begin;
	PkStatus  status = read_texts(options, session->model, &texts, &n_texts, &mb_s, err);

	for (size_t i = 0; i < n_texts; i++)
		n_tokens += texts[i].n;
	if (status == PK_OK)
		status = embed_all(session, texts, n_texts < 32 ? n_texts : 32, err);
	begin = cli_seconds();
	if (status == PK_OK)
		status = embed_all(session, texts, n_texts, err);

	double seconds = cli_seconds() - begin;

	if (status == PK_OK)
		printf("embed: %zu texts, %zu tokens, %.3f s, %.1f tokens/s\ntokenize: %.1f MB/s\n",
		       n_texts, n_tokens, seconds, (double) n_tokens / seconds, mb_s);
	for (size_t i = 0; i < n_texts; i++)
		pk_tokens_free(&texts[i]);
	free(texts);
	return status;
}

/* The lines of options->texts that have tokens; *mb_s is the tokenizer's speed on them. */
static PkStatus
read_texts(const CliOptions *options, const PkModel *model, PkTokens **out, size_t *n_texts,
           double *mb_s, PkError *err)
{
	FILE    *file = fopen(options->texts, "r");
	char    *line = NULL;
	size_t   room = 0, n_room = 0, n_bytes = 0;
	double   seconds = 0;
	PkStatus status = PK_OK;

	if (file == NULL)
		return pk_error_errno(err, errno, "could not open %s", options->texts);
	for (ssize_t len; status == PK_OK && (options->n_lines == 0 || *n_texts < options->n_lines) &&
	                  (len = getline(&line, &room, file)) >= 0;)
	{
		if (len > 0 && line[len - 1] == '\n')
			len--;
		if (*n_texts == n_room)
		{
			n_room = n_room * 2 + 1024;

			PkTokens *more = realloc(*out, n_room * sizeof(PkTokens));

			if (more == NULL)
			{
				status = pk_error(err, PK_NO_MEMORY, "out of memory");
				break;
			}
			*out = more;
		}

		double begin = cli_seconds();

		status = cli_encode(model, line, (size_t) len, &(*out)[*n_texts], err);
		seconds += cli_seconds() - begin;
		n_bytes += (size_t) len;
		if (status == PK_OK && (*out)[*n_texts].n > 0)
			(*n_texts)++;
	}
	*mb_s = seconds > 0 ? (double) n_bytes / seconds / 1e6 : 0;
	free(line);
	fclose(file);
	return status;
}

static PkStatus
embed_all(CliSession *session, const PkTokens *texts, size_t n_texts, PkError *err)
{
	PkRequest **requests = calloc(n_texts > 0 ? n_texts : 1, sizeof(PkRequest *));
	size_t      context = pk_model_config(session->model)->max_position_embeddings;
	PkStatus    status = requests != NULL ? PK_OK : pk_error(err, PK_NO_MEMORY, "out of memory");

	for (size_t i = 0; status == PK_OK && i < n_texts; i++)
	{
		PkRequestSpec spec = {.kind = PK_REQUEST_EMBED,
		                      .model = session->model,
		                      .tokens = texts[i].ids,
		                      .n_tokens = texts[i].n < context ? texts[i].n : context,
		                      .layer = -1,
		                      .normalize = true};

		status = pk_engine_submit(session->engine, &spec, &requests[i], err);
	}
	while (status == PK_OK && pk_engine_n_running(session->engine) > 0)
		status = pk_engine_step(session->engine, NULL, err);
	for (size_t i = 0; requests != NULL && i < n_texts; i++)
		pk_request_free(requests[i]);
	free(requests);
	return status;
}

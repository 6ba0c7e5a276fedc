/*
 * cli_bench.c
 *    Tokens a second of prefill, of decode of one or many rows, and of embedding a file of texts.
 */
#include <stdlib.h>

#include "cli/cli.h"

/* What a run of requests took. */
typedef struct Timing
{
	double first; /* until the last of them had its first token */
	double total;
	size_t n_decoded; /* all but the first of each row; the context may end before what was asked */
} Timing;

/* Texts to embed, and what it took to tokenize them. */
typedef struct Texts
{
	const PkModel *model;
	PkTokens      *items;
	size_t         n, n_room, n_bytes;
	double         seconds;
} Texts;

static PkStatus bench(const CliOptions *options, CliSession *session, PkError *err);
static PkStatus bench_texts(const CliOptions *options, CliSession *session, CliLines *lines,
                            PkError *err);
static PkStatus embed_texts(CliSession *session, const Texts *texts, PkError *err);
static PkStatus add_text(void *arg, const char *line, size_t len, PkError *err);
static PkStatus run_rows(CliSession *session, size_t n_rows, size_t n_prompt, size_t n_new,
                         Timing *out, PkError *err);
static PkStatus submit_row(CliSession *session, size_t row, size_t n_prompt, size_t n_new,
                           PkRequest **out, PkError *err);
static bool     all_began(PkRequest *const *requests, size_t n);
static PkStatus embed_all(CliSession *session, const PkTokens *texts, size_t n_texts, PkError *err);

int
cli_command_bench(const CliOptions *options)
{
	CliSession session = {0};
	CliLines   lines = {0};
	PkError    err;
	PkStatus   status = PK_OK;

	if (options->texts != NULL)
		status = cli_lines_open(options->texts, &lines, &err);
	if (status == PK_OK)
		status = cli_session_open(options, options->args[0], &session, &err);
	if (status == PK_OK)
		status = options->texts != NULL ? bench_texts(options, &session, &lines, &err)
		                                : bench(options, &session, &err);
	cli_session_close(&session);
	cli_lines_close(&lines);
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
bench_texts(const CliOptions *options, CliSession *session, CliLines *lines, PkError *err)
{
	Texts    texts = {.model = session->model};
	PkStatus status = cli_lines_walk(lines, options->n_lines, add_text, &texts, err);

	if (status == PK_OK)
		status = embed_texts(session, &texts, err);
	for (size_t i = 0; i < texts.n; i++)
		pk_tokens_free(&texts.items[i]);
	free(texts.items);
	return status;
}

static PkStatus
embed_texts(CliSession *session, const Texts *texts, PkError *err)
{
	size_t n_tokens = 0;
	double begin;

	for (size_t i = 0; i < texts->n; i++)
		n_tokens += texts->items[i].n;
	PK_FORWARD(embed_all(session, texts->items, texts->n < 32 ? texts->n : 32, err));
	begin = cli_seconds();
	PK_FORWARD(embed_all(session, texts->items, texts->n, err));

	double seconds = cli_seconds() - begin;
	double mb_s = texts->seconds > 0 ? (double) texts->n_bytes / texts->seconds / 1e6 : 0;

	printf("embed: %zu texts, %zu tokens, %.3f s, %.1f tokens/s\ntokenize: %.1f MB/s\n", texts->n,
	       n_tokens, seconds, (double) n_tokens / seconds, mb_s);
	return PK_OK;
}

/* Of CliLineFn: arg is a Texts. A line without tokens is left out. */
static PkStatus
add_text(void *arg, const char *line, size_t len, PkError *err)
{
	Texts *texts = arg;

	if (texts->n == texts->n_room)
	{
		size_t    n_room = texts->n_room * 2 + 1024;
		PkTokens *more = realloc(texts->items, n_room * sizeof(PkTokens));

		if (more == NULL)
			return pk_error(err, PK_NO_MEMORY, "out of memory");
		texts->items = more;
		texts->n_room = n_room;
	}

	double begin = cli_seconds();

	PK_FORWARD(cli_encode(texts->model, line, len, &texts->items[texts->n], err));
	texts->seconds += cli_seconds() - begin;
	texts->n_bytes += len;
	if (texts->items[texts->n].n > 0)
		texts->n++;
	return PK_OK;
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

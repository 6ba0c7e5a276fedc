/*
 * cli_perplexity.c
 *    The perplexity of the lines of a file.
 */
#include <math.h>

#include "cli/cli.h"

/* Lines that are scored together. */
#define BATCH_LINES 32

typedef struct Perplexity
{
	CliSession session;
	size_t     n_lines;
	size_t     n_tokens; /* with a log-probability: all after the first of each line */
	double     nll;
	PkRequest *requests[BATCH_LINES];
	size_t     n_requests;
} Perplexity;

static PkStatus score_file(const CliOptions *options, Perplexity *work, CliLines *lines,
                           PkError *err);
static PkStatus submit_line(void *arg, const char *line, size_t len, PkError *err);
static PkStatus finish_lines(Perplexity *work, PkError *err);

int
cli_command_perplexity(const CliOptions *options)
{
	Perplexity work = {0};
	CliLines   lines;
	PkError    err;
	double     begin;

	if (cli_lines_open(options->args[1], &lines, &err) != PK_OK)
		return cli_fail(&err);

	PkStatus status = cli_session_open(options, options->args[0], &work.session, &err);

	begin = cli_seconds();
	if (status == PK_OK)
		status = score_file(options, &work, &lines, &err);
	if (status == PK_OK)
		printf("lines: %zu\ntokens: %zu\nnll: %.6f\nperplexity: %.6f\nseconds: %.2f\n",
		       work.n_lines, work.n_tokens, work.nll, exp(work.nll / (double) work.n_tokens),
		       cli_seconds() - begin);
	for (size_t i = 0; i < work.n_requests; i++)
		pk_request_free(work.requests[i]);
	cli_session_close(&work.session);
	cli_lines_close(&lines);
	return status == PK_OK ? CLI_OK : cli_fail(&err);
}

static PkStatus
score_file(const CliOptions *options, Perplexity *work, CliLines *lines, PkError *err)
{
	PK_FORWARD(cli_lines_walk(lines, options->n_lines, submit_line, work, err));
	PK_FORWARD(finish_lines(work, err));
	if (work->n_tokens == 0)
		return pk_error(err, PK_BAD_ARGUMENT, "no line of %s has two tokens: nothing to score",
		                lines->path);
	return PK_OK;
}

static PkStatus
submit_line(void *arg, const char *line, size_t len, PkError *err)
{
	Perplexity *work = arg;
	size_t      context = pk_model_config(work->session.model)->max_position_embeddings;
	PkTokens    tokens;
	PkStatus    status = cli_encode(work->session.model, line, len, &tokens, err);

	if (status == PK_OK)
	{
		PkRequestSpec spec = {.kind = PK_REQUEST_SCORE,
		                      .model = work->session.model,
		                      .tokens = tokens.ids,
		                      .n_tokens = tokens.n < context ? tokens.n : context};

		status =
			pk_engine_submit(work->session.engine, &spec, &work->requests[work->n_requests], err);
	}
	pk_tokens_free(&tokens);
	PK_FORWARD(status);
	work->n_lines++;
	if (++work->n_requests == BATCH_LINES)
		return finish_lines(work, err);
	return PK_OK;
}

static PkStatus
finish_lines(Perplexity *work, PkError *err)
{
	while (pk_engine_n_running(work->session.engine) > 0)
		PK_FORWARD(pk_engine_step(work->session.engine, NULL, err));
	for (size_t i = 0; i < work->n_requests; i++)
	{
		size_t       n = 0;
		const float *logprobs = pk_request_floats(work->requests[i], &n);

		for (size_t k = 0; k < n; k++)
			work->nll -= (double) logprobs[k];
		work->n_tokens += n;
		pk_request_free(work->requests[i]);
	}
	work->n_requests = 0;
	return PK_OK;
}

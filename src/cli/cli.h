/*
 * cli.h
 *    What the commands of polyko_cli share: options, opening a model, one engine.
 */
#ifndef PK_CLI_H
#define PK_CLI_H

#include <stdio.h>

#include "core/engine/engine.h"

/* Exit codes. */
#define CLI_OK 0
#define CLI_FAILED 1 /* the work failed; the reason is on stderr */
#define CLI_USAGE 2  /* wrong options */

typedef struct CliOptions
{
	PkQuant        quant;
	const char    *kernels;
	size_t         n_threads;
	size_t         kv_cache_bytes;
	size_t         max_batch_tokens;
	const char    *output; /* convert */
	PkSampleParams sample;
	int32_t        max_tokens;
	const char    *stop[16];
	size_t         n_stop;
	size_t         prompt_lookup;
	bool           is_detailed;
	PkPooling      pooling;
	bool           normalize;
	int32_t        layer;
	size_t         n_prefill, n_decode, n_rows; /* bench */
	const char    *texts;                       /* bench: a file of texts to embed */
	size_t         n_lines;                     /* perplexity, bench; 0: all */
	char         **args;                        /* what follows the command */
	size_t         n_args;
} CliOptions;

/* A model and the engine that runs it. */
typedef struct CliSession
{
	PkModel  *model;
	PkEngine *engine;
} CliSession;

/* Defaults, then the options of argv; false after a message on stderr. */
bool cli_options_parse(int argc, char **argv, CliOptions *out);
void cli_usage(FILE *out);

/* The whole program: an exit code. */
int cli_main(int argc, char **argv);

/* Print err to stderr and return CLI_FAILED. */
int cli_fail(const PkError *err);

/*
 * Open path: an image, or a checkpoint directory, which is converted to a temporary image under
 * TMPDIR that is gone when the model is open.
 */
PkStatus cli_model_open(const CliOptions *options, const char *path, PkModel **out, PkError *err);
PkStatus cli_convert(const CliOptions *options, const char *dir, const char *image_path,
                     PkHash128 *fingerprint, PkError *err);

/*
 * Convert to a name beside path and rename it at the end, so that a failure leaves what was there.
 * Refused before anything is touched: a path that is a file of the checkpoint, no regular file, or
 * neither empty nor an image.
 */
PkStatus cli_convert_to(const CliOptions *options, const char *dir, const char *path,
                        PkHash128 *fingerprint, PkError *err);

/*
 * From catch to release, SIGINT, SIGTERM and SIGHUP end the program at release only; until then
 * cli_signals_came() is true, as the poll of a PkCancel.
 */
void cli_signals_catch(void);
bool cli_signals_came(void *unused);
void cli_signals_release(void);

/* path can be read and begins as images do. */
bool cli_is_image(const char *path);

PkStatus cli_session_open(const CliOptions *options, const char *path, CliSession *out,
                          PkError *err);
void     cli_session_close(CliSession *session);

/* Submit and step until done; *out is to be freed by the caller also on failure (or NULL). */
PkStatus cli_run(CliSession *session, const PkRequestSpec *spec, PkRequest **out, PkError *err);

/* Ids of a text; an empty one is one <|endoftext|>. pk_tokens_free() frees. */
PkStatus cli_encode(const PkModel *model, const char *text, size_t len, PkTokens *out,
                    PkError *err);

/* A file of texts, one a line; path "-" is standard input. */
typedef struct CliLines
{
	FILE       *file;
	const char *path; /* for messages */
} CliLines;

/* Also fails when there is nothing to read. */
PkStatus cli_lines_open(const char *path, CliLines *out, PkError *err);
void     cli_lines_close(CliLines *lines);

/* fn(arg, line, len) for each of the first n_most lines (0: all), without its end. */
typedef PkStatus (*CliLineFn)(void *arg, const char *line, size_t len, PkError *err);
PkStatus cli_lines_walk(CliLines *lines, size_t n_most, CliLineFn fn, void *arg, PkError *err);

double cli_seconds(void);

/* The commands; each returns an exit code. */
int cli_command_convert(const CliOptions *options);
int cli_command_generate(const CliOptions *options);
int cli_command_tokenize(const CliOptions *options);
int cli_command_embed(const CliOptions *options);
int cli_command_perplexity(const CliOptions *options);
int cli_command_info(const CliOptions *options);
int cli_command_bench(const CliOptions *options);

#endif

/*
 * cli_session.c
 *    Opening models and running requests for the commands.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/machine.h"
#include "core/model/convert.h"

static PkStatus open_directory(const CliOptions *options, const char *dir, PkModel **out,
                               PkError *err);
static PkStatus open_converted(const CliOptions *options, const char *dir, PkModel **out,
                               PkError *err);
static bool     is_directory(const char *path);

int
cli_fail(const PkError *err)
{
	fprintf(stderr, "polyko_cli: %s\n", err->text);
	if (err->hint[0] != '\0')
		fprintf(stderr, "hint: %s\n", err->hint);
	return CLI_FAILED;
}

PkStatus
cli_model_open(const CliOptions *options, const char *path, PkModel **out, PkError *err)
{
	if (is_directory(path))
		return open_directory(options, path, out, err);

	PkStatus status = pk_model_open(path, out, err);

	if (status != PK_OK && status != PK_NO_FILE && err->hint[0] == '\0' && !cli_is_image(path))
		pk_error_hint(err, status,
		              "MODEL is an image made by convert, or a checkpoint: give its directory, not "
		              "a file in it.");
	return status;
}

static bool
is_directory(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static PkStatus
open_directory(const CliOptions *options, const char *dir, PkModel **out, PkError *err)
{
	cli_signals_catch();

	PkStatus status = open_converted(options, dir, out, err);

	cli_signals_release();
	if (status == PK_NO_DISK)
		pk_error_hint(err, status,
		              "Free disk space, or let TMPDIR name a directory on another disk.");
	return status;
}

/* The image is unlinked once it is mapped. */
static PkStatus
open_converted(const CliOptions *options, const char *dir, PkModel **out, PkError *err)
{
	const char *tmp = getenv("TMPDIR");
	char        folder[1024];
	char        image[1100];
	PkHash128   fingerprint;

	snprintf(folder, sizeof(folder), "%s/polyko_cli.XXXXXX", tmp != NULL && *tmp ? tmp : "/tmp");
	if (mkdtemp(folder) == NULL)
		return pk_error_errno(err, errno, "could not make a directory like %s", folder);
	snprintf(image, sizeof(image), "%s/image", folder);

	PkStatus status = cli_convert(options, dir, image, &fingerprint, err);

	if (status == PK_OK)
		status = pk_model_open(image, out, err);
	unlink(image);
	rmdir(folder);
	return status;
}

PkStatus
cli_convert(const CliOptions *options, const char *dir, const char *image_path,
            PkHash128 *fingerprint, PkError *err)
{
	PkSources *sources;
	PkPool    *pool;
	PkHash128  key;

	PK_FORWARD(pk_sources_scan(dir, &sources, err));
	key = pk_sources_key(sources);
	pk_sources_free(sources);
	PK_FORWARD(pk_pool_create(options->n_threads > 0 ? options->n_threads : pk_n_processors(),
	                          &pool, err));

	PkCancel  cancel = {.poll = cli_signals_came};
	PkConvert convert = {.source_dir = dir,
	                     .quant = options->quant,
	                     .image_path = image_path,
	                     .pool = pool,
	                     .cancel = &cancel};
	PkStatus  status = pk_convert(&convert, key, fingerprint, err);

	pk_pool_destroy(pool);
	return status;
}

PkStatus
cli_session_open(const CliOptions *options, const char *path, CliSession *out, PkError *err)
{
	PkEngineConfig config = {.n_threads = options->n_threads,
	                         .kv_cache_bytes = options->kv_cache_bytes,
	                         .max_batch_tokens = options->max_batch_tokens,
	                         .kernels = options->kernels};

	*out = (CliSession){0};
	PK_FORWARD(cli_model_open(options, path, &out->model, err));

	PkStatus status = pk_engine_create(&config, &out->engine, err);

	if (status != PK_OK)
		cli_session_close(out);
	return status;
}

void
cli_session_close(CliSession *session)
{
	pk_engine_destroy(session->engine);
	pk_model_release(session->model);
	*session = (CliSession){0};
}

PkStatus
cli_run(CliSession *session, const PkRequestSpec *spec, PkRequest **out, PkError *err)
{
	*out = NULL;
	PK_FORWARD(pk_engine_submit(session->engine, spec, out, err));
	while (pk_request_finish(*out) == PK_FINISH_NONE)
		PK_FORWARD(pk_engine_step(session->engine, NULL, err));
	return PK_OK;
}

PkStatus
cli_encode(const PkModel *model, const char *text, size_t len, PkTokens *out, PkError *err)
{
	int32_t end = pk_model_config(model)->endoftext_id;

	*out = (PkTokens){0};
	PK_FORWARD(pk_tokenizer_encode(pk_model_tokenizer(model), text, len, out, NULL, err));
	if (out->n > 0 || end < 0)
		return PK_OK;
	pk_tokens_free(out);
	out->ids = malloc(sizeof(int32_t));
	if (out->ids == NULL)
		return pk_error(err, PK_NO_MEMORY, "out of memory");
	out->ids[0] = end;
	out->n = out->n_room = 1;
	return PK_OK;
}

double
cli_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/*
 * golden.h
 *    What tests of the engine share: a checkpoint as a model, requests run to their end, and
 *    golden.json, which transformers computed (test/tools/mk_golden.py).
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stdlib.h>
#include <unistd.h>

#include "../tap.h"
#include "core/base/json.h"
#include "core/base/mapfile.h"
#include "core/engine/engine.h"
#include "core/model/convert.h"

#define KV_BYTES ((size_t) 256 << 20)

/* Stop the test program: what it stands on is missing. */
__attribute__((unused)) static void
must(PkStatus status, const PkError *err)
{
	if (status == PK_OK)
		return;
	printf("Bail out! %s: %s\n", pk_status_name(status), err->text);
	exit(1);
}

/* Convert dir to an image in a folder of its own, and open it. golden_remove() removes both. */
__attribute__((unused)) static PkModel *
golden_model_in_place(const char *dir, PkQuant quant)
{
	const char *tmp = getenv("TMPDIR");
	char        folder[512];
	char        image[600];
	PkSources  *sources;
	PkModel    *model = NULL;
	PkHash128   fingerprint;
	PkError     err;

	snprintf(folder, sizeof(folder), "%s/polyko-test.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(folder) == NULL)
		abort();
	snprintf(image, sizeof(image), "%s/image", folder);
	must(pk_sources_scan(dir, &sources, &err), &err);

	PkConvert convert = {.source_dir = dir, .quant = quant, .image_path = image};

	must(pk_convert(&convert, pk_sources_key(sources), &fingerprint, &err), &err);
	pk_sources_free(sources);
	must(pk_model_open(image, &model, &err), &err);
	return model;
}

__attribute__((unused)) static void
golden_remove(const PkModel *model)
{
	char folder[600];

	snprintf(folder, sizeof(folder), "%s", pk_model_path(model));
	unlink(folder);
	*strrchr(folder, '/') = '\0';
	rmdir(folder);
}

/* A model whose image is gone with it. */
__attribute__((unused)) static PkModel *
golden_model(const char *dir, PkQuant quant)
{
	PkModel *model = golden_model_in_place(dir, quant);

	golden_remove(model);
	return model;
}

__attribute__((unused)) static PkTokens
golden_encode(const PkModel *model, const char *text)
{
	PkTokens tokens = {0};
	PkError  err;

	must(pk_tokenizer_encode(pk_model_tokenizer(model), text, strlen(text), &tokens, NULL, &err),
	     &err);
	return tokens;
}

__attribute__((unused)) static PkEngine *
golden_engine(const char *kernels, size_t n_threads, size_t chunk, size_t kv_bytes)
{
	PkEngineConfig config = {.n_threads = n_threads,
	                         .kv_cache_bytes = kv_bytes,
	                         .max_batch_tokens = chunk,
	                         .kernels = kernels};
	PkEngine      *engine;
	PkError        err;

	must(pk_engine_create(&config, &engine, &err), &err);
	return engine;
}

/* Step until nothing runs. */
__attribute__((unused)) static void
golden_finish(PkEngine *engine)
{
	PkError err;

	while (pk_engine_n_running(engine) > 0)
		must(pk_engine_step(engine, NULL, &err), &err);
}

__attribute__((unused)) static PkRequest *
golden_submit(PkEngine *engine, const PkRequestSpec *spec)
{
	PkRequest *request;
	PkError    err;

	must(pk_engine_submit(engine, spec, &request, &err), &err);
	return request;
}

__attribute__((unused)) static PkRequest *
golden_run(PkEngine *engine, const PkRequestSpec *spec)
{
	PkRequest *request = golden_submit(engine, spec);

	golden_finish(engine);
	return request;
}

__attribute__((unused)) static PkSampleParams
golden_greedy(void)
{
	return (PkSampleParams){.top_p = 1.0f, .repetition_penalty = 1.0f};
}

/* golden.json of dir; pk_json_free() frees. */
__attribute__((unused)) static PkJsonDoc *
golden_json(const char *dir)
{
	PkJsonDoc *doc;
	PkError    err;
	char      *text;
	size_t     len;

	must(pk_file_load(dir, "golden.json", (size_t) 16 << 20, &text, &len, &err), &err);

	PkStatus status = pk_json_parse(text, len, "golden.json", &doc, &err);

	free(text);
	must(status, &err);
	return doc;
}

/* An array of integers, or of numbers, as malloc'ed memory. */
__attribute__((unused)) static int32_t *
golden_ids(const PkJson *array, size_t *n)
{
	int32_t *out = calloc(pk_json_size(array) + 1, sizeof(int32_t));

	*n = pk_json_size(array);
	for (size_t i = 0; i < *n; i++)
	{
		int64_t value = -1;

		(void) pk_json_int(pk_json_at(array, i), &value);
		out[i] = (int32_t) value;
	}
	return out;
}

__attribute__((unused)) static double
golden_real(const PkJson *object, const char *key)
{
	double value = NAN;

	(void) pk_json_real(pk_json_get(object, key), &value);
	return value;
}

/* Cosine of values (n) and an array of as many numbers; -2 if the lengths differ. */
__attribute__((unused)) static double
golden_cosine(const float *values, size_t n, const PkJson *array)
{
	double dot = 0;
	double aa = 0;
	double bb = 0;

	if (pk_json_size(array) != n)
		return -2;
	for (size_t i = 0; i < n; i++)
	{
		double b = NAN;

		(void) pk_json_real(pk_json_at(array, i), &b);
		dot += (double) values[i] * b;
		aa += (double) values[i] * (double) values[i];
		bb += b * b;
	}
	return dot / sqrt(aa * bb);
}

#endif

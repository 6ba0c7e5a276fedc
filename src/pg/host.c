/*
 * host.c
 *    The engine inside the backend that asks.
 *
 * A backend has one engine from its first request on. Its threads, KV cache, scratch memory and
 * models are given back when the client's message has been answered (MessageContext is reset
 * before the server waits for the next one), so a session that waits, also inside a transaction,
 * holds nothing but what an open stream needs. Where there is no such message, in background
 * workers, the transaction's end does it.
 *
 * A request is tied to the memory context it was made in. The tier of kernels is fixed by the
 * first engine of the process; other settings count from the next engine on, which is made when
 * they differ and no request is alive.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/infer/kvcache.h"
#include "pg/guc.h"
#include "pg/host.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"

/* Of keys and values, when polyko.kv_cache_size is not set. */
#define DEFAULT_KV_BYTES ((size_t) 256 << 20)

/* A request, tied to the memory context it was made in; all three kinds are held so. */
struct PkpgStream
{
	PkRequest *request; /* NULL until it was taken in, and once it was freed */
	PkpgTie   *tie;
	size_t     n_read;
	bool       was_reported;
};

static PkEngine      *engine = NULL;
static PkEngineConfig engine_config;
static size_t         n_alive = 0; /* requests of the engine */
static bool           is_release_planned = false;

static void   stream_free(void *arg);
static void   engine_want(const PkModel *model);
static size_t kv_bytes_for(const PkModel *model);
static bool   is_same_config(const PkEngineConfig *a, const PkEngineConfig *b);
static void   plan_release(void);
static void   release(void *arg);
static void   run(PkRequest *request);
static void   step(void);
static void   report_run(const PkRequest *request);

PkpgGeneration *
pkpg_run_generate(const PkRequestSpec *spec)
{
	PkpgStream     *held = pkpg_stream_begin(spec);
	PkpgGeneration *out;
	const char     *text;
	size_t          len;

	run(held->request);
	text = pk_request_text(held->request, &len);
	out = palloc0(PKPG_GENERATION_SIZE(len));
	out->logprob = pk_request_logprob(held->request);
	out->finish = pk_request_finish(held->request);
	out->n_prompt = (int32_t) pk_request_n_prompt(held->request);
	out->n_completion = (int32_t) pk_request_n_completion(held->request);
	out->text_len = len;
	memcpy(out->text, text, len);
	pkpg_stream_end(held);
	return out;
}

const float *
pkpg_run_embed(const PkRequestSpec *spec, size_t *n)
{
	PkpgStream  *held = pkpg_stream_begin(spec);
	const float *floats;
	float       *out;

	run(held->request);
	floats = pk_request_floats(held->request, n);
	out = palloc(*n * sizeof(float));
	memcpy(out, floats, *n * sizeof(float));
	pkpg_stream_end(held);
	return out;
}

PkpgStream *
pkpg_stream_begin(const PkRequestSpec *spec)
{
	PkpgStream *stream = palloc0(sizeof(PkpgStream));
	PkError     err = {0};
	PkStatus    status;

	/* what may fail in PostgreSQL comes first: the request is tied from the moment it exists */
	stream->tie = pkpg_tie(CurrentMemoryContext, stream_free, stream);
	engine_want(spec->model);
	plan_release();
	status = pk_engine_submit(engine, spec, &stream->request, &err);
	if (status == PK_BAD_ARGUMENT && err.hint[0] == '\0')
		pk_error_hint(&err, status, "Leave the argument out to get its default.");
	pkpg_check(status, &err);
	n_alive++;
	return stream;
}

bool
pkpg_stream_next(PkpgStream *stream, PkPiece *piece)
{
	PkRequest *request = stream->request;

	if (request == NULL)
		return false;
	plan_release();
	while (pk_request_finish(request) == PK_FINISH_NONE &&
	       pk_request_n_pieces(request) <= stream->n_read)
		step();
	if (!stream->was_reported && pk_request_finish(request) != PK_FINISH_NONE)
	{
		report_run(request);
		stream->was_reported = true;
	}
	if (pk_request_n_pieces(request) <= stream->n_read)
		return false;
	*piece = pk_request_piece(request, stream->n_read++);
	return true;
}

void
pkpg_stream_end(PkpgStream *stream)
{
	pkpg_untie(stream->tie);
}

static void
stream_free(void *arg)
{
	PkpgStream *stream = arg;

	if (stream->request == NULL)
		return;
	pk_request_free(stream->request);
	stream->request = NULL;
	n_alive--;
}

/* The engine exists, and with the settings of now unless requests are alive. */
static void
engine_want(const PkModel *model)
{
	static char *kernels = NULL; /* of this process's first engine */

	PkError        err = {0};
	PkEngineConfig wanted = {.n_threads = (size_t) pkpg_threads,
	                         .kv_cache_bytes = kv_bytes_for(model),
	                         .max_batch_tokens = (size_t) pkpg_max_batch_tokens,
	                         .kernels = kernels != NULL ? kernels : pkpg_kernels};

	if (engine != NULL && (n_alive > 0 || is_same_config(&wanted, &engine_config)))
		return;
	pk_engine_destroy(engine);
	engine = NULL;
	pkpg_check(pk_engine_create(&wanted, &engine, &err), &err);
	engine_config = wanted;
	engine_config.kernels = NULL; /* the setting's memory may change */
	if (kernels == NULL)
		kernels = MemoryContextStrdup(TopMemoryContext, pkpg_kernels);
}

/* The kernels are left out: they never change. */
static bool
is_same_config(const PkEngineConfig *a, const PkEngineConfig *b)
{
	return a->n_threads == b->n_threads && a->kv_cache_bytes == b->kv_cache_bytes &&
	       a->max_batch_tokens == b->max_batch_tokens;
}

/* Unless the setting says otherwise one full context always fits. */
static size_t
kv_bytes_for(const PkModel *model)
{
	const PkConfig *config = pk_model_config(model);
	size_t          value_bytes = pk_model_info(model)->quant == PK_QUANT_F32 ? 4 : 2;
	size_t          position_bytes =
		2 * value_bytes * config->num_hidden_layers * (size_t) config->hidden_size;

	if (pkpg_kv_cache_size_kb >= 0)
		return (size_t) pkpg_kv_cache_size_kb * 1024;
	return Max(DEFAULT_KV_BYTES,
	           position_bytes * ((size_t) config->max_position_embeddings + PK_KV_BLOCK));
}

static void
plan_release(void)
{
	MemoryContext context = MessageContext != NULL ? MessageContext : TopTransactionContext;

	if (is_release_planned)
		return;

	MemoryContextCallback *callback =
		MemoryContextAllocZero(context, sizeof(MemoryContextCallback));

	callback->func = release;
	MemoryContextRegisterResetCallback(context, callback);
	is_release_planned = true;
}

static void
release(void *arg)
{
	(void) arg;
	is_release_planned = false;
	if (engine != NULL)
		pk_engine_idle(engine);
}

static void
run(PkRequest *request)
{
	while (pk_request_finish(request) == PK_FINISH_NONE)
		step();
	report_run(request);
}

/* One step of all requests, or the error of an interrupt. */
static void
step(void)
{
	PkCancel cancel;
	PkError  err = {0};
	PkStatus status;

	CHECK_FOR_INTERRUPTS();
	pkpg_cancel_init(&cancel);
	status = pk_engine_step(engine, &cancel, &err);
	pkpg_check(status, &err);
}

/* Lets tests and curious users count; never with text. */
static void
report_run(const PkRequest *request)
{
	ereport(DEBUG1, (errmsg_internal("polyko: model run, %zu prompt tokens, %zu generated",
	                                 pk_request_n_prompt(request), pk_request_n_pieces(request)),
	                 errhidestmt(true)));
}

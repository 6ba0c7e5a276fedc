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

/* A request, tied to the memory context it was made in. */
struct PkpgRequest
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

static void   held_free(void *arg);
static void   engine_want(const PkModel *model);
static size_t kv_bytes_for(const PkModel *model);
static bool   is_same_config(const PkEngineConfig *a, const PkEngineConfig *b);
static void   plan_release(void);
static void   release(void *arg);
static void   report_run(const PkRequest *request);

PkpgGeneration *
pkpg_request_generation(PkpgRequest *held)
{
	PkpgGeneration *out;
	size_t          len;
	const char     *text = pk_request_text(held->request, &len);

	out = palloc0(PKPG_GENERATION_SIZE(len));
	out->logprob = pk_request_logprob(held->request);
	out->finish = pk_request_finish(held->request);
	out->n_prompt = (int32_t) pk_request_n_prompt(held->request);
	out->n_completion = (int32_t) pk_request_n_completion(held->request);
	out->text_len = len;
	memcpy(out->text, text, len);
	report_run(held->request);
	pkpg_request_end(held);
	return out;
}

float *
pkpg_request_floats(PkpgRequest *held, size_t *n)
{
	const float *floats = pk_request_floats(held->request, n);
	float       *out = palloc(*n * sizeof(float));

	memcpy(out, floats, *n * sizeof(float));
	report_run(held->request);
	pkpg_request_end(held);
	return out;
}

bool
pkpg_request_is_done(const PkpgRequest *held)
{
	return pk_request_finish(held->request) != PK_FINISH_NONE;
}

void
pkpg_request_count(const PkpgRequest *held, uint64_t *n_prompt, uint64_t *n_generated)
{
	*n_prompt += pk_request_n_prompt(held->request);
	*n_generated += pk_request_n_pieces(held->request);
}

PkpgRequest *
pkpg_request_begin(const PkRequestSpec *spec)
{
	PkpgRequest *held = palloc0(sizeof(PkpgRequest));
	PkError      err = {0};
	PkStatus     status;

	/* what may fail in PostgreSQL comes first: the request is tied from the moment it exists */
	held->tie = pkpg_tie(CurrentMemoryContext, held_free, held);
	engine_want(spec->model);
	plan_release();
	status = pk_engine_submit(engine, spec, &held->request, &err);
	if (status == PK_BAD_ARGUMENT && err.hint[0] == '\0')
		pk_error_hint(&err, status, "Leave the argument out to get its default.");
	pkpg_check(status, &err);
	n_alive++;
	return held;
}

bool
pkpg_request_next(PkpgRequest *held, PkPiece *piece)
{
	PkRequest *request = held->request;

	if (request == NULL)
		return false;
	while (pk_request_finish(request) == PK_FINISH_NONE &&
	       pk_request_n_pieces(request) <= held->n_read)
		(void) pkpg_step();
	if (!held->was_reported && pk_request_finish(request) != PK_FINISH_NONE)
	{
		report_run(request);
		held->was_reported = true;
	}
	if (pk_request_n_pieces(request) <= held->n_read)
		return false;
	*piece = pk_request_piece(request, held->n_read++);
	return true;
}

void
pkpg_request_end(PkpgRequest *held)
{
	pkpg_untie(held->tie);
}

static void
held_free(void *arg)
{
	PkpgRequest *held = arg;

	if (held->request == NULL)
		return;
	pk_request_free(held->request);
	held->request = NULL;
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

size_t
pkpg_step(void)
{
	size_t   n_running = pk_engine_n_running(engine);
	PkCancel cancel;
	PkError  err = {0};

	CHECK_FOR_INTERRUPTS();
	plan_release();
	pkpg_cancel_init(&cancel);
	pkpg_check(pk_engine_step(engine, &cancel, &err), &err);
	return n_running;
}

/* Lets tests and curious users count; never with text. */
static void
report_run(const PkRequest *request)
{
	ereport(DEBUG1, (errmsg_internal("polyko: model run, %zu prompt tokens, %zu generated",
	                                 pk_request_n_prompt(request), pk_request_n_pieces(request)),
	                 errhidestmt(true)));
}

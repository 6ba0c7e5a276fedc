/*
 * host_local.c
 *    The engine inside the backend that asks.
 *
 * A backend has one engine from its first request on. Its threads end when the client's message has
 * been answered (MessageContext is reset before the server waits for the next one); where there is
 * no such message, in background workers, the transaction's end does it. Its KV cache and scratch
 * memory stay for the next message, which saves the kernel from clearing them again, and are given
 * back after a second without one, so a session that waits, also inside a transaction, holds
 * nothing but what an open stream needs and the tokenizer tables of its models (some MB each).
 *
 * The tier of kernels is fixed by the first engine of the process; other settings count from the
 * next engine on, which is made when they differ and no request is alive.
 */
#include "postgres.h"

#include <signal.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

#include "core/infer/kvcache.h"
#include "pg/guc.h"
#include "pg/host/host_internal.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"

/* Of keys and values, when polyko.kv_cache_size is not set. */
#define DEFAULT_KV_BYTES ((size_t) 256 << 20)
#define REST_MS 1000 /* memory is kept so long for the next message */

typedef struct Local
{
	dlist_node     node;
	PkRequest     *request; /* NULL: it has failed */
	const PkModel *model;
	PkError        error;
	uint64         steps_before, step_rows_before; /* when it began */
} Local;

static PkEngine      *engine = NULL;
static PkEngineConfig engine_config;
static dlist_head     locals = DLIST_STATIC_INIT(locals);
static size_t         n_alive = 0; /* of them */
static uint64         n_steps = 0; /* of all engines of this process */
static uint64         n_step_rows = 0;
static bool           is_release_planned = false;
static TimeoutId      rest_timeout;

/* What the handler of the timeout may look at. */
static volatile sig_atomic_t is_resting = false;

static void   begin(const PkpgAsk *ask, void **out);
static void   free_request(void *request);
static void   step(void);
static bool   fail_unreadable(void);
static bool   is_done(const void *request);
static bool   has_failed(const void *request);
static void   check(const void *request);
static void   answer(const void *request, PkpgAnswer *out);
static bool   piece(void *request, size_t i, PkPiece *out);
static size_t n_running(void);
static void   engine_want(const PkModel *model);
static size_t kv_bytes_for(const PkModel *model);
static void   allow_kv(size_t bytes);
static bool   is_same_config(const PkEngineConfig *a, const PkEngineConfig *b);
static void   plan_release(void);
static void   release(void *arg);
static void   rest(void);
static void   rest_is_over(void);

const PkpgHost pkpg_local_host = {begin, free_request, step,  is_done,  has_failed,
                                  check, answer,       piece, n_running};

static void
begin(const PkpgAsk *ask, void **out)
{
	PkRequestSpec spec = *ask->spec;
	PkError       err = {0};
	Local        *local = palloc0(sizeof(Local)); /* goes with the context that frees the request */

	is_resting = false;
	plan_release();
	engine_want(spec.model);
	spec.cache_key = ask->role;
	pkpg_check(pk_engine_submit(engine, &spec, &local->request, &err), &err);
	local->model = spec.model;
	local->steps_before = n_steps;
	local->step_rows_before = n_step_rows;
	*out = local;
	dlist_push_tail(&locals, &local->node);
	n_alive++;
}

static void
free_request(void *request)
{
	Local *local = request;

	dlist_delete(&local->node);
	pk_request_free(local->request);
	n_alive--;
	/* a stream that is closed by a message without a request: nothing else gives its memory back */
	if (n_alive == 0 && !is_release_planned)
		pk_engine_idle(engine);
}

static void
step(void)
{
	size_t   n = n_running();
	PkCancel cancel;
	PkError  err = {0};
	PkStatus status;

	CHECK_FOR_INTERRUPTS();
	plan_release();
	pkpg_cancel_init(&cancel);
	status = pk_engine_step(engine, &cancel, &err);
	if (status == PK_IO && fail_unreadable())
		return;
	pkpg_check(status, &err);
	n_steps++;
	n_step_rows += n;
}

/* Those whose image can't be read end, and no others. False if there is none. */
static bool
fail_unreadable(void)
{
	bool       is_any = false;
	dlist_iter it;

	dlist_foreach(it, &locals)
	{
		Local *local = dlist_container(Local, node, it.cur);

		if (is_done(local) || pk_model_check_read(local->model, &local->error) == PK_OK)
			continue;
		pk_request_free(local->request);
		local->request = NULL;
		is_any = true;
	}
	return is_any;
}

static bool
is_done(const void *request)
{
	const Local *local = request;

	return local->request == NULL || pk_request_finish(local->request) != PK_FINISH_NONE;
}

/* Any other error of a step is raised at once. */
static bool
has_failed(const void *request)
{
	return ((const Local *) request)->request == NULL;
}

static void
check(const void *request)
{
	const Local *local = request;

	if (local->request == NULL)
		pkpg_raise(local->error.status, &local->error);
}

static void
answer(const void *request, PkpgAnswer *out)
{
	const Local     *local = request;
	const PkRequest *asked = local->request;

	out->finish = pk_request_finish(asked);
	out->logprob = pk_request_logprob(asked);
	out->n_prompt = pk_request_n_prompt(asked);
	out->n_completion = pk_request_n_completion(asked);
	out->text = pk_request_text(asked, &out->text_len);
	out->floats = pk_request_floats(asked, &out->n_floats);
	out->run = (PkpgRun){.n_prompt = out->n_prompt,
	                     .n_generated = pk_request_n_pieces(asked),
	                     .n_reused = pk_request_n_reused(asked),
	                     .n_drafted = pk_request_n_drafted(asked),
	                     .n_accepted = pk_request_n_accepted(asked),
	                     .n_steps = n_steps - local->steps_before,
	                     .n_step_rows = n_step_rows - local->step_rows_before,
	                     .first_step = local->steps_before + 1,
	                     .last_step = n_steps};
}

static bool
piece(void *request, size_t i, PkPiece *out)
{
	const PkRequest *asked = ((Local *) request)->request;

	if (asked == NULL || i >= pk_request_n_pieces(asked))
		return false;
	*out = pk_request_piece(asked, i);
	return true;
}

static size_t
n_running(void)
{
	return engine == NULL ? 0 : pk_engine_n_running(engine);
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

	if (engine != NULL && n_alive > 0)
	{
		if (pkpg_kv_cache_size_kb <= 0)
			allow_kv(wanted.kv_cache_bytes);
		return;
	}
	if (engine != NULL && is_same_config(&wanted, &engine_config))
		return;
	pk_engine_destroy(engine);
	engine = NULL;
	pkpg_check(pk_engine_create(&wanted, &engine, &err), &err);
	engine_config = wanted;
	engine_config.kernels = NULL; /* the setting's memory may change */
	if (kernels == NULL)
		kernels = MemoryContextStrdup(TopMemoryContext, pkpg_kernels);
}

/* Another model beside those at work may have a larger context. */
static void
allow_kv(size_t bytes)
{
	if (bytes <= engine_config.kv_cache_bytes)
		return;
	pk_engine_allow_kv(engine, bytes);
	engine_config.kv_cache_bytes = bytes;
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

	if (pkpg_kv_cache_size_kb > 0)
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
	if (engine == NULL)
		return;
	if (n_alive > 0 || MyBackendType != B_BACKEND)
		pk_engine_idle(engine);
	else
		rest();
}

static void
rest(void)
{
	static bool is_registered = false;

	if (!is_registered)
		rest_timeout = RegisterTimeout(USER_TIMEOUT, rest_is_over);
	is_registered = true;
	pk_engine_rest(engine);
	is_resting = true;
	enable_timeout_after(rest_timeout, REST_MS);
}

/* In the handler of SIGALRM. */
static void
rest_is_over(void)
{
	if (is_resting)
		pk_engine_discard(engine);
	is_resting = false;
}

/*
 * engine.c
 *    The engine's models, sessions and requests, and what a step is made of: a plan for all
 * (stepplan.c), then step.c for each model.
 */
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/machine.h"
#include "core/engine/engine_internal.h"

/* Tokens of one step when the configuration names none. */
#define DEFAULT_BATCH_TOKENS 512
/* Sizes in messages. */
#define MEGABYTE ((size_t) 1 << 20)

static PkStatus model_find(PkEngine *engine, PkModel *model, PkEngineModel **out, PkError *err);
static PkStatus model_add(PkEngine *engine, PkModel *model, PkEngineModel **out, PkError *err);
static void     models_drop_unused(PkEngine *engine, const PkModel *only);
static PkStatus check_kv(const PkEngine *engine, const PkRequestSpec *spec,
                         const PkEngineModel *model, PkError *err);
static PkStatus session_find(PkEngine *engine, uint64_t id, PkEngineSession **out, PkError *err);
static void     session_drop(PkEngine *engine, PkEngineSession *session);
static void     list_append(PkEngine *engine, PkRequest *request);
static void     list_remove(PkEngine *engine, PkRequest *request);

PkStatus
pk_engine_create(const PkEngineConfig *config, PkEngine **out, PkError *err)
{
	void *room;

	PK_FORWARD(pk_calloc(1, sizeof(PkEngine), &room, err));

	PkEngine *engine = room;
	PkStatus  status = pk_kernels_select(pk_cpu_claim(), config->kernels, &engine->kernels, err);

	if (status == PK_OK && config->n_threads > PK_MAX_THREADS)
		status = pk_error(err, PK_BAD_ARGUMENT, "%zu threads, at most %d are possible",
		                  config->n_threads, PK_MAX_THREADS);
	if (status != PK_OK)
	{
		free(engine);
		return status;
	}
	engine->n_threads = config->n_threads > 0 ? config->n_threads : pk_n_processors();
	if (engine->n_threads > PK_MAX_THREADS)
		engine->n_threads = PK_MAX_THREADS;
	engine->has_fixed_chunks = config->max_batch_tokens > 0;
	engine->max_batch_tokens =
		engine->has_fixed_chunks ? config->max_batch_tokens : DEFAULT_BATCH_TOKENS;
	engine->budget.max_bytes = config->kv_cache_bytes;
	*out = engine;
	return PK_OK;
}

void
pk_engine_destroy(PkEngine *engine)
{
	if (engine == NULL)
		return;
	pk_engine_idle(engine);
	PK_ASSERT(engine->models == NULL); /* requests were freed first */
	pk_batch_free(&engine->batch);
	pk_engine_plan_free(engine);
	free(engine->outputs);
	free(engine);
}

const char *
pk_engine_kernels(const PkEngine *engine)
{
	return engine->kernels.name;
}

void
pk_engine_idle(PkEngine *engine)
{
	pk_pool_destroy(engine->pool);
	engine->pool = NULL;
	pk_workspace_free(&engine->space);
	models_drop_unused(engine, NULL);
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		pk_kv_cache_trim(model->cache);
}

/* Of several models only those in use would be worth it: then all is given back. */
void
pk_engine_rest(PkEngine *engine)
{
	PkKvBudget *budget = &engine->budget;

	PK_ASSERT(engine->n_running == 0);
	if (engine->models == NULL || engine->models->next != NULL)
	{
		pk_engine_idle(engine);
		return;
	}
	pk_pool_destroy(engine->pool);
	engine->pool = NULL;
	while (budget->give_up != NULL && budget->give_up(budget))
		continue;
}

void
pk_engine_discard(const PkEngine *engine)
{
	pk_pages_discard(engine->space.pages, engine->space.size_bytes);
	for (const PkEngineModel *model = engine->models; model != NULL; model = model->next)
		pk_kv_cache_discard(model->cache);
}

void
pk_engine_allow_kv(PkEngine *engine, size_t bytes)
{
	PK_ASSERT(bytes >= engine->budget.max_bytes);
	engine->budget.max_bytes = bytes;
}

void
pk_engine_forget(PkEngine *engine, const PkModel *model)
{
	models_drop_unused(engine, model);
}

PkStatus
pk_engine_submit(PkEngine *engine, const PkRequestSpec *spec, PkRequest **out, PkError *err)
{
	PkEngineModel *model;
	PkRequest     *request;

	PK_FORWARD(model_find(engine, spec->model, &model, err));
	PK_FORWARD(pk_request_create(spec, model, &request, err));

	PkEngineSession *session;
	PkStatus         status = check_kv(engine, spec, model, err);

	if (status == PK_OK)
		status = session_find(engine, spec->session, &session, err);
	if (status != PK_OK)
	{
		pk_request_destroy(request);
		return status;
	}
	request->engine = engine;
	request->session = session;
	model->n_requests++;
	list_append(engine, request);
	*out = request;
	return PK_OK;
}

static PkStatus
model_find(PkEngine *engine, PkModel *model, PkEngineModel **out, PkError *err)
{
	for (PkEngineModel *m = engine->models; m != NULL; m = m->next)
		if (m->model == model)
		{
			*out = m;
			return PK_OK;
		}
	return model_add(engine, model, out, err);
}

static PkStatus
model_add(PkEngine *engine, PkModel *model, PkEngineModel **out, PkError *err)
{
	void *room;

	PK_FORWARD(pk_model_prepare(model, err));
	PK_FORWARD(pk_calloc(1, sizeof(PkEngineModel), &room, err));

	PkEngineModel *added = room;
	PkStatus       status = pk_kv_cache_create(pk_model_config(model), pk_model_info(model)->quant,
	                                           &engine->budget, &added->cache, err);

	if (status == PK_OK)
		status = pk_prefix_create(added->cache, &added->prefixes, err);
	if (status != PK_OK)
	{
		pk_kv_cache_destroy(added->cache);
		free(added);
		return status;
	}
	pk_pace_init(&added->pace, pk_config_n_parameters(pk_model_config(model)), engine->n_threads,
	             engine->kernels.needs == 0);
	added->model = pk_model_ref(model);
	added->next = engine->models;
	engine->models = added;
	*out = added;
	return PK_OK;
}

/* only NULL: all that no request uses. */
static void
models_drop_unused(PkEngine *engine, const PkModel *only)
{
	for (PkEngineModel **link = &engine->models; *link != NULL;)
	{
		PkEngineModel *model = *link;

		if (model->n_requests > 0 || (only != NULL && model->model != only))
		{
			link = &model->next;
			continue;
		}
		*link = model->next;
		pk_prefix_destroy(model->prefixes);
		pk_kv_cache_destroy(model->cache);
		pk_model_release(model->model);
		free(model);
	}
}

/* A request that fits alone is never failed later: it may wait, or be computed again. */
static PkStatus
check_kv(const PkEngine *engine, const PkRequestSpec *spec, const PkEngineModel *model,
         PkError *err)
{
	size_t n_positions = pk_request_max_positions(spec);
	size_t bytes;

	if (pk_size_mul(pk_kv_n_blocks(n_positions), pk_kv_block_bytes(model->cache), &bytes) &&
	    bytes <= engine->budget.max_bytes)
		return PK_OK;
	pk_error(err, PK_NO_MEMORY,
	         "%zu tokens need %zu MB of keys and values, the KV cache may have %zu MB", n_positions,
	         (bytes + MEGABYTE - 1) / MEGABYTE, engine->budget.max_bytes / MEGABYTE);
	return pk_error_hint(err, PK_NO_MEMORY, "Raise polyko.kv_cache_size, or ask for fewer tokens.");
}

/* A new one is owed nothing for the time before: it stands level with who was given least. */
static PkStatus
session_find(PkEngine *engine, uint64_t id, PkEngineSession **out, PkError *err)
{
	PkEngineSession **link = &engine->sessions;
	uint64_t          least = engine->sessions != NULL ? engine->sessions->n_served : 0;
	void             *room;

	for (; *link != NULL; link = &(*link)->next)
	{
		if ((*link)->id == id)
		{
			*out = *link;
			return PK_OK;
		}
		if ((*link)->n_served < least)
			least = (*link)->n_served;
	}
	PK_FORWARD(pk_calloc(1, sizeof(PkEngineSession), &room, err));
	*out = *link = room;
	(*out)->id = id;
	(*out)->n_served = least;
	engine->n_sessions++;
	return PK_OK;
}

static void
session_drop(PkEngine *engine, PkEngineSession *session)
{
	PkEngineSession **link = &engine->sessions;

	while (*link != session)
		link = &(*link)->next;
	*link = session->next;
	free(session);
	engine->n_sessions--;
}

static void
list_append(PkEngine *engine, PkRequest *request)
{
	request->prev = engine->last;
	request->next = NULL;
	if (engine->last != NULL)
		engine->last->next = request;
	else
		engine->first = request;
	engine->last = request;
	engine->n_running++;
	request->session->n_requests++;
}

static void
list_remove(PkEngine *engine, PkRequest *request)
{
	if (request->prev != NULL)
		request->prev->next = request->next;
	else
		engine->first = request->next;
	if (request->next != NULL)
		request->next->prev = request->prev;
	else
		engine->last = request->prev;
	request->prev = request->next = NULL;
	engine->n_running--;
	engine->n_paused -= request->is_paused ? 1 : 0;
	if (--request->session->n_requests == 0)
		session_drop(engine, request->session);
	request->session = NULL;
}

void
pk_request_free(PkRequest *request)
{
	if (request == NULL)
		return;
	if (request->phase != PK_PHASE_ENDED)
		list_remove(request->engine, request);
	request->model->n_requests--;
	pk_request_destroy(request);
}

size_t
pk_engine_n_running(const PkEngine *engine)
{
	return engine->n_running;
}

bool
pk_engine_has_work(const PkEngine *engine)
{
	return engine->n_running > engine->n_paused;
}

void
pk_request_pause(PkRequest *request, bool paused)
{
	if (request->phase == PK_PHASE_ENDED || request->is_paused == paused)
		return;
	request->is_paused = paused;
	if (paused)
	{
		request->engine->n_paused++;
		pk_prefix_retract(request->model->prefixes, &request->path); /* others go on */
	}
	else
		request->engine->n_paused--;
}

void
pk_engine_stats(const PkEngine *engine, PkEngineStats *out)
{
	*out = (PkEngineStats){.kv_max_bytes = engine->budget.max_bytes,
	                       .kv_used_bytes = pk_kv_held(&engine->budget),
	                       .kv_cached_bytes = engine->budget.cached_bytes,
	                       .workspace_bytes = engine->space.size_bytes,
	                       .n_steps = engine->n_steps,
	                       .n_step_rows = engine->n_step_rows};
	for (const PkRequest *request = engine->first; request != NULL; request = request->next)
		if (request->phase == PK_PHASE_WAITING)
			out->n_waiting++;
		else
			out->n_running++;
}

PkStatus
pk_engine_step(PkEngine *engine, PkCancel *cancel, PkError *err)
{
	if (!pk_engine_has_work(engine))
		return PK_OK;
	if (pk_cancel_poll(cancel))
		return PK_CANCELLED;
	if (engine->pool == NULL)
		PK_FORWARD(pk_pool_create(engine->n_threads, &engine->pool, err));
	PK_FORWARD(pk_engine_plan(engine, err));
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		PK_FORWARD(pk_engine_step_model(engine, model, cancel, err));
	return PK_OK;
}

PkStatus
pk_engine_end_request(PkEngine *engine, PkRequest *request, PkError *err)
{
	PK_FORWARD(pk_request_move(request, PK_PHASE_ENDED, err));
	list_remove(engine, request);
	pk_request_let_go(request);
	return PK_OK;
}

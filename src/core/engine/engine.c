/*
 * engine.c
 *    The engine's models and requests, and what a step is made of: a plan for all, then step.c for
 *    each model.
 */
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/engine/engine_internal.h"

/* Tokens of one step when the configuration names none. */
#define DEFAULT_BATCH_TOKENS 512
/* Sizes in messages. */
#define MEGABYTE ((size_t) 1 << 20)

static PkStatus model_find(PkEngine *engine, PkModel *model, PkEngineModel **out, PkError *err);
static PkStatus model_add(PkEngine *engine, PkModel *model, PkEngineModel **out, PkError *err);
static void     models_drop_unused(PkEngine *engine);
static PkStatus check_kv(const PkEngine *engine, const PkRequestSpec *spec,
                         const PkEngineModel *model, PkError *err);
static void     list_append(PkEngine *engine, PkRequest *request);
static void     list_remove(PkEngine *engine, PkRequest *request);
static PkStatus plan_step(PkEngine *engine, PkError *err);
static size_t   number_models(PkEngine *engine);
static PkStatus apply_plan(PkEngine *engine, PkError *err);

PkStatus
pk_engine_create(const PkEngineConfig *config, PkEngine **out, PkError *err)
{
	void *room;

	PK_FORWARD(pk_calloc(1, sizeof(PkEngine), &room, err));

	PkEngine *engine = room;
	PkStatus  status = pk_kernels_select(pk_cpu_features(), config->kernels, &engine->kernels, err);

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
	free(engine->items);
	free(engine->budgets);
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
	models_drop_unused(engine);
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		pk_kv_cache_trim(model->cache);
}

PkStatus
pk_engine_submit(PkEngine *engine, const PkRequestSpec *spec, PkRequest **out, PkError *err)
{
	PkEngineModel *model;
	PkRequest     *request;

	PK_FORWARD(model_find(engine, spec->model, &model, err));
	PK_FORWARD(pk_request_create(spec, model, &request, err));

	PkStatus status = check_kv(engine, spec, model, err);

	if (status != PK_OK)
	{
		pk_request_destroy(request);
		return status;
	}
	request->engine = engine;
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
	models_drop_unused(engine);
	return model_add(engine, model, out, err);
}

static PkStatus
model_add(PkEngine *engine, PkModel *model, PkEngineModel **out, PkError *err)
{
	void *room;

	PK_FORWARD(pk_calloc(1, sizeof(PkEngineModel), &room, err));

	PkEngineModel *added = room;
	PkStatus       status = pk_kv_cache_create(pk_model_config(model), pk_model_info(model)->quant,
	                                           &engine->budget, &added->cache, err);

	if (status != PK_OK)
	{
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

static void
models_drop_unused(PkEngine *engine)
{
	for (PkEngineModel **link = &engine->models; *link != NULL;)
	{
		PkEngineModel *model = *link;

		if (model->n_requests > 0)
		{
			link = &model->next;
			continue;
		}
		*link = model->next;
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
}

void
pk_request_free(PkRequest *request)
{
	if (request == NULL)
		return;
	if (request->state != PK_REQUEST_ENDED)
		list_remove(request->engine, request);
	request->model->n_requests--;
	pk_request_destroy(request);
}

size_t
pk_engine_n_running(const PkEngine *engine)
{
	return engine->n_running;
}

PkStatus
pk_engine_step(PkEngine *engine, PkCancel *cancel, PkError *err)
{
	if (engine->n_running == 0)
		return PK_OK;
	if (pk_cancel_poll(cancel))
		return PK_CANCELLED;
	if (engine->pool == NULL)
		PK_FORWARD(pk_pool_create(engine->n_threads, &engine->pool, err));
	PK_FORWARD(plan_step(engine, err));
	PK_FORWARD(apply_plan(engine, err));
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		PK_FORWARD(pk_engine_step_model(engine, model, cancel, err));
	return PK_OK;
}

static PkStatus
plan_step(PkEngine *engine, PkError *err)
{
	size_t n_models = number_models(engine);
	size_t n = 0;
	bool   has_decoding = false; /* nobody waits for a long step otherwise; cancel is by tiles */
	void  *items = engine->items;
	void  *budgets = engine->budgets;

	PkStatus status =
		pk_grow(&items, &engine->n_items_room, engine->n_running, sizeof(PkSchedItem), err);

	engine->items = items;
	PK_FORWARD(status);
	status = pk_grow(&budgets, &engine->n_budgets_room, n_models, sizeof(PkSchedBudget), err);
	engine->budgets = budgets;
	PK_FORWARD(status);

	for (PkRequest *request = engine->first; request != NULL; request = request->next)
		has_decoding |= request->state == PK_REQUEST_DECODE;
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		engine->budgets[model->index] =
			(PkSchedBudget){.n_tokens = engine->max_batch_tokens,
		                    .n_prompt = has_decoding && !engine->has_fixed_chunks
		                                    ? pk_pace_chunk(&model->pace, engine->max_batch_tokens)
		                                    : engine->max_batch_tokens};
	for (PkRequest *request = engine->first; request != NULL; request = request->next)
		engine->items[n++] = (PkSchedItem){.model = request->model->index,
		                                   .n_cached = request->n_cached,
		                                   .n_todo = pk_request_n_todo(request),
		                                   .n_blocks = request->seq.n_blocks,
		                                   .block_bytes = pk_kv_block_bytes(request->model->cache)};
	pk_scheduler_plan(engine->items, n, engine->budgets, engine->budget.max_bytes);
	return PK_OK;
}

static size_t
number_models(PkEngine *engine)
{
	size_t n = 0;

	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		model->index = n++;
	return n;
}

/* Blocks change hands: first all that are given back, then those that are taken. */
static PkStatus
apply_plan(PkEngine *engine, PkError *err)
{
	size_t i = 0;

	for (PkRequest *request = engine->first; request != NULL; request = request->next, i++)
	{
		request->n_step = engine->items[i].n_take;
		if (!engine->items[i].is_preempted)
			continue;
		pk_kv_seq_clear(&request->seq);
		request->n_cached = 0;
		if (request->state != PK_REQUEST_WAITING)
			PK_FORWARD(pk_request_move(request, PK_REQUEST_WAITING, err));
	}
	for (PkRequest *request = engine->first; request != NULL; request = request->next)
	{
		if (request->n_step == 0)
			continue;
		PK_FORWARD(pk_kv_seq_grow(&request->seq, request->n_cached + request->n_step, err));
		if (request->state == PK_REQUEST_WAITING)
			PK_FORWARD(pk_request_move(request, PK_REQUEST_PREFILL, err));
		if (request->kind == PK_REQUEST_GENERATE)
			PK_FORWARD(pk_request_reserve(request, err));
	}
	return PK_OK;
}

PkStatus
pk_engine_end_request(PkEngine *engine, PkRequest *request, PkError *err)
{
	PK_FORWARD(pk_request_move(request, PK_REQUEST_ENDED, err));
	list_remove(engine, request);
	pk_kv_seq_clear(&request->seq);
	return PK_OK;
}

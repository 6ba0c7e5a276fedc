/*
 * stepplan.c
 *    From requests to the scheduler's numbers and back: who computes how much in this step.
 */
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/engine/engine_internal.h"

static PkStatus make_rooms(PkEngine *engine, size_t n_models, PkError *err);
static size_t   number_models(PkEngine *engine);
static void     number_sessions(PkEngine *engine);
static void     fill_budgets(PkEngine *engine);
static void     fill_items(PkEngine *engine);
static bool     look(PkSchedule *schedule, size_t i, size_t *n_positions, size_t *bytes);
static size_t   take(PkSchedule *schedule, size_t i);
static size_t   drop(PkSchedule *schedule, size_t i);
static PkStatus apply_plan(PkEngine *engine, PkError *err);

static const PkSchedOps ops = {.look = look, .take = take, .drop = drop};

PkStatus
pk_engine_plan(PkEngine *engine, PkError *err)
{
	PK_FORWARD(make_rooms(engine, number_models(engine), err));
	number_sessions(engine);
	pk_engine_draft(engine);
	fill_budgets(engine);
	fill_items(engine);

	PkSchedule schedule = {.items = engine->items,
	                       .n_items = engine->n_running,
	                       .sessions = engine->sched_sessions,
	                       .n_sessions = engine->n_sessions,
	                       .budgets = engine->budgets,
	                       .free_bytes = engine->budget.max_bytes - pk_kv_held(&engine->budget),
	                       .ops = &ops,
	                       .arg = engine};

	pk_scheduler_plan(&schedule);
	for (PkEngineSession *session = engine->sessions; session != NULL; session = session->next)
		session->n_served = engine->sched_sessions[session->index].n_served;
	return apply_plan(engine, err);
}

static PkStatus
make_rooms(PkEngine *engine, size_t n_models, PkError *err)
{
	void    *planned = engine->planned;
	void    *items = engine->items;
	void    *sessions = engine->sched_sessions;
	void    *budgets = engine->budgets;
	PkStatus status =
		pk_grow(&planned, &engine->n_planned_room, engine->n_running, sizeof(PkRequest *), err);

	engine->planned = planned;
	if (status == PK_OK)
		status =
			pk_grow(&items, &engine->n_items_room, engine->n_running, sizeof(PkSchedItem), err);
	engine->items = items;
	if (status == PK_OK)
		status = pk_grow(&sessions, &engine->n_sched_sessions_room, engine->n_sessions,
		                 sizeof(PkSchedSession), err);
	engine->sched_sessions = sessions;
	if (status == PK_OK)
		status = pk_grow(&budgets, &engine->n_budgets_room, n_models, sizeof(PkSchedBudget), err);
	engine->budgets = budgets;
	return status;
}

void
pk_engine_plan_free(PkEngine *engine)
{
	free(engine->planned);
	free(engine->items);
	free(engine->sched_sessions);
	free(engine->budgets);
}

static size_t
number_models(PkEngine *engine)
{
	size_t n = 0;

	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
	{
		model->index = n++;
		model->n_decoding = model->n_prompts = 0;
	}
	for (PkRequest *request = engine->first; request != NULL; request = request->next)
		if (request->is_paused)
			continue;
		else if (request->phase == PK_PHASE_DECODE)
			request->model->n_decoding++;
		else
			request->model->n_prompts++;
	return n;
}

static void
number_sessions(PkEngine *engine)
{
	size_t n = 0;

	for (PkEngineSession *session = engine->sessions; session != NULL; session = session->next)
	{
		session->index = n;
		engine->sched_sessions[n++] = (PkSchedSession){.n_served = session->n_served};
	}
}

/*
 * Models are computed one after the other, so a token waits for the steps of all. When none is
 * decoding nobody waits for a long step; cancel is by tiles.
 */
static void
fill_budgets(PkEngine *engine)
{
	double decode_ns = 0, drafted_ns = 0;
	size_t n_prefilling = 0; /* models */

	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
	{
		decode_ns += pk_pace_decode_ns(&model->pace, model->n_decoding);
		drafted_ns += pk_pace_decode_ns(&model->pace, model->n_decoding + model->n_drafted);
		n_prefilling += model->n_prompts > 0 ? 1 : 0;
	}
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
	{
		PkSchedBudget *budget = &engine->budgets[model->index];

		budget->n_tokens = budget->n_prompt = engine->max_batch_tokens;
		if (model->n_prompts > 0 && decode_ns > 0 && !engine->has_fixed_chunks)
			budget->n_prompt =
				pk_pace_chunk(&model->pace, model->n_decoding + model->n_drafted,
			                  (pk_pace_target_ns(decode_ns) - drafted_ns) / (double) n_prefilling,
			                  engine->max_batch_tokens);
	}
}

static void
fill_items(PkEngine *engine)
{
	size_t n = 0;

	for (PkRequest *request = engine->first; request != NULL; request = request->next, n++)
	{
		engine->planned[n] = request;
		engine->items[n] = (PkSchedItem){.model = request->model->index,
		                                 .session = request->session->index,
		                                 .n_cached = request->n_cached,
		                                 .n_todo = pk_request_n_todo(request),
		                                 .n_draft = request->gen.draft.n,
		                                 .n_blocks = request->seq.n_blocks,
		                                 .block_bytes = pk_kv_block_bytes(request->model->cache),
		                                 .is_paused = request->is_paused};
	}
}

/*
 * It holds no blocks, so what it announced before is stale: it was admitted in a step that gave it
 * no tokens, or that failed. It must not wait for itself.
 */
static bool
look(PkSchedule *schedule, size_t i, size_t *n_positions, size_t *bytes)
{
	PkRequest    *request = ((PkEngine *) schedule->arg)->planned[i];
	size_t        n_blocks = pk_request_n_skippable(request);
	PkPrefixFound found = {0};

	pk_prefix_retract(request->model->prefixes, &request->path);
	if (n_blocks > 0)
		found =
			pk_prefix_find(request->model->prefixes, request->path.key, request->tokens, n_blocks);
	*n_positions = found.n_ready * PK_KV_BLOCK;
	*bytes = found.n_idle * pk_kv_block_bytes(request->model->cache);
	return !found.is_awaited;
}

/* What it will compute is announced, so that those who come after it wait for it. */
static size_t
take(PkSchedule *schedule, size_t i)
{
	PkEngine    *engine = schedule->arg;
	PkRequest   *request = engine->planned[i];
	PkSchedItem *item = &engine->items[i];
	size_t       held = pk_kv_held(&engine->budget);
	size_t       n_blocks = pk_request_n_skippable(request);

	if (n_blocks > 0)
		pk_prefix_hold(request->model->prefixes, &request->path, &request->seq, request->tokens,
		               n_blocks);
	if (request->leaves)
		pk_prefix_announce(request->model->prefixes, &request->path, request->tokens,
		                   request->n_tokens / PK_KV_BLOCK);
	request->n_cached = request->seq.n_shared * PK_KV_BLOCK;
	item->n_cached = request->n_cached;
	item->n_todo = pk_request_n_todo(request);
	item->n_blocks = request->seq.n_blocks;
	return pk_kv_held(&engine->budget) - held;
}

static size_t
drop(PkSchedule *schedule, size_t i)
{
	PkEngine *engine = schedule->arg;
	size_t    held = pk_kv_held(&engine->budget);

	pk_request_let_go(engine->planned[i]);
	return held - pk_kv_held(&engine->budget);
}

static PkStatus
apply_plan(PkEngine *engine, PkError *err)
{
	for (size_t i = 0; i < engine->n_running; i++)
	{
		PkRequest         *request = engine->planned[i];
		const PkSchedItem *item = &engine->items[i];

		request->n_step = item->n_take;
		request->gen.draft.n = item->n_take > item->n_todo ? item->n_take - item->n_todo : 0;
		if (item->is_preempted && request->phase != PK_PHASE_WAITING)
			PK_FORWARD(pk_request_move(request, PK_PHASE_WAITING, err));
		if (request->phase == PK_PHASE_WAITING && (item->n_blocks > 0 || item->n_take > 0))
			PK_FORWARD(pk_request_move(request, PK_PHASE_PREFILL, err));
		if (request->n_step == 0)
			continue;
		PK_FORWARD(pk_kv_seq_grow(&request->seq, request->n_cached + request->n_step, err));
		if (request->kind == PK_REQUEST_GENERATE)
			PK_FORWARD(pk_request_reserve(request, 1 + request->gen.draft.n, err));
	}
	return PK_OK;
}

/*
 * engine_internal.h
 *    What the files of the engine share; others see engine.h.
 */
#ifndef PK_ENGINE_INTERNAL_H
#define PK_ENGINE_INTERNAL_H

#include "core/engine/request.h"
#include "core/engine/scheduler.h"
#include "core/infer/workspace.h"

/* A row of logits: whose it is, and what came of it. */
typedef struct OutputRow
{
	PkRequest *request;
	size_t     position; /* whose logits they are */
	int32_t    id;       /* sampled (-1: not, as a drafted token before was wrong), or asked for */
	float      logprob;
} OutputRow;

struct PkEngine
{
	PkKernels      kernels;
	size_t         n_threads;
	size_t         max_batch_tokens;
	bool           has_fixed_chunks; /* max_batch_tokens was named: chunks are not cut by time */
	PkPool        *pool;             /* NULL while idle */
	PkKvBudget     budget;
	PkEngineModel *models;
	PkRequest     *first, *last; /* unfinished requests in order of arrival */
	size_t         n_running;
	size_t         n_paused; /* of them */

	PkEngineSession *sessions; /* in the order in which they came */
	size_t           n_sessions;
	uint64_t         n_steps;
	uint64_t         n_step_rows;

	/* of a step; grown when requests are submitted or a step is larger than all before */
	PkBatch         batch;
	PkWorkspace     space;
	PkRequest     **planned; /* what the items stand for */
	size_t          n_planned_room;
	PkSchedItem    *items;
	size_t          n_items_room;
	PkSchedSession *sched_sessions;
	size_t          n_sched_sessions_room;
	PkSchedBudget  *budgets;
	size_t          n_budgets_room;
	OutputRow      *outputs;
	size_t          n_outputs_room;
};

/* Draft tokens for the requests that decode, as many as are worth it; models are counted. */
void pk_engine_draft(PkEngine *engine);

/* Decide what each request computes in this step (n_step), and hold the blocks for it. */
PkStatus pk_engine_plan(PkEngine *engine, PkError *err);
void     pk_engine_plan_free(PkEngine *engine);

/* One model's part of a planned step: forward, sample, emit. Polls cancel. */
PkStatus pk_engine_step_model(PkEngine *engine, PkEngineModel *model, PkCancel *cancel,
                              PkError *err);

/* Its blocks go back at once; the answer stays until the request is freed. */
PkStatus pk_engine_end_request(PkEngine *engine, PkRequest *request, PkError *err);

#endif

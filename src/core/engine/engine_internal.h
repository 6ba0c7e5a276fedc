/*
 * engine_internal.h
 *    What the files of the engine share; others see engine.h.
 */
#ifndef PK_ENGINE_INTERNAL_H
#define PK_ENGINE_INTERNAL_H

#include "core/engine/request.h"
#include "core/infer/workspace.h"

/* A row of logits: whose it is, and what came of it. */
typedef struct OutputRow
{
	PkRequest *request;
	int32_t    id; /* sampled, or the token whose probability is asked for */
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

	/* of a step; grown when requests are submitted or a step is larger than all before */
	PkBatch        batch;
	PkWorkspace    space;
	PkSchedItem   *items;
	size_t         n_items_room;
	PkSchedBudget *budgets;
	size_t         n_budgets_room;
	OutputRow     *outputs;
	size_t         n_outputs_room;
};

/* One model's part of a planned step: forward, sample, emit. Polls cancel. */
PkStatus pk_engine_step_model(PkEngine *engine, PkEngineModel *model, PkCancel *cancel,
                              PkError *err);

/* Its blocks go back at once; the answer stays until the request is freed. */
PkStatus pk_engine_end_request(PkEngine *engine, PkRequest *request, PkError *err);

#endif

/*
 * step.c
 *    One model's part of a step: forward -> sample -> emit.
 *
 * Requests change only after their part of the forward pass is complete, so a cancelled step
 * leaves them as they were; keys and values that it wrote are written again next time.
 */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/engine/engine_internal.h"
#include "core/infer/embed.h"

/* One model's part of a step. */
typedef struct Step
{
	PkEngine      *engine;
	PkEngineModel *model;
	PkCompute      compute;
	PkForward      forward;
	size_t         n_decode;  /* tokens of running sequences */
	size_t         first_row; /* of the logits at hand */
	size_t         n_rows;    /* of them */
	PkError       *err;
} Step;

static PkStatus build_batch(Step *step);
static PkStatus add_to_batch(Step *step, PkRequest *request);
static PkStatus take_outputs(Step *step);
static void     output_tile(void *arg, size_t thread, size_t tile);
static void     sample_rows(Step *step, OutputRow *row, size_t n, const float *logits);
static PkStatus emit(Step *step, size_t first, size_t n);
static PkStatus emit_token(Step *step, const OutputRow *row);
static void     judge_draft(PkRequest *request, int32_t id);
static PkStatus advance(Step *step);
static void     pool_rows(Step *step, PkRequest *request, size_t row);
static void     finish_floats(Step *step, PkRequest *request);
static double   now_ns(void);

PkStatus
pk_engine_step_model(PkEngine *engine, PkEngineModel *model, PkCancel *cancel, PkError *err)
{
	Step step = {
		.engine = engine,
		.model = model,
		.compute = {.kernels = &engine->kernels, .pool = engine->pool, .cancel = cancel},
		.forward = {.model = model->model, .batch = &engine->batch, .space = &engine->space},
		.err = err};
	double begin = now_ns();

	PK_FORWARD(build_batch(&step));
	if (engine->batch.n_tokens == 0)
		return PK_OK;
	PK_FORWARD(pk_forward_prepare(&step.forward, engine->n_threads, err));
	PK_FORWARD(pk_forward_run(&step.compute, &step.forward));
	PK_FORWARD(pk_model_check_read(model->model, err));
	PK_FORWARD(take_outputs(&step));
	pk_pace_measure(&model->pace, step.n_decode, engine->batch.n_tokens - step.n_decode,
	                now_ns() - begin);
	engine->n_steps++;
	engine->n_step_rows += engine->batch.n_tokens;
	return advance(&step);
}

static PkStatus
build_batch(Step *step)
{
	PkEngine *engine = step->engine;
	size_t    n_tokens = 0;
	void     *outputs = engine->outputs;

	for (PkRequest *request = engine->first; request != NULL; request = request->next)
		if (request->model == step->model)
			n_tokens += request->n_step;
	PK_FORWARD(pk_batch_reserve(&engine->batch, n_tokens, step->err));

	PkStatus status =
		pk_grow(&outputs, &engine->n_outputs_room, n_tokens, sizeof(OutputRow), step->err);

	engine->outputs = outputs;
	PK_FORWARD(status);

	pk_batch_clear(&engine->batch);
	for (PkRequest *request = engine->first; request != NULL; request = request->next)
		if (request->model == step->model && request->n_step > 0)
			PK_FORWARD(add_to_batch(step, request));
	return PK_OK;
}

static PkStatus
add_to_batch(Step *step, PkRequest *request)
{
	PkBatch *batch = &step->engine->batch;

	step->n_decode += request->phase == PK_PHASE_DECODE ? request->n_step : 0;
	for (size_t i = 0; i < request->n_step; i++)
	{
		size_t  pos = request->n_cached + i;
		bool    wants_logits = false;
		int32_t layer = PK_NO_CAPTURE;

		if (request->kind == PK_REQUEST_GENERATE)
			wants_logits = pos + 1 >= request->n_tokens;
		else if (request->kind == PK_REQUEST_SCORE)
			wants_logits = pos + 1 < request->n_prompt && pos >= request->n_pooled;
		else if (pos >= request->n_pooled)
			layer = request->layer;
		if (wants_logits)
			step->engine->outputs[batch->n_outputs] = (OutputRow){
				.request = request,
				.position = pos,
				.id = request->kind == PK_REQUEST_SCORE ? request->tokens[pos + 1] : -1};
		pk_batch_add(batch, &request->seq, request->tokens[pos], pos, wants_logits, layer);
	}
	return PK_OK;
}

/*
 * The output head in groups of rows; each group is sampled and emitted before the next. Where a
 * step is cancelled between two, requests have what was emitted and no more.
 */
static PkStatus
take_outputs(Step *step)
{
	size_t n_outputs = step->engine->batch.n_outputs;

	for (size_t first = 0; first < n_outputs; first += PK_HEAD_ROWS)
	{
		size_t n = n_outputs - first < PK_HEAD_ROWS ? n_outputs - first : PK_HEAD_ROWS;

		PK_FORWARD(pk_forward_logits(&step->compute, &step->forward, first, n));
		PK_FORWARD(pk_model_check_read(step->model->model, step->err));
		step->first_row = first;
		step->n_rows = n;
		/* samplers change: this short part is not cancelled half-way */
		PK_FORWARD(pk_pool_run(step->engine->pool, output_tile, step, n, NULL));
		PK_FORWARD(emit(step, first, n));
	}
	return PK_OK;
}

/* A row of scores; or the rows of a request one after the other, as each builds on the last. */
static void
output_tile(void *arg, size_t thread, size_t tile)
{
	Step            *step = arg;
	const PkKernels *kernels = &step->engine->kernels;
	OutputRow       *row = &step->engine->outputs[step->first_row + tile];
	const float     *logits = step->engine->space.logits + tile * step->engine->space.v_stride;

	(void) thread;
	if (row->request->kind == PK_REQUEST_SCORE)
		row->logprob = pk_log_probability(
			kernels, logits, pk_model_config(step->forward.model)->vocab_size, row->id);
	else if (tile == 0 || row[-1].request != row->request)
		sample_rows(step, row, step->n_rows - tile, logits);
}

/* Of the request of row, as far as the drafted tokens are right; n more rows are at hand. */
static void
sample_rows(Step *step, OutputRow *row, size_t n, const float *logits)
{
	PkRequest *request = row->request;
	size_t     last = request->n_cached + request->n_step - 1;

	if (request->n_step == 0 || request->phase == PK_PHASE_ENDED)
		return; /* in a group before this one */
	for (size_t i = 0; i < n && row[i].request == request; i++)
	{
		row[i].id = pk_sampler_next(request->gen.sampler, &step->engine->kernels,
		                            logits + i * step->engine->space.v_stride,
		                            row[i].position + 1 - request->n_prompt, &row[i].logprob);
		if (row[i].position < last && row[i].id != request->tokens[row[i].position + 1])
			return;
	}
}

static PkStatus
emit(Step *step, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
	{
		OutputRow *row = &step->engine->outputs[i];

		if (row->request->kind == PK_REQUEST_SCORE)
			row->request->floats[row->request->n_pooled++] = row->logprob;
		else if (row->id >= 0 && row->request->phase != PK_PHASE_ENDED)
			PK_FORWARD(emit_token(step, row));
	}
	return PK_OK;
}

static PkStatus
emit_token(Step *step, const OutputRow *row)
{
	PkRequest *request = row->request;

	pk_request_advance(request, row->position + 1 - request->n_cached);
	judge_draft(request, row->id);
	if (pk_request_push(request, row->id, row->logprob))
		return pk_engine_end_request(step->engine, request, step->err);
	return pk_request_move(request, PK_PHASE_DECODE, step->err);
}

/* id is what follows. A wrong draft ends the request's part of the step. */
static void
judge_draft(PkRequest *request, int32_t id)
{
	PkDraft *draft = &request->gen.draft;
	bool     is_right, is_computed = request->n_step > 0;

	draft->n_drafted += draft->n;
	draft->n = 0;
	if (draft->n_proposed == 0)
		return;
	is_right = id == request->tokens[request->n_tokens];
	pk_lookup_learn(&draft->rates, draft->n_matched++, is_right);
	draft->n_proposed = is_right ? draft->n_proposed - 1 : 0;
	draft->n_accepted += is_right && is_computed ? 1 : 0;
	if (!is_right)
		request->n_step = 0;
}

/* Requests without a sampled token move on: chunks of prompts, embeddings, scores. */
static PkStatus
advance(Step *step)
{
	PkRequest *next;
	size_t     row = 0;

	for (PkRequest *request = step->engine->first; request != NULL; request = next)
	{
		next = request->next;
		if (request->model != step->model || request->n_step == 0)
			continue;
		while (step->engine->batch.seq[row] != &request->seq)
			row++;
		if (request->kind == PK_REQUEST_EMBED)
			pool_rows(step, request, row);
		pk_request_advance(request, request->n_step);
		if (request->kind == PK_REQUEST_GENERATE || request->n_cached < request->n_prompt)
			continue;
		if (request->kind == PK_REQUEST_EMBED)
			finish_floats(step, request);
		request->finish = PK_FINISH_DONE;
		PK_FORWARD(pk_engine_end_request(step->engine, request, step->err));
	}
	return PK_OK;
}

/* Hidden states of this step, from row on in position order. */
static void
pool_rows(Step *step, PkRequest *request, size_t row)
{
	const PkKernels   *kernels = &step->engine->kernels;
	const PkWorkspace *space = &step->engine->space;

	for (size_t i = 0; i < request->n_step; i++)
	{
		const float *hidden = space->captured + (row + i) * space->e_stride;

		if (request->n_cached + i < request->n_pooled)
			continue; /* it was taken in before the request was pre-empted */
		if (request->pooling == PK_POOLING_MEAN)
			pk_embed_add(kernels, request->floats, hidden, request->n_floats);
		else
			memcpy(request->floats, hidden, request->n_floats * sizeof(float));
		request->n_pooled++;
	}
}

static void
finish_floats(Step *step, PkRequest *request)
{
	const PkKernels *kernels = &step->engine->kernels;

	if (request->pooling == PK_POOLING_MEAN)
		pk_embed_mean(kernels, request->floats, request->n_prompt, request->n_floats);
	if (request->normalize)
		pk_embed_normalize(kernels, request->floats, request->n_floats);
}

static double
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec * 1e9 + (double) now.tv_nsec;
}

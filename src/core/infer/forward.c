/*
 * forward.c
 *    The layer loop.
 *
 * A layer is: enter (residual of the layer before, LayerNorm, quantise), qkv, attention, dense,
 * feed-forward. Parallel residual, in the order of transformers: x = (mlp + attn) + x, where both
 * read LayerNorms of the same x. Sequential residual: x = attn + x, then x = mlp + x.
 * Passes over tokens are fused, so that a step has few barriers.
 *
 * Of the last layer most tokens of a prompt need keys and values only: once these are stored, the
 * rows of the others move together, and the rest of the layer, queries too, is computed for them
 * alone (if queries are whole row blocks).
 */
#include <string.h>

#include "core/infer/attention.h"
#include "core/infer/forward.h"
#include "core/infer/linear.h"
#include "core/infer/qkv.h"

/* Floats that a tile of a pass over rows may hold: about 1 ms in the scalar tier. */
#define ROW_PASS_FLOATS ((size_t) 1 << 16)

typedef struct Walk
{
	const PkCompute *compute;
	const PkForward *forward;
	const PkConfig  *config;
	const PkWeights *weights;
	const PkLayer   *layer;  /* the one that is computed */
	size_t           n_done; /* layers that are complete but for their residual */
	size_t           n_layers;
	size_t           tile_rows;
} Walk;

/* A LayerNorm, and what reads it: rows (T, E), or where it is quantised acts alone. */
typedef struct Norm
{
	const float *gain, *bias; /* (E) */
	float       *rows;
	PkActs      *acts;
	PkQuant      quant;
} Norm;

/* What is done to a row of the workspace. */
typedef void (*RowFn)(const Walk *walk, size_t thread, size_t row);

typedef struct RowPass
{
	const Walk *walk;
	RowFn       fn;
} RowPass;

static size_t   layers_needed(const PkBatch *batch, size_t n_layers);
static PkStatus run_layer(Walk *walk);
static PkStatus run_feed_forward(Walk *walk);
static PkStatus attend(Walk *walk);
static PkStatus run_qkv(const Walk *walk);
static bool     has_finished(const Walk *walk);
static void     drop_finished(const Walk *walk);
static bool     wants_result(const Walk *walk, size_t t);
static PkStatus for_rows(Walk *walk, RowFn fn, size_t n_cols);
static void     row_tile(void *arg, size_t thread, size_t tile);
static void     enter_layer(const Walk *walk, size_t thread, size_t row);
static void     enter_mlp(const Walk *walk, size_t thread, size_t row);
static void     normalize(const Walk *walk, size_t thread, size_t row, const Norm *norm);
static void     enter_feed_forward(const Walk *walk, size_t thread, size_t row);
static void     leave(const Walk *walk, size_t thread, size_t row);
static void     advance_residual(const Walk *walk, size_t row);
static void     load_embedding(const Walk *walk, size_t row);
static void     capture(const Walk *walk, size_t row);
static void     quantize_row(const Walk *walk, size_t thread, size_t row);
static PkStatus multiply(const Walk *walk, const PkMatrix *w, const float *bias, const PkActs *acts,
                         float *y, size_t y_stride);

PkStatus
pk_forward_prepare(const PkForward *forward, size_t n_threads, PkError *err)
{
	const PkConfig *config = pk_model_config(forward->model);
	PkWorkShape     shape = {.n_tokens = forward->batch->n_tokens,
	                         .n_outputs = forward->batch->n_outputs,
	                         .n_threads = n_threads,
	                         .hidden = config->hidden_size,
	                         .ffn = config->intermediate_size,
	                         .vocab = config->vocab_size,
	                         .head_size = config->hidden_size / config->num_attention_heads,
	                         .n_context = config->max_position_embeddings};

	PK_FORWARD(pk_linear_prepare(pk_model_info(forward->model)->quant, err));
	return pk_workspace_fit(forward->space, &shape, err);
}

PkStatus
pk_forward_run(const PkCompute *compute, const PkForward *forward)
{
	const PkConfig *config = pk_model_config(forward->model);
	PkWorkspace    *space = forward->space;
	Walk            walk = {.compute = compute,
	                        .forward = forward,
	                        .config = config,
	                        .weights = pk_model_weights(forward->model),
	                        .n_layers = layers_needed(forward->batch, config->num_hidden_layers)};

	space->n_rows = forward->batch->n_tokens;
	for (size_t t = 0; t < space->n_rows; t++)
		space->rows[t] = t;
	for (walk.n_done = 0; walk.n_done < walk.n_layers; walk.n_done++)
	{
		walk.layer = &walk.weights->layers[walk.n_done];
		PK_FORWARD(run_layer(&walk));
	}
	return for_rows(&walk, leave, config->hidden_size);
}

/* A batch of embeddings from an inner layer needs no layer above it. */
static size_t
layers_needed(const PkBatch *batch, size_t n_layers)
{
	size_t n_needed = 0;

	for (size_t t = 0; t < batch->n_tokens; t++)
	{
		if (batch->capture[t] < 0)
			return n_layers;
		if ((size_t) batch->capture[t] > n_needed)
			n_needed = (size_t) batch->capture[t];
	}
	return n_needed < n_layers ? n_needed : n_layers;
}

static PkStatus
run_layer(Walk *walk)
{
	const PkLayer *layer = walk->layer;
	PkWorkspace   *space = walk->forward->space;
	size_t         hidden = walk->config->hidden_size;

	pk_acts_set(&space->acts_attn, space->normed, space->e_stride, space->n_rows, hidden,
	            layer->qkv.quant);
	pk_acts_set(&space->acts_mlp, space->normed2, space->e_stride, space->n_rows, hidden,
	            layer->h_to_4h.quant);
	PK_FORWARD(for_rows(walk, enter_layer, 2 * hidden));
	PK_FORWARD(attend(walk));
	PK_FORWARD(multiply(walk, &layer->dense, layer->dense_bias, &space->acts_attn, space->attn_out,
	                    space->e_stride));
	if (!walk->config->use_parallel_residual)
		PK_FORWARD(for_rows(walk, enter_feed_forward, hidden));
	return run_feed_forward(walk);
}

/* From space->acts_attn, what enters the layer, to the same, what attention gives. */
static PkStatus
attend(Walk *walk)
{
	PkWorkspace *space = walk->forward->space;
	PkQuant      quant = walk->layer->dense.quant;
	PkAttention  attention = {.config = walk->config,
	                          .batch = walk->forward->batch,
	                          .space = space,
	                          .layer = walk->n_done,
	                          .next = &space->acts_attn,
	                          .next_quant = quant};

	PK_FORWARD(run_qkv(walk));
	pk_acts_set(&space->acts_attn, space->normed, space->e_stride, space->n_rows,
	            walk->config->hidden_size, quant);
	PK_FORWARD(pk_attention_run(walk->compute, &attention));
	if (space->acts_attn.n_groups == 0 || pk_attention_quantizes(walk->config, quant))
		return PK_OK;
	return for_rows(walk, quantize_row, walk->config->hidden_size);
}

/* Queries, and keys and values of all tokens; in the last layer queries of few. */
static PkStatus
run_qkv(const Walk *walk)
{
	PkQkv qkv = {.config = walk->config,
	             .weights = walk->weights,
	             .batch = walk->forward->batch,
	             .space = walk->forward->space,
	             .layer = walk->n_done};

	if (walk->n_done + 1 < walk->n_layers || !has_finished(walk) || !pk_qkv_has_parts(walk->config))
		return pk_qkv_run(walk->compute, &qkv, PK_QUERIES, PK_QKV_END);
	PK_FORWARD(pk_qkv_run(walk->compute, &qkv, PK_KEYS, PK_QKV_END));
	drop_finished(walk);
	return pk_qkv_run(walk->compute, &qkv, PK_QUERIES, PK_KEYS);
}

/* In the last layer: are there rows whose hidden state nobody wants? */
static bool
has_finished(const Walk *walk)
{
	const PkWorkspace *space = walk->forward->space;

	for (size_t row = 0; row < space->n_rows; row++)
		if (!wants_result(walk, space->rows[row]))
			return true;
	return false;
}

/* In the last layer: the rows of tokens whose hidden state nobody wants are overwritten. */
static void
drop_finished(const Walk *walk)
{
	PkWorkspace *space = walk->forward->space;
	size_t       n_kept = 0;

	for (size_t row = 0; row < space->n_rows; row++)
	{
		if (!wants_result(walk, space->rows[row]))
			continue;
		if (row != n_kept)
			pk_workspace_move_row(space, row, n_kept);
		n_kept++;
	}
	space->n_rows = n_kept;
	space->acts_attn.n_tokens = space->acts_mlp.n_tokens = n_kept;
}

/* Of the last layer that is computed. */
static bool
wants_result(const Walk *walk, size_t t)
{
	const PkBatch *batch = walk->forward->batch;

	return batch->output[t] != PK_NO_OUTPUT || batch->capture[t] == -1 ||
	       batch->capture[t] == (int32_t) walk->n_layers;
}

static PkStatus
run_feed_forward(Walk *walk)
{
	const PkLayer *layer = walk->layer;
	PkWorkspace   *space = walk->forward->space;
	PkAfter  after = walk->config->hidden_act == PK_ACT_GELU ? PK_AFTER_GELU : PK_AFTER_GELU_TANH;
	PkLinear linear = {.w = &layer->h_to_4h,
	                   .bias = layer->h_to_4h_bias,
	                   .acts = &space->acts_mlp,
	                   .after = after,
	                   .y = space->ffn,
	                   .y_stride = space->f_stride,
	                   .next = &space->acts_ffn,
	                   .next_quant = layer->h4_to_h.quant};

	pk_acts_set(&space->acts_ffn, space->ffn, space->f_stride, space->n_rows, layer->h4_to_h.n_cols,
	            layer->h4_to_h.quant);
	PK_FORWARD(pk_linear(walk->compute, &linear));
	return multiply(walk, &layer->h4_to_h, layer->h4_to_h_bias, &space->acts_ffn, space->mlp_out,
	                space->e_stride);
}

/* Call fn for all rows; n_cols floats a row say how many make a tile. */
static PkStatus
for_rows(Walk *walk, RowFn fn, size_t n_cols)
{
	RowPass pass = {walk, fn};
	size_t  n_rows = walk->forward->space->n_rows;

	walk->tile_rows = pk_tile_items(ROW_PASS_FLOATS, n_cols, n_rows);
	return pk_pool_run(walk->compute->pool, row_tile, &pass, pk_n_tiles(n_rows, walk->tile_rows),
	                   walk->compute->cancel);
}

static void
row_tile(void *arg, size_t thread, size_t tile)
{
	const RowPass *pass = arg;
	const Walk    *walk = pass->walk;
	size_t         n_rows = walk->forward->space->n_rows;
	size_t         end = (tile + 1) * walk->tile_rows;

	if (end > n_rows)
		end = n_rows;
	for (size_t row = tile * walk->tile_rows; row < end; row++)
		pass->fn(walk, thread, row);
}

static void
enter_layer(const Walk *walk, size_t thread, size_t row)
{
	PkWorkspace   *space = walk->forward->space;
	const PkLayer *layer = walk->layer;

	pk_acts_prefetch(&space->acts_attn, row, 0, walk->config->hidden_size);
	if (walk->config->use_parallel_residual)
		pk_acts_prefetch(&space->acts_mlp, row, 0, walk->config->hidden_size);
	advance_residual(walk, row);
	capture(walk, row);
	normalize(walk, thread, row,
	          &(Norm){.gain = layer->ln1_gain,
	                  .bias = layer->ln1_bias,
	                  .rows = space->normed,
	                  .acts = &space->acts_attn,
	                  .quant = layer->qkv.quant});
	if (walk->config->use_parallel_residual)
		enter_mlp(walk, thread, row);
}

/* The LayerNorm of x that the feed-forward part reads. */
static void
enter_mlp(const Walk *walk, size_t thread, size_t row)
{
	PkWorkspace   *space = walk->forward->space;
	const PkLayer *layer = walk->layer;

	normalize(walk, thread, row,
	          &(Norm){.gain = layer->ln2_gain,
	                  .bias = layer->ln2_bias,
	                  .rows = space->normed2,
	                  .acts = &space->acts_mlp,
	                  .quant = layer->h_to_4h.quant});
}

/* LayerNorm of x. Quantised at once it needs no row of its own. */
static void
normalize(const Walk *walk, size_t thread, size_t row, const Norm *norm)
{
	const PkKernels *kernels = walk->compute->kernels;
	PkWorkspace     *space = walk->forward->space;
	PkActs          *acts = norm->acts;
	size_t           n = walk->config->hidden_size;
	float           *out = norm->rows + row * space->e_stride;

	if (acts->n_groups > 0)
		out = space->threads[thread].row;
	kernels->layernorm(out, space->x + row * space->e_stride, norm->gain, norm->bias, n,
	                   walk->config->layer_norm_eps);
	pk_acts_quantize_part(kernels, acts, row, norm->quant, out, 0, n);
}

/* x of the row becomes the residual stream after n_done layers. */
static void
advance_residual(const Walk *walk, size_t row)
{
	const PkKernels *kernels = walk->compute->kernels;
	PkWorkspace     *space = walk->forward->space;
	size_t           n = walk->config->hidden_size;
	float           *x_row = space->x + row * space->e_stride;
	const float     *mlp_row = space->mlp_out + row * space->e_stride;

	if (walk->n_done == 0)
	{
		load_embedding(walk, row);
		return;
	}
	if (walk->config->use_parallel_residual)
		kernels->add_sum(x_row, mlp_row, space->attn_out + row * space->e_stride, n);
	else
		kernels->add(x_row, mlp_row, n);
}

static void
load_embedding(const Walk *walk, size_t row)
{
	PkWorkspace *space = walk->forward->space;
	size_t       n = walk->config->hidden_size;
	size_t       id = (size_t) walk->forward->batch->token[space->rows[row]];
	float       *x_row = space->x + row * space->e_stride;

	if (pk_model_info(walk->forward->model)->quant == PK_QUANT_F32)
		memcpy(x_row, (const float *) walk->weights->embed_in + id * n, n * sizeof(float));
	else
		walk->compute->kernels->f16_to_f32(x_row,
		                                   (const uint16_t *) walk->weights->embed_in + id * n, n);
}

static void
capture(const Walk *walk, size_t row)
{
	PkWorkspace *space = walk->forward->space;
	size_t       t = space->rows[row];

	if (walk->forward->batch->capture[t] == (int32_t) walk->n_done)
		memcpy(space->captured + t * space->e_stride, space->x + row * space->e_stride,
		       walk->config->hidden_size * sizeof(float));
}

/* Sequential residual: x = attn + x, then the feed-forward part. */
static void
enter_feed_forward(const Walk *walk, size_t thread, size_t row)
{
	PkWorkspace *space = walk->forward->space;
	size_t       at = row * space->e_stride;

	walk->compute->kernels->add(space->x + at, space->attn_out + at, walk->config->hidden_size);
	enter_mlp(walk, thread, row);
}

/* After the last layer: the hidden states and head inputs that the batch asks for. */
static void
leave(const Walk *walk, size_t thread, size_t row)
{
	const PkKernels *kernels = walk->compute->kernels;
	const PkBatch   *batch = walk->forward->batch;
	PkWorkspace     *space = walk->forward->space;
	const float     *x_row = space->x + row * space->e_stride;
	float           *out = NULL;
	size_t           t = space->rows[row];

	(void) thread;
	advance_residual(walk, row);
	capture(walk, row);
	if (batch->output[t] != PK_NO_OUTPUT)
		out = space->outputs + batch->output[t] * space->e_stride;
	else if (batch->capture[t] == -1)
		out = space->captured + t * space->e_stride;
	if (out != NULL)
		kernels->layernorm(out, x_row, walk->weights->ln_gain, walk->weights->ln_bias,
		                   walk->config->hidden_size, walk->config->layer_norm_eps);
}

static void
quantize_row(const Walk *walk, size_t thread, size_t row)
{
	(void) thread;
	pk_acts_quantize(walk->compute->kernels, &walk->forward->space->acts_attn, row,
	                 walk->layer->dense.quant);
}

static PkStatus
multiply(const Walk *walk, const PkMatrix *w, const float *bias, const PkActs *acts, float *y,
         size_t y_stride)
{
	PkLinear linear = {.w = w, .bias = bias, .acts = acts, .y = y, .y_stride = y_stride};

	return pk_linear(walk->compute, &linear);
}

PkStatus
pk_forward_logits(const PkCompute *compute, const PkForward *forward, size_t first, size_t n)
{
	PkWorkspace     *space = forward->space;
	const PkWeights *weights = pk_model_weights(forward->model);
	PkActs          *acts = &space->acts_attn;
	PkLinear         linear = {
				.w = &weights->embed_out, .acts = acts, .y = space->logits, .y_stride = space->v_stride};

	PK_ASSERT(n <= PK_HEAD_ROWS && first + n <= forward->batch->n_outputs);
	pk_acts_set(acts, space->outputs + first * space->e_stride, space->e_stride, n,
	            weights->embed_out.n_cols, weights->embed_out.quant);
	for (size_t i = 0; i < n; i++)
		pk_acts_quantize(compute->kernels, acts, i, weights->embed_out.quant);
	return pk_linear(compute, &linear);
}

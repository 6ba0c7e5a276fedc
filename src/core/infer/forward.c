/*
 * forward.c
 *    The layer loop.
 *
 * A layer is: enter (residual of the layer before, LayerNorm, quantise), qkv, attention, dense,
 * feed-forward. Parallel residual, in the order of transformers: x = (mlp + attn) + x, where both
 * read LayerNorms of the same x. Sequential residual: x = attn + x, then x = mlp + x.
 * Passes over tokens are fused, so that a step has few barriers.
 */
#include <string.h>

#include "core/infer/attention.h"
#include "core/infer/forward.h"
#include "core/infer/linear.h"

/* Floats that a tile of a pass over tokens may hold: about 1 ms in the scalar tier. */
#define TOKEN_PASS_FLOATS ((size_t) 1 << 16)

typedef struct Walk
{
	const PkCompute *compute;
	const PkForward *forward;
	const PkConfig  *config;
	const PkWeights *weights;
	const PkLayer   *layer;  /* the one that is computed */
	size_t           n_done; /* layers that are complete but for their residual */
	size_t           n_tokens;
	size_t           tile_tokens;
} Walk;

typedef void (*TokenFn)(const Walk *walk, size_t t);

typedef struct TokenPass
{
	const Walk *walk;
	TokenFn     fn;
} TokenPass;

static size_t   layers_needed(const PkBatch *batch, size_t n_layers);
static PkStatus run_layer(Walk *walk);
static PkStatus run_feed_forward(Walk *walk);
static PkStatus for_tokens(Walk *walk, TokenFn fn, size_t n_cols);
static void     token_tile(void *arg, size_t thread, size_t tile);
static void     enter_layer(const Walk *walk, size_t t);
static void     enter_feed_forward(const Walk *walk, size_t t);
static void     leave(const Walk *walk, size_t t);
static void     advance_residual(const Walk *walk, size_t t);
static void     load_embedding(const Walk *walk, size_t t);
static void     capture(const Walk *walk, size_t t);
static void     quantize_token(const Walk *walk, size_t t);
static PkStatus quantize_attention(Walk *walk);
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
	Walk            walk = {.compute = compute,
	                        .forward = forward,
	                        .config = config,
	                        .weights = pk_model_weights(forward->model),
	                        .n_tokens = forward->batch->n_tokens};
	size_t          n_layers = layers_needed(forward->batch, config->num_hidden_layers);

	for (walk.n_done = 0; walk.n_done < n_layers; walk.n_done++)
	{
		walk.layer = &walk.weights->layers[walk.n_done];
		PK_FORWARD(run_layer(&walk));
	}
	return for_tokens(&walk, leave, config->hidden_size);
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
	PkAttention    attention = {.config = walk->config,
	                            .weights = walk->weights,
	                            .batch = walk->forward->batch,
	                            .space = space,
	                            .layer = walk->n_done,
	                            .next = &space->acts_attn,
	                            .next_quant = layer->dense.quant};

	pk_acts_set(&space->acts_attn, space->normed, space->e_stride, walk->n_tokens, hidden,
	            layer->qkv.quant);
	pk_acts_set(&space->acts_mlp, space->normed2, space->e_stride, walk->n_tokens, hidden,
	            layer->h_to_4h.quant);
	PK_FORWARD(for_tokens(walk, enter_layer, 2 * hidden));
	PK_FORWARD(multiply(walk, &layer->qkv, layer->qkv_bias, &space->acts_attn, space->qkv,
	                    space->qkv_stride));
	pk_acts_set(&space->acts_attn, space->normed, space->e_stride, walk->n_tokens, hidden,
	            layer->dense.quant);
	PK_FORWARD(pk_attention(walk->compute, &attention));
	if (!pk_attention_quantizes(walk->config, layer->dense.quant))
		PK_FORWARD(quantize_attention(walk));
	PK_FORWARD(multiply(walk, &layer->dense, layer->dense_bias, &space->acts_attn, space->attn_out,
	                    space->e_stride));
	if (!walk->config->use_parallel_residual)
		PK_FORWARD(for_tokens(walk, enter_feed_forward, hidden));
	return run_feed_forward(walk);
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

	pk_acts_set(&space->acts_ffn, space->ffn, space->f_stride, walk->n_tokens,
	            layer->h4_to_h.n_cols, layer->h4_to_h.quant);
	PK_FORWARD(pk_linear(walk->compute, &linear));
	return multiply(walk, &layer->h4_to_h, layer->h4_to_h_bias, &space->acts_ffn, space->mlp_out,
	                space->e_stride);
}

/* Call fn for all tokens; n_cols floats a token say how many make a tile. */
static PkStatus
for_tokens(Walk *walk, TokenFn fn, size_t n_cols)
{
	TokenPass pass = {walk, fn};

	walk->tile_tokens = pk_tile_items(TOKEN_PASS_FLOATS, n_cols, walk->n_tokens);
	return pk_pool_run(walk->compute->pool, token_tile, &pass,
	                   pk_n_tiles(walk->n_tokens, walk->tile_tokens), walk->compute->cancel);
}

static void
token_tile(void *arg, size_t thread, size_t tile)
{
	const TokenPass *pass = arg;
	const Walk      *walk = pass->walk;
	size_t           end = (tile + 1) * walk->tile_tokens;

	(void) thread;
	if (end > walk->n_tokens)
		end = walk->n_tokens;
	for (size_t t = tile * walk->tile_tokens; t < end; t++)
		pass->fn(walk, t);
}

static void
enter_layer(const Walk *walk, size_t t)
{
	const PkKernels *kernels = walk->compute->kernels;
	PkWorkspace     *space = walk->forward->space;
	const PkLayer   *layer = walk->layer;
	size_t           n = walk->config->hidden_size;
	const float     *x_t = space->x + t * space->e_stride;

	advance_residual(walk, t);
	capture(walk, t);
	kernels->layernorm(space->normed + t * space->e_stride, x_t, layer->ln1_gain, layer->ln1_bias,
	                   n, walk->config->layer_norm_eps);
	pk_acts_quantize(kernels, &space->acts_attn, t, layer->qkv.quant);
	if (!walk->config->use_parallel_residual)
		return;
	kernels->layernorm(space->normed2 + t * space->e_stride, x_t, layer->ln2_gain, layer->ln2_bias,
	                   n, walk->config->layer_norm_eps);
	pk_acts_quantize(kernels, &space->acts_mlp, t, layer->h_to_4h.quant);
}

/* x_t becomes the residual stream after n_done layers. */
static void
advance_residual(const Walk *walk, size_t t)
{
	const PkKernels *kernels = walk->compute->kernels;
	PkWorkspace     *space = walk->forward->space;
	size_t           n = walk->config->hidden_size;
	float           *mlp_t = space->mlp_out + t * space->e_stride;

	if (walk->n_done == 0)
	{
		load_embedding(walk, t);
		return;
	}
	if (walk->config->use_parallel_residual)
		kernels->add(mlp_t, space->attn_out + t * space->e_stride, n);
	kernels->add(space->x + t * space->e_stride, mlp_t, n);
}

static void
load_embedding(const Walk *walk, size_t t)
{
	PkWorkspace *space = walk->forward->space;
	size_t       n = walk->config->hidden_size;
	size_t       id = (size_t) walk->forward->batch->token[t];
	float       *x_t = space->x + t * space->e_stride;

	if (pk_model_info(walk->forward->model)->quant == PK_QUANT_F32)
		memcpy(x_t, (const float *) walk->weights->embed_in + id * n, n * sizeof(float));
	else
		walk->compute->kernels->f16_to_f32(x_t, (const uint16_t *) walk->weights->embed_in + id * n,
		                                   n);
}

static void
capture(const Walk *walk, size_t t)
{
	PkWorkspace *space = walk->forward->space;

	if (walk->forward->batch->capture[t] == (int32_t) walk->n_done)
		memcpy(space->captured + t * space->e_stride, space->x + t * space->e_stride,
		       walk->config->hidden_size * sizeof(float));
}

/* Sequential residual: x = attn + x, and its LayerNorm for the feed-forward part. */
static void
enter_feed_forward(const Walk *walk, size_t t)
{
	const PkKernels *kernels = walk->compute->kernels;
	PkWorkspace     *space = walk->forward->space;
	size_t           n = walk->config->hidden_size;
	float           *x_t = space->x + t * space->e_stride;

	kernels->add(x_t, space->attn_out + t * space->e_stride, n);
	kernels->layernorm(space->normed2 + t * space->e_stride, x_t, walk->layer->ln2_gain,
	                   walk->layer->ln2_bias, n, walk->config->layer_norm_eps);
	pk_acts_quantize(kernels, &space->acts_mlp, t, walk->layer->h_to_4h.quant);
}

/* After the last layer: the hidden states and head inputs that the batch asks for. */
static void
leave(const Walk *walk, size_t t)
{
	const PkKernels *kernels = walk->compute->kernels;
	const PkBatch   *batch = walk->forward->batch;
	PkWorkspace     *space = walk->forward->space;
	const float     *x_t = space->x + t * space->e_stride;
	float           *out = NULL;

	advance_residual(walk, t);
	capture(walk, t);
	if (batch->output[t] != PK_NO_OUTPUT)
		out = space->outputs + batch->output[t] * space->e_stride;
	else if (batch->capture[t] == -1)
		out = space->captured + t * space->e_stride;
	if (out != NULL)
		kernels->layernorm(out, x_t, walk->weights->ln_gain, walk->weights->ln_bias,
		                   walk->config->hidden_size, walk->config->layer_norm_eps);
}

static PkStatus
quantize_attention(Walk *walk)
{
	PkActs *acts = &walk->forward->space->acts_attn;

	return acts->n_groups == 0 ? PK_OK : for_tokens(walk, quantize_token, acts->n_cols);
}

static void
quantize_token(const Walk *walk, size_t t)
{
	pk_acts_quantize(walk->compute->kernels, &walk->forward->space->acts_attn, t,
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

/*
 * qkv.c
 *    A tile of the product holds whole heads of its tokens, and whoever computed it rotates and
 *    stores them while they are in the cache of the processor.
 */
#include <string.h>

#include "core/infer/linear.h"
#include "core/infer/qkv.h"

typedef struct QkvWork
{
	const PkQkv     *qkv;
	const PkKernels *kernels;
	size_t           n_heads, head_size, hidden;
	size_t           first_row; /* of those that are computed */
} QkvWork;

/* A head of one part. */
typedef struct Head
{
	PkQkvPart part;
	size_t    index;
	float    *scratch; /* of the thread (E) */
} Head;

static void   finish_heads(void *arg, size_t thread, const PkTileRange *range);
static void   finish_head(const QkvWork *work, const Head *head, size_t row, size_t end);
static bool   is_block(const QkvWork *work, size_t row, size_t end);
static float *head_of(const QkvWork *work, const Head *head, size_t row);
static void  *block_of(const QkvWork *work, const Head *head, size_t row);
static void   rotate(const QkvWork *work, const Head *head, size_t row);
static void   store_block(const QkvWork *work, const Head *head, size_t row);
static void   store_key(const QkvWork *work, const Head *head, size_t row);
static void   store_value(const QkvWork *work, const Head *head, size_t row);

bool
pk_qkv_has_parts(const PkConfig *config)
{
	return config->hidden_size % PK_LANES == 0;
}

PkStatus
pk_qkv_run(const PkCompute *compute, const PkQkv *qkv, PkQkvPart begin, PkQkvPart end)
{
	const PkLayer *layer = &qkv->weights->layers[qkv->layer];
	PkWorkspace   *space = qkv->space;
	size_t         hidden = qkv->config->hidden_size;
	size_t         n_heads = qkv->config->num_attention_heads;
	QkvWork        work = {.qkv = qkv,
	                       .kernels = compute->kernels,
	                       .n_heads = n_heads,
	                       .head_size = hidden / n_heads,
	                       .hidden = hidden,
	                       .first_row = begin * hidden};
	PkMatrix       w = pk_matrix_rows(&layer->qkv, begin * hidden, end * hidden);
	PkLinear       linear = {.w = &w,
	                         .bias = layer->qkv_bias != NULL ? layer->qkv_bias + work.first_row : NULL,
	                         .acts = &space->acts_attn,
	                         .y = space->qkv + work.first_row,
	                         .y_stride = space->qkv_stride,
	                         .finish = finish_heads,
	                         .finish_arg = &work,
	                         .finish_rows = work.head_size};

	return pk_linear(compute, &linear);
}

static void
finish_heads(void *arg, size_t thread, const PkTileRange *range)
{
	const QkvWork *work = arg;
	size_t         begin = (work->first_row + range->row_begin) / work->head_size;
	size_t         end = (work->first_row + range->row_end) / work->head_size;

	for (size_t h = begin; h < end; h++)
	{
		Head head = {.part = (PkQkvPart) (h / work->n_heads),
		             .index = h % work->n_heads,
		             .scratch = work->qkv->space->threads[thread].row};

		finish_head(work, &head, range->t0, range->t0 + range->n_tokens);
	}
}

/* Rows [row, end) of a head. */
static void
finish_head(const QkvWork *work, const Head *head, size_t row, size_t end)
{
	for (size_t n; row < end; row += n)
	{
		n = head->part == PK_KEYS && is_block(work, row, end) ? PK_KV_BLOCK : 1;
		if (head->part != PK_VALUES)
			for (size_t i = 0; i < n; i++)
				rotate(work, head, row + i);
		if (n > 1)
			store_block(work, head, row);
		else if (head->part == PK_KEYS)
			store_key(work, head, row);
		else if (head->part == PK_VALUES)
			store_value(work, head, row);
	}
}

/* Does row begin all positions of a block of halves? Tokens of a sequence stand in position order.
 */
static bool
is_block(const QkvWork *work, size_t row, size_t end)
{
	const PkBatch *batch = work->qkv->batch;
	const size_t  *rows = work->qkv->space->rows;
	size_t         first = rows[row];

	if (end - row < PK_KV_BLOCK || batch->pos[first] % PK_KV_BLOCK != 0 ||
	    pk_kv_is_f32(batch->seq[first]->cache))
		return false;

	size_t last = rows[row + PK_KV_BLOCK - 1];

	return batch->seq[last] == batch->seq[first] &&
	       batch->pos[last] == batch->pos[first] + PK_KV_BLOCK - 1;
}

/* (D) of a row. */
static float *
head_of(const QkvWork *work, const Head *head, size_t row)
{
	PkWorkspace *space = work->qkv->space;

	return space->qkv + row * space->qkv_stride + head->part * work->hidden +
	       head->index * work->head_size;
}

/* Keys (D, PK_KV_BLOCK) or values (PK_KV_BLOCK, D) of the block where a row's token is. */
static void *
block_of(const QkvWork *work, const Head *head, size_t row)
{
	const PkQkv   *qkv = work->qkv;
	size_t         t = qkv->space->rows[row];
	const PkKvSeq *seq = qkv->batch->seq[t];
	void          *block = seq->blocks[qkv->batch->pos[t] / PK_KV_BLOCK];

	return head->part == PK_KEYS ? pk_kv_keys(seq->cache, block, qkv->layer, head->index)
	                             : pk_kv_values(seq->cache, block, qkv->layer, head->index);
}

static void
rotate(const QkvWork *work, const Head *head, size_t row)
{
	const PkQkv     *qkv = work->qkv;
	const PkWeights *weights = qkv->weights;
	size_t           n_rot = qkv->config->rotary_dims;
	size_t           at = qkv->batch->pos[qkv->space->rows[row]] * (n_rot / 2);

	work->kernels->rope(head_of(work, head, row), weights->rope_cos + at, weights->rope_sin + at,
	                    n_rot);
}

static void
store_block(const QkvWork *work, const Head *head, size_t row)
{
	work->kernels->keys_to_f16(block_of(work, head, row), head_of(work, head, row),
	                           work->qkv->space->qkv_stride, work->head_size);
}

/* The key of one row goes to a column of its block. */
static void
store_key(const QkvWork *work, const Head *head, size_t row)
{
	const PkBatch *batch = work->qkv->batch;
	size_t         t = work->qkv->space->rows[row], slot = batch->pos[t] % PK_KV_BLOCK;
	const float   *k = head_of(work, head, row);
	void          *keys = block_of(work, head, row);

	if (pk_kv_is_f32(batch->seq[t]->cache))
	{
		for (size_t i = 0; i < work->head_size; i++)
			((float *) keys)[i * PK_KV_BLOCK + slot] = k[i];
		return;
	}

	uint16_t *half = (uint16_t *) (void *) head->scratch;

	work->kernels->f32_to_f16(half, k, work->head_size);
	for (size_t i = 0; i < work->head_size; i++)
		((uint16_t *) keys)[i * PK_KV_BLOCK + slot] = half[i];
}

/* Its value goes to a row. */
static void
store_value(const QkvWork *work, const Head *head, size_t row)
{
	const PkBatch *batch = work->qkv->batch;
	size_t         t = work->qkv->space->rows[row];
	size_t         at = batch->pos[t] % PK_KV_BLOCK * work->head_size;
	const float   *v = head_of(work, head, row);
	void          *values = block_of(work, head, row);

	if (pk_kv_is_f32(batch->seq[t]->cache))
		memcpy((float *) values + at, v, work->head_size * sizeof(float));
	else
		work->kernels->f32_to_f16((uint16_t *) values + at, v, work->head_size);
}

/*
 * attention.c
 *    A tile is a head and a group of tokens.
 */
#include <math.h>
#include <string.h>

#include "core/infer/attention.h"
#include "core/infer/linear.h"

/* Most tokens of one tile of the attend pass: they share a head's keys in the cache. */
#define MAX_ATTEND_TOKENS 16

typedef struct AttentionWork
{
	PkAttention     *attention;
	const PkKernels *kernels;
	size_t           n_heads, head_size, hidden;
	size_t           tile_tokens;
	size_t           n_token_tiles;
	float            scale;
	bool             quantizes;
} AttentionWork;

static AttentionWork work_of(const PkCompute *compute, PkAttention *attention);
static size_t        attend_tokens(const PkCompute *compute, const AttentionWork *work);
static void          attend_tile(void *arg, size_t thread, size_t tile);
static void attend_some(const AttentionWork *work, PkThreadSpace *space, size_t row, size_t n,
                        size_t head);
static void give_result(const AttentionWork *work, const float *out, size_t row, size_t head);
static void point_to_blocks(const AttentionWork *work, PkThreadSpace *space, const PkKvSeq *seq,
                            size_t n_keys, size_t head);

bool
pk_attention_quantizes(const PkConfig *config, PkQuant quant)
{
	size_t head_size = config->hidden_size / config->num_attention_heads;

	return (quant == PK_QUANT_Q8 || quant == PK_QUANT_Q4) && head_size % pk_quant_group(quant) == 0;
}

PkStatus
pk_attention_run(const PkCompute *compute, PkAttention *attention)
{
	AttentionWork work = work_of(compute, attention);

	work.tile_tokens = attend_tokens(compute, &work);
	work.n_token_tiles = pk_n_tiles(attention->space->n_rows, work.tile_tokens);
	return pk_pool_run(compute->pool, attend_tile, &work, work.n_heads * work.n_token_tiles,
	                   compute->cancel);
}

static AttentionWork
work_of(const PkCompute *compute, PkAttention *attention)
{
	const PkConfig *config = attention->config;
	size_t          head_size = config->hidden_size / config->num_attention_heads;

	return (AttentionWork){.attention = attention,
	                       .kernels = compute->kernels,
	                       .n_heads = config->num_attention_heads,
	                       .head_size = head_size,
	                       .hidden = config->hidden_size,
	                       .scale = 1.0f / sqrtf((float) head_size),
	                       .quantizes = pk_attention_quantizes(config, attention->next_quant)};
}

/* Tokens of one tile: about 1 ms, judged by the longest sequence of the batch; as many as the
 * kernel takes together, or a multiple. */
static size_t
attend_tokens(const PkCompute *compute, const AttentionWork *work)
{
	const PkBatch     *batch = work->attention->batch;
	const PkWorkspace *space = work->attention->space;
	size_t             n_keys = 1;

	for (size_t row = 0; row < space->n_rows; row++)
		if (batch->pos[space->rows[row]] >= n_keys)
			n_keys = (size_t) batch->pos[space->rows[row]] + 1;

	size_t budget = compute->kernels->needs == 0 ? (size_t) 1 << 19 : (size_t) 1 << 22;
	size_t most = space->n_rows < MAX_ATTEND_TOKENS ? space->n_rows : MAX_ATTEND_TOKENS;
	size_t n = pk_tile_items(budget, 2 * n_keys * work->head_size, most);

	if (n < PK_ATTEND_QUERIES / 2)
		return n;
	n = n < PK_ATTEND_QUERIES ? PK_ATTEND_QUERIES : n - n % PK_ATTEND_QUERIES;
	return n < most ? n : most;
}

static void
attend_tile(void *arg, size_t thread, size_t tile)
{
	AttentionWork     *work = arg;
	const PkBatch     *batch = work->attention->batch;
	const PkWorkspace *shared = work->attention->space;
	PkThreadSpace     *space = &shared->threads[thread];
	size_t             head = tile / work->n_token_tiles;
	size_t             row = tile % work->n_token_tiles * work->tile_tokens;
	size_t             end = row + work->tile_tokens;

	if (end > shared->n_rows)
		end = shared->n_rows;
	while (row < end)
	{
		size_t t = shared->rows[row], n = 1;

		while (row + n < end && batch->seq[shared->rows[row + n]] == batch->seq[t] &&
		       batch->pos[shared->rows[row + n]] == batch->pos[t] + n)
			n++;
		point_to_blocks(work, space, batch->seq[t], batch->pos[t] + n, head);
		for (size_t n_here; n > 0; row += n_here, n -= n_here)
		{
			n_here = n < PK_ATTEND_QUERIES ? n : PK_ATTEND_QUERIES;
			attend_some(work, space, row, n_here, head);
		}
	}
}

static void
point_to_blocks(const AttentionWork *work, PkThreadSpace *space, const PkKvSeq *seq, size_t n_keys,
                size_t head)
{
	size_t layer = work->attention->layer;

	for (size_t b = 0; b < pk_kv_n_blocks(n_keys); b++)
	{
		space->k_blocks[b] = pk_kv_keys(seq->cache, seq->blocks[b], layer, head);
		space->v_blocks[b] = pk_kv_values(seq->cache, seq->blocks[b], layer, head);
	}
}

/* n rows from row on, at consecutive positions. */
static void
attend_some(const AttentionWork *work, PkThreadSpace *space, size_t row, size_t n, size_t head)
{
	const PkBatch *batch = work->attention->batch;
	PkWorkspace   *shared = work->attention->space;
	size_t         t = shared->rows[row];
	PkAttend       attend = {.n_queries = n,
	                         .q = shared->qkv + row * shared->qkv_stride + head * work->head_size,
	                         .q_stride = shared->qkv_stride,
	                         .head_size = work->head_size,
	                         .n_keys = (size_t) batch->pos[t] + 1,
	                         .scale = work->scale,
	                         .k_blocks = space->k_blocks,
	                         .v_blocks = space->v_blocks,
	                         .scores = space->scores,
	                         .out = space->out,
	                         .out_stride = space->head_stride};

	if (work->quantizes)
		for (size_t i = 0; i < n; i++)
			pk_acts_prefetch(work->attention->next, row + i, head * work->head_size,
			                 (head + 1) * work->head_size);
	if (pk_kv_is_f32(batch->seq[t]->cache))
		work->kernels->attend_f32(&attend);
	else
		work->kernels->attend_f16(&attend);
	for (size_t i = 0; i < n; i++)
		give_result(work, space->out + i * space->head_stride, row + i, head);
}

/* out (D) of a row's head to where the next product reads it. */
static void
give_result(const AttentionWork *work, const float *out, size_t row, size_t head)
{
	const PkAttention *attention = work->attention;
	PkWorkspace       *space = attention->space;
	size_t             offset = head * work->head_size;

	if (work->quantizes)
		pk_acts_quantize_part(work->kernels, attention->next, row, attention->next_quant, out,
		                      offset, offset + work->head_size);
	else
		memcpy(space->normed + row * space->e_stride + offset, out,
		       work->head_size * sizeof(float));
}

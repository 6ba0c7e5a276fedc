/*
 * workspace.c
 *    The same walk over all buffers is done twice: with no memory to measure, then to cut.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/infer/workspace.h"

#define MAX_GROUP ((size_t) 128) /* of pk_quant_group() */
#define MIN_GROUP ((size_t) 32)

/* base NULL: only count. */
typedef struct Cut
{
	char  *base;
	size_t used;
	bool   is_overflow;
} Cut;

static bool        fits(const PkWorkspace *space, const PkWorkShape *shape);
static bool        is_same_model(const PkWorkspace *space, const PkWorkShape *shape);
static PkWorkShape larger_of(const PkWorkspace *space, const PkWorkShape *shape);
static void        lay_out(PkWorkspace *space, Cut *cut);
static void        lay_out_threads(PkWorkspace *space, Cut *cut);
static void        lay_out_acts(PkActs *acts, Cut *cut, size_t n_rows, size_t n_cols);
static void move_acts(const PkWorkspace *space, PkActs *acts, float *rows, size_t from, size_t to);
static size_t row_stride(size_t n_items, size_t item_bytes);
static void  *take(Cut *cut, size_t n_rows, size_t n_cols, size_t item_bytes);

PkStatus
pk_workspace_fit(PkWorkspace *space, const PkWorkShape *shape, PkError *err)
{
	if (fits(space, shape))
		return PK_OK;

	PkWorkShape larger = larger_of(space, shape);
	Cut         cut = {0};
	void       *threads;

	pk_workspace_free(space);
	PK_FORWARD(pk_calloc(larger.n_threads, sizeof(PkThreadSpace), &threads, err));
	space->threads = threads;
	space->shape = larger;
	lay_out(space, &cut);

	PkStatus status = cut.is_overflow ? pk_error(err, PK_NO_MEMORY, "scratch memory has no size")
	                                  : pk_pages_alloc(cut.used, &space->pages, err);

	if (status != PK_OK)
	{
		space->pages = NULL;
		pk_workspace_free(space);
		return status;
	}
	space->size_bytes = cut.used;
	cut = (Cut){.base = space->pages};
	lay_out(space, &cut);
	return PK_OK;
}

static bool
fits(const PkWorkspace *space, const PkWorkShape *shape)
{
	const PkWorkShape *have = &space->shape;

	return is_same_model(space, shape) && shape->n_tokens <= have->n_tokens &&
	       shape->n_outputs <= have->n_outputs && shape->n_threads <= have->n_threads;
}

static bool
is_same_model(const PkWorkspace *space, const PkWorkShape *shape)
{
	const PkWorkShape *have = &space->shape;

	return space->pages != NULL && shape->hidden == have->hidden && shape->ffn == have->ffn &&
	       shape->vocab == have->vocab && shape->head_size == have->head_size &&
	       shape->n_context == have->n_context;
}

/* What serves shape, and the same model as before: steps with many outputs and with few alternate.
 */
static PkWorkShape
larger_of(const PkWorkspace *space, const PkWorkShape *shape)
{
	const PkWorkShape *have = &space->shape;
	PkWorkShape        larger = *shape;

	if (!is_same_model(space, shape))
		return larger;
	larger.n_tokens = have->n_tokens > larger.n_tokens ? have->n_tokens : larger.n_tokens;
	larger.n_outputs = have->n_outputs > larger.n_outputs ? have->n_outputs : larger.n_outputs;
	larger.n_threads = have->n_threads > larger.n_threads ? have->n_threads : larger.n_threads;
	return larger;
}

static void
lay_out(PkWorkspace *space, Cut *cut)
{
	const PkWorkShape *shape = &space->shape;
	size_t             n_tokens = shape->n_tokens;

	space->e_stride = row_stride(shape->hidden, sizeof(float));
	space->f_stride = row_stride(shape->ffn, sizeof(float));
	space->qkv_stride = row_stride(3 * shape->hidden, sizeof(float));
	space->v_stride = row_stride(shape->vocab, sizeof(float));

	space->x = take(cut, n_tokens, space->e_stride, sizeof(float));
	space->normed = take(cut, n_tokens, space->e_stride, sizeof(float));
	space->normed2 = take(cut, n_tokens, space->e_stride, sizeof(float));
	space->qkv = take(cut, n_tokens, space->qkv_stride, sizeof(float));
	space->attn_out = take(cut, n_tokens, space->e_stride, sizeof(float));
	space->ffn = take(cut, n_tokens, space->f_stride, sizeof(float));
	space->mlp_out = take(cut, n_tokens, space->e_stride, sizeof(float));
	space->captured = take(cut, n_tokens, space->e_stride, sizeof(float));
	space->outputs = take(cut, shape->n_outputs, space->e_stride, sizeof(float));
	space->logits = take(cut, PK_HEAD_ROWS, space->v_stride, sizeof(float));
	lay_out_acts(&space->acts_attn, cut, n_tokens > PK_HEAD_ROWS ? n_tokens : PK_HEAD_ROWS,
	             shape->hidden);
	lay_out_acts(&space->acts_mlp, cut, n_tokens, shape->hidden);
	lay_out_acts(&space->acts_ffn, cut, n_tokens, shape->ffn);
	space->rows = take(cut, 1, n_tokens, sizeof(size_t));
	lay_out_threads(space, cut);
}

static void
lay_out_acts(PkActs *acts, Cut *cut, size_t n_rows, size_t n_cols)
{
	size_t k_pad = pk_round_up(n_cols, MAX_GROUP);

	acts->q_stride = row_stride(k_pad, sizeof(int8_t));
	acts->q = take(cut, n_rows, acts->q_stride, sizeof(int8_t));
	acts->scale = take(cut, n_rows, k_pad / MIN_GROUP, sizeof(float));
	acts->sum = take(cut, n_rows, k_pad / MIN_GROUP, sizeof(int32_t));
}

static void
lay_out_threads(PkWorkspace *space, Cut *cut)
{
	const PkWorkShape *shape = &space->shape;
	size_t             d_pad = pk_round_up(shape->head_size, PK_LANES);
	size_t             n_keys = pk_round_up(shape->n_context, PK_KV_BLOCK);

	for (size_t i = 0; i < shape->n_threads; i++)
	{
		PkThreadSpace *thread = &space->threads[i];

		thread->head_stride = d_pad;
		thread->out = take(cut, PK_ATTEND_QUERIES, d_pad, sizeof(float));
		thread->scores = take(cut, PK_ATTEND_QUERIES, n_keys, sizeof(float));
		thread->k_blocks = take(cut, 1, n_keys / PK_KV_BLOCK, sizeof(void *));
		thread->v_blocks = take(cut, 1, n_keys / PK_KV_BLOCK, sizeof(void *));
		thread->row = take(cut, 1, space->e_stride, sizeof(float));
	}
}

/*
 * Items from a row to the next: an odd number of cache lines. Rows whose lines are a power of two
 * apart share few sets of a cache, and a kernel that takes many tokens side by side would push its
 * own lines out.
 */
static size_t
row_stride(size_t n_items, size_t item_bytes)
{
	size_t per_line = PK_ALIGNMENT / item_bytes, n_lines = (n_items + per_line - 1) / per_line;

	return (n_lines | 1) * per_line;
}

static void *
take(Cut *cut, size_t n_rows, size_t n_cols, size_t item_bytes)
{
	size_t bytes;
	size_t begin = cut->used;

	if (!pk_size_mul(n_rows, n_cols, &bytes) || !pk_size_mul(bytes, item_bytes, &bytes) ||
	    !pk_size_add(bytes, begin + PK_ALIGNMENT, &bytes))
	{
		cut->is_overflow = true;
		return NULL;
	}
	cut->used = bytes / PK_ALIGNMENT * PK_ALIGNMENT;
	return cut->base != NULL ? cut->base + begin : NULL;
}

void
pk_workspace_free(PkWorkspace *space)
{
	pk_pages_free(space->pages, space->size_bytes);
	free(space->threads);
	*space = (PkWorkspace){0};
}

void
pk_workspace_move_row(PkWorkspace *space, size_t from, size_t to)
{
	size_t row_bytes = space->shape.hidden * sizeof(float);

	space->rows[to] = space->rows[from];
	memcpy(space->x + to * space->e_stride, space->x + from * space->e_stride, row_bytes);
	move_acts(space, &space->acts_attn, space->normed, from, to);
	move_acts(space, &space->acts_mlp, space->normed2, from, to);
}

/* Activations of a row: rows (T, E), or what is quantised. */
static void
move_acts(const PkWorkspace *space, PkActs *acts, float *rows, size_t from, size_t to)
{
	if (acts->n_groups == 0)
	{
		memcpy(rows + to * space->e_stride, rows + from * space->e_stride,
		       space->shape.hidden * sizeof(float));
		return;
	}
	memcpy(acts->q + to * acts->q_stride, acts->q + from * acts->q_stride, acts->q_stride);
	memcpy(acts->scale + to * acts->n_groups, acts->scale + from * acts->n_groups,
	       acts->n_groups * sizeof(float));
	memcpy(acts->sum + to * acts->n_groups, acts->sum + from * acts->n_groups,
	       acts->n_groups * sizeof(int32_t));
}

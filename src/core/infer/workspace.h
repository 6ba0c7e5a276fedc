/*
 * workspace.h
 *    Scratch memory of the forward pass: one mapping, cut into aligned buffers.
 *
 * Rows are padded to an odd number of cache lines, so that each starts aligned and they spread over
 * the sets of a cache. Sized once for the largest step so far; a step that fits allocates nothing.
 */
#ifndef PK_WORKSPACE_H
#define PK_WORKSPACE_H

#include "core/kernels/kernels.h"
#include "core/model/config.h"

/* Rows of logits that are computed at a time. */
#define PK_HEAD_ROWS 32

/* What the sizes depend on. */
typedef struct PkWorkShape
{
	size_t n_tokens;
	size_t n_outputs;
	size_t n_threads;
	size_t hidden, ffn, vocab, head_size, n_context;
} PkWorkShape;

/* Of one thread. */
typedef struct PkThreadSpace
{
	size_t       head_stride; /* floats */
	float       *out;         /* (PK_ATTEND_QUERIES, D) */
	float       *scores;      /* (blocks of the context, PK_ATTEND_QUERIES, PK_KV_BLOCK) */
	const void **k_blocks;    /* (blocks of the context) */
	const void **v_blocks;
	float       *row; /* (E), what is on its way to the cache or to activations */
} PkThreadSpace;

typedef struct PkWorkspace
{
	PkWorkShape shape;
	void       *pages;
	size_t      size_bytes;
	size_t      e_stride, f_stride, qkv_stride, v_stride; /* floats */

	float *x;        /* (T, E) the residual stream */
	float *normed;   /* (T, E) input of qkv, unless quantised; later what attention gave */
	float *normed2;  /* (T, E) input of the feed-forward part, unless quantised */
	float *qkv;      /* (T, 3E) */
	float *attn_out; /* (T, E) */
	float *ffn;      /* (T, F) */
	float *mlp_out;  /* (T, E) */
	float *captured; /* (T, E) hidden states that the batch wants */
	float *outputs;  /* (n_outputs, E) inputs of the output head */
	float *logits;   /* (PK_HEAD_ROWS, V) */

	PkActs acts_attn, acts_mlp, acts_ffn;

	/* The tokens that are worked on: row i of the buffers is of token rows[i] of the batch. */
	size_t *rows; /* (T) */
	size_t  n_rows;

	PkThreadSpace *threads; /* (n_threads) */
} PkWorkspace;

/* Make room for shape, which is from a checked config. Contents are lost when it grows. */
PkStatus pk_workspace_fit(PkWorkspace *space, const PkWorkShape *shape, PkError *err);
void     pk_workspace_free(PkWorkspace *space);

/*
 * Copy all that a layer reads of a row once its keys and values are stored: the token, x, what the
 * queries come from, and, ready where residuals are parallel, the input of the feed-forward part.
 */
void pk_workspace_move_row(PkWorkspace *space, size_t from, size_t to);

#endif

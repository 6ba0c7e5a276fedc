/*
 * linear.h
 *    y = W x + b for all tokens of a step, split into tiles for the pool.
 */
#ifndef PK_LINEAR_H
#define PK_LINEAR_H

#include "core/infer/compute.h"

/* What is done to y after the product. */
typedef enum PkAfter
{
	PK_AFTER_NOTHING,
	PK_AFTER_GELU,
	PK_AFTER_GELU_TANH
} PkAfter;

/* Rows [row_begin, row_end) of y for tokens [t0, t0 + n_tokens). */
typedef struct PkTileRange
{
	size_t t0, n_tokens;
	size_t row_begin, row_end;
} PkTileRange;

/* What else is done to a tile of y, by the thread that computed it. */
typedef void (*PkFinishFn)(void *arg, size_t thread, const PkTileRange *range);

typedef struct PkLinear
{
	const PkMatrix *w;    /* (N, K) */
	const float    *bias; /* (N) or NULL */
	const PkActs   *acts; /* (T, K), quantised for w */
	PkAfter         after;
	float          *y; /* (T, N) */
	size_t          y_stride;
	/* NULL, or activations of (T, N) for the next product, set: y, quantised tile by tile. */
	PkActs         *next;
	PkQuant         next_quant;
	PkFinishFn      finish; /* or NULL */
	void           *finish_arg;
	size_t          finish_rows; /* tiles begin and end with a multiple of so many rows */
} PkLinear;

/* Load what products with this format need ('f32': OpenBLAS). Once before pk_linear(). */
PkStatus pk_linear_prepare(PkQuant quant, PkError *err);

/* PK_CANCELLED: y is undefined. */
PkStatus pk_linear(const PkCompute *compute, const PkLinear *linear);

/* Token row t of acts->x, quantised for w's format where that is needed. */
void pk_acts_quantize(const PkKernels *kernels, PkActs *acts, size_t t, PkQuant quant);

/*
 * The same for columns [begin, end) of the row, which are at x. begin is the first of a group, end
 * the first of another or the end of the row.
 */
void pk_acts_quantize_part(const PkKernels *kernels, PkActs *acts, size_t t, PkQuant quant,
                           const float *x, size_t begin, size_t end);

/* Ask for the lines of those columns, where other cores have read what is overwritten. */
void pk_acts_prefetch(const PkActs *acts, size_t t, size_t begin, size_t end);

/* Set acts to hold (n_tokens, n_cols) from x; q, scale and sum have the room already. */
void pk_acts_set(PkActs *acts, const float *x, size_t x_stride, size_t n_tokens, size_t n_cols,
                 PkQuant quant);

#endif

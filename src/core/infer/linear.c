/*
 * linear.c
 *    Tiles are row blocks x token ranges, about 1 ms each: rows first, so that a tile streams its
 *    weights once; tokens are cut only when one row block for all of them would take too long.
 *
 * Every output is computed by one kernel call from the whole K, so the split never changes a bit
 * ('f32' excepted: OpenBLAS chooses its order by shape).
 */
#include "core/infer/linear.h"
#include "core/kernels/blas.h"

/* Tiles that each thread should get at least, so that none waits long for the other. */
#define TILES_PER_THREAD 4
/* Kernels work on 2 to 8 tokens and on panels of 4 row blocks at a time. */
#define TOKEN_STEP 48 /* and blocks of keys are whole */
#define PANEL_BLOCKS 4
/* A tile that must hold more row blocks than these, because of what is done to it, takes fewer
   tokens, so that it still ends in some milliseconds. */
#define MOST_BLOCKS 8
/* Rows that are finished meanwhile come from farther caches. */
#define ROWS_AHEAD 4

typedef struct LinearWork
{
	const PkLinear  *linear;
	const PkKernels *kernels;
	size_t           n_blocks;
	size_t           tile_blocks;
	size_t           tile_tokens;
	size_t           n_token_tiles;
} LinearWork;

static LinearWork plan_tiles(const PkCompute *compute, const PkLinear *linear);
static size_t     whole_blocks(size_t step, size_t n_rows);
static void       linear_tile(void *arg, size_t thread, size_t tile);
static PkActs     acts_slice(const PkActs *acts, size_t t0, size_t n_tokens);
static void       product(const LinearWork *work, const PkGemm *gemm, size_t block_begin,
                          size_t block_end);
static void       prefetch_rows(const LinearWork *work, size_t t, size_t row_begin, size_t row_end);
static void       finish_rows(const LinearWork *work, size_t t, size_t row_begin, size_t row_end);

PkStatus
pk_linear_prepare(PkQuant quant, PkError *err)
{
	return quant == PK_QUANT_F32 ? pk_blas_load(err) : PK_OK;
}

PkStatus
pk_linear(const PkCompute *compute, const PkLinear *linear)
{
	LinearWork work = plan_tiles(compute, linear);
	size_t     n_row_tiles = pk_n_tiles(work.n_blocks, work.tile_blocks);

	return pk_pool_run(compute->pool, linear_tile, &work, n_row_tiles * work.n_token_tiles,
	                   compute->cancel);
}

static LinearWork
plan_tiles(const PkCompute *compute, const PkLinear *linear)
{
	const PkMatrix *w = linear->w;
	size_t          n_tokens = linear->acts->n_tokens;
	size_t          budget = pk_tile_work(compute, w->quant);
	size_t          per_token = PK_LANES * w->n_cols; /* multiply-adds of a row block */
	size_t          step = compute->kernels->needs != 0 ? PANEL_BLOCKS : 1;
	LinearWork      work = {.linear = linear, .kernels = compute->kernels};

	if (linear->next != NULL)
		step = whole_blocks(step, pk_quant_group(linear->next_quant));
	if (linear->finish != NULL)
		step = whole_blocks(step, linear->finish_rows);
	if (step > MOST_BLOCKS)
		budget = budget / step * MOST_BLOCKS;

	work.n_blocks = pk_n_tiles(w->n_rows, PK_LANES);
	work.tile_tokens = pk_tile_items(budget, per_token, n_tokens);
	if (work.tile_tokens > TOKEN_STEP && work.tile_tokens < n_tokens)
		work.tile_tokens -= work.tile_tokens % TOKEN_STEP;
	work.n_token_tiles = pk_n_tiles(n_tokens, work.tile_tokens);

	size_t fair = pk_n_tiles(work.n_blocks, TILES_PER_THREAD * pk_pool_n_threads(compute->pool));

	work.tile_blocks = pk_tile_items(budget, per_token * work.tile_tokens, fair);
	work.tile_blocks = pk_n_tiles(work.tile_blocks, step) * step;
	return work;
}

/* The least multiple of step blocks that holds a multiple of n_rows rows. */
static size_t
whole_blocks(size_t step, size_t n_rows)
{
	size_t n_blocks = step;

	while (n_blocks * PK_LANES % n_rows != 0)
		n_blocks += step;
	return n_blocks;
}

/* Token ranges are the fast index: the weights of a row tile are still in the cache. */
static void
linear_tile(void *arg, size_t thread, size_t tile)
{
	const LinearWork *work = arg;
	const PkLinear   *linear = work->linear;
	size_t            t0 = tile % work->n_token_tiles * work->tile_tokens;
	size_t            begin = tile / work->n_token_tiles * work->tile_blocks;
	size_t            end = begin + work->tile_blocks;
	size_t            n_tokens = linear->acts->n_tokens - t0;

	if (n_tokens > work->tile_tokens)
		n_tokens = work->tile_tokens;
	if (end > work->n_blocks)
		end = work->n_blocks;

	PkActs acts = acts_slice(linear->acts, t0, n_tokens);
	PkGemm gemm = {.w = linear->w,
	               .acts = &acts,
	               .bias = linear->bias,
	               .y = linear->y + t0 * linear->y_stride,
	               .y_stride = linear->y_stride};

	bool   finishes = linear->after != PK_AFTER_NOTHING || linear->next != NULL;
	size_t row_end = end * PK_LANES < linear->w->n_rows ? end * PK_LANES : linear->w->n_rows;

	product(work, &gemm, begin, end);
	for (size_t t = t0; finishes && t < t0 + n_tokens; t++)
	{
		if (t + ROWS_AHEAD < t0 + n_tokens)
			prefetch_rows(work, t + ROWS_AHEAD, begin * PK_LANES, row_end);
		finish_rows(work, t, begin * PK_LANES, row_end);
	}
	if (linear->finish != NULL)
		linear->finish(linear->finish_arg, thread,
		               &(PkTileRange){t0, n_tokens, begin * PK_LANES, row_end});
}

static PkActs
acts_slice(const PkActs *acts, size_t t0, size_t n_tokens)
{
	PkActs slice = *acts;
	size_t group_row = t0 * acts->n_groups;

	slice.n_tokens = n_tokens;
	slice.x = acts->x + t0 * acts->x_stride;
	if (acts->n_groups > 0)
	{
		slice.q = acts->q + t0 * acts->q_stride;
		slice.scale = acts->scale + group_row;
		slice.sum = acts->sum + group_row;
	}
	return slice;
}

static void
product(const LinearWork *work, const PkGemm *gemm, size_t block_begin, size_t block_end)
{
	const PkActs *acts = gemm->acts;
	size_t        row_end = block_end * PK_LANES;

	switch (gemm->w->quant)
	{
		case PK_QUANT_Q8:
			work->kernels->gemm_q8(gemm, block_begin, block_end);
			break;
		case PK_QUANT_Q4:
			work->kernels->gemm_q4(gemm, block_begin, block_end);
			break;
		case PK_QUANT_F16:
			work->kernels->gemm_f16(gemm, block_begin, block_end);
			break;
		default:
			if (row_end > gemm->w->n_rows)
				row_end = gemm->w->n_rows;
			pk_blas_linear(gemm->y, gemm->y_stride, acts->x, acts->x_stride, gemm->w->data,
			               gemm->bias, acts->n_tokens, block_begin * PK_LANES, row_end,
			               acts->n_cols);
			break;
	}
}

/* The activation function and the quantised y of a token, while the tile is in the cache. */
static void
finish_rows(const LinearWork *work, size_t t, size_t row_begin, size_t row_end)
{
	const PkLinear *linear = work->linear;
	float          *y = linear->y + t * linear->y_stride + row_begin;
	size_t          n = row_end - row_begin;

	if (linear->after == PK_AFTER_GELU)
		work->kernels->gelu(y, n);
	else if (linear->after == PK_AFTER_GELU_TANH)
		work->kernels->gelu_tanh(y, n);
	if (linear->next != NULL)
		pk_acts_quantize_part(work->kernels, linear->next, t, linear->next_quant, y, row_begin,
		                      row_end);
}

/* What finish_rows() reads and writes, a few lines here and there in rows far from one another. */
static void
prefetch_rows(const LinearWork *work, size_t t, size_t row_begin, size_t row_end)
{
	const PkLinear *linear = work->linear;
	const PkActs   *next = linear->next;
	const float    *y = linear->y + t * linear->y_stride;
	size_t          group;

	if (linear->after != PK_AFTER_NOTHING)
		for (size_t row = row_begin; row < row_end; row += PK_ALIGNMENT / sizeof(float))
			pk_prefetch_write(y + row);
	if (next == NULL || next->n_groups == 0)
		return;
	pk_acts_prefetch(next, t, row_begin, row_end);
	group = t * next->n_groups + row_begin / pk_quant_group(linear->next_quant);
	pk_prefetch_write(next->scale + group);
	pk_prefetch_write(next->sum + group);
}

void
pk_acts_prefetch(const PkActs *acts, size_t t, size_t begin, size_t end)
{
	if (acts->n_groups > 0)
		for (size_t col = begin; col < end; col += PK_ALIGNMENT)
			pk_prefetch_write(acts->q + t * acts->q_stride + col);
}

void
pk_acts_set(PkActs *acts, const float *x, size_t x_stride, size_t n_tokens, size_t n_cols,
            PkQuant quant)
{
	bool   is_integer = quant == PK_QUANT_Q8 || quant == PK_QUANT_Q4;
	size_t group = pk_quant_group(quant);

	acts->n_tokens = n_tokens;
	acts->n_cols = n_cols;
	acts->x = x;
	acts->x_stride = x_stride;
	acts->n_groups = is_integer ? pk_n_tiles(n_cols, group) : 0;
}

void
pk_acts_quantize(const PkKernels *kernels, PkActs *acts, size_t t, PkQuant quant)
{
	pk_acts_quantize_part(kernels, acts, t, quant, acts->x + t * acts->x_stride, 0, acts->n_cols);
}

void
pk_acts_quantize_part(const PkKernels *kernels, PkActs *acts, size_t t, PkQuant quant,
                      const float *x, size_t begin, size_t end)
{
	size_t group = pk_quant_group(quant);

	if (acts->n_groups == 0)
		return;

	PK_ASSERT(begin % group == 0);

	size_t at = t * acts->n_groups + begin / group;

	kernels->quantize(x, end - begin, group, acts->q + t * acts->q_stride + begin, acts->scale + at,
	                  acts->sum + at);
}

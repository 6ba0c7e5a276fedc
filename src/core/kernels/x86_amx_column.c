/*
 * x86_amx_column.c
 *    AMX: the products of q8 and q4 with few tokens (amx_column.h).
 */
#if defined(__x86_64__)

#include <immintrin.h>

#define PK_PART_LANES 16

#include "core/kernels/amx_column.h"
#include "core/kernels/tiers.h"

#define TARGET PK_TARGET_VNNI
#define STEP_TOKENS 8 /* the floats are done for a multiple of it */
#define N_STEPS (PK_AMX_TOKENS / STEP_TOKENS)
#define STRETCH_GROUPS PK_STRETCH_GROUPS_Q4 /* as many as a PkTokenMeta has room for */

typedef void (*ColumnFn)(PkAmxColumn *);

#define COLUMN(format, n)                                                              \
	TARGET static __attribute__((noinline)) void column_##format##_##n(PkAmxColumn *c) \
	{                                                                                  \
		pk_amx_column_##format(c, n);                                                  \
	}
#define COLUMNS(format) COLUMN(format, 8) COLUMN(format, 16) COLUMN(format, 24) COLUMN(format, 32)
COLUMNS(q8)
COLUMNS(q4)

static const ColumnFn columns_q8[N_STEPS] = {column_q8_8, column_q8_16, column_q8_24, column_q8_32};
static const ColumnFn columns_q4[N_STEPS] = {column_q4_8, column_q4_16, column_q4_24, column_q4_32};

/* The shapes of the tiles for n tokens; of those that are not used, any. */
TARGET static void
configure(size_t n, size_t group)
{
	size_t       row_bytes = group < PK_AMX_BYTES ? group : PK_AMX_BYTES;
	size_t       first = n < PK_AMX_ROWS ? n : PK_AMX_ROWS;
	size_t       others = n > PK_AMX_ROWS ? n - PK_AMX_ROWS : 1;
	PkTileConfig config = {.palette = 1};

	pk_amx_shape(&config, 0, first, PK_AMX_BYTES);
	pk_amx_shape(&config, 1, others, PK_AMX_BYTES);
	pk_amx_shape(&config, 4, first, row_bytes);
	pk_amx_shape(&config, 5, others, row_bytes);
	pk_amx_shape(&config, 6, row_bytes / PK_QUAD, PK_AMX_BYTES);
	PK_AMX_CONFIGURE(&config);
}

/* What the tokens bring to the stretch of n_groups groups from j on. */
TARGET static void
load_meta(const PkActs *acts, size_t j, size_t n_groups, bool is_q8, PkTokenMeta *meta)
{
	if (is_q8)
		pk_load_meta(acts, j, n_groups, PK_Q8_OFFSET, 0, acts->n_tokens, meta);
	else
		for (size_t t = 0; t < acts->n_tokens; t++)
			memcpy(meta[t].scale, acts->scale + t * acts->n_groups + j, n_groups * sizeof(float));
}

/* data: of the block, where q8 has its scales. */
TARGET static void
store_y(const PkGemm *g, size_t block, const uint8_t *data, bool is_q8, const PkV16 *y)
{
	const size_t row = block * PK_LANES;
	const __m512 row_scale = is_q8 ? _mm512_loadu_ps(data) : _mm512_set1_ps(1.0f);
	const __m512 bias = g->bias != NULL ? _mm512_loadu_ps(g->bias + row) : _mm512_set1_ps(-0.0f);

	for (size_t t = 0; t < g->acts->n_tokens; t++)
		_mm512_storeu_ps(g->y + t * g->y_stride + row,
		                 _mm512_fmadd_ps((__m512) y[t], row_scale, bias));
}

TARGET size_t
pk_amx_columns(const PkGemm *g, size_t begin, size_t end, bool is_q8)
{
	const PkActs  *acts = g->acts;
	const size_t   group = is_q8 ? PK_Q8_GROUP : PK_Q4_GROUP;
	const size_t   group_bytes = is_q8 ? PK_Q8_GROUP_BYTES : PK_Q4_GROUP_BYTES;
	const size_t   head_bytes = is_q8 ? PK_Q8_SCALE_BYTES : 0;
	const size_t   n_groups = acts->n_groups, block_bytes = head_bytes + n_groups * group_bytes;
	const size_t   i_step = (acts->n_tokens - 1) / STEP_TOKENS;
	const ColumnFn multiply = (is_q8 ? columns_q8 : columns_q4)[i_step];
	PkTokenMeta    meta[PK_AMX_TOKENS];
	PkV16          y[PK_AMX_TOKENS];
	PkAmxColumn    c = {.q_stride = acts->q_stride, .meta = meta, .y = y};
	size_t         loaded = SIZE_MAX; /* the stretch that meta is of */

	/* tokens that there are not have scales of zero */
	memset(meta + acts->n_tokens, 0,
	       ((i_step + 1) * STEP_TOKENS - acts->n_tokens) * sizeof(meta[0]));
	configure(acts->n_tokens, group);
	for (; begin < end && (begin + 1) * PK_LANES <= g->w->n_rows; begin++)
	{
		const uint8_t *data = (const uint8_t *) g->w->data + begin * block_bytes;

		memset(y, 0, sizeof(y));
		for (size_t j = 0; j < n_groups; j += c.n_groups)
		{
			c.n_groups = n_groups - j < STRETCH_GROUPS ? n_groups - j : STRETCH_GROUPS;
			if (j != loaded)
				load_meta(acts, j, c.n_groups, is_q8, meta);
			loaded = j;
			c.w = data + head_bytes + j * group_bytes;
			if (j == 0 && head_bytes > 0) /* the line that the head has moved out of sight */
				__builtin_prefetch(c.w + PK_AMX_AHEAD - PK_AMX_BYTES, 0, 2);
			c.q = acts->q + j * group;
			multiply(&c);
		}
		store_y(g, begin, data, is_q8, y);
	}
	PK_AMX_RELEASE();
	return begin;
}

#else
typedef int PkEmptyUnit;
#endif

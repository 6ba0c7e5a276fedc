/*
 * x86_amx.c
 *    AMX: the products of q8 and q4 with more tokens than most steps of decode have. Few tokens go
 *    by x86_amx_column.c.
 *
 * Panels of 32 rows are multiplied with chunks of 32 or at most 16 tokens (amx_tile.h). A stretch
 * of groups of a panel is widened to signed bytes on the stack, where it serves all tokens of a
 * range, and the next stretch is prefetched; y of a panel stays there, too, so that rows that lie
 * far apart in memory are touched once. Rows that fill no panel, and up to 6 tokens, take the way
 * of vnni. The sums are the same in all.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#define PK_PART_LANES 16

#include "core/kernels/amx_tile.h"
#include "core/kernels/vnni_tile.h"
#include "core/kernels/tiers.h"

#define TARGET PK_TARGET_VNNI
/* Most tokens whose activations of a stretch stay in the second-level cache. */
#define RANGE_TOKENS 512
/* Groups of q8 that are widened at a time. Of q4: PK_LANES, as many as have their scales loaded. */
#define STRETCH_GROUPS 8
#define WIDE_BYTES (STRETCH_GROUPS * PK_AMX_GROUP_BYTES(PK_Q8_GROUP))
/* Fewer tokens are as fast, or faster, with vnni, whose tiles are of 6 tokens. */
#define MIN_TOKENS_Q8 (PK_PANEL_TOKENS + 1)
#define MIN_TOKENS_Q4 (2 * PK_PANEL_TOKENS + 1)

/* The shapes of the tiles: n_rows tokens, a group of inputs or 64 of them. */
TARGET static void
configure(size_t n_rows, size_t group)
{
	size_t       row_bytes = group < PK_AMX_BYTES ? group : PK_AMX_BYTES;
	PkTileConfig config = {.palette = 1};

	for (size_t i = 0; i < 8; i++)
		pk_amx_shape(&config, i, i >= 6 ? row_bytes / PK_QUAD : n_rows,
		             i == 4 || i == 5 ? row_bytes : PK_AMX_BYTES);
	pk_amx_configure(&config);
}

#define CHUNK(name, n, group)                                        \
	TARGET static __attribute__((noinline)) void name(PkAmxChunk *c) \
	{                                                                \
		pk_amx_chunk(c, n, group);                                   \
	}
CHUNK(chunk_q8_32, 32, PK_Q8_GROUP)
CHUNK(chunk_q8_16, 16, PK_Q8_GROUP)
CHUNK(chunk_q8, c->n_tokens, PK_Q8_GROUP)
CHUNK(chunk_q4_32, 32, PK_Q4_GROUP)
CHUNK(chunk_q4_16, 16, PK_Q4_GROUP)
CHUNK(chunk_q4, c->n_tokens, PK_Q4_GROUP)

/* Groups of one of the blocks of a panel as the tiles take them: signed bytes, float scales. */
TARGET PK_INLINE void
widen_q8(uint8_t *out, size_t block, const uint8_t *group, size_t n_groups)
{
	const __m512i offset = _mm512_set1_epi8((char) PK_Q8_OFFSET);
	const size_t  bytes = PK_Q8_GROUP * PK_LANES;

	for (size_t j = 0; j < n_groups; j++)
	{
		uint8_t *weights = out + PK_AMX_SCALES + block * bytes;

		_mm512_store_si512(out + block * PK_Q8_SCALE_BYTES, _mm512_loadu_si512(group));
#pragma GCC unroll 8
		for (size_t i = 0; i < bytes; i += PK_AMX_BYTES)
			_mm512_store_si512(
				weights + i,
				_mm512_xor_si512(offset, _mm512_loadu_si512(group + PK_Q8_SCALE_BYTES + i)));
		group += PK_Q8_GROUP_BYTES;
		out += PK_AMX_GROUP_BYTES(PK_Q8_GROUP);
	}
}

TARGET PK_INLINE void
widen_q4(uint8_t *out, size_t block, const uint8_t *group, size_t n_groups)
{
	for (size_t j = 0; j < n_groups; j++)
	{
		_mm512_store_ps(out + block * PK_Q8_SCALE_BYTES,
		                _mm512_cvtph_ps(_mm256_loadu_si256((const void *) group)));
		pk_amx_widen_q4(out + PK_AMX_SCALES + block * PK_Q4_GROUP * PK_LANES, group);
		group += PK_Q4_GROUP_BYTES;
		out += PK_AMX_GROUP_BYTES(PK_Q4_GROUP);
	}
}

/* What a call keeps on its stack: some 140 kB. */
typedef struct Scratch
{
	PkAmxChunk chunk;
	PkV16      y[RANGE_TOKENS][PK_AMX_BLOCKS];
	float      scale[RANGE_TOKENS][PK_LANES];
	uint8_t    w[WIDE_BYTES];
} Scratch;

_Static_assert(WIDE_BYTES >= PK_LANES * PK_AMX_GROUP_BYTES(PK_Q4_GROUP), "16 groups of q4 fit");

/* Tokens [t0, t0 + n_tokens) of a call, and groups [j0, j1) of the reduction. */
typedef struct Range
{
	size_t t0, n_tokens;
	size_t j0, j1;
} Range;

/* The scales of the activations of a range, a row of PK_LANES groups a token. */
TARGET static void
load_scales(const PkActs *acts, const Range *range, float (*out)[PK_LANES])
{
	const float    *scale = acts->scale + range->t0 * acts->n_groups + range->j0;
	const __mmask16 mask = (__mmask16) ((1u << (range->j1 - range->j0)) - 1);

	for (size_t t = 0; t < range->n_tokens; t++)
		_mm512_store_ps(out[t], _mm512_maskz_loadu_ps(mask, scale + t * acts->n_groups));
}

/* y before a range: nothing yet, or what the ranges before gave. */
TARGET static void
load_y(const PkGemm *g, const Range *range, size_t row, PkV16 (*y)[PK_AMX_BLOCKS])
{
	const float *from = g->y + range->t0 * g->y_stride + row;

	if (range->j0 == 0)
		memset(y, 0, range->n_tokens * sizeof(y[0]));
	else
		for (size_t t = 0; t < range->n_tokens; t++)
			memcpy(y[t], from + t * g->y_stride, sizeof(y[0]));
}

TARGET static void
store_y(const PkGemm *g, const Range *range, size_t row, PkV16 (*y)[PK_AMX_BLOCKS])
{
	float *to = g->y + range->t0 * g->y_stride + row;

	if (range->j1 == g->acts->n_groups && g->bias != NULL)
	{
		PkV16 first = (PkV16) _mm512_loadu_ps(g->bias + row);
		PkV16 second = (PkV16) _mm512_loadu_ps(g->bias + row + PK_LANES);

		for (size_t t = 0; t < range->n_tokens; t++)
		{
			y[t][0] += first;
			y[t][1] += second;
		}
	}
	for (size_t t = 0; t < range->n_tokens; t++)
		memcpy(to + t * g->y_stride, y[t], sizeof(y[0]));
}

/* Parts of n for the chunks of a range, or for those and their groups. */
PK_INLINE size_t
share(size_t n, const Range *range, size_t n_groups)
{
	size_t n_parts = (range->n_tokens + PK_AMX_TOKENS - 1) / PK_AMX_TOKENS * n_groups;

	return (n + n_parts - 1) / n_parts;
}

/* A stretch of groups from j of a panel, for the tokens of a range. */
TARGET PK_INLINE void
multiply_stretch(const PkGemm *g, const Range *range, size_t j, Scratch *s, bool is_q8)
{
	const size_t  group = is_q8 ? PK_Q8_GROUP : PK_Q4_GROUP;
	const PkActs *acts = g->acts;
	PkAmxChunk   *c = &s->chunk;
	size_t        n_rows = 0; /* of the tiles, as they are configured */

	c->w = s->w;
	c->q_stride = acts->q_stride;
	for (size_t t = 0; t < range->n_tokens; t += c->n_tokens)
	{
		size_t rest = range->n_tokens - t, rows = rest < PK_AMX_ROWS ? rest : PK_AMX_ROWS;
		size_t n = rest < PK_AMX_TOKENS ? rows : PK_AMX_TOKENS;

		if (rows != n_rows)
			configure(rows, group);
		n_rows = rows;
		c->n_tokens = n;
		c->q = acts->q + (range->t0 + t) * acts->q_stride + j * group;
		c->scale = (const float(*)[PK_LANES])(s->scale[t] + (j - range->j0));
		c->y = s->y + t;
		if (is_q8)
			(n == PK_AMX_TOKENS ? chunk_q8_32 : n == PK_AMX_ROWS ? chunk_q8_16 : chunk_q8)(c);
		else
			(n == PK_AMX_TOKENS ? chunk_q4_32 : n == PK_AMX_ROWS ? chunk_q4_16 : chunk_q4)(c);
	}
}

/* Where the next stretch begins, that of group j: of this panel or of the next, if there is one. */
PK_INLINE void
point_ahead(const PkGemm *g, const Range *range, size_t block, size_t j, size_t group_bytes,
            PkAmxChunk *c)
{
	const size_t   block_bytes = g->acts->n_groups * group_bytes;
	const uint8_t *data = g->w->data;

	if (j == range->j1)
	{
		block += PK_AMX_BLOCKS;
		j = range->j0;
	}
	c->n_lines = 0;
	if ((block + PK_AMX_BLOCKS) * PK_LANES > g->w->n_rows)
		return;
	c->n_lines = share((group_bytes + PK_ALIGNMENT - 1) / PK_ALIGNMENT, range, 1);
	for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
		c->next[b] = data + (block + b) * block_bytes + j * group_bytes;
}

/* Where y goes after the last stretch: stores would wait for lines that are in no cache near. */
PK_INLINE void
point_out(const PkGemm *g, const Range *range, size_t block, size_t j, PkAmxChunk *c)
{
	c->n_out = j == range->j1 ? share(range->n_tokens, range, c->n_groups) : 0;
	c->out = g->y + range->t0 * g->y_stride + block * PK_LANES;
	c->out_stride = g->y_stride;
}

/* A panel for the tokens and groups of a range. */
TARGET PK_INLINE void
multiply_panel(const PkGemm *g, const Range *range, size_t block, Scratch *s, bool is_q8)
{
	const size_t group_bytes = is_q8 ? PK_Q8_GROUP_BYTES : PK_Q4_GROUP_BYTES;
	const size_t most = is_q8 ? STRETCH_GROUPS : PK_LANES;
	const size_t block_bytes = g->acts->n_groups * group_bytes;

	load_y(g, range, block * PK_LANES, s->y);
	for (size_t j = range->j0; j < range->j1; j += s->chunk.n_groups)
	{
		const uint8_t *w = (const uint8_t *) g->w->data + block * block_bytes + j * group_bytes;

		s->chunk.n_groups = range->j1 - j < most ? range->j1 - j : most;
		for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
			(is_q8 ? widen_q8 : widen_q4)(s->w, b, w + b * block_bytes, s->chunk.n_groups);
		point_ahead(g, range, block, j + s->chunk.n_groups, group_bytes, &s->chunk);
		point_out(g, range, block, j + s->chunk.n_groups, &s->chunk);
		multiply_stretch(g, range, j, s, is_q8);
	}
	store_y(g, range, block * PK_LANES, s->y);
}

/* The whole panels of row blocks [begin, end); gives the block after them. */
TARGET PK_INLINE size_t
multiply_panels(const PkGemm *g, size_t begin, size_t end, bool is_q8)
{
	size_t                 n_groups = g->acts->n_groups, n_tokens = g->acts->n_tokens;
	Range                  range;
	PK_ALIGNED(64) Scratch s;

	if (end * PK_LANES > g->w->n_rows)
		end = g->w->n_rows / PK_LANES;
	end -= (end - begin) % PK_AMX_BLOCKS;
	for (range.t0 = 0; range.t0 < n_tokens; range.t0 += range.n_tokens)
	{
		size_t left = n_tokens - range.t0, n_ranges = (left + RANGE_TOKENS - 1) / RANGE_TOKENS;

		range.n_tokens = (left + n_ranges - 1) / n_ranges; /* not one long and one short */
		for (range.j0 = 0; range.j0 < n_groups; range.j0 = range.j1)
		{
			range.j1 = n_groups - range.j0 < PK_LANES ? n_groups : range.j0 + PK_LANES;
			load_scales(g->acts, &range, s.scale);
			for (size_t b = begin; b < end; b += PK_AMX_BLOCKS)
				multiply_panel(g, &range, b, &s, is_q8);
		}
	}
	pk_amx_release();
	return end;
}

/* rest: the products of the tier below. */
TARGET PK_INLINE void
multiply(const PkGemm *g, size_t begin, size_t end, bool is_q8,
         void (*rest)(const PkGemm *, size_t, size_t))
{
	size_t n = g->acts->n_tokens;

	if (n > PK_AMX_TOKENS && end > begin)
		begin = multiply_panels(g, begin, end, is_q8);
	else if (n >= (is_q8 ? MIN_TOKENS_Q8 : MIN_TOKENS_Q4) && end > begin)
		begin = pk_amx_columns(g, begin, end, is_q8);
	if (begin < end)
		rest(g, begin, end);
}

TARGET static void
gemm_q8(const PkGemm *g, size_t begin, size_t end)
{
	multiply(g, begin, end, true, pk_kernels_vnni.gemm_q8);
}

TARGET static void
gemm_q4(const PkGemm *g, size_t begin, size_t end)
{
	multiply(g, begin, end, false, pk_kernels_vnni.gemm_q4);
}

const PkKernels pk_kernels_amx = {
	.name = "amx",
	.needs = PK_CPU_AVX2 | PK_CPU_AVX512 | PK_CPU_VNNI | PK_CPU_AMX,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
};

#else
typedef int PkEmptyUnit;
#endif

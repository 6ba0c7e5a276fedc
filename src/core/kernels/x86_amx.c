/*
 * x86_amx.c
 *    AMX: the products of q8 and q4 with more tokens than most steps of decode have. Few tokens go
 *    by x86_amx_column.c.
 *
 * Panels of 32 rows are multiplied with chunks of 32 or at most 16 tokens (amx_tile.h), a stretch
 * of groups at a time, and the next stretch is prefetched. q8 serves few tokens as it is packed;
 * for many, and of q4, a stretch is widened to signed bytes on the stack. Rows that fill no panel,
 * and up to 6 tokens, take the way of vnni. The sums are the same in all.
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
/* Groups of a stretch: as many as a token's scales are loaded for. */
#define STRETCH_GROUPS PK_LANES
_Static_assert(PK_AMX_GROUP_BYTES(PK_Q8_GROUP) == PK_Q8_GROUP_BYTES, "tiles are loaded from it");
_Static_assert(PK_AMX_GROUP_BYTES(PK_Q4_GROUP) <= PK_Q8_GROUP_BYTES, "q4 is widened in its place");
/* As many tokens make it worth while to widen q8, which spares them the offset. */
#define WIDEN_TOKENS 224
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
	PK_AMX_CONFIGURE(&config);
}

#define CHUNK(name, n, group, is_signed)                             \
	TARGET static __attribute__((noinline)) void name(PkAmxChunk *c) \
	{                                                                \
		pk_amx_chunk(c, n, group, is_signed);                        \
	}
#define CHUNKS(name, group, is_signed)     \
	CHUNK(name##_32, 32, group, is_signed) \
	CHUNK(name##_16, 16, group, is_signed) \
	CHUNK(name##_few, c->n_tokens % PK_AMX_ROWS, group, is_signed) /* below 16 */
CHUNKS(chunk_q8, PK_Q8_GROUP, false)
CHUNKS(chunk_wide_q8, PK_Q8_GROUP, true)
CHUNKS(chunk_wide_q4, PK_Q4_GROUP, true)

typedef struct Chunks
{
	void (*of_32)(PkAmxChunk *), (*of_16)(PkAmxChunk *), (*of_few)(PkAmxChunk *);
} Chunks;

static const Chunks chunks_q8 = {chunk_q8_32, chunk_q8_16, chunk_q8_few};
static const Chunks chunks_wide_q8 = {chunk_wide_q8_32, chunk_wide_q8_16, chunk_wide_q8_few};
static const Chunks chunks_wide_q4 = {chunk_wide_q4_32, chunk_wide_q4_16, chunk_wide_q4_few};

/* Groups of a block of q8 as signed bytes. */
TARGET PK_INLINE void
widen_q8(uint8_t *out, const uint8_t *group, size_t n_groups)
{
	const __m512i offset = _mm512_set1_epi8((char) PK_Q8_OFFSET);

#pragma GCC unroll 8
	for (size_t i = 0; i < n_groups * PK_Q8_GROUP_BYTES; i += PK_AMX_BYTES)
		_mm512_store_si512(out + i, _mm512_xor_si512(offset, _mm512_loadu_si512(group + i)));
}

/* The same of q4. */
TARGET PK_INLINE void
widen_q4(uint8_t *out, const uint8_t *group, size_t n_groups)
{
	for (size_t j = 0; j < n_groups; j++)
	{
		_mm512_store_ps(out, _mm512_cvtph_ps(_mm256_loadu_si256((const void *) group)));
		pk_amx_widen_q4(out + PK_AMX_SCALE_BYTES(PK_Q4_GROUP), group);
		group += PK_Q4_GROUP_BYTES;
		out += PK_AMX_GROUP_BYTES(PK_Q4_GROUP);
	}
}

/* What a call keeps on its stack: some 120 kB. */
typedef struct Scratch
{
	PkAmxChunk chunk;
	float      scale[RANGE_TOKENS][PK_LANES];
	int32_t    start[WIDEN_TOKENS][PK_LANES];
	uint8_t    wide[PK_AMX_BLOCKS][STRETCH_GROUPS * PK_Q8_GROUP_BYTES];
} Scratch;

/* Tokens [t0, t0 + n_tokens) of a call, and groups [j0, j1) of the reduction, a stretch. */
typedef struct Range
{
	size_t t0, n_tokens;
	size_t j0, j1;
	bool   is_wide;    /* weights are widened */
	size_t begin, end; /* row blocks of the call */
} Range;

/* The scales of the activations of a range, and what takes the offset of packed weights back. */
TARGET static void
load_meta(const PkActs *acts, const Range *range, Scratch *s)
{
	const size_t    first = range->t0 * acts->n_groups + range->j0;
	const __mmask16 mask = (__mmask16) ((1u << (range->j1 - range->j0)) - 1);
	const __m512i   offset = _mm512_set1_epi32(-PK_Q8_OFFSET);

	for (size_t t = 0; t < range->n_tokens; t++)
	{
		size_t at = first + t * acts->n_groups;

		_mm512_store_ps(s->scale[t], _mm512_maskz_loadu_ps(mask, acts->scale + at));
		if (range->is_wide)
			continue;
		_mm512_store_si512(s->start[t], _mm512_mullo_epi32(offset, _mm512_maskz_loadu_epi32(
																	   mask, acts->sum + at)));
	}
}

/*
 * Where the next stretch begins: the same groups of the next panel, if there is one; after the last
 * panel of the call the next groups of its first, if there are some.
 */
PK_INLINE void
point_ahead(const PkGemm *g, const Range *range, size_t block, size_t block_bytes,
            size_t head_bytes, size_t group_bytes, PkAmxChunk *c)
{
	size_t n_chunks = (range->n_tokens + PK_AMX_TOKENS - 1) / PK_AMX_TOKENS;
	size_t n_lines = (group_bytes + PK_ALIGNMENT - 1) / PK_ALIGNMENT;
	size_t j = range->j0;

	block += PK_AMX_BLOCKS;
	if (block >= range->end && range->j1 < g->acts->n_groups)
	{
		block = range->begin;
		j = range->j1;
	}
	c->n_lines = 0;
	if ((block + PK_AMX_BLOCKS) * PK_LANES > g->w->n_rows)
		return;
	c->n_lines = (n_lines + n_chunks - 1) / n_chunks;
	for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
	{
		const uint8_t *head = (const uint8_t *) g->w->data + (block + b) * block_bytes;

		c->next[b] = head + head_bytes + j * group_bytes;
		if (head_bytes > 0 && range->j1 == g->acts->n_groups)
			__builtin_prefetch(head, 0, 2);
	}
}

/*
 * What is done to y of a panel at the end of a stretch. Of the last one that is the bias and, of
 * q8, the scales at the head of the blocks at data.
 */
TARGET PK_INLINE void
load_scale_and_bias(const PkGemm *g, const Range *range, size_t row, const uint8_t *data,
                    size_t block_bytes, bool is_q8, PkAmxChunk *c)
{
	bool is_last = range->j1 == g->acts->n_groups;
	bool has_bias = is_last && g->bias != NULL;

	for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
	{
		c->row_scale[b] = (PkV16) (is_last && is_q8 ? _mm512_loadu_ps(data + b * block_bytes)
		                                            : _mm512_set1_ps(1.0f));
		c->bias[b] = (PkV16) (has_bias ? _mm512_loadu_ps(g->bias + row + b * PK_LANES)
		                               : _mm512_set1_ps(-0.0f));
	}
}

/* A panel for the tokens of a range, chunk by chunk. */
TARGET PK_INLINE void
multiply_chunks(const PkGemm *g, const Range *range, size_t row, Scratch *s, size_t group,
                const Chunks *chunks)
{
	const PkActs *acts = g->acts;
	PkAmxChunk   *c = &s->chunk;
	size_t        n_rows = 0; /* of the tiles, as they are configured */

	for (size_t t = 0; t < range->n_tokens; t += c->n_tokens)
	{
		size_t rest = range->n_tokens - t, rows = rest < PK_AMX_ROWS ? rest : PK_AMX_ROWS;
		size_t n = rest < PK_AMX_TOKENS ? rows : PK_AMX_TOKENS;

		if (rows != n_rows)
			configure(rows, group);
		n_rows = rows;
		c->n_tokens = n;
		c->q = acts->q + (range->t0 + t) * acts->q_stride + range->j0 * group;
		c->scale = (const float(*)[PK_LANES]) s->scale[t];
		c->start = range->is_wide ? NULL : (const int32_t(*)[PK_LANES]) s->start[t];
		c->out = g->y + (range->t0 + t) * g->y_stride + row;
		c->ahead = c->out;
		c->n_ahead = (n + c->n_groups - 1) / c->n_groups;
		(n == PK_AMX_TOKENS ? chunks->of_32 : n == PK_AMX_ROWS ? chunks->of_16 : chunks->of_few)(c);
	}
}

/* A panel for the tokens and groups of a range. */
TARGET PK_INLINE void
multiply_panel(const PkGemm *g, const Range *range, size_t block, Scratch *s, bool is_q8)
{
	const size_t   group_bytes = is_q8 ? PK_Q8_GROUP_BYTES : PK_Q4_GROUP_BYTES;
	const size_t   head_bytes = is_q8 ? PK_Q8_SCALE_BYTES : 0;
	const size_t   block_bytes = head_bytes + g->acts->n_groups * group_bytes;
	const uint8_t *data = (const uint8_t *) g->w->data + block * block_bytes;
	PkAmxChunk    *c = &s->chunk;

	c->n_groups = range->j1 - range->j0;
	for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
	{
		c->w[b] = data + b * block_bytes + head_bytes + range->j0 * group_bytes;
		if (!range->is_wide)
			continue;
		(is_q8 ? widen_q8 : widen_q4)(s->wide[b], c->w[b], c->n_groups);
		c->w[b] = s->wide[b];
	}
	point_ahead(g, range, block, block_bytes, head_bytes, group_bytes, c);
	load_scale_and_bias(g, range, block * PK_LANES, data, block_bytes, is_q8, c);
	c->q_stride = g->acts->q_stride;
	c->out_stride = g->y_stride;
	c->is_continued = range->j0 > 0;
	multiply_chunks(g, range, block * PK_LANES, s, is_q8 ? PK_Q8_GROUP : PK_Q4_GROUP,
	                !is_q8           ? &chunks_wide_q4
	                : range->is_wide ? &chunks_wide_q8
	                                 : &chunks_q8);
}

/* The whole panels of row blocks [begin, end); gives the block after them. */
TARGET PK_INLINE size_t
multiply_panels(const PkGemm *g, size_t begin, size_t end, bool is_q8)
{
	size_t                 n_groups = g->acts->n_groups, n_tokens = g->acts->n_tokens;
	Range                  range = {.begin = begin};
	PK_ALIGNED(64) Scratch s;

	if (end * PK_LANES > g->w->n_rows)
		end = g->w->n_rows / PK_LANES;
	end -= (end - begin) % PK_AMX_BLOCKS;
	range.end = end;
	for (range.t0 = 0; range.t0 < n_tokens; range.t0 += range.n_tokens)
	{
		size_t left = n_tokens - range.t0, n_ranges = (left + RANGE_TOKENS - 1) / RANGE_TOKENS;

		range.n_tokens = (left + n_ranges - 1) / n_ranges; /* not one long and one short */
		range.is_wide = !is_q8 || range.n_tokens >= WIDEN_TOKENS;
		for (range.j0 = 0; range.j0 < n_groups; range.j0 = range.j1)
		{
			range.j1 = n_groups - range.j0 < STRETCH_GROUPS ? n_groups : range.j0 + STRETCH_GROUPS;
			load_meta(g->acts, &range, &s);
			for (size_t b = begin; b < end; b += PK_AMX_BLOCKS)
				multiply_panel(g, &range, b, &s, is_q8);
		}
	}
	PK_AMX_RELEASE();
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

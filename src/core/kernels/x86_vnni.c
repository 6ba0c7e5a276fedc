/*
 * x86_vnni.c
 *    AVX-512 VNNI: the products of q8 and q4.
 *
 * Panels of 64 rows are multiplied with tiles of up to 6 tokens (vnni_tile.h), of which many go by
 * in two halves (vnni_pair.h); a stretch of K that stays in the second-level cache goes by all
 * tokens before the next. Rows that fill no panel take the way of the other tiers. The sums are the
 * same in both: integers, then floats group by group.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#define PK_PART_LANES 16

#include "core/kernels/gemm.h"
#include "core/kernels/tiers.h"
#include "core/kernels/vnni_pair.h"
#include "core/kernels/vnni_tile.h"

PK_TARGET_VNNI PK_INLINE PkV16
load16_f16(const void *items)
{
	return (PkV16) _mm512_cvtph_ps(_mm256_loadu_si256(items));
}

PK_TARGET_VNNI PK_INLINE PkV16
mul_add16(PkV16 a, PkV16 b, PkV16 sum)
{
	return (PkV16) _mm512_fmadd_ps((__m512) a, (__m512) b, (__m512) sum);
}

/*
 * Unsigned stored weights times signed activations, four at a time, into 32 bits: nothing
 * saturates. gcc 12 spills and copies the sums around the intrinsic, hence the asm; the four
 * activations are broadcast by the instruction itself.
 */
PK_TARGET_VNNI PK_INLINE PkI16
quad(PkI16 sum, const uint8_t *stored, const int8_t *acts)
{
	typedef struct Four
	{
		int8_t items[PK_QUAD];
	} Four;
	__m512i w = _mm512_loadu_si512(stored);

	__asm__("vpdpbusd %2%{1to16%}, %1, %0"
	        : "+v"(sum)
	        : "v"(w), "m"(*(const Four *) (const void *) acts));
	return sum;
}

#define HAS_OFFSET true
#define TARGET PK_TARGET_VNNI

/* How blocks of a format lie. */
typedef struct Format
{
	size_t  group; /* inputs */
	int32_t offset;
	size_t  head_bytes, group_bytes; /* of a block, where q8 has its scales, and of a group */
	size_t  stretch;                 /* most groups of a stretch */
} Format;

static const Format format_q8 = {PK_Q8_GROUP, PK_Q8_OFFSET, PK_Q8_SCALE_BYTES, PK_Q8_GROUP_BYTES,
                                 PK_STRETCH_GROUPS_Q8};
static const Format format_q4 = {PK_Q4_GROUP, PK_Q4_OFFSET, 0, PK_Q4_GROUP_BYTES,
                                 PK_STRETCH_GROUPS_Q4};

/* A stretch of groups of a panel. */
typedef struct Panel
{
	const Format  *format;
	const uint8_t *data; /* group first_group of the first block */
	size_t         block_bytes;
	size_t         row;
	size_t         first_group, n_groups;
	bool           is_last; /* of the panel */
	const uint8_t *next;    /* where the next stretch begins, or data */
	/* y * row_scale + bias leaves: of the last stretch those of q8 and g, else 1 and -0 */
	float          row_scale[PK_TILE_BLOCKS * PK_LANES], bias[PK_TILE_BLOCKS * PK_LANES];
} Panel;

/* What a tile prefetches: a block of the next stretch, and the one stride bytes behind it. */
typedef struct Next
{
	const uint8_t *data;
	size_t         stride;
} Next;

typedef void (*TileFn)(const PkGemm *, const Panel *, size_t t0, const Next *next);

/* By tokens, less 1: a tile that is alone, one of several (3 to 6), and one of many (4 to 6). */
typedef struct TileFns
{
	TileFn alone[PK_PANEL_TOKENS], several[PK_PANEL_TOKENS], many[PK_PANEL_TOKENS];
	size_t n_many; /* so many tiles are many, at least 4 */
} TileFns;

/* The operands of n tokens from t0, but y; meta gets what the tokens bring. */
PK_INLINE PkTile
tile_of(const PkGemm *g, const Panel *panel, size_t t0, size_t n, const Next *next,
        PkTokenMeta *meta)
{
	const PkActs *acts = g->acts;

	pk_load_meta(acts, panel->first_group, panel->n_groups, panel->format->offset, t0, n, meta);
	return (PkTile){.w = panel->data,
	                .w_stride = panel->block_bytes,
	                .q = acts->q + t0 * acts->q_stride + panel->first_group * panel->format->group,
	                .q_stride = acts->q_stride,
	                .n_groups = panel->n_groups,
	                .meta = meta,
	                .next = next->data,
	                .next_stride = next->stride};
}

/*
 * y of n tokens from t0 after this stretch, from what it is before. Inlined into TARGET functions,
 * as are those that it has pointers to.
 */
PK_INLINE void
panel_tile(const PkGemm *g, const Panel *panel, size_t t0, size_t n, const Next *next,
           void (*multiply)(const PkTile *))
{
	PkTokenMeta meta[PK_PANEL_TOKENS + 1];
	PkV16       y[PK_PANEL_TOKENS][PK_TILE_BLOCKS];
	PkTile      tile = tile_of(g, panel, t0, n, next, meta);
	float      *out = g->y + t0 * g->y_stride + panel->row;
	PkMulAddFn  mul_add = mul_add16;

	tile.y = (float *) y;
	for (size_t t = 0; t < n; t++)
		for (size_t b = 0; b < PK_TILE_BLOCKS; b++)
			y[t][b] = panel->first_group == 0 ? pk_v_all(0.0f)
			                                  : pk_v_load(out + t * g->y_stride + b * PK_LANES);
	multiply(&tile);
	for (size_t t = 0; t < n; t++)
		for (size_t b = 0; b < PK_TILE_BLOCKS; b++)
			pk_v_store(out + t * g->y_stride + b * PK_LANES,
			           mul_add(y[t][b], pk_v_load(panel->row_scale + b * PK_LANES),
			                   pk_v_load(panel->bias + b * PK_LANES)));
}

/* The same as two pairs of blocks. */
PK_INLINE void
panel_pairs(const PkGemm *g, const Panel *panel, size_t t0, size_t n, const Next *next,
            const uint8_t *(*multiply)(const PkPair *) )
{
	static const float zeros[PK_PAIR_BLOCKS * PK_LANES];
	const size_t       n_rows = PK_PAIR_BLOCKS * PK_LANES;
	float             *y = g->y + t0 * g->y_stride + panel->row;
	bool               is_first = panel->first_group == 0;
	PkTokenMeta        meta[PK_PANEL_TOKENS + 1];
	PkPair             pair = {.tile = tile_of(g, panel, t0, n, next, meta),
	                           .from = is_first ? zeros : y,
	                           .from_stride = is_first ? 0 : g->y_stride * sizeof(float),
	                           .to = y,
	                           .to_stride = g->y_stride * sizeof(float),
	                           .row_scale = panel->row_scale,
	                           .bias = panel->bias};

	for (size_t t = 0; t < n; t++)
		for (size_t b = 0; b < PK_TILE_BLOCKS; b++)
			pk_prefetch_write(y + t * g->y_stride + b * PK_LANES);
	pair.tile.next = multiply(&pair);
	pair.tile.w += PK_PAIR_BLOCKS * pair.tile.w_stride;
	pair.from += is_first ? 0 : n_rows;
	pair.to += n_rows;
	pair.row_scale += n_rows;
	pair.bias += n_rows;
	multiply(&pair);
}

PK_TILE_FUNCTIONS(multiply_alone_q8_, Q8, PK_AHEAD)
PK_TILE_FUNCTIONS(multiply_alone_q4_, Q4, PK_AHEAD)
PK_TILE_FUNCTIONS(multiply_several_q8_, Q8, PK_NEXT)
PK_TILE_FUNCTIONS(multiply_several_q4_, Q4, PK_NEXT)
PK_PAIR_FUNCTIONS(multiply_many_q8_, Q8)
PK_PAIR_FUNCTIONS(multiply_many_q4_, Q4)

#define TILE(which, n, panel_fn)                                          \
	TARGET static __attribute__((noinline)) void tile_##which##_##n(      \
		const PkGemm *g, const Panel *panel, size_t t0, const Next *next) \
	{                                                                     \
		panel_fn(g, panel, t0, n, next, multiply_##which##_##n);          \
	}
/* Of so many tokens and more, up to 6. */
#define TILES_FROM_4(which, panel_fn) \
	TILE(which, 4, panel_fn) TILE(which, 5, panel_fn) TILE(which, 6, panel_fn)
#define TILES_FROM_3(which, panel_fn) TILE(which, 3, panel_fn) TILES_FROM_4(which, panel_fn)
#define TILES_FROM_1(which, panel_fn) \
	TILE(which, 1, panel_fn) TILE(which, 2, panel_fn) TILES_FROM_3(which, panel_fn)
TILES_FROM_1(alone_q8, panel_tile)
TILES_FROM_1(alone_q4, panel_tile)
TILES_FROM_3(several_q8, panel_tile)
TILES_FROM_3(several_q4, panel_tile)
TILES_FROM_4(many_q8, panel_pairs)
TILES_FROM_4(many_q4, panel_pairs)

#define FNS_FROM_4(which) tile_##which##_4, tile_##which##_5, tile_##which##_6
#define FNS_FROM_3(which) tile_##which##_3, FNS_FROM_4(which)
#define FNS_FROM_1(which) tile_##which##_1, tile_##which##_2, FNS_FROM_3(which)
#define TILE_FNS(format, n_of_many)                                                 \
	{                                                                               \
		.alone = {FNS_FROM_1(alone_##format)},                                      \
		.several = {NULL, NULL, FNS_FROM_3(several_##format)},                      \
		.many = {NULL, NULL, NULL, FNS_FROM_4(many_##format)}, .n_many = n_of_many, \
	}
/* Fewer tokens are bound by memory, which panels of four blocks leave no pause. */
static const TileFns tiles_q8 = TILE_FNS(q8, 11);
static const TileFns tiles_q4 = TILE_FNS(q4, 4);

/*
 * Of several tiles of a panel the last four prefetch the four blocks of the next stretch, the first
 * block last; where there are fewer, the first ones take two. One alone goes another way.
 */
static Next
next_of(const Panel *panel, size_t tile, size_t n_tiles)
{
	size_t left = n_tiles - 1 - tile;
	size_t n_last = n_tiles < PK_TILE_BLOCKS ? n_tiles : PK_TILE_BLOCKS;
	size_t n_twice = PK_TILE_BLOCKS - n_last; /* tiles that take two */
	size_t block = left;

	if (n_tiles == 1 || left >= n_last)
		return (Next){panel->data, 0};
	if (left < n_last - n_twice)
		return (Next){panel->next + block * panel->block_bytes, 0};
	block += left - (n_last - n_twice);
	return (Next){panel->next + block * panel->block_bytes, panel->block_bytes};
}

/* All tokens, in tiles of nearly equal size. */
static void
panel_tokens(const PkGemm *g, const Panel *panel, const TileFns *tiles)
{
	size_t        n_tokens = g->acts->n_tokens;
	size_t        n_tiles = (n_tokens + PK_PANEL_TOKENS - 1) / PK_PANEL_TOKENS;
	const TileFn *fns = n_tiles == 1              ? tiles->alone
	                    : n_tiles < tiles->n_many ? tiles->several
	                                              : tiles->many;

	for (size_t i = 0; i < n_tiles; i++)
	{
		size_t begin = n_tokens * i / n_tiles, end = n_tokens * (i + 1) / n_tiles;
		Next   next = next_of(panel, i, n_tiles);

		fns[end - begin - 1](g, panel, begin, &next);
	}
}

/* The next stretch of this panel, or the first of the next; the one at hand after the last row. */
static const uint8_t *
next_stretch(const PkGemm *g, size_t block, const Panel *panel)
{
	size_t n_panel_rows = PK_TILE_BLOCKS * PK_LANES;

	if (!panel->is_last)
		return panel->data + panel->n_groups * panel->format->group_bytes;
	block += PK_TILE_BLOCKS;
	return block * PK_LANES + n_panel_rows <= g->w->n_rows
	           ? (const uint8_t *) g->w->data + block * panel->block_bytes +
	                 panel->format->head_bytes
	           : panel->data;
}

/*
 * What is done to y at the end of a stretch. Of the last one that is the bias and, of q8, the
 * scales at the head of its blocks; those of the next panel are asked for.
 */
static void
load_scale_and_bias(const PkGemm *g, const uint8_t *blocks, Panel *panel)
{
	size_t head_bytes = panel->format->head_bytes;

	for (size_t b = 0; b < PK_TILE_BLOCKS; b++)
	{
		float *row_scale = panel->row_scale + b * PK_LANES, *bias = panel->bias + b * PK_LANES;
		size_t at = b * panel->block_bytes;

		pk_v_store(row_scale, pk_v_all(1.0f));
		pk_v_store(bias, pk_v_all(-0.0f));
		if (panel->is_last && head_bytes > 0)
		{
			memcpy(row_scale, blocks + at, PK_Q8_SCALE_BYTES);
			__builtin_prefetch(panel->next - head_bytes + at, 0, 2);
		}
		if (panel->is_last && g->bias != NULL)
			memcpy(bias, g->bias + panel->row + b * PK_LANES, PK_LANES * sizeof(float));
	}
}

/* The whole panels of row blocks [begin, end), stretch by stretch; gives the block after them. */
static size_t
panels(const PkGemm *g, size_t begin, size_t end, const Format *format, const TileFns *tiles)
{
	size_t n_groups = g->acts->n_groups;
	Panel  panel = {.format = format,
	                .block_bytes = format->head_bytes + n_groups * format->group_bytes};

	for (; begin + PK_TILE_BLOCKS <= end && (begin + PK_TILE_BLOCKS) * PK_LANES <= g->w->n_rows;
	     begin += PK_TILE_BLOCKS)
	{
		const uint8_t *blocks = (const uint8_t *) g->w->data + begin * panel.block_bytes;

		panel.row = begin * PK_LANES;
		for (size_t j = 0; j < n_groups; j += panel.n_groups)
		{
			panel.data = blocks + format->head_bytes + j * format->group_bytes;
			panel.first_group = j;
			panel.n_groups = n_groups - j < format->stretch ? n_groups - j : format->stretch;
			panel.is_last = j + panel.n_groups == n_groups;
			panel.next = next_stretch(g, begin, &panel);
			load_scale_and_bias(g, blocks, &panel);
			panel_tokens(g, &panel, tiles);
		}
	}
	return begin;
}

#define TOKENS PK_TILE_TOKENS
#define TILE_Q8(g, block, row, t, n) \
	pk_body_q8_tile(g, block, row, t, n, quad, HAS_OFFSET, mul_add16)
#define TILE_Q4(g, block, row, t, n) \
	pk_body_q4_tile(g, block, row, t, n, quad, HAS_OFFSET, mul_add16, load16_f16)

TARGET static void
gemm_q8(const PkGemm *g, size_t begin, size_t end)
{
	begin = panels(g, begin, end, &format_q8, &tiles_q8);
	PK_GEMM_LOOP(g, begin, end, PK_Q8_BLOCK_BYTES(g->acts->n_groups), TILE_Q8, TOKENS);
}

TARGET static void
gemm_q4(const PkGemm *g, size_t begin, size_t end)
{
	begin = panels(g, begin, end, &format_q4, &tiles_q4);
	PK_GEMM_LOOP(g, begin, end, g->acts->n_groups * PK_Q4_GROUP_BYTES, TILE_Q4, TOKENS);
}

const PkKernels pk_kernels_vnni = {
	.name = "vnni",
	.needs = PK_CPU_AVX2 | PK_CPU_AVX512 | PK_CPU_VNNI,
	.gemm_q8 = gemm_q8,
	.gemm_q4 = gemm_q4,
};

#else
typedef int PkEmptyUnit;
#endif

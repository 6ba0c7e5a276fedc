/*
 * x86_vnni.c
 *    AVX-512 VNNI: the products of q8 and q4.
 *
 * Panels of 64 rows are multiplied with tiles of up to 6 tokens (vnni_dots.h); a stretch of K that
 * stays in the second-level cache goes by all tokens before the next. Rows that fill no panel take
 * the way of the other tiers. The sums are the same in both: integers, then floats group by group.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#include "core/kernels/gemm.h"
#include "core/kernels/tiers.h"
#include "core/kernels/vnni_dots.h"

PK_TARGET_VNNI PK_INLINE PkV16
load16_f16(const void *items)
{
	return (PkV16) _mm512_cvtph_ps(_mm256_loadu_si256(items));
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

/* Inputs of q8 that a panel takes at a time: 64 rows of them are about 270 kB. */
#define Q8_STRETCH 4096
/* Inputs of q4 that are widened at a time, on the stack. */
#define Q4_STRETCH 512
#define Q4_WIDE_GROUP_BYTES (PK_LANES * sizeof(float) + PK_Q4_GROUP * PK_LANES)
#define Q4_WIDE_BLOCK_BYTES (Q4_STRETCH / PK_Q4_GROUP * Q4_WIDE_GROUP_BYTES)

/* A stretch of groups of a panel, one byte a weight. A group is 16 float scales and its quads. */
typedef struct Panel
{
	const uint8_t *data; /* group first_group of the first block */
	size_t         block_bytes, group_bytes;
	size_t         row;
	size_t         first_group, n_groups;
	size_t         group; /* inputs */
	int32_t        offset;
} Panel;

/* y of n tokens from t0 after this stretch, from what it is before. Inlined into TARGET functions.
 */
PK_INLINE void
panel_tile(const PkGemm *g, const Panel *panel, size_t t0, size_t n,
           void (*dots_of)(const PkDots *))
{
	const PkActs *acts = g->acts;
	PkV16         y[PK_DOTS_TOKENS][PK_DOTS_BLOCKS];
	PkI16         dots[PK_DOTS_TOKENS][PK_DOTS_BLOCKS];
	int32_t       start[PK_DOTS_TOKENS];
	PkDots        d = {.w_stride = panel->block_bytes,
	                   .q_stride = acts->n_groups * panel->group,
	                   .n_quads = panel->group / PK_QUAD,
	                   .start = start,
	                   .dots = (int32_t *) dots};
	size_t        at = t0 * acts->n_groups + panel->first_group;

	for (size_t t = 0; t < n; t++)
		for (size_t b = 0; b < PK_DOTS_BLOCKS; b++)
			y[t][b] = panel->first_group == 0
			              ? pk_v_all(0.0f)
			              : pk_v_load(g->y + (t0 + t) * g->y_stride + panel->row + b * PK_LANES);
	for (size_t j = 0; j < panel->n_groups; j++, at++)
	{
		const uint8_t *group = panel->data + j * panel->group_bytes;

		for (size_t t = 0; t < n; t++)
			start[t] = -panel->offset * acts->sum[at + t * acts->n_groups];
		d.w = group + PK_LANES * sizeof(float);
		d.q = acts->q + at * panel->group;
		dots_of(&d);
#pragma GCC unroll 4
		for (size_t b = 0; b < PK_DOTS_BLOCKS; b++)
		{
			PkV16 w_scale;

			memcpy(&w_scale, group + b * panel->block_bytes, sizeof(w_scale));
#pragma GCC unroll 6
			for (size_t t = 0; t < n; t++)
				y[t][b] = y[t][b] + __builtin_convertvector(dots[t][b], PkV16) * w_scale *
				                        acts->scale[at + t * acts->n_groups];
		}
	}
	for (size_t t = 0; t < n; t++)
		for (size_t b = 0; b < PK_DOTS_BLOCKS; b++)
			pk_v_store(g->y + (t0 + t) * g->y_stride + panel->row + b * PK_LANES, y[t][b]);
}

#define TILE(n)                                                                                 \
	TARGET static                                                                               \
		__attribute__((noinline)) void tile_##n(const PkGemm *g, const Panel *panel, size_t t0) \
	{                                                                                           \
		panel_tile(g, panel, t0, n, pk_dots_##n);                                               \
	}

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

/* All tokens, in tiles of nearly equal size. */
static void
panel_tokens(const PkGemm *g, const Panel *panel)
{
	static void (*const tiles[])(const PkGemm *, const Panel *, size_t) = {tile_1, tile_2, tile_3,
	                                                                       tile_4, tile_5, tile_6};
	size_t n_tokens = g->acts->n_tokens;
	size_t n_tiles = (n_tokens + PK_DOTS_TOKENS - 1) / PK_DOTS_TOKENS;

	for (size_t i = 0; i < n_tiles; i++)
	{
		size_t begin = n_tokens * i / n_tiles, end = n_tokens * (i + 1) / n_tiles;

		tiles[end - begin - 1](g, panel, begin);
	}
}

/* The bias of whole panels, added last. */
PK_INLINE void
add_panel_bias(const PkGemm *g, size_t row)
{
	for (size_t t = 0; g->bias != NULL && t < g->acts->n_tokens; t++)
		for (size_t i = 0; i < PK_DOTS_BLOCKS * PK_LANES; i += PK_LANES)
		{
			float *y = g->y + t * g->y_stride + row + i;

			pk_v_store(y, pk_v_load(y) + pk_v_load(g->bias + row + i));
		}
}

TARGET static void
panel_bias(const PkGemm *g, size_t row)
{
	add_panel_bias(g, row);
}

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool
is_panel(const PkGemm *g, size_t block, size_t end)
{
	return block + PK_DOTS_BLOCKS <= end && (block + PK_DOTS_BLOCKS) * PK_LANES <= g->w->n_rows;
}

#define TOKENS PK_TILE_TOKENS
#define TILE_Q8(g, block, row, t, n) pk_body_q8_tile(g, block, row, t, n, quad, HAS_OFFSET)
#define TILE_Q4(g, block, row, t, n) \
	pk_body_q4_tile(g, block, row, t, n, quad, HAS_OFFSET, load16_f16)

TARGET static void
gemm_q8(const PkGemm *g, size_t begin, size_t end)
{
	size_t n_groups = g->acts->n_groups;
	size_t block_bytes = n_groups * PK_Q8_GROUP_BYTES;

	for (; is_panel(g, begin, end); begin += PK_DOTS_BLOCKS)
	{
		Panel panel = {.block_bytes = block_bytes,
		               .group_bytes = PK_Q8_GROUP_BYTES,
		               .row = begin * PK_LANES,
		               .group = PK_Q8_GROUP,
		               .offset = PK_Q8_OFFSET};

		for (size_t j = 0; j < n_groups; j += panel.n_groups)
		{
			panel.data = (const uint8_t *) g->w->data + begin * block_bytes + j * PK_Q8_GROUP_BYTES;
			panel.first_group = j;
			panel.n_groups = min_size(Q8_STRETCH / PK_Q8_GROUP, n_groups - j);
			panel_tokens(g, &panel);
		}
		panel_bias(g, panel.row);
	}
	PK_GEMM_LOOP(g, begin, end, block_bytes, TILE_Q8, TOKENS);
}

/* Groups of q4 of one block to bytes, in the order of q8. */
TARGET static void
widen(const uint8_t *from, uint8_t *to, size_t n_groups)
{
	typedef uint8_t Bytes __attribute__((vector_size(64)));

	for (size_t j = 0; j < n_groups; j++)
	{
		const uint8_t *group = from + j * PK_Q4_GROUP_BYTES;
		uint8_t       *wide = to + j * Q4_WIDE_GROUP_BYTES;
		PkV16          scale = load16_f16(group);

		memcpy(wide, &scale, sizeof(scale));
		for (size_t p = 0; p < PK_Q4_PIECES; p++)
		{
			Bytes piece, low, high;

			memcpy(&piece, group + PK_Q4_SCALE_BYTES + p * PK_Q4_PIECE_BYTES, sizeof(piece));
			low = piece & 15;
			high = piece >> 4;
			memcpy(wide + sizeof(scale) + 2 * p * sizeof(low), &low, sizeof(low));
			memcpy(wide + sizeof(scale) + (2 * p + 1) * sizeof(low), &high, sizeof(high));
		}
	}
}

TARGET static void
gemm_q4(const PkGemm *g, size_t begin, size_t end)
{
	size_t  n_groups = g->acts->n_groups;
	size_t  block_bytes = n_groups * PK_Q4_GROUP_BYTES;
	uint8_t wide[PK_DOTS_BLOCKS * Q4_WIDE_BLOCK_BYTES] __attribute__((aligned(64)));

	for (; is_panel(g, begin, end); begin += PK_DOTS_BLOCKS)
	{
		Panel panel = {.data = wide,
		               .block_bytes = Q4_WIDE_BLOCK_BYTES,
		               .group_bytes = Q4_WIDE_GROUP_BYTES,
		               .row = begin * PK_LANES,
		               .group = PK_Q4_GROUP,
		               .offset = PK_Q4_OFFSET};

		for (size_t j = 0; j < n_groups; j += panel.n_groups)
		{
			panel.first_group = j;
			panel.n_groups = min_size(Q4_STRETCH / PK_Q4_GROUP, n_groups - j);
			for (size_t b = 0; b < PK_DOTS_BLOCKS; b++)
				widen((const uint8_t *) g->w->data + (begin + b) * block_bytes +
				          j * PK_Q4_GROUP_BYTES,
				      wide + b * Q4_WIDE_BLOCK_BYTES, panel.n_groups);
			panel_tokens(g, &panel);
		}
		panel_bias(g, panel.row);
	}
	PK_GEMM_LOOP(g, begin, end, block_bytes, TILE_Q4, TOKENS);
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

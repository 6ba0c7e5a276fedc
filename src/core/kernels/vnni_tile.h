/*
 * vnni_tile.h
 *    A stretch of groups of a panel of 64 rows (4 blocks) times 1 to 6 tokens, in assembly.
 *
 * 24 sums in zmm8 to zmm31, 4 vectors of weights in zmm0 to zmm3, the activations of a token
 * broadcast in zmm4 (in the float part its scale), so a quad costs 10 loads for 24 products. As
 * intrinsics gcc 12 spills and copies the sums. After a group the sums become floats where they
 * are, are scaled (of q4 by the weights, too) and added to y in memory: the same operations in the
 * same order as the tiles of gemm.h. A sum starts its next group at once, so that these few float
 * operations run beside the next products.
 *
 * q4 is widened in registers: a piece is masked for its even quad, shifted and masked for its odd
 * one. The masks and shifts run where products don't.
 */
#ifndef PK_VNNI_TILE_H
#define PK_VNNI_TILE_H

#include "core/kernels/bodies.h"
#include "core/kernels/kernels.h"
#include "core/kernels/quant_layout.h"

#define PK_TILE_BLOCKS 4
#define PK_PANEL_TOKENS 6

/* Groups of a stretch: 4096 inputs of q8, 2048 of q4, so that its weights stay in the L2 cache. */
#define PK_STRETCH_GROUPS_Q8 32
#define PK_STRETCH_GROUPS_Q4 64

/* What a token brings to a stretch; one more, as the group after the last is loaded, not used. */
typedef struct PkTokenMeta
{
	float   scale[PK_STRETCH_GROUPS_Q4];
	int32_t start[PK_STRETCH_GROUPS_Q4]; /* minus offset times the sum of the activations */
} PkTokenMeta;

/* What n tokens from t0 bring to a stretch of n_groups from group first on. */
PK_INLINE void
pk_load_meta(const PkActs *acts, size_t first, size_t n_groups, int32_t offset, size_t t0, size_t n,
             PkTokenMeta *meta)
{
	for (size_t t = 0; t < n; t++)
	{
		size_t at = (t0 + t) * acts->n_groups + first;
		size_t j = 0;

		for (; j + PK_LANES <= n_groups; j += PK_LANES)
		{
			PkI16 sum;

			pk_v_store(meta[t].scale + j, pk_v_load(acts->scale + at + j));
			memcpy(&sum, acts->sum + at + j, sizeof(sum));
			sum = sum * -offset;
			memcpy(meta[t].start + j, &sum, sizeof(sum));
		}
		for (; j < n_groups; j++)
		{
			meta[t].scale[j] = acts->scale[at + j];
			meta[t].start[j] = -offset * acts->sum[at + j];
		}
	}
}

/* Operands of a stretch; strides in bytes. */
typedef struct PkTile
{
	const uint8_t     *w; /* the first group of the first block; each block w_stride further */
	size_t             w_stride;
	const int8_t      *q; /* activations of the first token, each token q_stride further */
	size_t             q_stride;
	size_t             n_groups;    /* at least 1 */
	const PkTokenMeta *meta;        /* (tokens + 1) */
	float             *y;           /* (tokens, 4, 16), aligned: added to */
	const uint8_t     *next;        /* what NEXT prefetches, as much as a block of the stretch, */
	size_t             next_stride; /* and as much so far behind it; 0: no more */
} PkTile;

/* One activation quad with 4 vectors of weights. */
#define PK_DOT(act, r0, r1, r2, r3)            \
	"vpbroadcastd " act ", %%zmm4\n\t"         \
	"vpdpbusd %%zmm4, %%zmm0, %%zmm" r0 "\n\t" \
	"vpdpbusd %%zmm4, %%zmm1, %%zmm" r1 "\n\t" \
	"vpdpbusd %%zmm4, %%zmm2, %%zmm" r2 "\n\t" \
	"vpdpbusd %%zmm4, %%zmm3, %%zmm" r3 "\n\t"

/* Quad i of the activations at q for 1 to 6 tokens. */
#define PK_DOTS_1(i) PK_DOT("4*" i "(%[q])", "8", "9", "10", "11")
#define PK_DOTS_2(i) PK_DOTS_1(i) PK_DOT("4*" i "(%[q],%[qs])", "12", "13", "14", "15")
#define PK_DOTS_3(i) PK_DOTS_2(i) PK_DOT("4*" i "(%[q],%[qs],2)", "16", "17", "18", "19")
#define PK_DOTS_4(i) PK_DOTS_3(i) PK_DOT("4*" i "(%[q],%[qs3])", "20", "21", "22", "23")
#define PK_DOTS_5(i) PK_DOTS_4(i) PK_DOT("4*" i "(%[q],%[qs],4)", "24", "25", "26", "27")
#define PK_DOTS_6(i) PK_DOTS_5(i) PK_DOT("4*" i "(%[q],%[qs5])", "28", "29", "30", "31")

/* An instruction with the same 64 bytes of each of the 4 blocks: op at(block), zmm0 to zmm3. */
#define PK_OF_BLOCKS(op, at)                                                      \
	op " " at "(%[w]), %%zmm0\n\t" op " " at "(%[w],%[ws]), %%zmm1\n\t" op " " at \
	   "(%[w],%[ws],2), %%zmm2\n\t" op " " at "(%[w],%[ws3]), %%zmm3\n\t"

/* what of each token, with the registers of its sums. */
#define PK_ALL_1(what) what("0", "8", "9", "10", "11")
#define PK_ALL_2(what) PK_ALL_1(what) what("1", "12", "13", "14", "15")
#define PK_ALL_3(what) PK_ALL_2(what) what("2", "16", "17", "18", "19")
#define PK_ALL_4(what) PK_ALL_3(what) what("3", "20", "21", "22", "23")
#define PK_ALL_5(what) PK_ALL_4(what) what("4", "24", "25", "26", "27")
#define PK_ALL_6(what) PK_ALL_5(what) what("5", "28", "29", "30", "31")

/* meta: 512 bytes a token, its start 256 after its scale. */
#define PK_START(t, at, r) "vpbroadcastd 512*" t "+" at "(%[meta]), %%zmm" r "\n\t"
#define PK_STARTS(t, r0, r1, r2, r3) \
	PK_START(t, "256", r0) PK_START(t, "256", r1) PK_START(t, "256", r2) PK_START(t, "256", r3)

/* A sum to a float, scaled by the weights of a q4 group (zmm0 to zmm3). */
#define PK_TO_FLOAT_Q8(b, r) "vcvtdq2ps %%zmm" r ", %%zmm" r "\n\t"
#define PK_TO_FLOAT_Q4(b, r) PK_TO_FLOAT_Q8(b, r) "vmulps %%zmm" b ", %%zmm" r ", %%zmm" r "\n\t"

/* The sums of a group to y, then the start of the next. */
#define PK_FLOAT(to_float, t, b, r)                                               \
	to_float(b, r) "vfmadd213ps 64*(4*" t "+" b ")(%[y]), %%zmm4, %%zmm" r "\n\t" \
				   "vmovaps %%zmm" r ", 64*(4*" t "+" b ")(%[y])\n\t" PK_START(t, "260", r)
#define PK_FLOATS(to_float, t, r0, r1, r2, r3)                                   \
	"vbroadcastss 512*" t "(%[meta]), %%zmm4\n\t" PK_FLOAT(to_float, t, "0", r0) \
		PK_FLOAT(to_float, t, "1", r1) PK_FLOAT(to_float, t, "2", r2)            \
			PK_FLOAT(to_float, t, "3", r3)
#define PK_FLOATS_Q8(t, r0, r1, r2, r3) PK_FLOATS(PK_TO_FLOAT_Q8, t, r0, r1, r2, r3)
#define PK_FLOATS_Q4(t, r0, r1, r2, r3) PK_FLOATS(PK_TO_FLOAT_Q4, t, r0, r1, r2, r3)

/*
 * What is prefetched beside the products of a quad, for the L2 cache. NEXT: a line or two of what
 * comes after this stretch, where other tiles use the stretch, too. AHEAD: the lines that come soon
 * in each block, for the only tile, which goes as fast as memory.
 */
#define PK_NEXT(at) "prefetcht1 " at "(%[next])\n\tprefetcht1 " at "(%[next],%[ns])\n\t"
#define PK_AHEAD(at) PK_PREFETCH_AHEAD("2048+" at)
#define PK_PREFETCH_AHEAD(at)                                                    \
	"prefetcht1 " at "(%[w])\n\tprefetcht1 " at "(%[w],%[ws])\n\tprefetcht1 " at \
	"(%[w],%[ws],2)\n\tprefetcht1 " at "(%[w],%[ws3])\n\t"

/* A group of q8: 32 quads. */
#define PK_QUAD_Q8(i, dots) PK_OF_BLOCKS("vmovdqu64", "64*" i) dots(i)
/* clang-format off */
#define PK_GROUP_Q8(dots, fetch)                                                            \
	"mov $8, %k[left]\n"                                                                    \
	"2:\n\t"                                                                                \
	PK_QUAD_Q8("0", dots) fetch("64*0") PK_QUAD_Q8("1", dots) fetch("64*1")                 \
	PK_QUAD_Q8("2", dots) fetch("64*2") PK_QUAD_Q8("3", dots) fetch("64*3")                 \
	"add $256, %[w]\n\t"                                                                    \
	"add $256, %[next]\n\t"                                                                 \
	"add $16, %[q]\n\t"                                                                     \
	"dec %k[left]\n\t"                                                                      \
	"jnz 2b\n\t"
/* clang-format on */

/* A group of q4: 16 half scales, 4 pieces of two quads. */
#define PK_MASK(r) "vpandd %%zmm5, %%zmm" r ", %%zmm" r "\n\t"
#define PK_EVEN(p)                                         \
	"vpandd 32+64*" p "(%[w]), %%zmm5, %%zmm0\n\t"         \
	"vpandd 32+64*" p "(%[w],%[ws]), %%zmm5, %%zmm1\n\t"   \
	"vpandd 32+64*" p "(%[w],%[ws],2), %%zmm5, %%zmm2\n\t" \
	"vpandd 32+64*" p "(%[w],%[ws3]), %%zmm5, %%zmm3\n\t"
#define PK_ODD(p)                          \
	PK_OF_BLOCKS("vpsrlw $4,", "32+64*" p) \
	PK_MASK("0") PK_MASK("1") PK_MASK("2") PK_MASK("3")
#define PK_PIECE_Q4(p, even, odd, dots) PK_EVEN(p) dots(even) PK_ODD(p) dots(odd)
/* clang-format off */
#define PK_GROUP_Q4(dots, fetch)                                                            \
	PK_PIECE_Q4("0", "0", "1", dots) fetch("64*0")                                          \
	PK_PIECE_Q4("1", "2", "3", dots) fetch("64*1")                                          \
	PK_PIECE_Q4("2", "4", "5", dots) fetch("64*2")                                          \
	PK_PIECE_Q4("3", "6", "7", dots) fetch("64*3") fetch("64*4")                            \
	PK_OF_BLOCKS("vcvtph2ps", "0")                                                          \
	"add $288, %[next]\n\t"                                                                 \
	"add $288, %[w]\n\t"                                                                    \
	"add $32, %[q]\n\t"
/* clang-format on */

#define PK_CLOBBERED_ZMM                                                                          \
	"zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm8", "zmm9", "zmm10", "zmm11", "zmm12",    \
		"zmm13", "zmm14", "zmm15", "zmm16", "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", \
		"zmm23", "zmm24", "zmm25", "zmm26", "zmm27", "zmm28", "zmm29", "zmm30", "zmm31"

/* clang-format off */
#define PK_TILE_FUNCTION(name, n, format, fetch)                                               \
	PK_TARGET_VNNI PK_INLINE void name##n(const PkTile *tile)                                  \
	{                                                                                          \
		const uint8_t     *w = tile->w;                                                        \
		const int8_t      *q = tile->q;                                                        \
		const uint8_t     *next = tile->next;                                                  \
		const PkTokenMeta *meta = tile->meta;                                                  \
		size_t             n_groups = tile->n_groups, left;                                    \
                                                                                               \
		__asm__ volatile("mov $0x0f0f0f0f, %k[left]\n\t"                                       \
		                 "vpbroadcastd %k[left], %%zmm5\n\t"                                   \
		                 PK_ALL_##n(PK_STARTS)                                                 \
		                 "1:\n\t"                                                              \
		                 PK_GROUP_##format(PK_DOTS_##n, fetch)                                 \
		                 PK_ALL_##n(PK_FLOATS_##format)                                        \
		                 "add $4, %[meta]\n\t"                                                 \
		                 "decq %[n_groups]\n\t"                                                \
		                 "jnz 1b\n\t"                                                          \
		                 : [w] "+r"(w), [q] "+r"(q), [meta] "+r"(meta), [next] "+r"(next),     \
		                   [n_groups] "+m"(n_groups), [left] "=&r"(left)                       \
		                 : [ws] "r"(tile->w_stride), [ws3] "r"(3 * tile->w_stride),            \
		                   [qs] "r"(tile->q_stride), [qs3] "r"(3 * tile->q_stride),            \
		                   [qs5] "r"(5 * tile->q_stride), [y] "r"(tile->y),                    \
		                   [ns] "r"(tile->next_stride)                                         \
		                 : "cc", "memory", PK_CLOBBERED_ZMM);                                  \
	}
/* clang-format on */

/* format: Q8 or Q4. */
#define PK_TILE_FUNCTIONS(name, format, fetch) \
	PK_TILE_FUNCTION(name, 1, format, fetch)   \
	PK_TILE_FUNCTION(name, 2, format, fetch)   \
	PK_TILE_FUNCTION(name, 3, format, fetch)   \
	PK_TILE_FUNCTION(name, 4, format, fetch)   \
	PK_TILE_FUNCTION(name, 5, format, fetch)   \
	PK_TILE_FUNCTION(name, 6, format, fetch)

#endif

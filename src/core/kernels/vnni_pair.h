/*
 * vnni_pair.h
 *    A stretch of groups of 2 blocks (32 rows) times 4 to 6 tokens, in assembly: half of a tile of
 * a panel that many tokens pass.
 *
 * Sums and y are in registers for the whole stretch: the sums in zmm8 to zmm19, y in zmm20 to
 * zmm31, 2 vectors of weights in zmm0 and zmm1, the activations of a token broadcast in zmm4 (in
 * the float part its scale), so a quad costs 8 loads for 12 products. In vnni_tile.h it is 10 for
 * 24, but y passes through memory in each group, and storing a register costs AMD Zen 5 the time
 * of 2.5 products. The operations are the same, in the same order.
 */
#ifndef PK_VNNI_PAIR_H
#define PK_VNNI_PAIR_H

#include "core/kernels/vnni_tile.h"

#define PK_PAIR_BLOCKS 2

/*
 * Operands of a stretch of two blocks; strides in bytes. Floats need no alignment. Of the tile y
 * and next_stride are not used, and next is half as much as a block of the stretch has.
 */
typedef struct PkPair
{
	PkTile       tile;
	const float *from; /* y before the stretch: 32 floats, each token from_stride further */
	size_t       from_stride;
	float       *to; /* y after it */
	size_t       to_stride;
	const float *row_scale, *bias; /* 32 floats each: y * row_scale + bias leaves */
} PkPair;

/* One activation quad with 2 vectors of weights. */
#define PK_PAIR_DOT(act, r0, r1)               \
	"vpbroadcastd " act ", %%zmm4\n\t"         \
	"vpdpbusd %%zmm4, %%zmm0, %%zmm" r0 "\n\t" \
	"vpdpbusd %%zmm4, %%zmm1, %%zmm" r1 "\n\t"

/* Quad i of the activations at q for 4 to 6 tokens. */
#define PK_PAIR_DOTS_4(i)                          \
	PK_PAIR_DOT("4*" i "(%[q])", "8", "9")         \
	PK_PAIR_DOT("4*" i "(%[q],%[qs])", "10", "11") \
	PK_PAIR_DOT("4*" i "(%[q],%[qs],2)", "12", "13") PK_PAIR_DOT("4*" i "(%[q],%[qs3])", "14", "15")
#define PK_PAIR_DOTS_5(i) PK_PAIR_DOTS_4(i) PK_PAIR_DOT("4*" i "(%[q],%[qs],4)", "16", "17")
#define PK_PAIR_DOTS_6(i) PK_PAIR_DOTS_5(i) PK_PAIR_DOT("4*" i "(%[q],%[qs5])", "18", "19")

/* An instruction with the same 64 bytes of both blocks: op at(block), zmm0 and zmm1. */
#define PK_OF_PAIR(op, at) op " " at "(%[w]), %%zmm0\n\t" op " " at "(%[w],%[ws]), %%zmm1\n\t"

/* what of each token, with the registers of its sums and of its y. */
#define PK_PAIR_ALL_4(what)                                           \
	what("0", "8", "9", "20", "21") what("1", "10", "11", "22", "23") \
		what("2", "12", "13", "24", "25") what("3", "14", "15", "26", "27")
#define PK_PAIR_ALL_5(what) PK_PAIR_ALL_4(what) what("4", "16", "17", "28", "29")
#define PK_PAIR_ALL_6(what) PK_PAIR_ALL_5(what) what("5", "18", "19", "30", "31")

#define PK_PAIR_STARTS(t, r0, r1, y0, y1) PK_START(t, "256", r0) PK_START(t, "256", r1)

/* y of a token from memory at left, and back, scaled by zmm2 and zmm3, with zmm0 and zmm1 added. */
#define PK_PAIR_LOADS(t, r0, r1, y0, y1)   \
	"vmovups (%[left]), %%zmm" y0 "\n\t"   \
	"vmovups 64(%[left]), %%zmm" y1 "\n\t" \
	"add %[from_stride], %[left]\n\t"
#define PK_PAIR_STORES(t, r0, r1, y0, y1)         \
	"vfmadd213ps %%zmm0, %%zmm2, %%zmm" y0 "\n\t" \
	"vfmadd213ps %%zmm1, %%zmm3, %%zmm" y1 "\n\t" \
	"vmovups %%zmm" y0 ", (%[left])\n\t"          \
	"vmovups %%zmm" y1 ", 64(%[left])\n\t"        \
	"add %[to_stride], %[left]\n\t"

/* The sums of a group to y, then the start of the next. */
#define PK_PAIR_FLOAT(to_float, t, b, r, y) \
	to_float(b, r) "vfmadd231ps %%zmm4, %%zmm" r ", %%zmm" y "\n\t" PK_START(t, "260", r)
#define PK_PAIR_FLOATS(to_float, t, r0, r1, y0, y1)                                       \
	"vbroadcastss 512*" t "(%[meta]), %%zmm4\n\t" PK_PAIR_FLOAT(to_float, t, "0", r0, y0) \
		PK_PAIR_FLOAT(to_float, t, "1", r1, y1)
#define PK_PAIR_FLOATS_Q8(t, r0, r1, y0, y1) PK_PAIR_FLOATS(PK_TO_FLOAT_Q8, t, r0, r1, y0, y1)
#define PK_PAIR_FLOATS_Q4(t, r0, r1, y0, y1) PK_PAIR_FLOATS(PK_TO_FLOAT_Q4, t, r0, r1, y0, y1)

/* A line beside the products, for the L2 cache. */
#define PK_PAIR_NEXT(at) "prefetcht1 " at "(%[next])\n\t"

/* A group of q8: 32 quads. */
#define PK_PAIR_QUAD_Q8(i, dots) PK_OF_PAIR("vmovdqu64", "64*" i) dots(i)
/* clang-format off */
#define PK_PAIR_GROUP_Q8(dots)                                                       \
	"mov $8, %k[left]\n"                                                                    \
	"2:\n\t"                                                                                \
	PK_PAIR_QUAD_Q8("0", dots) PK_PAIR_NEXT("0") PK_PAIR_QUAD_Q8("1", dots)                 \
	PK_PAIR_QUAD_Q8("2", dots) PK_PAIR_NEXT("64") PK_PAIR_QUAD_Q8("3", dots)                 \
	"add $256, %[w]\n\t"                                                                    \
	"add $128, %[next]\n\t"                                                                 \
	"add $16, %[q]\n\t"                                                                     \
	"dec %k[left]\n\t"                                                                      \
	"jnz 2b\n\t"
/* clang-format on */

/* A group of q4: 16 half scales, 4 pieces of two quads. */
#define PK_PAIR_EVEN(p)                            \
	"vpandd 32+64*" p "(%[w]), %%zmm5, %%zmm0\n\t" \
	"vpandd 32+64*" p "(%[w],%[ws]), %%zmm5, %%zmm1\n\t"
#define PK_PAIR_ODD(p) PK_OF_PAIR("vpsrlw $4,", "32+64*" p) PK_MASK("0") PK_MASK("1")
#define PK_PAIR_PIECE_Q4(p, even, odd, dots) PK_PAIR_EVEN(p) dots(even) PK_PAIR_ODD(p) dots(odd)
/* clang-format off */
#define PK_PAIR_GROUP_Q4(dots)                                                       \
	PK_PAIR_PIECE_Q4("0", "0", "1", dots) PK_PAIR_NEXT("0")                                          \
	PK_PAIR_PIECE_Q4("1", "2", "3", dots) PK_PAIR_NEXT("64")                                          \
	PK_PAIR_PIECE_Q4("2", "4", "5", dots) PK_PAIR_NEXT("128")                                          \
	PK_PAIR_PIECE_Q4("3", "6", "7", dots)                                           \
	"add $144, %[next]\n\t"                                                                 \
	PK_OF_PAIR("vcvtph2ps", "0")                                                            \
	"add $288, %[w]\n\t"                                                                    \
	"add $32, %[q]\n\t"

#define PK_PAIR_FUNCTION(name, n, format)                                                      \
	PK_TARGET_VNNI PK_INLINE const uint8_t *name##n(const PkPair *pair)                        \
	{                                                                                          \
		const uint8_t     *w = pair->tile.w;                                                   \
		const int8_t      *q = pair->tile.q;                                                   \
		const uint8_t     *next = pair->tile.next;                                             \
		const PkTokenMeta *meta = pair->tile.meta;                                             \
		size_t             n_groups = pair->tile.n_groups, left;                               \
                                                                                               \
		__asm__ volatile("mov $0x0f0f0f0f, %k[left]\n\t"                                       \
		                 "vpbroadcastd %k[left], %%zmm5\n\t"                                   \
		                 "mov %[from], %[left]\n\t"                                            \
		                 PK_PAIR_ALL_##n(PK_PAIR_LOADS) PK_PAIR_ALL_##n(PK_PAIR_STARTS)        \
		                 "1:\n\t"                                                              \
		                 PK_PAIR_GROUP_##format(PK_PAIR_DOTS_##n)                              \
		                 PK_PAIR_ALL_##n(PK_PAIR_FLOATS_##format)                              \
		                 "add $4, %[meta]\n\t"                                                 \
		                 "decq %[n_groups]\n\t"                                                \
		                 "jnz 1b\n\t"                                                          \
		                 "mov %[bias], %[left]\n\t"                                            \
		                 "vmovups (%[left]), %%zmm0\n\t"                                       \
		                 "vmovups 64(%[left]), %%zmm1\n\t"                                     \
		                 "mov %[row_scale], %[left]\n\t"                                       \
		                 "vmovups (%[left]), %%zmm2\n\t"                                       \
		                 "vmovups 64(%[left]), %%zmm3\n\t"                                     \
		                 "mov %[to], %[left]\n\t"                                              \
		                 PK_PAIR_ALL_##n(PK_PAIR_STORES)                                       \
		                 : [w] "+r"(w), [q] "+r"(q), [meta] "+r"(meta), [next] "+r"(next),     \
		                   [n_groups] "+m"(n_groups), [left] "=&r"(left)                       \
		                 : [ws] "r"(pair->tile.w_stride), [qs] "r"(pair->tile.q_stride),       \
		                   [qs3] "r"(3 * pair->tile.q_stride), [qs5] "r"(5 * pair->tile.q_stride), \
		                   [from] "m"(pair->from), [from_stride] "m"(pair->from_stride),       \
		                   [to] "m"(pair->to), [to_stride] "m"(pair->to_stride),               \
		                   [row_scale] "m"(pair->row_scale), [bias] "m"(pair->bias)            \
		                 : "cc", "memory", PK_CLOBBERED_ZMM);                                  \
		return next;                                                                           \
	}
/* clang-format on */

/* Each gives what to prefetch beside the other two blocks of the tile. */
#define PK_PAIR_FUNCTIONS(name, format) \
	PK_PAIR_FUNCTION(name, 4, format)   \
	PK_PAIR_FUNCTION(name, 5, format)   \
	PK_PAIR_FUNCTION(name, 6, format)

#endif

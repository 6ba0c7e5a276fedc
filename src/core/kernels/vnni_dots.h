/*
 * vnni_dots.h
 *    The integer products of one group: 4 blocks of rows (64 rows) with 1 to 6 tokens.
 *
 * A block of assembly a number of tokens: 24 sums in zmm8 to zmm31, 4 vectors of weights in zmm0 to
 * zmm3, the activations of a token broadcast in zmm4, so a quad costs 10 loads for 24 products. As
 * intrinsics gcc 12 spills and copies the sums. They start from start[t] and are stored to dots,
 * from where C takes them: the float part is the same code as in every tier.
 */
#ifndef PK_VNNI_DOTS_H
#define PK_VNNI_DOTS_H

#include "core/kernels/quant_layout.h"

#define PK_DOTS_BLOCKS 4
#define PK_DOTS_TOKENS 6

/* Operands of one group; strides in bytes. */
typedef struct PkDots
{
	const uint8_t *w; /* the first quad of the first block; each block w_stride further */
	size_t         w_stride;
	const int8_t  *q; /* the group's activations of the first token */
	size_t         q_stride;
	size_t         n_quads; /* a multiple of 4 */
	const int32_t *start;   /* a token: what its sums start from */
	int32_t       *dots;    /* (tokens, 4, 16), aligned */
} PkDots;

#define PK_DOT(act, r0, r1, r2, r3)            \
	"vpbroadcastd " act ", %%zmm4\n\t"         \
	"vpdpbusd %%zmm4, %%zmm0, %%zmm" r0 "\n\t" \
	"vpdpbusd %%zmm4, %%zmm1, %%zmm" r1 "\n\t" \
	"vpdpbusd %%zmm4, %%zmm2, %%zmm" r2 "\n\t" \
	"vpdpbusd %%zmm4, %%zmm3, %%zmm" r3 "\n\t"

/* Quad i of four: its weights and each token's activations. */
#define PK_QUAD_WEIGHTS(i)                         \
	"vmovdqu64 64*" i "(%[w]), %%zmm0\n\t"         \
	"vmovdqu64 64*" i "(%[w],%[ws]), %%zmm1\n\t"   \
	"vmovdqu64 64*" i "(%[w],%[ws],2), %%zmm2\n\t" \
	"vmovdqu64 64*" i "(%[w],%[ws3]), %%zmm3\n\t"
#define PK_QUAD_1(i) PK_QUAD_WEIGHTS(i) PK_DOT("4*" i "(%[q])", "8", "9", "10", "11")
#define PK_QUAD_2(i) PK_QUAD_1(i) PK_DOT("4*" i "(%[q],%[qs])", "12", "13", "14", "15")
#define PK_QUAD_3(i) PK_QUAD_2(i) PK_DOT("4*" i "(%[q],%[qs],2)", "16", "17", "18", "19")
#define PK_QUAD_4(i) PK_QUAD_3(i) PK_DOT("4*" i "(%[q],%[qs3])", "20", "21", "22", "23")
#define PK_QUAD_5(i) PK_QUAD_4(i) PK_DOT("4*" i "(%[q],%[qs],4)", "24", "25", "26", "27")
#define PK_QUAD_6(i) PK_QUAD_5(i) PK_DOT("4*" i "(%[q],%[qs5])", "28", "29", "30", "31")

#define PK_EACH(what, t, r0, r1, r2, r3) \
	what(t, "0", r0) what(t, "1", r1) what(t, "2", r2) what(t, "3", r3)
#define PK_START(t, b, r) "vpbroadcastd 4*" t "(%[start]), %%zmm" r "\n\t"
#define PK_STORE(t, b, r) "vmovdqa64 %%zmm" r ", 64*(4*" t "+" b ")(%[dots])\n\t"
#define PK_ALL_1(what) PK_EACH(what, "0", "8", "9", "10", "11")
#define PK_ALL_2(what) PK_ALL_1(what) PK_EACH(what, "1", "12", "13", "14", "15")
#define PK_ALL_3(what) PK_ALL_2(what) PK_EACH(what, "2", "16", "17", "18", "19")
#define PK_ALL_4(what) PK_ALL_3(what) PK_EACH(what, "3", "20", "21", "22", "23")
#define PK_ALL_5(what) PK_ALL_4(what) PK_EACH(what, "4", "24", "25", "26", "27")
#define PK_ALL_6(what) PK_ALL_5(what) PK_EACH(what, "5", "28", "29", "30", "31")

/* clang-format off */
#define PK_DOTS_FUNCTION(n)                                                                       \
	PK_TARGET_VNNI PK_INLINE void pk_dots_##n(const PkDots *d)                                    \
	{                                                                                             \
		const uint8_t *w = d->w;                                                                  \
		const int8_t  *q = d->q;                                                                  \
		size_t         left = d->n_quads / 4;                                                     \
                                                                                                  \
		__asm__ volatile(PK_ALL_##n(PK_START)                                                     \
		                 "1:\n\t"                                                                 \
		                 PK_QUAD_##n("0") PK_QUAD_##n("1") PK_QUAD_##n("2") PK_QUAD_##n("3")      \
		                 "add $256, %[w]\n\t"                                                     \
		                 "add $16, %[q]\n\t"                                                      \
		                 "dec %[left]\n\t"                                                        \
		                 "jnz 1b\n\t"                                                             \
		                 PK_ALL_##n(PK_STORE)                                                     \
		                 : [w] "+r"(w), [q] "+r"(q), [left] "+r"(left)                            \
		                 : [ws] "r"(d->w_stride), [ws3] "r"(3 * d->w_stride),                     \
		                   [qs] "r"(d->q_stride), [qs3] "r"(3 * d->q_stride),                     \
		                   [qs5] "r"(5 * d->q_stride), [start] "r"(d->start), [dots] "r"(d->dots) \
		                 : "cc", "memory", "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm8",        \
		                   "zmm9", "zmm10", "zmm11", "zmm12", "zmm13", "zmm14", "zmm15", "zmm16", \
		                   "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", "zmm23",         \
		                   "zmm24", "zmm25", "zmm26", "zmm27", "zmm28", "zmm29", "zmm30",         \
		                   "zmm31");                                                              \
	}
/* clang-format on */

PK_DOTS_FUNCTION(1)
PK_DOTS_FUNCTION(2)
PK_DOTS_FUNCTION(3)
PK_DOTS_FUNCTION(4)
PK_DOTS_FUNCTION(5)
PK_DOTS_FUNCTION(6)

#endif

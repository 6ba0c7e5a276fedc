/*
 * amx_tile.h
 *    A stretch of groups of a panel of 32 rows (2 blocks) times 1 to 32 tokens, on AMX tiles.
 *
 * A tile register holds 16 rows of 64 bytes. The quads of a packed block are the second operand of
 * tdpbssd as they lie in memory (a line is 16 rows x 4 inputs), the quantised activations of 16
 * tokens the first; its sums are then a vector of 16 output rows for each token, the lanes of every
 * other tier. Sums of integers are exact, and the float part of a group is that of gemm.h: the same
 * bits.
 *
 * Tiles: 0 to 3 sums of the first 16 tokens and the others with either block, 4 and 5 activations,
 * 6 and 7 weights. Sums leave through memory. They are stored when their tile starts the next
 * group, so that no store waits for a product, and the float part of a group runs beside the
 * products of the next, which take nothing of the vector ports.
 */
#ifndef PK_AMX_TILE_H
#define PK_AMX_TILE_H

#if defined(__x86_64__)

#include <immintrin.h>

#include "core/kernels/bodies.h"
#include "core/kernels/quant_layout.h"

#define PK_AMX_ROWS 16  /* of a tile */
#define PK_AMX_BYTES 64 /* of a row of a tile */
#define PK_AMX_BLOCKS 2
#define PK_AMX_TOKENS (2 * PK_AMX_ROWS)

/* Bytes of a widened group of a panel: float scale[2][16]; int8 [2][quads][16 rows][4 inputs]. */
#define PK_AMX_SCALES (PK_AMX_BLOCKS * PK_LANES * 4)
#define PK_AMX_GROUP_BYTES(group) (PK_AMX_SCALES + PK_AMX_BLOCKS * PK_LANES * (group))

/* Operands of a stretch. */
typedef struct PkAmxChunk
{
	size_t         n_tokens, n_groups;
	const int8_t  *q; /* activations of the first token, each token q_stride further */
	size_t         q_stride;
	const uint8_t *w;               /* (n_groups) widened groups */
	const float (*scale)[PK_LANES]; /* (n_tokens): of the activations, a group each */
	PkV16 (*y)[PK_AMX_BLOCKS];      /* (n_tokens), added to */
	/*
	 * Prefetched beside each group, and moved on: lines of each block of the next stretch, and two
	 * lines of each of some tokens of y, where it goes.
	 */
	const uint8_t *next[PK_AMX_BLOCKS];
	size_t         n_lines;
	const float   *out;
	size_t         out_stride, n_out;
	PkI16          dots[PK_AMX_TOKENS][PK_AMX_BLOCKS]; /* scratch */
} PkAmxChunk;

#define PK_AMX_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : : : "memory")
#define PK_AMX_LOAD(t, from, stride) \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"(stride) : "memory")
#define PK_AMX_STORE(t, to, stride) \
	__asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"(stride) : "memory")
#define PK_AMX_DOT(sum, acts, weights) \
	__asm__ volatile("tdpbssd %%tmm" #weights ", %%tmm" #acts ", %%tmm" #sum : : : "memory")

#define PK_AMX_DOT_UNSIGNED(sum, acts, weights) \
	__asm__ volatile("tdpbsud %%tmm" #weights ", %%tmm" #acts ", %%tmm" #sum : : : "memory")

/* What ldtilecfg reads. */
typedef struct PkTileConfig
{
	uint8_t  palette, start_row, zero[14];
	uint16_t row_bytes[16];
	uint8_t  n_rows[16];
} PkTileConfig;

PK_INLINE void
pk_amx_shape(PkTileConfig *config, size_t tile, size_t n_rows, size_t row_bytes)
{
	config->n_rows[tile] = (uint8_t) n_rows;
	config->row_bytes[tile] = (uint16_t) row_bytes;
}

PK_INLINE void
pk_amx_configure(const PkTileConfig *config)
{
	__asm__ volatile("ldtilecfg %0" : : "m"(*config) : "memory");
}

PK_INLINE void
pk_amx_release(void)
{
	__asm__ volatile("tilerelease" : : : "memory");
}

/* A group of q4 of one block as signed bytes: PK_Q4_GROUP * PK_LANES of them. */
PK_TARGET_VNNI PK_INLINE void
pk_amx_widen_q4(uint8_t *out, const uint8_t *group)
{
	const __m512i low = _mm512_set1_epi8(15), offset = _mm512_set1_epi8(PK_Q4_OFFSET);

#pragma GCC unroll 4
	for (size_t p = 0; p < PK_Q4_PIECES; p++)
	{
		__m512i piece = _mm512_loadu_si512(group + PK_Q4_SCALE_BYTES + p * PK_Q4_PIECE_BYTES);
		__m512i even = _mm512_and_si512(piece, low),
				odd = _mm512_and_si512(_mm512_srli_epi16(piece, 4), low);

		_mm512_store_si512(out + 2 * p * PK_Q4_PIECE_BYTES, _mm512_sub_epi8(even, offset));
		_mm512_store_si512(out + (2 * p + 1) * PK_Q4_PIECE_BYTES, _mm512_sub_epi8(odd, offset));
	}
}

PK_INLINE void
pk_amx_prefetch(PkAmxChunk *c)
{
	for (size_t i = 0; i < c->n_lines; i++)
		for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
		{
			__builtin_prefetch(c->next[b], 0, 2);
			c->next[b] += PK_ALIGNMENT;
		}
	for (size_t i = 0; i < c->n_out; i++)
	{
		__builtin_prefetch(c->out, 1);
		__builtin_prefetch(c->out + PK_LANES, 1);
		c->out += c->out_stride;
	}
}

/* The float part of a group for tokens [begin, end): scale of the first token, w the group. */
PK_TARGET_VNNI PK_INLINE void
pk_amx_floats(PkAmxChunk *c, const float *scale, const uint8_t *w, size_t begin, size_t end)
{
	PkV16 w_scale[PK_AMX_BLOCKS];

	memcpy(w_scale, w, sizeof(w_scale));
#pragma GCC unroll 8
	for (size_t t = begin; t < end; t++)
	{
		__m512 q_scale = _mm512_set1_ps(scale[t * PK_LANES]);

#pragma GCC unroll 2
		for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
		{
			PkV16 dot = __builtin_convertvector(c->dots[t][b], PkV16) * w_scale[b];

			c->y[t][b] = (PkV16) _mm512_fmadd_ps((__m512) dot, q_scale, (__m512) c->y[t][b]);
		}
	}
}

/*
 * n tokens: 32, or at most 16; as many rows as the tiles are configured for. group: inputs of a
 * group, 128 or 32. Both are constants where the function is inlined, but for n below 16.
 */
PK_TARGET_VNNI PK_INLINE void
pk_amx_chunk(PkAmxChunk *c, size_t n, size_t group)
{
	const size_t   n_steps = group > PK_AMX_BYTES ? 2 : 1; /* tiles a group */
	const bool     has_second = n > PK_AMX_ROWS;           /* half of the tokens */
	const size_t   group_bytes = PK_AMX_GROUP_BYTES(group), n_groups = c->n_groups;
	const size_t   w_stride = PK_AMX_BYTES, q_stride = c->q_stride;
	const size_t   dots_stride = sizeof(c->dots[0]);
	const uint8_t *w = c->w;
	const int8_t  *q = c->q;
	const float   *scale = c->scale[0];

/* Sum of a group begins: the one of the group before leaves. */
#define START(sum, row, block)                                    \
	do                                                            \
	{                                                             \
		if (j > 0)                                                \
			PK_AMX_STORE(sum, &c->dots[row][block], dots_stride); \
		PK_AMX_ZERO(sum);                                         \
	} while (0)
/* A quarter of the tokens of the group before. */
#define PIECE(i)                                                                          \
	do                                                                                    \
	{                                                                                     \
		if (j > 0)                                                                        \
			pk_amx_floats(c, scale - 1, w - group_bytes, n * (i) / 4, n * ((i) + 1) / 4); \
	} while (0)

	for (size_t j = 0; j < n_groups; j++)
	{
		const uint8_t *first = w + PK_AMX_SCALES, *second = first + group * PK_LANES;
		const int8_t  *other = q + PK_AMX_ROWS * q_stride;
		const size_t   step = PK_AMX_BYTES * PK_AMX_ROWS;

		PK_AMX_LOAD(6, first, w_stride);
		PK_AMX_LOAD(4, q, q_stride);
		START(0, 0, 0);
		PK_AMX_DOT(0, 4, 6);
		PK_AMX_LOAD(7, second, w_stride);
		START(1, 0, 1);
		PK_AMX_DOT(1, 4, 7);
		if (has_second)
		{
			PK_AMX_LOAD(5, other, q_stride);
			START(2, PK_AMX_ROWS, 0);
			PK_AMX_DOT(2, 5, 6);
			PIECE(0);
			START(3, PK_AMX_ROWS, 1);
			PK_AMX_DOT(3, 5, 7);
		}
		else
			PIECE(0);
		PIECE(1);
		if (n_steps == 2)
		{
			PK_AMX_LOAD(6, first + step, w_stride);
			PK_AMX_LOAD(4, q + PK_AMX_BYTES, q_stride);
			PK_AMX_DOT(0, 4, 6);
			PK_AMX_LOAD(7, second + step, w_stride);
			PK_AMX_DOT(1, 4, 7);
		}
		PIECE(2);
		if (n_steps == 2 && has_second)
		{
			PK_AMX_LOAD(5, other + PK_AMX_BYTES, q_stride);
			PK_AMX_DOT(2, 5, 6);
			PK_AMX_DOT(3, 5, 7);
		}
		PIECE(3);
		pk_amx_prefetch(c);
		w += group_bytes;
		q += group;
		scale++;
	}
	PK_AMX_STORE(0, &c->dots[0][0], dots_stride);
	PK_AMX_STORE(1, &c->dots[0][1], dots_stride);
	if (has_second)
	{
		PK_AMX_STORE(2, &c->dots[PK_AMX_ROWS][0], dots_stride);
		PK_AMX_STORE(3, &c->dots[PK_AMX_ROWS][1], dots_stride);
	}
	pk_amx_floats(c, scale - 1, w - group_bytes, 0, n);
#undef START
#undef PIECE
}

#endif

#endif

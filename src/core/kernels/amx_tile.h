/*
 * amx_tile.h
 *    A stretch of groups of a panel of 32 rows (2 blocks) times 1 to 32 tokens, on AMX tiles.
 *
 * A tile register holds 16 rows of 64 bytes. The quads of a packed block are the second operand of
 * its products as they lie in memory (a line is 16 rows x 4 inputs), the quantised activations of
 * 16 tokens the first; its sums are then a vector of 16 output rows for each token, the lanes of
 * every other tier. Weights are unsigned as q8 stores them, and the offset is taken back before the
 * float part; or they were widened to signed ones. Sums of integers are exact, and the float part
 * of a group is that of gemm.h: the same bits.
 *
 * y of a chunk stays in the first-level cache while a stretch goes by, as where it belongs its rows
 * lie far apart in memory.
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

#include "core/kernels/amx_ops.h"
#include "core/kernels/bodies.h"
#include "core/kernels/quant_layout.h"

#define PK_AMX_ROWS 16  /* of a tile */
#define PK_AMX_BYTES 64 /* of a row of a tile */
#define PK_AMX_BLOCKS 2
#define PK_AMX_TOKENS (2 * PK_AMX_ROWS)

/* Bytes of a group of a block: of q4 float scale[16], then [quads][16 rows][4 inputs]. */
#define PK_AMX_SCALE_BYTES(group) ((group) == PK_Q4_GROUP ? PK_LANES * 4 : 0)
#define PK_AMX_GROUP_BYTES(group) (PK_AMX_SCALE_BYTES(group) + PK_LANES * (group))

/* Operands of a stretch of at most PK_LANES groups. */
typedef struct PkAmxChunk
{
	size_t        n_tokens, n_groups;
	const int8_t *q; /* activations of the first token, each token q_stride further */
	size_t        q_stride;
	const float (*scale)[PK_LANES];   /* (n_tokens): of the activations of each group */
	const int32_t (*start)[PK_LANES]; /* (n_tokens): minus offset times their sums; of packed q8 */
	const uint8_t *w[PK_AMX_BLOCKS];  /* (n_groups): q8 as it is packed, or either widened */
	float         *out;               /* y of the first token, each out_stride further */
	size_t         out_stride;
	bool           is_continued; /* out holds what the stretches before gave */
	/* y * row_scale + bias leaves; 1 and -0 change nothing */
	PkV16          row_scale[PK_AMX_BLOCKS], bias[PK_AMX_BLOCKS];
	/*
	 * Prefetched beside each group, and moved on: lines of each block of the next stretch, and the
	 * two lines where y of some tokens goes.
	 */
	const uint8_t *next[PK_AMX_BLOCKS];
	size_t         n_lines;
	const float   *ahead;
	size_t         n_ahead;

	/* scratch */
	PkV16 y[PK_AMX_TOKENS][PK_AMX_BLOCKS];
	PkI16 dots[PK_AMX_TOKENS][PK_AMX_BLOCKS];
} PkAmxChunk;

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
	for (size_t i = 0; i < c->n_ahead; i++)
	{
		__builtin_prefetch(c->ahead, 1);
		__builtin_prefetch(c->ahead + PK_LANES, 1);
		c->ahead += c->out_stride;
	}
}

PK_TARGET_VNNI PK_INLINE void
pk_amx_begin(PkAmxChunk *c, size_t n)
{
	if (!c->is_continued)
		memset(c->y, 0, n * sizeof(c->y[0]));
	else
		for (size_t t = 0; t < n; t++)
			memcpy(c->y[t], c->out + t * c->out_stride, sizeof(c->y[0]));
}

/* y of a token with both blocks after group j, whose scales of the weights, of q4, are w_scale. */
PK_TARGET_VNNI PK_INLINE void
pk_amx_add(const PkAmxChunk *c, size_t t, size_t j, size_t group, bool is_signed,
           const PkV16 *w_scale, PkV16 *y)
{
	__m512 q_scale = _mm512_set1_ps(c->scale[t][j]);
	PkI16  start = {0};

	if (!is_signed)
		start = (PkI16) _mm512_set1_epi32(c->start[t][j]);
#pragma GCC unroll 2
	for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
	{
		PkI16 dot = is_signed ? c->dots[t][b] : c->dots[t][b] + start;
		PkV16 scaled = __builtin_convertvector(dot, PkV16);

		if (group == PK_Q4_GROUP)
			scaled *= w_scale[b];
		y[b] = (PkV16) _mm512_fmadd_ps((__m512) scaled, q_scale, (__m512) c->y[t][b]);
	}
}

PK_TARGET_VNNI PK_INLINE void
pk_amx_weight_scales(const PkAmxChunk *c, size_t j, size_t group, PkV16 *out)
{
#pragma GCC unroll 2
	for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
		memcpy(&out[b], c->w[b] + j * PK_AMX_GROUP_BYTES(group), sizeof(out[b]));
}

/* The float part of group j for tokens [begin, end). */
PK_TARGET_VNNI PK_INLINE void
pk_amx_floats(PkAmxChunk *c, size_t j, size_t group, bool is_signed, size_t begin, size_t end)
{
	PkV16 w_scale[PK_AMX_BLOCKS] = {0};

	if (group == PK_Q4_GROUP)
		pk_amx_weight_scales(c, j, group, w_scale);
#pragma GCC unroll 8
	for (size_t t = begin; t < end; t++)
		pk_amx_add(c, t, j, group, is_signed, w_scale, c->y[t]);
}

/* That of the last group, for all n tokens: y leaves. */
PK_TARGET_VNNI PK_INLINE void
pk_amx_end(PkAmxChunk *c, size_t group, bool is_signed, size_t n)
{
	PkV16  w_scale[PK_AMX_BLOCKS] = {0};
	float *out = c->out;

	if (group == PK_Q4_GROUP)
		pk_amx_weight_scales(c, c->n_groups - 1, group, w_scale);
#pragma GCC unroll 8
	for (size_t t = 0; t < n; t++)
	{
		PkV16 y[PK_AMX_BLOCKS];

		pk_amx_add(c, t, c->n_groups - 1, group, is_signed, w_scale, y);
#pragma GCC unroll 2
		for (size_t b = 0; b < PK_AMX_BLOCKS; b++)
			y[b] = (PkV16) _mm512_fmadd_ps((__m512) y[b], (__m512) c->row_scale[b],
			                               (__m512) c->bias[b]);
		memcpy(out, y, sizeof(y));
		out += c->out_stride;
	}
}

/*
 * n tokens: 32, or at most 16; as many rows as the tiles are configured for. group: inputs of a
 * group, 128 of q8 or 32 of q4. is_signed: weights are widened. Constants where the function is
 * inlined, but for n below 16.
 */
PK_TARGET_VNNI PK_INLINE void
pk_amx_chunk(PkAmxChunk *c, size_t n, size_t group, bool is_signed)
{
	const bool     has_two = group > PK_AMX_BYTES; /* tiles a group */
	const bool     has_second = n > PK_AMX_ROWS;   /* half of the tokens */
	const size_t   w_stride = PK_AMX_BYTES, q_stride = c->q_stride;
	const size_t   dots_stride = sizeof(c->dots[0]), step = PK_AMX_BYTES * PK_AMX_ROWS;
	const uint8_t *first = c->w[0] + PK_AMX_SCALE_BYTES(group);
	const uint8_t *second = c->w[1] + PK_AMX_SCALE_BYTES(group);
	const int8_t  *q = c->q;

#define DOT(sum, acts, weights)                      \
	do                                               \
	{                                                \
		if (is_signed)                               \
			PK_AMX_DOT(sum, acts, weights);          \
		else                                         \
			PK_AMX_DOT_UNSIGNED(sum, acts, weights); \
	} while (0)
/* Sum of a group begins: the one of the group before leaves. */
#define START(sum, row, block)                                    \
	do                                                            \
	{                                                             \
		if (j > 0)                                                \
			PK_AMX_STORE(sum, &c->dots[row][block], dots_stride); \
		PK_AMX_ZERO(sum);                                         \
	} while (0)
/* A quarter of the tokens of the group before. */
#define PIECE(i)                                                                       \
	do                                                                                 \
	{                                                                                  \
		if (j > 0)                                                                     \
			pk_amx_floats(c, j - 1, group, is_signed, n * (i) / 4, n * ((i) + 1) / 4); \
	} while (0)

	pk_amx_begin(c, n);
	for (size_t j = 0; j < c->n_groups; j++)
	{
		const int8_t *other = q + PK_AMX_ROWS * q_stride;

		PK_AMX_LOAD(6, first, w_stride);
		PK_AMX_LOAD(4, q, q_stride);
		START(0, 0, 0);
		DOT(0, 4, 6);
		PK_AMX_LOAD(7, second, w_stride);
		START(1, 0, 1);
		DOT(1, 4, 7);
		if (has_second)
		{
			PK_AMX_LOAD(5, other, q_stride);
			START(2, PK_AMX_ROWS, 0);
			DOT(2, 5, 6);
			PIECE(0);
			START(3, PK_AMX_ROWS, 1);
			DOT(3, 5, 7);
		}
		else
			PIECE(0);
		PIECE(1);
		if (has_two)
		{
			PK_AMX_LOAD(6, first + step, w_stride);
			PK_AMX_LOAD(4, q + PK_AMX_BYTES, q_stride);
			DOT(0, 4, 6);
			PK_AMX_LOAD(7, second + step, w_stride);
			DOT(1, 4, 7);
		}
		PIECE(2);
		if (has_two && has_second)
		{
			PK_AMX_LOAD(5, other + PK_AMX_BYTES, q_stride);
			DOT(2, 5, 6);
			DOT(3, 5, 7);
		}
		PIECE(3);
		pk_amx_prefetch(c);
		first += PK_AMX_GROUP_BYTES(group);
		second += PK_AMX_GROUP_BYTES(group);
		q += group;
	}
	PK_AMX_STORE(0, &c->dots[0][0], dots_stride);
	PK_AMX_STORE(1, &c->dots[0][1], dots_stride);
	if (has_second)
	{
		PK_AMX_STORE(2, &c->dots[PK_AMX_ROWS][0], dots_stride);
		PK_AMX_STORE(3, &c->dots[PK_AMX_ROWS][1], dots_stride);
	}
	pk_amx_end(c, group, is_signed, n);
#undef DOT
#undef START
#undef PIECE
}

#endif

#endif

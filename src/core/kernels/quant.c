/*
 * quant.c
 *    Packing weights into blocks; the layout is in quant_layout.h.
 *
 * q8 rounds to nearest with the scale max|w| / 127. q4 looks for the scale (of a few near
 * max|w| / 8 with either sign, so that the 16 levels -8 to 7 are all used) with the smallest
 * squared error, rounded to half first, so that the error counted is the error made.
 */
#define _GNU_SOURCE
#include <math.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/kernels/half.h"
#include "core/kernels/quant_layout.h"

#define HALF_MAX 65504.0f
#define Q4_TRIES 9
#define ROUNDER 12582912.0f /* 1.5 * 2^23: a sum with it has no fraction */

typedef float   Floats __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));

static bool  block_size(PkQuant quant, size_t n_cols, size_t *size_bytes);
static bool  find_bad(PkQuant quant, size_t n_cols, size_t n, const float *rows, size_t *bad_row,
                      size_t *bad_col);
static void  pack_q8_row(uint8_t *block, size_t lane, const float *row, size_t n_cols);
static void  pack_q4_row(uint8_t *block, size_t lane, const float *row, size_t n_cols);
static void  pack_f16_row(uint8_t *block, size_t lane, const float *row, size_t n_cols);
static float q4_best_scale(const float *w);
static float q4_error(const float *w, float scale);
PK_INLINE Floats floats_select(Ints mask, Floats yes, Floats no);
PK_INLINE float  q4_level(float w, float scale);
static float     q8_item(const uint8_t *block, size_t lane, size_t k);
static float     q4_item(const uint8_t *block, size_t lane, size_t k);
static float     half_at(const uint8_t *p, size_t i);
static void      pad_lane(PkQuant quant, uint8_t *block, size_t lane, size_t n_cols);

const char *
pk_quant_name(PkQuant quant)
{
	static const char *const names[PK_N_QUANT] = {"f32", "f16", "q8", "q4"};

	return (size_t) quant < PK_N_QUANT ? names[quant] : "?";
}

bool
pk_quant_from_name(const char *name, PkQuant *out)
{
	for (size_t i = 0; i < PK_N_QUANT; i++)
	{
		if (strcmp(name, pk_quant_name((PkQuant) i)) == 0)
		{
			*out = (PkQuant) i;
			return true;
		}
	}
	return false;
}

size_t
pk_quant_group(PkQuant quant)
{
	return quant == PK_QUANT_Q8 ? PK_Q8_GROUP : quant == PK_QUANT_Q4 ? PK_Q4_GROUP : 1;
}

/* Bytes of a block of PK_LANES rows. */
static bool
block_size(PkQuant quant, size_t n_cols, size_t *size_bytes)
{
	size_t group = pk_quant_group(quant);
	size_t n_groups = n_cols / group + (n_cols % group != 0);

	switch (quant)
	{
		case PK_QUANT_Q8:
			return pk_size_mul(n_groups, PK_Q8_GROUP_BYTES, size_bytes);
		case PK_QUANT_Q4:
			return pk_size_mul(n_groups, PK_Q4_GROUP_BYTES, size_bytes);
		case PK_QUANT_F16:
			return pk_size_mul(n_groups, PK_LANES * sizeof(uint16_t), size_bytes);
		default:
			return pk_size_mul(n_groups, PK_LANES * sizeof(float), size_bytes);
	}
}

bool
pk_matrix_size(PkQuant quant, size_t n_rows, size_t n_cols, size_t *size_bytes)
{
	size_t n_blocks = n_rows / PK_LANES + (n_rows % PK_LANES != 0);
	size_t one;

	return block_size(quant, n_cols, &one) && pk_size_mul(one, n_blocks, size_bytes);
}

bool
pk_matrix_pack(PkQuant quant, void *dst, size_t n_rows, size_t n_cols, size_t row0, size_t n,
               const float *rows, size_t *bad_row, size_t *bad_col)
{
	size_t one;

	if (find_bad(quant, n_cols, n, rows, bad_row, bad_col) || !block_size(quant, n_cols, &one))
	{
		*bad_row += row0;
		return false;
	}
	PK_ASSERT(row0 % PK_LANES == 0 && row0 + n <= n_rows);
	(void) n_rows;
	for (size_t i = 0; i < pk_round_up(n, PK_LANES); i++)
	{
		uint8_t     *block = (uint8_t *) dst + (row0 + i) / PK_LANES * one;
		size_t       lane = i % PK_LANES;
		const float *row = rows + i * n_cols;

		if (i >= n)
			pad_lane(quant, block, lane, n_cols);
		else if (quant == PK_QUANT_Q8)
			pack_q8_row(block, lane, row, n_cols);
		else if (quant == PK_QUANT_Q4)
			pack_q4_row(block, lane, row, n_cols);
		else if (quant == PK_QUANT_F16)
			pack_f16_row(block, lane, row, n_cols);
		else
			memcpy(block + lane * n_cols * sizeof(float), row, n_cols * sizeof(float));
	}
	return true;
}

static bool
find_bad(PkQuant quant, size_t n_cols, size_t n, const float *rows, size_t *bad_row,
         size_t *bad_col)
{
	float limit = quant == PK_QUANT_F16 ? HALF_MAX : quant == PK_QUANT_Q4 ? HALF_MAX * 7 : 3e38f;

	for (size_t i = 0; i < n; i++)
	{
		for (size_t k = 0; k < n_cols; k++)
		{
			if (!(fabsf(rows[i * n_cols + k]) <= limit)) /* also NaN */
			{
				*bad_row = i;
				*bad_col = k;
				return true;
			}
		}
	}
	return false;
}

/* Where input k of a row lies in its block. */
static size_t
q8_offset(size_t lane, size_t k)
{
	return k / PK_Q8_GROUP * PK_Q8_GROUP_BYTES + PK_Q8_SCALE_BYTES +
	       k % PK_Q8_GROUP / PK_QUAD * (PK_LANES * PK_QUAD) + lane * PK_QUAD + k % PK_QUAD;
}

static void
pack_q8_row(uint8_t *block, size_t lane, const float *row, size_t n_cols)
{
	for (size_t k0 = 0; k0 < n_cols; k0 += PK_Q8_GROUP)
	{
		size_t n = n_cols - k0 < PK_Q8_GROUP ? n_cols - k0 : PK_Q8_GROUP;
		float  most = 0;

		for (size_t i = 0; i < n; i++)
			most = fabsf(row[k0 + i]) > most ? fabsf(row[k0 + i]) : most;

		float scale = most / 127.0f;

		memcpy(block + k0 / PK_Q8_GROUP * PK_Q8_GROUP_BYTES + lane * sizeof(float), &scale,
		       sizeof(scale));
		for (size_t i = 0; i < PK_Q8_GROUP; i++)
		{
			float level = i < n && scale > 0 ? nearbyintf(row[k0 + i] / scale) : 0;

			level = level > 127 ? 127 : level < -127 ? -127 : level;
			block[q8_offset(lane, k0 + i)] = (uint8_t) ((int) level + PK_Q8_OFFSET);
		}
	}
}

/* The same for the byte that holds input k, and the shift of its nibble. */
static size_t
q4_offset(size_t lane, size_t k, int *shift)
{
	size_t quad = k % PK_Q4_GROUP / PK_QUAD;

	*shift = quad % 2 == 0 ? 0 : 4;
	return k / PK_Q4_GROUP * PK_Q4_GROUP_BYTES + PK_Q4_SCALE_BYTES + quad / 2 * PK_Q4_PIECE_BYTES +
	       lane * PK_QUAD + k % PK_QUAD;
}

static void
put_nibble(uint8_t *block, size_t lane, size_t k, int value)
{
	int      shift;
	uint8_t *at = block + q4_offset(lane, k, &shift);

	*at = (uint8_t) ((*at & (0xf0 >> shift)) | (value & 15) << shift);
}

static void
pack_q4_row(uint8_t *block, size_t lane, const float *row, size_t n_cols)
{
	for (size_t k0 = 0; k0 < n_cols; k0 += PK_Q4_GROUP)
	{
		size_t n = n_cols - k0 < PK_Q4_GROUP ? n_cols - k0 : PK_Q4_GROUP;
		float  group[PK_Q4_GROUP] = {0};

		memcpy(group, row + k0, n * sizeof(float));

		float    scale = q4_best_scale(group);
		uint16_t half = pk_float_to_half(scale);

		memcpy(block + k0 / PK_Q4_GROUP * PK_Q4_GROUP_BYTES + lane * sizeof(half), &half,
		       sizeof(half));
		for (size_t i = 0; i < PK_Q4_GROUP; i++)
			put_nibble(block, lane, k0 + i,
			           (scale != 0 ? (int) q4_level(group[i], scale) : 0) + PK_Q4_OFFSET);
	}
}

static float
q4_best_scale(const float *w)
{
	float extreme = 0, best_scale = 0, best_error = INFINITY;

	for (size_t i = 0; i < PK_Q4_GROUP; i++)
		extreme = fabsf(w[i]) > fabsf(extreme) ? w[i] : extreme;
	if (extreme == 0)
		return 0;
	for (int i = 0; i < 2 * Q4_TRIES; i++)
	{
		/* divisors 6.0 to 9.2, the extreme at the negative or the positive end */
		float divisor = 6.0f + 0.4f * (float) (i / 2);
		float wanted = extreme / (i % 2 == 0 ? -divisor : divisor);
		float scale = pk_half_to_float(pk_float_to_half(wanted));
		float error = scale != 0 ? q4_error(w, scale) : INFINITY;

		if (error < best_error)
		{
			best_error = error;
			best_scale = scale;
		}
	}
	return best_scale;
}

/*
 * In vectors of four, which compilers make of this on every machine: it is nearly all of a
 * conversion. Lane l of sums has items l, l + 4, ...
 */
static float
q4_error(const float *w, float scale)
{
	float  inverse = 1.0f / scale; /* a division for each item would be most of the time */
	Floats sums = {0};

	for (size_t i = 0; i < PK_Q4_GROUP; i += 4)
	{
		Floats at, level;

		memcpy(&at, w + i, sizeof(at));
		level = at * inverse;
		level = floats_select(level > 7, (Floats){7, 7, 7, 7}, level);
		level = floats_select(level < -8, (Floats){-8, -8, -8, -8}, level);
		at -= scale * ((level + ROUNDER) - ROUNDER);
		sums += at * at;
	}
	return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

PK_INLINE Floats
floats_select(Ints mask, Floats yes, Floats no)
{
	return (Floats) ((mask & (Ints) yes) | (~mask & (Ints) no));
}

/* The nearest of -8 to 7, ties to even; scale is not 0. */
PK_INLINE float
q4_level(float w, float scale)
{
	float x = w / scale;

	x = x > 7 ? 7 : x;
	x = x < -8 ? -8 : x;
	return (x + ROUNDER) - ROUNDER;
}

static void
pack_f16_row(uint8_t *block, size_t lane, const float *row, size_t n_cols)
{
	for (size_t k = 0; k < n_cols; k++)
	{
		uint16_t half = pk_float_to_half(row[k]);

		memcpy(block + (k * PK_LANES + lane) * sizeof(half), &half, sizeof(half));
	}
}

/* A row that only fills the block: zeros, as every format writes them. */
static void
pad_lane(PkQuant quant, uint8_t *block, size_t lane, size_t n_cols)
{
	size_t   group = pk_quant_group(quant);
	size_t   n_groups = n_cols / group + (n_cols % group != 0);
	float    zero = 0;
	uint16_t half = 0;

	for (size_t k = 0; k < n_groups * group; k++)
	{
		if (quant == PK_QUANT_Q8)
			block[q8_offset(lane, k)] = PK_Q8_OFFSET;
		else if (quant == PK_QUANT_Q4)
			put_nibble(block, lane, k, PK_Q4_OFFSET);
		else if (quant == PK_QUANT_F16)
			memcpy(block + (k * PK_LANES + lane) * sizeof(half), &half, sizeof(half));
		else
			memcpy(block + (lane * n_cols + k) * sizeof(zero), &zero, sizeof(zero));
	}
	for (size_t g = 0; g < n_groups; g++)
	{
		if (quant == PK_QUANT_Q8)
			memcpy(block + g * PK_Q8_GROUP_BYTES + lane * sizeof(zero), &zero, sizeof(zero));
		else if (quant == PK_QUANT_Q4)
			memcpy(block + g * PK_Q4_GROUP_BYTES + lane * sizeof(half), &half, sizeof(half));
	}
}

void
pk_matrix_unpack_row(const PkMatrix *w, size_t row, float *out)
{
	size_t one;

	if (!block_size(w->quant, w->n_cols, &one))
		return;

	const uint8_t *block = (const uint8_t *) w->data + row / PK_LANES * one;
	size_t         lane = row % PK_LANES;

	if (w->quant == PK_QUANT_F32)
	{
		memcpy(out, block + lane * w->n_cols * sizeof(float), w->n_cols * sizeof(float));
		return;
	}
	for (size_t k = 0; k < w->n_cols; k++)
		out[k] = w->quant == PK_QUANT_Q8   ? q8_item(block, lane, k)
		         : w->quant == PK_QUANT_Q4 ? q4_item(block, lane, k)
		                                   : half_at(block + k * PK_LANES * 2, lane);
}

static float
q8_item(const uint8_t *block, size_t lane, size_t k)
{
	const uint8_t *group = block + k / PK_Q8_GROUP * PK_Q8_GROUP_BYTES;
	float          scale;

	memcpy(&scale, group + lane * sizeof(scale), sizeof(scale));
	return scale * (float) (block[q8_offset(lane, k)] - PK_Q8_OFFSET);
}

static float
q4_item(const uint8_t *block, size_t lane, size_t k)
{
	const uint8_t *group = block + k / PK_Q4_GROUP * PK_Q4_GROUP_BYTES;
	int            shift, stored = block[q4_offset(lane, k, &shift)];

	return half_at(group, lane) * (float) ((stored >> shift & 15) - PK_Q4_OFFSET);
}

/* The i-th of the halves at p, which need not be aligned. */
static float
half_at(const uint8_t *p, size_t i)
{
	uint16_t half;

	memcpy(&half, p + i * sizeof(half), sizeof(half));
	return pk_half_to_float(half);
}

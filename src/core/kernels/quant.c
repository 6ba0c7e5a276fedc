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
/* The same for two scales at a time. */
typedef float   FloatPairs __attribute__((vector_size(32)));
typedef int32_t IntPairs __attribute__((vector_size(32)));

typedef void (*PackGroupFn)(uint8_t *group, size_t lane, const float *w);

static bool block_size(PkQuant quant, size_t n_cols, size_t *size_bytes);
static bool find_bad(PkQuant quant, size_t n_cols, size_t n, const float *rows, size_t *bad_row,
                     size_t *bad_col);
static void pack_q8_row(uint8_t *block, size_t lane, const float *row, size_t n_cols);
static void pack_q4_row(uint8_t *block, size_t lane, const float *row, size_t n_cols);
static void pack_f16_row(uint8_t *block, size_t lane, const float *row, size_t n_cols);
static PackGroupFn   q4_pack_group(void);
static void          pack_group_any(uint8_t *group, size_t lane, const float *w);
PK_INLINE void       pack_group(uint8_t *group, size_t lane, const float *w);
PK_INLINE uint16_t   q4_best_scale(const float *w);
PK_INLINE void       q4_errors(const float *w, float scale, float *errors);
PK_INLINE FloatPairs pairs_select(IntPairs mask, FloatPairs yes, FloatPairs no);
PK_INLINE Floats     floats_select(Ints mask, Floats yes, Floats no);
static float         q8_item(const uint8_t *block, size_t lane, size_t k);
static float         q4_item(const uint8_t *block, size_t lane, size_t k);
static float         half_at(const uint8_t *p, size_t i);
static void          pad_lane(PkQuant quant, uint8_t *block, size_t lane, size_t n_cols);

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
			return pk_size_mul(n_groups, PK_Q8_GROUP_BYTES, size_bytes) &&
			       pk_size_add(*size_bytes, PK_Q8_SCALE_BYTES, size_bytes);
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
	return PK_Q8_SCALE_BYTES + k / PK_QUAD * (PK_LANES * PK_QUAD) + lane * PK_QUAD + k % PK_QUAD;
}

static void
pack_q8_row(uint8_t *block, size_t lane, const float *row, size_t n_cols)
{
	float most = 0;

	for (size_t k = 0; k < n_cols; k++)
		most = fabsf(row[k]) > most ? fabsf(row[k]) : most;

	float scale = most / 127.0f;

	memcpy(block + lane * sizeof(scale), &scale, sizeof(scale));
	for (size_t k = 0; k < pk_round_up(n_cols, PK_Q8_GROUP); k++)
	{
		float level = k < n_cols && scale > 0 ? nearbyintf(row[k] / scale) : 0;

		level = level > 127 ? 127 : level < -127 ? -127 : level;
		block[q8_offset(lane, k)] = (uint8_t) ((int) level + PK_Q8_OFFSET);
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
	PackGroupFn pack = q4_pack_group();

	for (size_t k0 = 0; k0 < n_cols; k0 += PK_Q4_GROUP)
	{
		size_t n = n_cols - k0 < PK_Q4_GROUP ? n_cols - k0 : PK_Q4_GROUP;
		float  group[PK_Q4_GROUP] = {0};

		memcpy(group, row + k0, n * sizeof(float));
		pack(block + k0 / PK_Q4_GROUP * PK_Q4_GROUP_BYTES, lane, group);
	}
}

/* Nearly all of a conversion to q4: on x86 with AVX2 where that is there. The bits are the same. */
#if defined(__x86_64__)
PK_TARGET_AVX2 static void
pack_group_avx2(uint8_t *group, size_t lane, const float *w)
{
	pack_group(group, lane, w);
}

static PackGroupFn
q4_pack_group(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? pack_group_avx2
	                                                                       : pack_group_any;
}
#else
static PackGroupFn
q4_pack_group(void)
{
	return pack_group_any;
}
#endif

static void
pack_group_any(uint8_t *group, size_t lane, const float *w)
{
	pack_group(group, lane, w);
}

/* The nearest levels of -8 to 7, ties to even, with the best scale. */
PK_INLINE void
pack_group(uint8_t *group, size_t lane, const float *w)
{
	uint16_t half = q4_best_scale(w);
	float    scale = pk_half_to_float(half);
	uint8_t  stored[PK_Q4_GROUP];

	for (size_t i = 0; i < PK_Q4_GROUP; i += 4)
	{
		Floats level = {0};

		if (scale != 0)
		{
			memcpy(&level, w + i, sizeof(level));
			level = level / scale;
			level = floats_select(level > 7, (Floats){7, 7, 7, 7}, level);
			level = floats_select(level < -8, (Floats){-8, -8, -8, -8}, level);
			level = (level + ROUNDER) - ROUNDER;
		}

		Ints whole = __builtin_convertvector(level, Ints) + PK_Q4_OFFSET;

		for (size_t k = 0; k < 4; k++)
			stored[i + k] = (uint8_t) whole[k];
	}
	memcpy(group + lane * sizeof(half), &half, sizeof(half));
	for (size_t p = 0; p < PK_Q4_PIECES; p++)
		for (size_t k = 0; k < PK_QUAD; k++)
			group[PK_Q4_SCALE_BYTES + p * PK_Q4_PIECE_BYTES + lane * PK_QUAD + k] =
				(uint8_t) (stored[2 * p * PK_QUAD + k] | stored[(2 * p + 1) * PK_QUAD + k] << 4);
}

/* Of the scales that are tried, the first with the smallest error; 0 for zeros. */
PK_INLINE uint16_t
q4_best_scale(const float *w)
{
	float    extreme = 0, best_error = INFINITY;
	uint16_t best = 0;

	for (size_t i = 0; i < PK_Q4_GROUP; i++)
		extreme = fabsf(w[i]) > fabsf(extreme) ? w[i] : extreme;
	for (int i = 0; extreme != 0 && i < Q4_TRIES; i++)
	{
		/* divisors 6.0 to 9.2, the extreme at the negative or the positive end */
		uint16_t half = pk_float_to_half(extreme / -(6.0f + 0.4f * (float) i));
		float    scale = pk_half_to_float(half), errors[2];

		if (scale == 0)
			continue;
		q4_errors(w, scale, errors);
		for (int k = 0; k < 2; k++)
		{
			if (errors[k] < best_error)
			{
				best_error = errors[k];
				best = k == 0 ? half : half ^ 0x8000;
			}
		}
	}
	return best;
}

/*
 * Squared errors with scale and with -scale, in 4 lanes each: lane l of a sum has items l, l + 4,
 * ... Compilers make vector instructions of this on every machine.
 */
PK_INLINE void
q4_errors(const float *w, float scale, float *errors)
{
	const FloatPairs signs = {1, 1, 1, 1, -1, -1, -1, -1};
	FloatPairs       scales = signs * scale;
	FloatPairs inverses = signs * (1.0f / scale); /* dividing items would be most of the time */
	FloatPairs sums = {0};

	for (size_t i = 0; i < PK_Q4_GROUP; i += 4)
	{
		Floats four;

		memcpy(&four, w + i, sizeof(four));

		FloatPairs at = __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3);
		FloatPairs level = at * inverses;

		level = pairs_select(level > 7, (FloatPairs){7, 7, 7, 7, 7, 7, 7, 7}, level);
		level = pairs_select(level < -8, (FloatPairs){-8, -8, -8, -8, -8, -8, -8, -8}, level);
		at -= scales * ((level + ROUNDER) - ROUNDER);
		sums += at * at;
	}
	errors[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
	errors[1] = (sums[4] + sums[5]) + (sums[6] + sums[7]);
}

PK_INLINE FloatPairs
pairs_select(IntPairs mask, FloatPairs yes, FloatPairs no)
{
	return (FloatPairs) ((mask & (IntPairs) yes) | (~mask & (IntPairs) no));
}

PK_INLINE Floats
floats_select(Ints mask, Floats yes, Floats no)
{
	return (Floats) ((mask & (Ints) yes) | (~mask & (Ints) no));
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
	if (quant == PK_QUANT_Q8)
		memcpy(block + lane * sizeof(zero), &zero, sizeof(zero));
	for (size_t g = 0; quant == PK_QUANT_Q4 && g < n_groups; g++)
		memcpy(block + g * PK_Q4_GROUP_BYTES + lane * sizeof(half), &half, sizeof(half));
}

PkMatrix
pk_matrix_rows(const PkMatrix *w, size_t begin, size_t end)
{
	PkMatrix rows = *w;
	size_t   one = 0;

	PK_ASSERT(begin % PK_LANES == 0 && begin <= end && end <= w->n_rows);
	(void) block_size(w->quant, w->n_cols, &one); /* no overflow: w has such blocks */
	rows.n_rows = end - begin;
	rows.data = (const uint8_t *) w->data + begin / PK_LANES * one;
	return rows;
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
	float scale;

	memcpy(&scale, block + lane * sizeof(scale), sizeof(scale));
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

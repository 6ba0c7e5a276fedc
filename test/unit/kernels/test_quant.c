/*
 * test_quant.c
 *    Packing: errors within what each format promises, bad values refused where they are, and row
 *    ranges that give the bytes of the whole.
 */
#include <float.h>
#include <stdlib.h>

#include "../tap.h"
#include "core/base/rng.h"
#include "core/kernels/quant.h"

#define SEED 20261123
#define FILL 0xa5 /* what is in memory before packing */

/* Largest error, in parts of the largest magnitude of the group, of q8 of the row. */
#define BOUND_F16 (1.0 / 2048)  /* half a unit in the last of 11 bits */
#define TINY_F16 0x1p-25        /* half a step of the subnormal halves */
#define BOUND_Q8 (0.5001 / 127) /* half a step, and the rounding of the scale */
#define BOUND_Q4 (1.0 / 5) /* the search may cut the extreme off: a divisor of 9.2 instead of 8 */
#define RMS_Q4 0.09        /* of the group's own root mean square, for even noise: measured 0.07 */

static const PkQuant quants[] = {PK_QUANT_F32, PK_QUANT_F16, PK_QUANT_Q8, PK_QUANT_Q4};
static uint64_t      n_drawn;

static float *
draw(size_t n, float most)
{
	float *x = malloc((n + 1) * sizeof(float));

	for (size_t i = 0; i < n; i++)
		x[i] = most * (float) (2 * pk_rng_uniform(SEED, n_drawn++) - 1);
	return x;
}

static uint8_t *
room(PkQuant quant, size_t n_rows, size_t n_cols, size_t *size)
{
	if (!pk_matrix_size(quant, n_rows, n_cols, size))
		exit(2);

	uint8_t *packed =
		aligned_alloc(PK_ALIGNMENT, (*size + PK_ALIGNMENT) / PK_ALIGNMENT * PK_ALIGNMENT);

	memset(packed, FILL, (*size + PK_ALIGNMENT) / PK_ALIGNMENT * PK_ALIGNMENT);
	return packed;
}

static void
test_names(void)
{
	PkQuant quant = PK_QUANT_Q4;
	bool    good = true;

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
		good &= pk_quant_from_name(pk_quant_name(quants[i]), &quant) && quant == quants[i];
	ok(good, "each format has a name that leads back");
	ok(!pk_quant_from_name("q5", &quant) && !pk_quant_from_name("", &quant) &&
	       !pk_quant_from_name("Q8", &quant),
	   "other names are none");
	is_str(pk_quant_name(PK_N_QUANT), "?", "a number beyond the last has no name");
}

static void
test_sizes(void)
{
	size_t size = 0;

	pk_matrix_size(PK_QUANT_Q8, 17, 129, &size);
	is_int((long long) size, 2LL * (64 + 2 * 2048), "q8: 2 blocks of 2 groups");
	pk_matrix_size(PK_QUANT_Q4, 17, 65, &size);
	is_int((long long) size, 2LL * 3 * (32 + 256), "q4: 2 blocks of 3 groups");
	pk_matrix_size(PK_QUANT_F16, 17, 65, &size);
	is_int((long long) size, 2LL * 65 * 16 * 2, "f16: 2 blocks of 65 inputs");
	pk_matrix_size(PK_QUANT_F32, 17, 65, &size);
	is_int((long long) size, 2LL * 65 * 16 * 4, "f32: the same, twice as wide");
	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		ok(!pk_matrix_size(quants[i], SIZE_MAX, SIZE_MAX, &size) &&
		       !pk_matrix_size(quants[i], (size_t) 1 << 33, (size_t) 1 << 33, &size) &&
		       !pk_matrix_size(quants[i], 1, SIZE_MAX, &size),
		   "%s: a size that overflows is refused", pk_quant_name(quants[i]));
		ok(pk_matrix_size(quants[i], 0, 100, &size) && size == 0, "no rows have no size");
	}
}

/* Unpack a packed matrix and look at each error, and at the square error of all. */
static bool
is_close(PkQuant quant, size_t n_rows, size_t n_cols, float most)
{
	float   *w = draw(n_rows * n_cols, most), *row = draw(n_cols, 1);
	size_t   size, bad, group = quant == PK_QUANT_Q8 ? n_cols : pk_quant_group(quant);
	uint8_t *packed = room(quant, n_rows, n_cols, &size);
	PkMatrix m = {quant, n_rows, n_cols, packed};
	double   bound = quant == PK_QUANT_F32   ? 0
	                 : quant == PK_QUANT_F16 ? BOUND_F16
	                 : quant == PK_QUANT_Q8  ? BOUND_Q8
	                                         : BOUND_Q4;
	double   error = 0, square = 0;
	bool     good = pk_matrix_pack(quant, packed, n_rows, n_cols, 0, n_rows, w, &bad, &bad);

	for (size_t i = 0; i < n_rows; i++)
	{
		pk_matrix_unpack_row(&m, i, row);
		for (size_t k = 0; k < n_cols; k++)
		{
			const float *at = w + i * n_cols;
			double       extreme = 0, off = (double) row[k] - (double) at[k];

			for (size_t j = k / group * group; j < n_cols && j < (k / group + 1) * group; j++)
				extreme = fmax(extreme, fabs((double) at[j]));
			good &= fabs(off) <= bound * extreme + (quant == PK_QUANT_F16 ? TINY_F16 : 0);
			error += off * off;
			square += (double) at[k] * (double) at[k];
		}
	}
	if (quant == PK_QUANT_Q4)
		good &= sqrt(error / square) <= RMS_Q4;
	if (quant == PK_QUANT_F32)
		good &= error == 0;
	for (size_t i = size; i < (size + PK_ALIGNMENT) / PK_ALIGNMENT * PK_ALIGNMENT; i++)
		good &= packed[i] == FILL;
	free(w), free(row), free(packed);
	return good;
}

static void
test_errors(void)
{
	static const size_t cols[] = {1, 3, 31, 32, 33, 63, 64, 65, 200};
	static const float  magnitudes[] = {1.0f, 1e-3f, 300.0f};

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		bool good = true;

		for (size_t k = 0; k < PK_LENGTH(cols); k++)
			for (size_t m = 0; m < PK_LENGTH(magnitudes); m++)
				good &= is_close(quants[i], 1 + k * 7, cols[k], magnitudes[m]);
		ok(good, "%s: what comes back is near what went in, and nothing beyond is written",
		   pk_quant_name(quants[i]));
	}
}

/* The same bytes when ranges of rows are packed alone, in any order, each from its own rows. */
static void
test_ranges(void)
{
	const size_t n_rows = 77, n_cols = 83;

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		PkQuant  quant = quants[i];
		size_t   size, one, bad;
		float   *w = draw(n_rows * n_cols, 1);
		uint8_t *whole = room(quant, n_rows, n_cols, &size);
		uint8_t *parts = room(quant, n_rows, n_cols, &size);
		uint8_t *alone = room(quant, PK_LANES, n_cols, &one);

		pk_matrix_pack(quant, whole, n_rows, n_cols, 0, n_rows, w, &bad, &bad);
		memset(parts, 0x5a, size);
		pk_matrix_pack(quant, parts, n_rows, n_cols, 64, 13, w + 64 * n_cols, &bad, &bad);
		pk_matrix_pack(quant, parts, n_rows, n_cols, 0, 16, w, &bad, &bad);
		pk_matrix_pack(quant, parts, n_rows, n_cols, 16, 48, w + 16 * n_cols, &bad, &bad);
		ok(memcmp(whole, parts, size) == 0,
		   "%s: rows packed in ranges are the whole, whatever was "
		   "in memory",
		   pk_quant_name(quant));
		pk_matrix_pack(quant, alone, PK_LANES, n_cols, 0, PK_LANES, w + 32 * n_cols, &bad, &bad);
		ok(memcmp(whole + 2 * one, alone, one) == 0, "and a block alone is a part of it");
		free(w), free(whole), free(parts), free(alone);
	}
}

/* Rows and inputs that only fill a block are zero: nothing of them reaches a product. */
static void
test_padding(void)
{
	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		PkQuant  quant = quants[i];
		size_t   size, bad, group = pk_quant_group(quant), n_cols = 33;
		size_t   padded = (n_cols + group - 1) / group * group;
		float   *w = draw(3 * n_cols, 1), *row = draw(padded, 1);
		uint8_t *packed = room(quant, 3, n_cols, &size);
		PkMatrix wide = {quant, PK_LANES, padded, packed};
		bool     good = pk_matrix_pack(quant, packed, 3, n_cols, 0, 3, w, &bad, &bad);

		for (size_t r = 0; r < PK_LANES; r++)
		{
			pk_matrix_unpack_row(&wide, r, row);
			for (size_t k = r < 3 ? n_cols : 0; k < padded; k++)
				good &= row[k] == 0;
		}
		ok(good, "%s: padding is zero", pk_quant_name(quant));
		free(w), free(row), free(packed);
	}
}

static void
test_bad_values(void)
{
	const size_t n_rows = 40, n_cols = 50;

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		const float bad[] = {NAN, INFINITY, -INFINITY, quants[i] == PK_QUANT_F16 ? 65520.0f : NAN,
		                     quants[i] == PK_QUANT_Q4 ? -FLT_MAX : NAN};
		size_t      size;
		float      *w = draw(n_rows * n_cols, 1);
		uint8_t    *packed = room(quants[i], n_rows, n_cols, &size);
		bool        good = true;

		for (size_t b = 0; b < PK_LENGTH(bad); b++)
		{
			for (size_t at = 7; at < 16 * n_cols; at += 113)
			{
				size_t row = 999, col = 999;
				float  saved = w[at];

				w[at] = bad[b];
				good &= !pk_matrix_pack(quants[i], packed, n_rows, n_cols, 16, 16, w, &row, &col);
				good &= row == 16 + at / n_cols && col == at % n_cols;
				w[at] = saved;
			}
		}
		ok(good, "%s: a bad value is refused by its row and column", pk_quant_name(quants[i]));
		free(w), free(packed);
	}
}

/* One row of a group: what its items come back as. */
static void
round_trip(PkQuant quant, const float *in, size_t n, float *out)
{
	size_t   size, bad;
	uint8_t *packed = room(quant, 1, n, &size);
	PkMatrix m = {quant, 1, n, packed};

	memset(out, FILL, n * sizeof(float));
	if (pk_matrix_pack(quant, packed, 1, n, 0, 1, in, &bad, &bad))
		pk_matrix_unpack_row(&m, 0, out);
	free(packed);
}

static bool
is_same(const float *a, const float *b, size_t n)
{
	bool same = true;

	for (size_t i = 0; i < n; i++)
		same &= a[i] == b[i]; /* 0 is -0 here: a scale may be negative */
	return same;
}

static void
test_extremes(void)
{
	float in[64] = {0}, out[64];
	bool  is_zero = true, is_finite = true;

	for (size_t i = 0; i < PK_LENGTH(quants); i++)
	{
		memset(in, 0, sizeof(in));
		round_trip(quants[i], in, 64, out);
		for (size_t k = 0; k < 64; k++)
			is_zero &= out[k] == 0;
		in[5] = FLT_TRUE_MIN;
		in[6] = -FLT_MIN / 3;
		round_trip(quants[i], in, 64, out);
		for (size_t k = 0; k < 64; k++)
			is_finite &= fabsf(out[k]) < 2e-38f;
		in[7] = quants[i] == PK_QUANT_F16 ? 65504 : quants[i] == PK_QUANT_Q4 ? 450000 : 2.9e38f;
		round_trip(quants[i], in, 64, out);
		is_finite &= fabsf(out[7] / in[7] - 1) < 0.2f;
	}
	ok(is_zero, "zeros come back as zeros, whatever the scale");
	ok(is_finite, "the smallest and the largest values that are allowed come back finite");

	for (int k = 0; k < 32; k++)
		in[k] = (float) (k % 16 - 8) * 0.25f;
	round_trip(PK_QUANT_Q4, in, 32, out);
	ok(is_same(in, out, 32), "q4: 16 even levels come back as they are");
	for (int k = 0; k < 32; k++)
		in[k] = (float) (8 - k % 16) * 0.25f;
	round_trip(PK_QUANT_Q4, in, 32, out);
	ok(is_same(in, out, 32), "q4: also turned, so that 8 is the extreme");
	for (int k = 0; k < 64; k++)
		in[k] = (float) (k * 4 - 127) * 0.5f;
	round_trip(PK_QUANT_Q8, in, 64, out);
	ok(is_same(in, out, 64), "q8: 64 even levels come back as they are");
}

int
main(void)
{
	diag("seed %d", SEED);
	test_names();
	test_sizes();
	test_errors();
	test_ranges();
	test_padding();
	test_bad_values();
	test_extremes();
	return done_testing();
}

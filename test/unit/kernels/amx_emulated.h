/*
 * amx_emulated.h
 *    The instructions of amx_ops.h in C. Its guard keeps that file away: include this one first.
 *
 * They do what Intel's manual says: tiles have the configured rows and bytes, what lies beyond is
 * zero, and configuring makes all zero. What a processor would refuse is counted and does nothing.
 * What can't be seen with them is a mistake in the assembly of amx_ops.h itself.
 */
#ifndef PK_AMX_OPS_H
#define PK_AMX_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PK_AMX_CONFIGURE(config) emulate_configure((const uint8_t *) (config))
#define PK_AMX_RELEASE() memset(emulated, 0, sizeof(emulated))
#define PK_AMX_ZERO(t) emulate_zero(t)
#define PK_AMX_LOAD(t, from, stride) emulate_load(t, (const uint8_t *) (from), stride)
#define PK_AMX_STORE(t, to, stride) emulate_store(t, (uint8_t *) (to), stride)
#define PK_AMX_DOT(sum, acts, weights) emulate_dot(sum, acts, weights, true)
#define PK_AMX_DOT_UNSIGNED(sum, acts, weights) emulate_dot(sum, acts, weights, false)

typedef struct EmulatedTile
{
	size_t  n_rows, row_bytes; /* 0: as good as not there */
	uint8_t row[16][64];
} EmulatedTile;

static EmulatedTile emulated[8];
static size_t       emulated_n_faults;

static bool
emulated_fault(bool is_fault)
{
	emulated_n_faults += is_fault;
	return is_fault;
}

/* 64 bytes: palette, first row, 14 of zero, row bytes of 16 tiles as 2 bytes each, their rows. */
static void
emulate_configure(const uint8_t *config)
{
	EmulatedTile tiles[8] = {0};
	bool         is_bad = config[0] != 1;

	for (size_t i = 1; i < 64; i++) /* all but the palette and what 8 tiles are */
		is_bad |= (i < 16 || (i >= 32 && i < 48) || i >= 56) && config[i] != 0;
	for (size_t i = 0; i < 8; i++)
	{
		size_t n_rows = config[48 + i], row_bytes = config[16 + 2 * i] + 256 * config[17 + 2 * i];

		is_bad |= (n_rows == 0) != (row_bytes == 0) || n_rows > 16 || row_bytes > 64;
		tiles[i].n_rows = n_rows, tiles[i].row_bytes = row_bytes;
	}
	if (!emulated_fault(is_bad))
		memcpy(emulated, tiles, sizeof(emulated));
}

static void
emulate_zero(int t)
{
	if (!emulated_fault(emulated[t].n_rows == 0))
		memset(emulated[t].row, 0, sizeof(emulated[t].row));
}

static void
emulate_load(int t, const uint8_t *from, size_t stride)
{
	emulate_zero(t);
	for (size_t m = 0; m < emulated[t].n_rows; m++)
		memcpy(emulated[t].row[m], from + m * stride, emulated[t].row_bytes);
}

static void
emulate_store(int t, uint8_t *to, size_t stride)
{
	emulated_fault(emulated[t].n_rows == 0);
	for (size_t m = 0; m < emulated[t].n_rows; m++)
		memcpy(to + m * stride, emulated[t].row[m], emulated[t].row_bytes);
}

/* sum (M, N) of int32 += a (M, K quads) * b (K quads, N); a is signed. */
static void
emulate_dot(int i_sum, int i_a, int i_b, bool is_signed)
{
	EmulatedTile       *sum = &emulated[i_sum];
	const EmulatedTile *a = &emulated[i_a], *b = &emulated[i_b];
	bool                has_same = i_sum == i_a || i_sum == i_b || i_a == i_b;

	if (emulated_fault(has_same || sum->n_rows == 0 || a->n_rows != sum->n_rows ||
	                   b->row_bytes != sum->row_bytes || a->row_bytes != 4 * b->n_rows ||
	                   sum->row_bytes % 4 != 0))
		return;
	for (size_t m = 0; m < sum->n_rows; m++)
		for (size_t n = 0; n < sum->row_bytes; n += 4)
		{
			int32_t dot;

			memcpy(&dot, sum->row[m] + n, sizeof(dot));
			for (size_t k = 0; k < a->row_bytes; k++)
			{
				uint8_t weight = b->row[k / 4][n + k % 4];

				dot += (int8_t) a->row[m][k] * (is_signed ? (int8_t) weight : weight);
			}
			memcpy(sum->row[m] + n, &dot, sizeof(dot));
		}
}

#endif

/*
 * quant.h
 *    The four weight formats and how a packed matrix lies in memory.
 */
#ifndef PK_QUANT_H
#define PK_QUANT_H

#include "core/base/status.h"

typedef enum PkQuant
{
	PK_QUANT_F32 = 0, /* rows of float as in the checkpoint; products through OpenBLAS */
	PK_QUANT_F16 = 1,
	PK_QUANT_Q8 = 2, /* int8, one scale a row */
	PK_QUANT_Q4 = 3, /* 4 bits, one scale per 32 along K */
	PK_N_QUANT
} PkQuant;

const char *pk_quant_name(PkQuant quant); /* "f32", "f16", "q8", "q4" */
bool        pk_quant_from_name(const char *name, PkQuant *out);

/* Packed weights come in blocks of this many output rows, the lanes of every kernel. */
#define PK_LANES 16

/*
 * Inputs whose products are added as integers, and which share a scale of the activations: 128 for
 * q8, 32 for q4, 1 for the float formats.
 */
size_t pk_quant_group(PkQuant quant);

/*
 * A weight matrix W (N, K), y = W x, as it lies packed in an image. data is PK_ALIGNMENT-aligned
 * and belongs to the image. N is padded to PK_LANES and K to the group with zeros. Blocks of
 * PK_LANES rows lie one after another, each self-contained and pk_matrix_size(quant, PK_LANES, K)
 * bytes long: a converter packs a range of rows alone and writes it where it belongs.
 */
typedef struct PkMatrix
{
	PkQuant     quant;
	size_t      n_rows; /* N, unpadded */
	size_t      n_cols; /* K, unpadded */
	const void *data;
} PkMatrix;

/* Bytes of the packed form; false on overflow. */
bool pk_matrix_size(PkQuant quant, size_t n_rows, size_t n_cols, size_t *size_bytes);

/*
 * Pack rows row0 to row0 + n - 1 (row0 a multiple of PK_LANES; n too, unless they are the last)
 * from rows (n, K) into the packed matrix dst. Different row ranges may be packed by different
 * threads. Returns false if a value is NaN, infinite, or too large for the format; *bad_row and
 * *bad_col then say where.
 */
bool pk_matrix_pack(PkQuant quant, void *dst, size_t n_rows, size_t n_cols, size_t row0, size_t n,
                    const float *rows, size_t *bad_row, size_t *bad_col);

/* Rows [begin, end) of w, in its memory; begin a multiple of PK_LANES. */
PkMatrix pk_matrix_rows(const PkMatrix *w, size_t begin, size_t end);

/* Give back row as n_cols floats (dequantised); for tests and error reports. */
void pk_matrix_unpack_row(const PkMatrix *w, size_t row, float *out);

#endif

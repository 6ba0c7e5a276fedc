/*
 * quant_layout.h
 *    Where things lie in a packed block of PK_LANES rows; quant.c writes it, the gemm bodies read
 * it.
 *
 *    q8   float scale[16]; uint8 [quads][16 rows][4 inputs], w + 128, in groups of 32 quads
 *    q4   per group of 32 inputs: half scale[16]; 4 pieces of 64 bytes; byte i of piece p holds
 *         item i of quad 2p in its low nibble and of quad 2p + 1 in its high one, each w + 8
 *    f16  half [K][16 rows]
 *    f32  float [16 rows][K]: the whole matrix is row-major
 *
 * Weights are stored with an offset because vpdpbusd multiplies unsigned by signed; the offset is
 * taken back with the sum of the activations, which PkActs carries.
 */
#ifndef PK_QUANT_LAYOUT_H
#define PK_QUANT_LAYOUT_H

#include "core/kernels/quant.h"

#define PK_QUAD 4 /* inputs that one 32-bit lane of a dot product takes */

#define PK_Q8_GROUP 128
#define PK_Q8_OFFSET 128
#define PK_Q8_SCALE_BYTES (PK_LANES * 4)
#define PK_Q8_GROUP_BYTES (PK_Q8_GROUP * PK_LANES)
#define PK_Q8_BLOCK_BYTES(n_groups) (PK_Q8_SCALE_BYTES + (n_groups) *PK_Q8_GROUP_BYTES)

#define PK_Q4_GROUP 32
#define PK_Q4_OFFSET 8
#define PK_Q4_SCALE_BYTES (PK_LANES * 2)
#define PK_Q4_PIECE_BYTES 64
#define PK_Q4_PIECES 4
#define PK_Q4_GROUP_BYTES (PK_Q4_SCALE_BYTES + PK_Q4_PIECES * PK_Q4_PIECE_BYTES)

#endif

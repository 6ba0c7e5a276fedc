/*
 * embed.h
 *    From hidden states to one vector: mean or last, then L2 normalisation.
 */
#ifndef PK_EMBED_H
#define PK_EMBED_H

#include "core/kernels/kernels.h"

/* sum (E) += row (E). Rows come in position order, so chunks never change the order of a sum. */
void pk_embed_add(const PkKernels *kernels, float *sum, const float *row, size_t n);

/* sum (E) of n_rows rows becomes their mean. */
void pk_embed_mean(const PkKernels *kernels, float *sum, size_t n_rows, size_t n);

/* Scale to length 1; a vector of zeros stays as it is. */
void pk_embed_normalize(const PkKernels *kernels, float *vector, size_t n);

#endif

/*
 * blas.h
 *    The only door to OpenBLAS, opened lazily with dlopen() in the computing process.
 *
 * OpenBLAS starts threads when it is loaded, so polyko.so never links it, and
 * OPENBLAS_NUM_THREADS=1 is set before it is opened; our pool splits the work. Its sgemm is not
 * row-invariant: results depend on the batch, within a tolerance.
 */
#ifndef PK_BLAS_H
#define PK_BLAS_H

#include "core/base/status.h"

/* Load OpenBLAS once per process (first call; not for several threads at a time). PK_UNSUPPORTED
 * with a hint when it is not installed. Never call it in the postmaster or the supervisor. */
PkStatus pk_blas_load(PkError *err);

/* y (T, N) = x (T, K) W^T + bias for rows [row_begin, row_end) of w (N, K), all row-major float;
 * bias (N) or NULL. May be called by several threads for different rows after pk_blas_load(). */
void pk_blas_linear(float *y, size_t y_stride, const float *x, size_t x_stride, const float *w,
                    const float *bias, size_t n_tokens, size_t row_begin, size_t row_end,
                    size_t n_cols);

#endif

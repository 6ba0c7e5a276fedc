/*
 * blas.c
 *    OpenBLAS by dlopen(). The one piece of process-wide state in core: a library is loaded once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/blas.h"

enum
{
	ROW_MAJOR = 101,
	NO_TRANSPOSE = 111,
	TRANSPOSE = 112
};

typedef void (*SgemmFn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                        const float *a, int lda, const float *b, int ldb, float beta, float *c,
                        int ldc);

static SgemmFn sgemm;

PkStatus
pk_blas_load(PkError *err)
{
	if (sgemm != NULL)
		return PK_OK;

	const char *before = getenv("OPENBLAS_NUM_THREADS");
	char       *saved = before != NULL ? strdup(before) : NULL;

	setenv("OPENBLAS_NUM_THREADS", "1", 1);

	void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
		library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
	if (saved != NULL)
		setenv("OPENBLAS_NUM_THREADS", saved, 1);
	else
		unsetenv("OPENBLAS_NUM_THREADS");
	free(saved);

	void *symbol = library != NULL ? dlsym(library, "cblas_sgemm") : NULL;

	if (symbol == NULL)
	{
		pk_error(err, PK_UNSUPPORTED,
		         "quantization 'f32' needs OpenBLAS, which could not be loaded");
		return pk_error_hint(
			err, PK_UNSUPPORTED,
			"Install the package libopenblas0-pthread, or use 'f16', 'q8' or 'q4'.");
	}
	memcpy(&sgemm, &symbol, sizeof(sgemm));
	return PK_OK;
}

void
pk_blas_linear(float *y, size_t y_stride, const float *x, size_t x_stride, const float *w,
               const float *bias, size_t n_tokens, size_t row_begin, size_t row_end, size_t n_cols)
{
	size_t n_rows = row_end - row_begin;

	sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, (int) n_tokens, (int) n_rows, (int) n_cols, 1.0f, x,
	      (int) x_stride, w + row_begin * n_cols, (int) n_cols, 0.0f, y + row_begin,
	      (int) y_stride);
	if (bias == NULL)
		return;
	for (size_t t = 0; t < n_tokens; t++)
		for (size_t i = row_begin; i < row_end; i++)
			y[t * y_stride + i] += bias[i];
}

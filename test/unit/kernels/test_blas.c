/*
 * test_blas.c
 *    Products through OpenBLAS against a naive sum in double.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "../tap.h"
#include "core/base/rng.h"
#include "core/kernels/blas.h"

#define SEED 20261123
#define TOL_SUM 1e-4 /* float sums of up to 300 products below 2 */

static uint64_t n_drawn;

static float *
draw(size_t n)
{
	float *x = malloc((n + 1) * sizeof(float));

	for (size_t i = 0; i < n; i++)
		x[i] = (float) (2 * pk_rng_uniform(SEED, n_drawn++) - 1);
	return x;
}

static int
count_threads(void)
{
	char  line[200];
	int   n = -1;
	FILE *file = fopen("/proc/self/status", "r");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Threads: %d", &n) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return n;
}

/* T x N products of K inputs, in two ranges of rows, with strides that leave room. */
static double
worst_error(size_t T, size_t N, size_t K, bool has_bias)
{
	size_t x_stride = K + 3, y_stride = N + 5;
	float *x = draw(T * x_stride), *w = draw(N * K), *bias = draw(N), *y = draw(T * y_stride);
	float *before = malloc((T * y_stride + 1) * sizeof(float));
	double worst = 0;

	memcpy(before, y, T * y_stride * sizeof(float));
	pk_blas_linear(y, y_stride, x, x_stride, w, has_bias ? bias : NULL, T, 0, N / 2, K);
	pk_blas_linear(y, y_stride, x, x_stride, w, has_bias ? bias : NULL, T, N / 2, N, K);
	for (size_t t = 0; t < T; t++)
	{
		for (size_t i = 0; i < N; i++)
		{
			double sum = has_bias ? (double) bias[i] : 0;

			for (size_t k = 0; k < K; k++)
				sum += (double) x[t * x_stride + k] * (double) w[i * K + k];
			worst = fmax(worst, fabs(sum - (double) y[t * y_stride + i]));
		}
		for (size_t i = N; i < y_stride; i++)
			if (y[t * y_stride + i] != before[t * y_stride + i])
				worst = INFINITY; /* written beyond a row */
	}
	free(x), free(w), free(bias), free(y), free(before);
	return worst;
}

int
main(void)
{
	static const size_t shapes[][3] = {{1, 1, 1},    {1, 16, 64},   {3, 17, 65},
	                                   {8, 48, 300}, {33, 100, 31}, {2, 3, 299}};
	PkError             err;

	diag("seed %d", SEED);
	setenv("OPENBLAS_NUM_THREADS", "7", 1);

	int      n_threads = count_threads(); /* an emulator has its own */
	PkStatus status = pk_blas_load(&err);

	is_str(getenv("OPENBLAS_NUM_THREADS"), "7", "the environment stays as it was");
	if (status == PK_UNSUPPORTED)
	{
		ok(strstr(err.text, "OpenBLAS") != NULL && err.hint[0] != '\0',
		   "without OpenBLAS, the error names it and has a hint");
		skip("OpenBLAS is not installed: no products");
		return done_testing();
	}
	is_int(status, PK_OK, "OpenBLAS is loaded");
	is_int(pk_blas_load(&err), PK_OK, "also a second time");
	is_int(count_threads(), n_threads, "and has started no thread");
	for (size_t i = 0; i < PK_LENGTH(shapes); i++)
	{
		is_near(worst_error(shapes[i][0], shapes[i][1], shapes[i][2], true), 0, TOL_SUM,
		        "a product and a bias are near the sum in double");
		is_near(worst_error(shapes[i][0], shapes[i][1], shapes[i][2], false), 0, TOL_SUM,
		        "also without a bias");
	}
	return done_testing();
}

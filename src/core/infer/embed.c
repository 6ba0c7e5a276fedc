/*
 * embed.c
 *    Plain loops over kernels whose bits agree in every tier.
 */
#include <math.h>

#include "core/infer/embed.h"

void
pk_embed_add(const PkKernels *kernels, float *sum, const float *row, size_t n)
{
	kernels->add(sum, row, n);
}

void
pk_embed_mean(const PkKernels *kernels, float *sum, size_t n_rows, size_t n)
{
	kernels->scale(sum, 1.0f / (float) n_rows, n);
}

void
pk_embed_normalize(const PkKernels *kernels, float *vector, size_t n)
{
	float squares = kernels->sum_squares(vector, n);

	/* no length that is a number: neither is the vector, rather than all zeros */
	if (squares > 0.0f || isnan(squares))
		kernels->scale(vector, isinf(squares) ? NAN : 1.0f / sqrtf(squares), n);
}

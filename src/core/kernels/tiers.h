/*
 * tiers.h
 *    The constant table of each tier; slots that it does not speed up are NULL.
 */
#ifndef PK_TIERS_H
#define PK_TIERS_H

#include "core/kernels/kernels.h"

extern const PkKernels pk_kernels_scalar;
#if defined(__x86_64__)
extern const PkKernels pk_kernels_avx2;
extern const PkKernels pk_kernels_avx512;
extern const PkKernels pk_kernels_vnni;
extern const PkKernels pk_kernels_amx;

/*
 * Products with 1 to 32 tokens, of the whole blocks of [begin, end): the block after them. Of amx,
 * whose tiles the process has claimed. is_q8: else q4.
 */
size_t pk_amx_columns(const PkGemm *g, size_t begin, size_t end, bool is_q8);
#elif defined(__aarch64__)
extern const PkKernels pk_kernels_neon;
#endif

#endif

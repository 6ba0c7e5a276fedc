/*
 * rng.h
 *    Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a counter
 *    in, random bits out, no state. Known answers are in test/unit/base/test_rng.c.
 */
#ifndef PK_RNG_H
#define PK_RNG_H

#include "core/base/platform.h"

void pk_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* A number in [0, 1) with 53 random bits for this seed and position. */
double pk_rng_uniform(uint64_t seed, uint64_t position);

#endif

/*
 * test_rng.c
 *    Philox4x32-10 gives Random123's known answers (kat_vectors), and uniform numbers are what
 *    53 of its bits say.
 */
#include "../tap.h"
#include "core/base/rng.h"

#define N_DRAWS 100000
#define TOL_MEAN 0.005 /* 5 sigma: 1 / sqrt(12 * 100,000) is 0.0009 */

typedef struct Known
{
	uint32_t counter[4], key[2], want[4];
} Known;

static const Known known[] = {
	{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
	{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
	{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void
test_known_answers(void)
{
	for (size_t i = 0; i < PK_LENGTH(known); i++)
	{
		uint32_t out[4];

		pk_philox4x32(known[i].counter, known[i].key, out);
		ok(memcmp(out, known[i].want, sizeof(out)) == 0, "known answer %zu of Random123", i + 1);
	}
}

static void
test_uniform(void)
{
	bool   is_in_range = true, has_53_bits = true;
	double sum = 0, square = 0;
	int    n_odd = 0;

	for (uint64_t i = 0; i < N_DRAWS; i++)
	{
		double   u = pk_rng_uniform(20261123, i);
		double   scaled = u * 0x1.0p53;
		uint64_t whole = (uint64_t) scaled;

		is_in_range &= u >= 0 && u < 1;
		has_53_bits &= (double) whole == scaled;
		n_odd += whole & 1;
		sum += u;
		square += u * u;
	}
	ok(is_in_range, "uniform numbers are in [0, 1)");
	ok(has_53_bits, "uniform numbers are multiples of 2^-53");
	is_near((double) n_odd / N_DRAWS, 0.5, 2 * TOL_MEAN, "the 53rd bit is used");
	is_near(sum / N_DRAWS, 0.5, TOL_MEAN, "their mean is a half");
	is_near(square / N_DRAWS, 1.0 / 3, TOL_MEAN, "their mean square is a third");
}

static void
test_positions(void)
{
	/* the first known answer: counter 0, key 0; bits[1] is the high word */
	uint64_t bits = ((uint64_t) 0xe169c58d << 32 | 0x6627e8d5) >> 11;

	ok(pk_rng_uniform(0, 0) == (double) bits * 0x1.0p-53,
	   "seed 0, position 0 is the first known answer");
	ok(pk_rng_uniform(7, 5) == pk_rng_uniform(7, 5), "a position of a seed is a fact");
	ok(pk_rng_uniform(7, 5) != pk_rng_uniform(7, 6), "the next position has another number");
	ok(pk_rng_uniform(7, 5) != pk_rng_uniform(8, 5), "the next seed has another number");
	ok(pk_rng_uniform(7, 5) != pk_rng_uniform(7 + (1ull << 32), 5), "64 bits of a seed count");
	ok(pk_rng_uniform(7, 5) != pk_rng_uniform(7, 5 + (1ull << 32)), "64 bits of a position count");
}

int
main(void)
{
	test_known_answers();
	test_uniform();
	test_positions();
	return done_testing();
}

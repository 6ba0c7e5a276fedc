/*
 * test_pace.c
 *    The length of a chunk follows what steps have cost.
 */
#include "../tap.h"
#include "core/engine/pace.h"

#define MS 1e6

static void test_target(void);
static void test_chunk(void);
static void test_rows(void);
static void test_noise(void);
static void test_machine(void);

int
main(void)
{
	test_target();
	test_chunk();
	test_rows();
	test_noise();
	test_machine();
	return done_testing();
}

static void
test_target(void)
{
	is_near(pk_pace_target_ns(10 * MS), 100 * MS, 1, "a step may take 100 ms");
	is_near(pk_pace_target_ns(80 * MS), 160 * MS, 1, "or twice what decoding takes alone");
	is_near(pk_pace_target_ns(120 * MS), 200 * MS, 1, "up to 200 ms");
	is_near(pk_pace_target_ns(400 * MS), 600 * MS, 1,
	        "where decoding alone takes longer, prompts still get half of that");
}

/* Feed the same step often enough for the estimate to settle. */
static void
measure_often(PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns)
{
	for (size_t i = 0; i < 20; i++)
		pk_pace_measure(pace, n_decode, n_prompt, elapsed_ns);
}

static void
test_chunk(void)
{
	PkPace pace;

	pk_pace_init(&pace, 1300000000, 2, false);
	measure_often(&pace, 1, 0, 29 * MS);
	measure_often(&pace, 0, 64, 128 * MS);
	is_int((long long) pk_pace_chunk(&pace, 1, 71 * MS, 512), 35, "2 ms a token: 35 fit 71 ms");
	is_int((long long) pk_pace_chunk(&pace, 1, 70 * MS, 32), 32,
	       "a chunk keeps to the tokens of a step");
	is_int((long long) pk_pace_chunk(&pace, 0, 10 * MS, 512), 14,
	       "alone it may take as long as to read the weights");
	is_int((long long) pk_pace_chunk(&pace, 1, 0, 512), 1, "it is at least one token");
	is_near(pk_pace_decode_ns(&pace, 0), 0, 0, "no decode tokens, no time");
	is_near(pk_pace_decode_ns(&pace, 11), 49 * MS, 0.1 * MS,
	        "more rows cost at most what prompts cost");
	measure_often(&pace, 16, 0, 40 * MS);
	is_near(pk_pace_decode_ns(&pace, 16), 40 * MS, 0.01 * MS, "until they were measured");
	measure_often(&pace, 16, 20, 100 * MS);
	is_int((long long) pk_pace_chunk(&pace, 16, 60 * MS, 512), 20,
	       "what decoding takes is not counted for the prompt");
}

static void
test_rows(void)
{
	PkPace pace;
	size_t n = 1, n_classes = 0;

	for (; n <= 65536; n = pk_pace_same_rows(n) + 1)
		n_classes++;
	ok(n_classes <= PK_PACE_CLASSES && pk_pace_same_rows(8) == 8 && pk_pace_same_rows(9) == 10 &&
	       pk_pace_same_rows(17) == 20,
	   "%zu classes for the rows of a step", n_classes);
	pk_pace_init(&pace, 1300000000, 2, false);
	for (size_t rows = 1; rows <= 65536; rows *= 2)
	{
		pk_pace_measure(&pace, rows, 0, (double) (10 + rows) * MS);
		ok(fabs(pk_pace_decode_ns(&pace, rows) - (double) (10 + rows) * MS) < MS,
		   "a step of %zu rows is known", rows);
	}
	pk_pace_init(&pace, 1300000000, 2, false);
	measure_often(&pace, 0, 64, 64 * MS);
	measure_often(&pace, 16, 0, 40 * MS);
	measure_often(&pace, 24, 0, 42 * MS);
	is_near(pk_pace_decode_ns(&pace, 20), 42 * MS, 0.1 * MS, "no more than what more rows took");
	is_near(pk_pace_decode_ns(&pace, 28), 43 * MS, 0.1 * MS, "a row costs what rows cost before");
	is_near(pk_pace_decode_ns(&pace, 50), 62 * MS, 0.5 * MS, "far from them, what prompts do");
	pk_pace_measure(&pace, 32, 0, 9e3 * MS);
	is_near(pk_pace_decode_ns(&pace, 32), 88 * MS, 0.2 * MS, "one slow step is not believed");
	measure_often(&pace, 32, 0, 9e3 * MS);
	ok(pk_pace_decode_ns(&pace, 32) > 8e3 * MS, "but twenty are");
	pk_pace_init(&pace, 1300000000, 2, false);
	measure_often(&pace, 0, 64, 64 * MS);
	measure_often(&pace, 32, 0, 60 * MS);
	is_near(pk_pace_decode_ns(&pace, 16), 44 * MS, 0.5 * MS, "fewer rows take less than more do");
	is_near(pk_pace_decode_ns(&pace, 31), 60 * MS, 0, "but for those that are measured together");
	pk_pace_init(&pace, 1300000000, 2, false);
	measure_often(&pace, 16, 0, 100 * MS);
	measure_often(&pace, 32, 0, 105 * MS);
	measure_often(&pace, 16, 0, 40 * MS);
	for (size_t i = 0; i < 3; i++)
		measure_often(&pace, 16, 0, 40 * MS);
	ok(!pk_pace_knows(&pace, 32) && pk_pace_knows(&pace, 15), "what was long ago is forgotten");
	pk_pace_measure(&pace, 16, 0, 60e3 * MS);
	for (size_t i = 0; i < 20000; i++)
		pk_pace_measure(&pace, 16, 8, 50 * MS);
	for (size_t i = 0; i < 100; i++)
	{
		pk_pace_measure(&pace, 16, 0, 40 * MS);
		pk_pace_measure(&pace, 16, 8, 56 * MS);
	}
	ok(pk_pace_chunk(&pace, 16, 60 * MS, 512) <= 31, "and a cost that was none comes back");
}

static void
test_noise(void)
{
	PkPace pace;

	pk_pace_init(&pace, 1300000000, 2, false);
	measure_often(&pace, 1, 0, 30 * MS);
	measure_often(&pace, 1, 35, 100 * MS);
	pk_pace_measure(&pace, 1, 35, 60e3 * MS);
	ok(pk_pace_chunk(&pace, 1, 70 * MS, 512) >= 10, "a slow step does not stop prompts");
	pk_pace_measure(&pace, 1, 35, 29 * MS);
	ok(pk_pace_chunk(&pace, 1, 70 * MS, 512) <= 35, "nor does one that took no time free them");
	for (size_t i = 0; i < 5; i++)
	{
		size_t n = pk_pace_chunk(&pace, 1, 70 * MS, 512);

		pk_pace_measure(&pace, 1, n, 30 * MS + (double) n * 2 * MS);
	}
	ok(pk_pace_chunk(&pace, 1, 70 * MS, 512) > 30, "one slow step is forgotten in five");

	pk_pace_init(&pace, 1300000000, 2, false);
	measure_often(&pace, 16, 0, 100 * MS);
	for (size_t i = 0; i < 3; i++)
		pk_pace_measure(&pace, 0, 13, 9e3 * MS);
	ok(pk_pace_chunk(&pace, 16, 100 * MS, 512) < 8, "a model that is read from disk is slow");
	for (size_t i = 0; i < 20; i++)
	{
		size_t n = pk_pace_chunk(&pace, 16, 100 * MS, 512);

		pk_pace_measure(&pace, 16, n, 100 * MS + (double) n * 4 * MS);
	}
	is_int((long long) pk_pace_chunk(&pace, 16, 100 * MS, 512), 24,
	       "short chunks are forgotten, too, when longer ones are not allowed");

	pk_pace_init(&pace, 1300000000, 2, false);
	measure_often(&pace, 1, 0, 30 * MS);
	measure_often(&pace, 1, 35, 100 * MS);

	size_t n = pk_pace_chunk(&pace, 1, 70 * MS, 512);

	pk_pace_measure(&pace, 1, 3, 90 * MS);
	is_int((long long) pk_pace_chunk(&pace, 1, 70 * MS, 512), (long long) n,
	       "the short end of a prompt says nothing of long chunks");
	for (size_t i = 0; i < 20; i++)
		pk_pace_measure(&pace, 1, 35, 600 * MS);
	for (size_t i = 0; i < 20; i++)
	{
		n = pk_pace_chunk(&pace, 1, 70 * MS, 512);
		pk_pace_measure(&pace, 1, n, 60 * MS + (double) n * 2 * MS);
	}
	ok(n > 15 && n <= 21, "short chunks grow again, also where the first token costs 30 ms (%zu)",
	   n);
	n = pk_pace_chunk(&pace, 1, 70 * MS, 512);
	pk_pace_measure(&pace, 0, 10, 50 * MS);
	is_int((long long) pk_pace_chunk(&pace, 1, 70 * MS, 512), (long long) n,
	       "nor does one that was as fast as the weights come in");
}

/* A machine that no guess knows: rows and tokens of any cost, and a prompt of 2,000 tokens. */
static void
test_machine(void)
{
	static const double weights_ms[] = {0.2, 50, 90, 500};
	static const double token_ms[] = {0.01, 3, 40};

	for (size_t w = 0; w < PK_LENGTH(weights_ms); w++)
		for (size_t t = 0; t < PK_LENGTH(token_ms); t++)
		{
			double decode_ns = (weights_ms[w] + 16 * token_ms[t] / 4) * MS;
			double most = 0;
			PkPace pace;

			pk_pace_init(&pace, 1300000000, 2, false);
			measure_often(&pace, 16, 0, decode_ns);
			for (size_t i = 0, left = 2000; left > 0; i++)
			{
				double target = pk_pace_target_ns(pk_pace_decode_ns(&pace, 16));
				double rest = target - pk_pace_decode_ns(&pace, 16);
				size_t n = pk_pace_chunk(&pace, 16, rest, left < 512 ? left : 512);
				double ns = decode_ns + (double) n * token_ms[t] * MS;

				pk_pace_measure(&pace, 16, n, ns);
				if (i >= 8 && ns > most)
					most = ns;
				left -= n;
			}

			double allowed = pk_pace_target_ns(decode_ns);

			if (decode_ns + token_ms[t] * MS > allowed)
				allowed = decode_ns + token_ms[t] * MS; /* one token is the least */
			ok(most <= 1.1 * allowed,
			   "weights in %g ms, a token in %g ms: after 8 steps %.0f ms of %.0f", weights_ms[w],
			   token_ms[t], most / MS, allowed / MS);
		}
}

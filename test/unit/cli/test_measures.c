/*
 * test_measures.c
 *    bench and perplexity: they count what was done, and refuse texts that can't be read.
 */
#include "program.h"

static void
test_context(void)
{
	Run run = RUN("bench", TINY, "-t", "1", "--prefill", "4", "--decode", "8", "--rows", "2");

	ok(run.code == CLI_OK && strstr(run.out, "decode: 16 tokens,") != NULL,
	   "2 rows of 8 tokens are 16 tokens");
	run = RUN("bench", TINY, "-t", "1", "--prefill", "4", "--decode", "100000");
	ok(run.code == CLI_OK && strstr(run.out, "decode: 510 tokens,") != NULL,
	   "in a context of 512 a prompt and the first token leave room for 510");
}

int
main(void)
{
	test_context();
	scratch_remove();
	return done_testing();
}

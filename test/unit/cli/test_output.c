/*
 * test_output.c
 *    What polyko_cli prints arrives, or the program fails.
 */
#include "program.h"

static void
test_full_output(void)
{
	Run run = finish(start("/dev/full", (const char *const[]){"generate", TINY, "a", NULL}));

	says(&run, CLI_FAILED, "could not write to standard output", "an answer to a full disk");
	run = finish(start("/dev/full", (const char *const[]){"info", TINY, NULL}));
	says(&run, CLI_FAILED, "No space left on device", "what is flushed at the end only");
}

int
main(void)
{
	test_full_output();
	scratch_remove();
	return done_testing();
}

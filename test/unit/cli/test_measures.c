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

/* What perplexity and bench say of the same texts. */
static void
both_say(const char *texts, const char *what, const char *name)
{
	Run run = RUN("perplexity", TINY, texts);

	says(&run, CLI_FAILED, what, name);
	run = RUN("bench", TINY, "--texts", texts);
	says(&run, CLI_FAILED, what, "to bench, too");
}

static void
test_texts(void)
{
	char        room[600];
	const char *texts = scratch_path(room, "texts");
	Run         run;

	both_say(scratch_root(), "could not read", "texts that are a directory");
	write_text(texts, "");
	both_say(texts, "holds no text", "texts that are none");
	write_text(texts, "\n\n");
	run = RUN("perplexity", TINY, texts);
	says(&run, CLI_FAILED, "nothing to score", "the perplexity of empty lines");
	write_text(texts, "one line\nand another\nand \xff\n");
	both_say(texts, "line 3 of ", "text that is not UTF-8 is found in its line");
	run = RUN("perplexity", TINY, "--lines", "2", texts);
	ok(run.code == CLI_OK && strstr(run.out, "lines: 2\n") != NULL, "the lines before it are good");
	run = RUN("bench", TINY, "--lines", "2", "--texts", texts);
	ok(run.code == CLI_OK && strstr(run.out, "embed: 2 texts,") != NULL, "for bench too");
}

int
main(void)
{
	test_context();
	test_texts();
	scratch_remove();
	return done_testing();
}

/*
 * test_models.c
 *    What polyko_cli takes for a model, and what it says of everything else.
 */
#include "program.h"

static void
test_directories(void)
{
	Maker m;
	Run   run = RUN("info", TINY);

	says(&run, CLI_OK, "", "a checkpoint directory is a model");
	maker_init(&m, "empty");
	run = RUN("info", m.dir);
	says(&run, CLI_FAILED, "config.json\": No such file", "a directory without config.json");
	ok(strstr(run.err, "hint: A checkpoint directory holds") != NULL, "with the library's hint");
	mkdir(path_in(m.dir, "snapshots"), 0700);
	run = RUN("info", m.dir);
	says(&run, CLI_FAILED, "snapshots/<hash>", "a folder of the Hugging Face cache");
	write_text(path_in(m.dir, "adapter_config.json"), "{}");
	run = RUN("info", m.dir);
	says(&run, CLI_FAILED, "merge_and_unload", "an adapter");
	run = RUN("info", path_in(m.dir, "nowhere"));
	says(&run, CLI_FAILED, "nowhere", "a path where nothing is");
}

static void
test_files(void)
{
	char        room[600];
	const char *copy = scratch_path(room, "model.safetensors");
	Run         run;

	write_text(copy, "some bytes");
	chmod(copy, 0600);
	run = RUN("info", copy);
	says(&run, CLI_FAILED, "give its directory", "the weights are no model: the hint says what is");
	chmod(copy, 0666);
	run = RUN("info", copy);
	says(&run, CLI_FAILED, "give its directory", "whoever may write them");
}

int
main(void)
{
	test_directories();
	test_files();
	scratch_remove();
	return done_testing();
}

/*
 * test_convert_to.c
 *    polyko_cli convert: what it writes, what it never replaces, and what it leaves.
 */
#include "program.h"

static void
test_files_of_the_checkpoint(void)
{
	static const char *const names[] = {"config.json", "tokenizer.json", "model.safetensors",
	                                    "generation_config.json"};
	Maker                    m;
	char                     name[120];

	maker_init(&m, "own");
	m.generation = "{}";
	maker_write(&m);
	for (size_t i = 0; i < PK_LENGTH(names); i++)
	{
		const char *path = path_in(m.dir, names[i]);
		struct stat before, after;

		if (stat(path, &before) != 0)
			exit(2);

		Run run = RUN("convert", m.dir, "-o", path);

		snprintf(name, sizeof(name), "-o may not be the checkpoint's %s", names[i]);
		says(&run, CLI_FAILED, "is a file of the checkpoint", name);
		ok(stat(path, &after) == 0 && before.st_ino == after.st_ino &&
		       before.st_size == after.st_size,
		   "%s is still there", names[i]);
	}

	const char *other = path_in(scratch_root(), "link.img");

	if (link(path_in(m.dir, "model.safetensors"), other) != 0)
		exit(2);

	Run run = RUN("convert", m.dir, "-o", other);

	says(&run, CLI_FAILED, "is a file of the checkpoint", "nor another name of one");
	ok(n_names(m.dir) == 4, "nothing else is in the directory");
}

static void
test_other_files(void)
{
	char        room[600], text[100];
	const char *notes = scratch_path(room, "notes.txt");

	write_text(notes, "what I had to say");

	Run run = RUN("convert", TINY, "-o", notes);

	says(&run, CLI_FAILED, "is there and is no image", "a file that is no image is not replaced");
	read_back(notes, text, sizeof(text));
	is_str(text, "what I had to say", "it holds what it held");
	write_text(notes, "x");
	run = RUN("convert", TINY, "-o", notes);
	says(&run, CLI_FAILED, "is there and is no image", "nor is a file of one byte");
	run = RUN("convert", TINY, "-o", "/dev/null");
	says(&run, CLI_FAILED, "not a regular file", "a device is refused");
	run = RUN("convert", TINY, "-o", scratch_root());
	says(&run, CLI_FAILED, "not a regular file", "a directory is refused");
	run = RUN("convert", TINY, "-o", path_in(scratch_root(), "nowhere/image"));
	says(&run, CLI_FAILED, "nowhere/image", "a missing directory is named");
}

static void
test_images(void)
{
	Maker       m;
	char        folder[300], image[340];
	struct stat info;

	snprintf(folder, sizeof(folder), "%s/images", scratch_root());
	snprintf(image, sizeof(image), "%s/a.img", folder);
	mkdir(folder, 0700);

	Run run = RUN("convert", TINY, "-o", image);

	says(&run, CLI_OK, "", "a new image is written");
	ok(stat(image, &info) == 0 && (info.st_mode & 0777) == 0600, "with mode 0600");
	run = RUN("convert", TINY, "-q", "q4", "-o", image);
	says(&run, CLI_OK, "", "an image is replaced");
	run = RUN("info", image);
	ok(strstr(run.out, "quantization: q4") != NULL, "by the new one");
	write_text(image, "");
	run = RUN("convert", TINY, "-o", image);
	says(&run, CLI_OK, "", "an empty file is replaced");
	is_int(n_names(folder), 1, "nothing lies beside it");

	maker_init(&m, "nan");
	maker_find(&m, "embed_out.weight")->poison = NAN;
	maker_write(&m);
	run = RUN("convert", m.dir, "-o", image);
	says(&run, CLI_FAILED, "NaN", "a conversion that fails");
	run = RUN("info", image);
	says(&run, CLI_OK, "", "leaves the image that was there");
	is_int(n_names(folder), 1, "and nothing beside it");
}

int
main(void)
{
	test_files_of_the_checkpoint();
	test_other_files();
	test_images();
	scratch_remove();
	return done_testing();
}

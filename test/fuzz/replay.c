/*
 * replay.c
 *    Feeds the files of directories to a fuzz target, for compilers without libFuzzer.
 *
 * Usage: replay_NAME DIRECTORY...; stops at the first file that cannot be read. A directory without
 * files is an error: a replay of nothing proves nothing.
 */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_directory(const char *directory);
static int replay_file(const char *path);

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (replay_directory(argv[i]) <= 0)
			return 1;
	return argc > 1 ? 0 : 1;
}

/* Number of files replayed, in the order of their names; 0 or less is a failure. */
static int
replay_directory(const char *directory)
{
	struct dirent **entries;
	char            path[4096];
	int             n_entries = scandir(directory, &entries, NULL, alphasort);
	int             n_files = 0;

	for (int i = 0; i < n_entries; i++)
	{
		int is_file = entries[i]->d_name[0] != '.';

		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		free(entries[i]);
		if (!is_file || n_files < 0)
			continue;
		n_files = replay_file(path) == 0 ? n_files + 1 : -1;
	}
	if (n_entries >= 0)
		free(entries);
	if (n_files <= 0)
		fprintf(stderr, "%s: no file, or one that cannot be read\n", directory);
	else
		printf("%s: %d files\n", directory, n_files);
	return n_files;
}

/* The buffer has exactly the size of the file, so that ASan sees a read past its end. */
static int
replay_file(const char *path)
{
	FILE    *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long     size = -1;
	int      result = -1;

	if (file != NULL && fseek(file, 0, SEEK_END) == 0)
		size = ftell(file);
	if (size >= 0)
		data = malloc(size > 0 ? (size_t) size : 1);
	if (data != NULL && fseek(file, 0, SEEK_SET) == 0 &&
	    fread(data, 1, (size_t) size, file) == (size_t) size)
	{
		LLVMFuzzerTestOneInput(data, (size_t) size);
		result = 0;
	}
	free(data);
	if (file != NULL)
		fclose(file);
	return result;
}

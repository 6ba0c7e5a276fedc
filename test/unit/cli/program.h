/*
 * program.h
 *    Runs polyko_cli in a child of the test and keeps what it said.
 */
#ifndef PK_TEST_PROGRAM_H
#define PK_TEST_PROGRAM_H

#include "../model/maker.h"

#include <getopt.h>
#include <sys/wait.h>

#include "cli/cli.h"

#define TINY "models/polyko-tiny"

typedef struct Run
{
	int  code; /* -1: ended by a signal */
	int  signal;
	char out[8192], err[8192];
} Run;

static void
read_back(const char *path, char *text, size_t size)
{
	FILE  *file = fopen(path, "rb");
	size_t len = file != NULL ? fread(text, 1, size - 1, file) : 0;

	text[len] = '\0';
	if (file != NULL)
		fclose(file);
}

/* Standard output goes to `out`; the words are those after the name of the program. */
static pid_t
start(const char *out, const char *const *words)
{
	static char *argv[32];
	int          argc = 1;

	argv[0] = "polyko_cli";
	for (; words[argc - 1] != NULL; argc++)
		argv[argc] = (char *) (uintptr_t) words[argc - 1];
	argv[argc] = NULL;
	fflush(stdout);

	const char *err = path_in(scratch_root(), "err"); /* made by the parent */
	pid_t       child = fork();

	if (child != 0)
		return child;
	alarm(120);
	if (freopen(out, "w", stdout) == NULL || freopen(err, "w", stderr) == NULL)
		_exit(99);
	optind = 1;
	exit(cli_main(argc, argv));
}

static Run
finish(pid_t child)
{
	Run run = {.code = -1};
	int status;

	if (waitpid(child, &status, 0) != child)
		exit(2);
	if (WIFEXITED(status))
		run.code = WEXITSTATUS(status);
	else
		run.signal = WTERMSIG(status);
	read_back(path_in(scratch_root(), "out"), run.out, sizeof(run.out));
	read_back(path_in(scratch_root(), "err"), run.err, sizeof(run.err));
	return run;
}

/* path_in() of the scratch directory for good; path_in()'s own rooms are soon taken again. */
__attribute__((unused)) static const char *
scratch_path(char out[600], const char *name)
{
	snprintf(out, 600, "%s/%s", scratch_root(), name);
	return out;
}

#define RUN(...) \
	finish(start(path_in(scratch_root(), "out"), (const char *const[]){__VA_ARGS__, NULL}))

/* One test: the program ended with this code, and said this on stderr. */
__attribute__((unused)) static bool
says(const Run *run, int code, const char *text, const char *name)
{
	bool good = run->code == code && strstr(run->err, text) != NULL;

	if (!ok(good, "%s", name))
		diag("got code %d (signal %d) and \"%s\", want %d and \"%s\"", run->code, run->signal,
		     run->err, code, text);
	return good;
}

/* How many names a directory holds. */
__attribute__((unused)) static int
n_names(const char *path)
{
	DIR *dir = opendir(path);
	int  n = -2; /* "." and ".." */

	while (dir != NULL && readdir(dir) != NULL)
		n++;
	if (dir != NULL)
		closedir(dir);
	return n;
}

#endif

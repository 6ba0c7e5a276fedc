/*
 * cli_lines.c
 *    The lines of a file of texts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static PkStatus walk(CliLines *lines, size_t n_most, CliLineFn fn, void *arg, PkError *err);
static PkStatus name_line(const CliLines *lines, size_t line, PkStatus status, PkError *err);

PkStatus
cli_lines_open(const char *path, CliLines *out, PkError *err)
{
	bool is_stdin = strcmp(path, "-") == 0;

	out->path = is_stdin ? "standard input" : path;
	out->file = is_stdin ? stdin : fopen(path, "r");
	if (out->file == NULL)
		return pk_error_errno(err, errno, "could not open %s", path);

	/* a directory can be opened: read something now, before minutes go into the model */
	int first = getc(out->file);

	if (first != EOF)
	{
		ungetc(first, out->file);
		return PK_OK;
	}

	PkStatus status = ferror(out->file)
	                      ? pk_error_errno(err, errno, "could not read %s", out->path)
	                      : pk_error(err, PK_BAD_ARGUMENT, "%s holds no text", out->path);

	cli_lines_close(out);
	return status;
}

void
cli_lines_close(CliLines *lines)
{
	if (lines->file != NULL && lines->file != stdin)
		fclose(lines->file);
	lines->file = NULL;
}

PkStatus
cli_lines_walk(CliLines *lines, size_t n_most, CliLineFn fn, void *arg, PkError *err)
{
	PkStatus status = walk(lines, n_most, fn, arg, err);

	if (status == PK_OK && ferror(lines->file))
		return pk_error_errno(err, errno, "could not read %s", lines->path);
	return status;
}

static PkStatus
walk(CliLines *lines, size_t n_most, CliLineFn fn, void *arg, PkError *err)
{
	char    *line = NULL;
	size_t   room = 0;
	ssize_t  len;
	PkStatus status = PK_OK;

	for (size_t n = 1; status == PK_OK && (n_most == 0 || n <= n_most) &&
	                   (len = getline(&line, &room, lines->file)) >= 0;
	     n++)
	{
		while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			len--;
		status = name_line(lines, n, fn(arg, line, (size_t) len, err), err);
	}
	free(line);
	return status;
}

/* A text that is not UTF-8 is found in its line. */
static PkStatus
name_line(const CliLines *lines, size_t line, PkStatus status, PkError *err)
{
	if (status != PK_BAD_TEXT)
		return status;

	PkError problem = *err;

	pk_error(err, status, "line %zu of %s: %s", line, lines->path, problem.text);
	return pk_error_hint(err, status, "%s", problem.hint);
}

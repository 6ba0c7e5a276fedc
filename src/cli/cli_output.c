/*
 * cli_output.c
 *    The file that convert writes.
 *
 * Its name is typed by hand, and a slip must not cost a checkpoint of gigabytes. So only what is an
 * image already is replaced, and not before the new one is whole.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/mapfile.h"
#include "core/model/convert.h"
#include "core/model/image.h"

static PkStatus check_output(const char *dir, const char *path, PkError *err);
static PkStatus check_sources(const char *dir, const char *path, PkError *err);
static PkStatus write_output(const CliOptions *options, const char *dir, const char *path,
                             PkHash128 *fingerprint, PkError *err);
static PkStatus make_part(const char *path, char part[PATH_MAX], PkError *err);

PkStatus
cli_convert_to(const CliOptions *options, const char *dir, const char *path, PkHash128 *fingerprint,
               PkError *err)
{
	PK_FORWARD(check_output(dir, path, err));
	cli_signals_catch();

	PkStatus status = write_output(options, dir, path, fingerprint, err);

	cli_signals_release();
	if (status == PK_NO_DISK)
		pk_error_hint(err, status, "Free disk space, or give -o a name on another disk.");
	return status;
}

static PkStatus
write_output(const CliOptions *options, const char *dir, const char *path, PkHash128 *fingerprint,
             PkError *err)
{
	char part[PATH_MAX];

	PK_FORWARD(make_part(path, part, err));

	PkStatus status = cli_convert(options, dir, part, fingerprint, err);

	if (status == PK_OK && rename(part, path) != 0)
		status = pk_error_errno(err, errno, "could not rename \"%s\" to \"%s\"", part, path);
	if (status != PK_OK)
		(void) unlink(part);
	return status;
}

static PkStatus
check_output(const char *dir, const char *path, PkError *err)
{
	struct stat info;

	PK_FORWARD(check_sources(dir, path, err));
	if (stat(path, &info) != 0)
		return errno == ENOENT ? PK_OK
		                       : pk_error_errno(err, errno, "could not examine \"%s\"", path);
	if (!S_ISREG(info.st_mode)) /* a rename would put a file in the place of /dev/null */
	{
		pk_error(err, PK_BAD_ARGUMENT, "\"%s\" is not a regular file", path);
		return pk_error_hint(err, PK_BAD_ARGUMENT, "Give -o the name of the image to write.");
	}
	if (info.st_size == 0 || cli_is_image(path))
		return PK_OK;
	pk_error(err, PK_BAD_ARGUMENT, "\"%s\" is there and is no image", path);
	return pk_error_hint(err, PK_BAD_ARGUMENT,
	                     "Give -o another name, or remove the file first if it isn't needed.");
}

static PkStatus
check_sources(const char *dir, const char *path, PkError *err)
{
	PkSources *sources;

	PK_FORWARD(pk_sources_scan(dir, &sources, err));

	bool is_source = pk_sources_hold(sources, path);

	pk_sources_free(sources);
	if (!is_source)
		return PK_OK;
	pk_error(err, PK_BAD_ARGUMENT, "\"%s\" is a file of the checkpoint", path);
	return pk_error_hint(err, PK_BAD_ARGUMENT, "Give -o the name of a new file.");
}

bool
cli_is_image(const char *path)
{
	char magic[sizeof(PK_IMAGE_MAGIC) - 1];
	int  fd;

	if (pk_file_open(path, NULL, &fd, NULL, NULL) != PK_OK)
		return false;

	bool is_image = pk_file_read(fd, path, magic, sizeof(magic), 0, NULL) == PK_OK &&
	                memcmp(magic, PK_IMAGE_MAGIC, sizeof(magic)) == 0;

	close(fd);
	return is_image;
}

/* An empty file of a name that nobody has. */
static PkStatus
make_part(const char *path, char part[PATH_MAX], PkError *err)
{
	int len = snprintf(part, PATH_MAX, "%s.XXXXXX", path);

	if (len < 0 || len >= PATH_MAX)
		return pk_error(err, PK_BAD_ARGUMENT, "the name of the image is longer than %d bytes",
		                PATH_MAX - 8);

	int fd = mkstemp(part);

	if (fd < 0)
		return pk_error_errno(err, errno, "could not create a file beside \"%s\"", path);
	close(fd);
	return PK_OK;
}

/*
 * imageparts.c
 *    Files that one builder writes until they get their names (see imagestore.h).
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pg/imageparts.h"

#define PART_TRIES 10 /* a sweep may take a part away that is not locked yet */
/* Where files can't be locked, a part that was not written for so long is what a dead builder left.
 */
#define PART_STALE_S (24 * 60 * 60)

static bool make_part(const char *path, int *fd);
static bool is_in_use(int fd);

PkStatus
pkpg_part_make(const PkpgBuild *build, const char *ending, PkpgPart *out, PkError *err)
{
	char hex[PK_HASH_HEX_LEN + 1];

	pk_hash_to_hex(build->source_key, hex);
	for (int i = 0; i < PART_TRIES; i++)
	{
		uint64 number;

		if (!pg_strong_random(&number, sizeof(number)))
			return pk_error(err, PK_INTERNAL, "could not generate a random number");
		snprintf(out->path, MAXPGPATH, "%s/" PKPG_FILE_PREFIX "%s-%s.%016llx.%s", build->image_dir,
		         hex, pk_quant_name(build->quant), (unsigned long long) number, ending);
		if (make_part(out->path, &out->fd))
			return PK_OK;
		if (out->fd < 0)
			break;
		close(out->fd);
	}
	return pk_error_errno(err, errno, "could not create \"%s\"", out->path);
}

/* False: *fd is -1 with errno; or it is open, but a sweep has just removed it. */
static bool
make_part(const char *path, int *fd)
{
	struct stat found;

	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*fd < 0)
		return false;
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		return false;
	return fstat(*fd, &found) == 0 && found.st_nlink > 0;
}

/* Its name is nobody else's, so to remove it harms nothing when it was renamed. */
void
pkpg_part_end(PkpgPart *part)
{
	(void) unlink(part->path);
	close(part->fd);
}

bool
pkpg_is_part(const char *file)
{
	const char *dot = strrchr(file, '.');

	return strncmp(file, PKPG_FILE_PREFIX, strlen(PKPG_FILE_PREFIX)) == 0 && dot != NULL &&
	       (strcmp(dot, ".part") == 0 || strcmp(dot, ".aside") == 0);
}

/* Under its lock: who made it and has not locked it yet sees then that it is gone. */
bool
pkpg_part_remove(const char *path)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return false;

	bool is_removed = !is_in_use(fd) && unlink(path) == 0;
	int  saved_errno = errno;

	close(fd);
	errno = saved_errno;
	return is_removed;
}

/* True with EWOULDBLOCK. */
static bool
is_in_use(int fd)
{
	struct stat found;

	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return false;
	if (errno != EWOULDBLOCK && fstat(fd, &found) == 0 &&
	    time(NULL) - found.st_mtime > PART_STALE_S)
		return false;
	errno = EWOULDBLOCK;
	return true;
}

/* Failure is of no account: the next sweep may do better. */
void
pkpg_parts_sweep(const PkpgBuild *build)
{
	DIR           *dir = opendir(build->image_dir);
	struct dirent *entry;
	char           path[MAXPGPATH];

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (pkpg_is_part(entry->d_name) &&
		    snprintf(path, sizeof(path), "%s/%s", build->image_dir, entry->d_name) < MAXPGPATH)
			(void) pkpg_part_remove(path);
	closedir(dir);
}

/*
 * mapfile.c
 *    open, pread, pwrite and mmap behind PkStatus.
 *
 * A checkpoint lies in a directory that others may write, so nothing about its files is taken for
 * granted: open with O_NONBLOCK never waits for a FIFO's writer, the type is checked on the open
 * descriptor, and a read may find less than fstat() said.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/mapfile.h"

#define IO_BYTES_MAX ((size_t) 1 << 30) /* Linux moves at most 2 GiB a call */

/* f_type of statfs(2); local file systems that keep huge pages in the page cache. */
#define EXT4_TYPE 0xEF53
#define XFS_TYPE 0x58465342

static PkStatus open_regular(const char *path, int *fd, struct stat *info, PkError *err);
static PkStatus open_failed(int saved_errno, const char *path, PkError *err);
static void     hint_user(PkStatus status, PkError *err);
static PkStatus make_path(char out[PATH_MAX], const char *dir, const char *name, PkError *err);
static PkFileId file_id(const struct stat *info);
static PkStatus map_descriptor(int fd, const char *path, const struct stat *info, PkMapping *out,
                               PkError *err);

PkStatus
pk_file_open(const char *dir, const char *name, int *fd, PkFileId *id, PkError *err)
{
	char        path[PATH_MAX];
	struct stat info;

	PK_FORWARD(make_path(path, dir, name, err));
	PK_FORWARD(open_regular(path, fd, &info, err));
	if (id != NULL)
		*id = file_id(&info);
	return PK_OK;
}

static PkStatus
make_path(char out[PATH_MAX], const char *dir, const char *name, PkError *err)
{
	int len = name == NULL ? snprintf(out, PATH_MAX, "%s", dir)
	                       : snprintf(out, PATH_MAX, "%s/%s", dir, name);

	if (len < 0 || len >= PATH_MAX)
		return pk_error(err, PK_BAD_ARGUMENT, "the path of %s is longer than %d bytes",
		                name != NULL ? name : "a file", PATH_MAX - 1);
	return PK_OK;
}

static PkStatus
open_regular(const char *path, int *fd, struct stat *info, PkError *err)
{
	int opened = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (opened < 0)
		return open_failed(errno, path, err);
	if (fstat(opened, info) != 0)
	{
		PkStatus status = pk_error_errno(err, errno, "could not examine \"%s\"", path);

		close(opened);
		return status;
	}
	if (!S_ISREG(info->st_mode))
	{
		close(opened);
		return pk_error(err, PK_BAD_FILE, "\"%s\" is not a regular file", path);
	}
	*fd = opened;
	return PK_OK;
}

static PkStatus
open_failed(int saved_errno, const char *path, PkError *err)
{
	if (saved_errno == ENXIO || saved_errno == ENODEV) /* a socket, or a device that is not there */
		return pk_error(err, PK_BAD_FILE, "\"%s\" is not a regular file", path);

	PkStatus status = pk_error_errno(err, saved_errno, "could not open \"%s\"", path);

	hint_user(status, err);
	return status;
}

/* The one place that says whom the operating system refused. */
static void
hint_user(PkStatus status, PkError *err)
{
	char           buffer[1024];
	struct passwd  entry;
	struct passwd *found = NULL;

	if (status != PK_NO_PERMISSION)
		return;
	if (getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL)
		pk_error_hint(err, status,
		              "The operating system user \"%.100s\" must be able to read the file and to "
		              "enter every directory above it.",
		              found->pw_name);
	else
		pk_error_hint(err, status,
		              "The operating system user with id %lu must be able to read the file and to "
		              "enter every directory above it.",
		              (unsigned long) geteuid());
}

static PkFileId
file_id(const struct stat *info)
{
	return (PkFileId){
		.device = (uint64_t) info->st_dev,
		.inode = (uint64_t) info->st_ino,
		.size = (uint64_t) info->st_size,
		.mtime_ns = (int64_t) info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec,
		.ctime_ns = (int64_t) info->st_ctim.tv_sec * 1000000000 + info->st_ctim.tv_nsec,
	};
}

PkStatus
pk_file_identify(const char *dir, const char *name, PkFileId *id, PkError *err)
{
	int fd;

	/* opened, not only looked at: the caller wants to know whether it can be read */
	PK_FORWARD(pk_file_open(dir, name, &fd, id, err));
	close(fd);
	return PK_OK;
}

PkStatus
pk_file_reidentify(int fd, const char *name, PkFileId *id, PkError *err)
{
	struct stat info;

	if (fstat(fd, &info) != 0)
		return pk_error_errno(err, errno, "could not examine %s", name);
	*id = file_id(&info);
	return PK_OK;
}

bool
pk_file_id_equal(const PkFileId *a, const PkFileId *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

PkStatus
pk_file_read(int fd, const char *name, void *out, size_t len, uint64_t offset, PkError *err)
{
	size_t done = 0;

	while (done < len)
	{
		size_t  want = len - done < IO_BYTES_MAX ? len - done : IO_BYTES_MAX;
		ssize_t n = pread(fd, (char *) out + done, want, (off_t) (offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pk_error_errno(err, errno, "could not read %s", name);
		if (n == 0)
			return pk_error(
				err, PK_BAD_FILE, "%s ends at byte %llu, but bytes up to %llu are needed", name,
				(unsigned long long) (offset + done), (unsigned long long) (offset + len));
		done += (size_t) n;
	}
	return PK_OK;
}

PkStatus
pk_file_load(const char *dir, const char *name, size_t max_bytes, char **out, size_t *len,
             PkError *err)
{
	const char *what = name != NULL ? name : dir;
	void       *bytes = NULL;
	int         fd;
	PkFileId    id;
	PkStatus    status;

	PK_FORWARD(pk_file_open(dir, name, &fd, &id, err));
	if (id.size > max_bytes)
	{
		status = pk_error(err, PK_BAD_FILE, "%s has %llu bytes, at most %zu are read", what,
		                  (unsigned long long) id.size, max_bytes);
		goto done;
	}
	PK_FORWARD_TO(done, pk_calloc((size_t) id.size + 1, 1, &bytes, err));
	PK_FORWARD_TO(done, pk_file_read(fd, what, bytes, (size_t) id.size, 0, err));
	*out = bytes;
	*len = (size_t) id.size;
	bytes = NULL;
done:
	free(bytes);
	close(fd);
	return status;
}

PkStatus
pk_file_write(int fd, const char *name, const void *data, size_t len, uint64_t offset, PkError *err)
{
	size_t done = 0;

	while (done < len)
	{
		size_t  want = len - done < IO_BYTES_MAX ? len - done : IO_BYTES_MAX;
		ssize_t n = pwrite(fd, (const char *) data + done, want, (off_t) (offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pk_error_errno(err, errno, "could not write \"%s\"", name);
		if (n == 0)
			return pk_error_errno(err, ENOSPC, "could not write \"%s\"", name);
		done += (size_t) n;
	}
	return PK_OK;
}

/*
 * Pages of the cache are as large as the access that makes them, and reading a mapping with this
 * advice is the way to say "2 MB": written piece by piece they would be small. Elsewhere reading
 * what isn't written yet would only cost (over a network: much).
 */
void
pk_file_prefer_huge(int fd, size_t len, uint64_t offset)
{
#ifdef MADV_POPULATE_READ
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0 || (fs.f_type != EXT4_TYPE && fs.f_type != XFS_TYPE))
		return;

	void *pages = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t) offset);

	if (pages == MAP_FAILED)
		return;
	if (madvise(pages, len, MADV_HUGEPAGE) == 0)
		(void) madvise(pages, len, MADV_POPULATE_READ);
	(void) munmap(pages, len);
#else
	(void) fd, (void) len, (void) offset;
#endif
}

PkStatus
pk_file_check_private(int fd, const char *path, PkError *err)
{
	struct stat info;

	if (fstat(fd, &info) != 0)
		return pk_error_errno(err, errno, "could not examine \"%s\"", path);
	if (info.st_uid != geteuid())
		return pk_error(err, PK_NO_PERMISSION,
		                "\"%s\" belongs to the user with id %lu, not to this process's (%lu)", path,
		                (unsigned long) info.st_uid, (unsigned long) geteuid());
	if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return pk_error(err, PK_NO_PERMISSION, "\"%s\" can be written by others (mode %04o)", path,
		                (unsigned) info.st_mode & 07777);
	return PK_OK;
}

PkStatus
pk_map_open(const char *path, PkMapping *out, PkError *err)
{
	int         fd;
	struct stat info;

	PK_FORWARD(open_regular(path, &fd, &info, err));

	PkStatus status = pk_file_check_private(fd, path, err);

	if (status == PK_OK)
		status = map_descriptor(fd, path, &info, out, err);
	close(fd);
	return status;
}

static PkStatus
map_descriptor(int fd, const char *path, const struct stat *info, PkMapping *out, PkError *err)
{
	if (info->st_size == 0)
		return pk_error(err, PK_BAD_FILE, "\"%s\" is empty", path);

	size_t size = (size_t) info->st_size;
	void  *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (data == MAP_FAILED)
		return pk_error_errno(err, errno, "could not map \"%s\"", path);
#ifdef MADV_HUGEPAGE
	(void) madvise(data, size, MADV_HUGEPAGE); /* advice: refusal costs only speed */
#endif
	*out = (PkMapping){.data = data, .size = size, .id = file_id(info)};
	return PK_OK;
}

PkFileState
pk_map_state(const PkMapping *mapping, const char *path)
{
	const PkFileId *mapped = &mapping->id;
	struct stat     info;

	if (stat(path, &info) != 0)
		return PK_FILE_GONE;

	PkFileId found = file_id(&info);

	return found.device == mapped->device && found.inode == mapped->inode &&
	               found.size == mapped->size && found.mtime_ns == mapped->mtime_ns
	           ? PK_FILE_SAME
	           : PK_FILE_OTHER;
}

void
pk_map_close(PkMapping *mapping)
{
	if (mapping->data != NULL)
		(void) munmap((void *) (uintptr_t) mapping->data, mapping->size);
	mapping->data = NULL;
	mapping->size = 0;
}

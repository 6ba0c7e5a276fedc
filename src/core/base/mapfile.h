/*
 * mapfile.h
 *    Files: sources are opened carefully and read with pread; only images are mapped.
 */
#ifndef PK_MAPFILE_H
#define PK_MAPFILE_H

#include <stdatomic.h>

#include "core/base/status.h"

/* Identity of a file; equal in all fields means unchanged. */
typedef struct PkFileId
{
	uint64_t device, inode, size;
	int64_t  mtime_ns, ctime_ns;
} PkFileId;

/*
 * Open dir/name (name may be NULL: dir is the path) read-only and O_NONBLOCK, and check that it is
 * a regular file (a FIFO, device or directory: PK_BAD_FILE, without waiting). id may be NULL.
 */
PkStatus pk_file_open(const char *dir, const char *name, int *fd, PkFileId *id, PkError *err);

/* The identity of dir/name without reading it; checks as pk_file_open(). */
PkStatus pk_file_identify(const char *dir, const char *name, PkFileId *id, PkError *err);

/* The identity of a file that is open; name is for messages. */
PkStatus pk_file_reidentify(int fd, const char *name, PkFileId *id, PkError *err);
bool     pk_file_id_equal(const PkFileId *a, const PkFileId *b);

/* Exactly len bytes from offset; a file that ends before: PK_BAD_FILE. name is for messages. */
PkStatus pk_file_read(int fd, const char *name, void *out, size_t len, uint64_t offset,
                      PkError *err);

/* A whole small file (at most max_bytes: PK_BAD_FILE) as malloc'ed bytes with a NUL after them. */
PkStatus pk_file_load(const char *dir, const char *name, size_t max_bytes, char **out, size_t *len,
                      PkError *err);

/* Write exactly len bytes at offset. */
PkStatus pk_file_write(int fd, const char *name, const void *data, size_t len, uint64_t offset,
                       PkError *err);

/*
 * Advice: len bytes from offset, allocated and not written yet, are to lie in the page cache as
 * huge pages, where the system and the file system have them for files.
 */
void pk_file_prefer_huge(int fd, size_t len, uint64_t offset);

/*
 * The open file belongs to this process's user and nobody else may write it, else
 * PK_NO_PERMISSION.
 */
PkStatus pk_file_check_private(int fd, const char *path, PkError *err);

typedef struct PkMapping
{
	const void *data;
	size_t      size;
	PkFileId    id; /* of the file when it was mapped */

	/* of mapguard.c */
	atomic_bool       is_lost;
	bool              may_be_zeros;
	struct PkMapping *next_guarded;
} PkMapping;

/* What lies at the path of a file that was mapped. */
typedef enum PkFileState
{
	PK_FILE_SAME,
	PK_FILE_OTHER, /* another file, or this one written or cut since */
	PK_FILE_GONE   /* none, or none that can be looked at */
} PkFileState;

/*
 * Map a whole regular file MAP_SHARED read-only; huge-page advice given. Only files that
 * pk_file_check_private() accepts are mapped: nobody else can cut them short under the map.
 */
PkStatus pk_map_open(const char *path, PkMapping *out, PkError *err);
void     pk_map_close(PkMapping *mapping);

/* One stat(): by device, inode, size and mtime. The ctime changes when a file is renamed. */
PkFileState pk_map_state(const PkMapping *mapping, const char *path);

#endif

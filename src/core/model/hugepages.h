/*
 * hugepages.h
 *    Huge pages for an image that is being written.
 */
#ifndef PK_HUGEPAGES_H
#define PK_HUGEPAGES_H

#include "core/base/threads.h"

typedef struct PkHugePages
{
	int       fd;
	size_t    size_bytes; /* of the image */
	PkPool   *pool;       /* NULL: the calling thread alone */
	PkCancel *cancel;
	size_t    ahead_bytes; /* laid at a time at least */
	size_t    done_bytes;  /* laid so far, from the beginning */
} PkHugePages;

/* fd: the image, size_bytes allocated and nothing written; stays the caller's. -1: lays nothing. */
PkHugePages pk_huge_pages(int fd, size_t size_bytes, PkPool *pool, PkCancel *cancel);

/*
 * Call before bytes up to end are written, for rising ends: they lie in the page cache as huge
 * pages then, where the system has them for files, and so do some that follow. PK_CANCELLED.
 */
PkStatus pk_huge_pages_reach(PkHugePages *pages, size_t end);

#endif

/*
 * hugepages.c
 *    Huge pages are laid ahead of what is written, not for all of the image: all pages of a large
 *    one would push the checkpoint out of the cache, and go before they are written.
 */
#include "core/base/machine.h"
#include "core/base/mapfile.h"
#include "core/model/hugepages.h"

#define TILE_BYTES ((size_t) 16 << 20) /* mapped at a time by each thread */
/* Less lets laying and writing wait for each other more often. */
#define AHEAD_BYTES ((size_t) 1 << 30)
#define AHEAD_SHARE 8 /* at most one part in so many of the memory */

static void lay_tile(void *arg, size_t thread, size_t tile);

PkHugePages
pk_huge_pages(int fd, size_t size_bytes, PkPool *pool, PkCancel *cancel)
{
	size_t share = pk_memory_limit() / AHEAD_SHARE;

	return (PkHugePages){
		.fd = fd,
		.size_bytes = size_bytes,
		.pool = pool,
		.cancel = cancel,
		.ahead_bytes = share < AHEAD_BYTES ? share : AHEAD_BYTES,
	};
}

/* By all threads, as the system clears what it lays into pages. */
PkStatus
pk_huge_pages_reach(PkHugePages *pages, size_t end)
{
	if (pages->fd < 0 || end <= pages->done_bytes)
		return PK_OK;
	if (end < pages->done_bytes + pages->ahead_bytes)
		end = pages->done_bytes + pages->ahead_bytes;
	if (end > pages->size_bytes)
		end = pages->size_bytes;

	size_t n_tiles = (end - pages->done_bytes + TILE_BYTES - 1) / TILE_BYTES;

	PK_FORWARD(pk_pool_run(pages->pool, lay_tile, pages, n_tiles, pages->cancel));
	pages->done_bytes += n_tiles * TILE_BYTES;
	return PK_OK;
}

static void
lay_tile(void *arg, size_t thread, size_t tile)
{
	const PkHugePages *pages = arg;
	size_t             begin = pages->done_bytes + tile * TILE_BYTES;
	size_t             left = pages->size_bytes - begin;

	(void) thread;
	pk_file_prefer_huge(pages->fd, left < TILE_BYTES ? left : TILE_BYTES, begin);
}

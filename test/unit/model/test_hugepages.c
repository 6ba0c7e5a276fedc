/*
 * test_hugepages.c
 *    How far huge pages of an image are laid. A poll of cancel is a tile, as there is no pool; the
 *    device that stands for the image has no pages.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../tap.h"
#include "core/base/machine.h"
#include "core/model/hugepages.h"

#define TILE ((size_t) 16 << 20)
#define GB ((size_t) 1 << 30)

typedef struct Polls
{
	size_t n, stop_at; /* 0: never */
} Polls;

static bool
count_poll(void *arg)
{
	Polls *polls = arg;

	return ++polls->n == polls->stop_at;
}

/* The tiles that are laid before bytes up to end are written. */
static size_t
tiles(PkHugePages *pages, size_t end)
{
	Polls *polls = pages->cancel->poll_arg;

	polls->n = 0;
	ok(pk_huge_pages_reach(pages, end) == PK_OK, "reaching %zu bytes is good", end);
	return polls->n;
}

static void
test_ahead(int fd)
{
	Polls       polls = {0};
	PkCancel    cancel = {.poll = count_poll, .poll_arg = &polls};
	size_t      size = 5 * GB + 12345;
	PkHugePages pages = pk_huge_pages(fd, size, NULL, &cancel);
	size_t      share = pk_memory_limit() / 8;

	ok(pages.ahead_bytes == (share < GB ? share : GB),
	   "1 GB is laid at a time, or an eighth of the memory: %zu bytes", pages.ahead_bytes);
	pages.ahead_bytes = GB;
	is_int((long long) tiles(&pages, 0), 0, "nothing is laid for nothing");
	is_int((long long) tiles(&pages, 1), GB / TILE, "the first byte lays 1 GB");
	is_int((long long) tiles(&pages, GB), 0, "which are laid then");
	is_int((long long) tiles(&pages, GB + 1), GB / TILE, "one byte more lays as much again");
	is_int((long long) tiles(&pages, 4 * GB + 5), 2 * GB / TILE + 1,
	       "a slot that is larger is laid whole");
	is_int((long long) tiles(&pages, size - 1), GB / TILE, "at the end the rest is laid");
	is_int((long long) tiles(&pages, size), 0, "and nothing twice");
}

static void
test_cancel(int fd)
{
	Polls       polls = {.stop_at = 4};
	PkCancel    cancel = {.poll = count_poll, .poll_arg = &polls};
	PkHugePages pages = pk_huge_pages(fd, GB, NULL, &cancel);

	pages.ahead_bytes = GB;
	is_int(pk_huge_pages_reach(&pages, 1), PK_CANCELLED, "laying is cancelled");
	is_int((long long) polls.n, 4, "at once");
	atomic_store(&cancel.is_set, false);
	polls.stop_at = 0;
	is_int((long long) tiles(&pages, 1), GB / TILE, "and begins anew");

	PkHugePages none = pk_huge_pages(-1, GB, NULL, &cancel);

	is_int((long long) tiles(&none, GB), 0, "without an image nothing is laid");
}

int
main(void)
{
	int fd = open("/dev/null", O_RDONLY);

	if (fd < 0)
		exit(2);
	test_ahead(fd);
	test_cancel(fd);
	close(fd);
	return done_testing();
}

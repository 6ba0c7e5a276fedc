/*
 * test_mapguard.c
 *    Files that are cut while somebody reads their map: by one thread, by a pool, and outside of
 *    what is guarded.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../tap.h"
#include "core/base/mapguard.h"
#include "core/base/threads.h"

#define N_PAGES 64

static char   path[200];
static size_t page;

/* A file of N_PAGES pages full of ones, mapped. */
static void
open_map(PkMapping *map)
{
	char *bytes = malloc(N_PAGES * page);
	int   fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (bytes == NULL || fd < 0)
		exit(2);
	memset(bytes, 1, N_PAGES * page);
	if (pk_file_write(fd, path, bytes, N_PAGES * page, 0, NULL) != PK_OK ||
	    pk_map_open(path, map, NULL) != PK_OK)
		exit(2);
	close(fd);
	free(bytes);
}

static size_t
sum(const PkMapping *map, size_t first, size_t n)
{
	const volatile unsigned char *bytes = map->data;
	size_t                        total = 0;

	for (size_t i = first * page; i < (first + n) * page; i++)
		total += bytes[i];
	return total;
}

static void
cut(size_t n_pages)
{
	if (truncate(path, (off_t) (n_pages * page)) != 0)
		exit(2);
}

static void
test_cut(void)
{
	PkMapping map, other;

	open_map(&map);
	pk_map_guard(&map);
	pk_map_allow_zeros(&map);
	ok(sum(&map, 0, N_PAGES) == N_PAGES * page && !pk_map_is_lost(&map), "a whole file is read");
	cut(10);
	ok(!pk_map_is_lost(&map), "a cut file is not lost before it is read");
	ok(sum(&map, 0, 10) == 10 * page && !pk_map_is_lost(&map), "nor by reading what is left");
	ok(sum(&map, 20, 1) == 0 && pk_map_is_lost(&map), "what was cut off is zeros, and lost");
	ok(sum(&map, 0, N_PAGES) == 10 * page, "what is left stays");

	open_map(&other);
	pk_map_guard(&other);
	pk_map_allow_zeros(&other);
	ok(sum(&other, 0, N_PAGES) == N_PAGES * page && !pk_map_is_lost(&other),
	   "another map of the same file is whole");
	pk_map_unguard(&map);
	pk_map_close(&map);
	cut(0);
	ok(sum(&other, 3, 1) == 0 && pk_map_is_lost(&other), "and guarded when the first one is gone");
	pk_map_unguard(&other);
	pk_map_close(&other);
}

typedef struct Trial
{
	const PkMapping *map;
	size_t           first, n;
	size_t           sum;
	bool             has_ended;
} Trial;

static void
try_sum(void *arg)
{
	Trial *trial = arg;

	trial->sum = sum(trial->map, trial->first, trial->n);
	trial->has_ended = true;
}

static void
test_try(void)
{
	PkMapping map;
	sigset_t  mask;
	Trial     whole = {.map = &map, .n = N_PAGES}, left = {.map = &map, .n = 10}, lost = whole;

	open_map(&map);
	pk_map_guard(&map);
	ok(pk_map_try(try_sum, &whole) && whole.sum == N_PAGES * page, "a whole file is read");
	cut(10);
	ok(pk_map_try(try_sum, &left) && left.sum == 10 * page && !pk_map_is_lost(&map),
	   "and what is left of one");
	for (int i = 1; i <= 3; i++)
		ok(!pk_map_try(try_sum, &lost) && !lost.has_ended && pk_map_is_lost(&map),
		   "what was cut off ends the reading, time %d", i);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	ok(sigismember(&mask, SIGBUS) == 0, "the signal is not left blocked");
	pk_map_unguard(&map);
	pk_map_close(&map);
}

typedef struct Reading
{
	PkMapping *map;
	size_t     sums[N_PAGES];
} Reading;

static void
read_tile(void *arg, size_t thread, size_t tile)
{
	Reading *reading = arg;

	(void) thread;
	reading->sums[tile] = sum(reading->map, tile, 1);
}

/* Threads of a pool block all other signals. */
static void
test_pool(void)
{
	PkPool   *pool;
	PkMapping map;
	Reading   reading = {.map = &map};
	PkCancel  cancel = {0};
	size_t    n_right = 0;

	if (pk_pool_create(4, &pool, NULL) != PK_OK)
		exit(2);
	open_map(&map);
	pk_map_guard(&map);
	pk_map_allow_zeros(&map);
	cut(5);
	ok(pk_pool_run(pool, read_tile, &reading, N_PAGES, &cancel) == PK_OK, "a pool reads on");
	for (size_t i = 0; i < N_PAGES; i++)
		n_right += reading.sums[i] == (i < 5 ? page : 0);
	ok(n_right == N_PAGES && pk_map_is_lost(&map), "each thread gets zeros");
	pk_map_unguard(&map);
	pk_map_close(&map);
	pk_pool_destroy(pool);
}

/* Another map of the file: it is not guarded. */
static void
read_elsewhere(PkMapping *map)
{
	PkMapping other;

	(void) map;
	open_map(&other);
	cut(1);
	(void) sum(&other, 1, 1);
}

static void
read_after_unguard(PkMapping *map)
{
	pk_map_unguard(map);
	(void) sum(map, 20, 1);
}

/* Without zeros, and not within pk_map_try(). */
static void
read_guarded(PkMapping *map)
{
	map->may_be_zeros = false;
	(void) sum(map, 20, 1);
}

/* Another library takes the signal; the next guard takes it back. */
static void
take_back(PkMapping *map)
{
	PkMapping other;

	signal(SIGBUS, SIG_DFL);
	open_map(&other);
	pk_map_guard(&other);
	cut(1);
	(void) sum(map, 20, 1);
}

static void
send_signal(PkMapping *map)
{
	(void) map;
	(void) raise(SIGBUS);
}

static void
on_other(int number)
{
	(void) number;
	_exit(77);
}

/* What a child comes to that has a guarded map of a file that was cut. */
static int
fate(void (*act)(PkMapping *map), void (*handler)(int))
{
	pid_t pid = fork();
	int   status;

	if (pid == 0)
	{
		PkMapping     map;
		struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGBUS, handler);
		open_map(&map);
		pk_map_guard(&map);
		pk_map_allow_zeros(&map);
		cut(1);
		act(&map);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		exit(2);
	return status;
}

static bool
was_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
}

static bool
was_handled(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 77;
}

/* First in a process of its own, as the signal is taken once. */
static void
test_elsewhere(void)
{
	ok(was_killed(fate(read_elsewhere, SIG_DFL)), "where there is no guard it is SIGBUS as ever");
	ok(was_killed(fate(read_after_unguard, SIG_DFL)), "and after the guard");
	ok(was_killed(fate(read_guarded, SIG_DFL)), "and where zeros are not allowed");
	ok(was_killed(fate(send_signal, SIG_DFL)), "and when somebody sends it");
	ok(fate(send_signal, SIG_IGN) == 0, "but for a process that ignores it");
	ok(fate(take_back, SIG_DFL) == 0, "a guard that another library undid is taken back");
	ok(was_handled(fate(read_elsewhere, on_other)), "a handler that was there gets it");
	ok(was_handled(fate(send_signal, on_other)), "and what is sent");
}

int
main(void)
{
	const char *tmp = getenv("TMPDIR");

	page = (size_t) sysconf(_SC_PAGESIZE);
	snprintf(path, sizeof(path), "%s/polyko-mapguard-XXXXXX", tmp != NULL ? tmp : "/tmp");

	int fd = mkstemp(path);

	if (fd < 0)
		return 2;
	close(fd);
	test_elsewhere();
	test_cut();
	test_try();
	test_pool();
	unlink(path);
	return done_testing();
}

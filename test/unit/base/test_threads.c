/*
 * test_threads.c
 *    The pool: every tile exactly once, help for a slow thread, cancel, signals, ends.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "../tap.h"
#include "core/base/threads.h"

#define MAX_TILES 1000
#define WAIT_S 20 /* far more than any wait here takes; a test that hangs says so instead */

typedef struct Work
{
	atomic_uint   times[MAX_TILES];
	atomic_uint   by_thread[PK_MAX_THREADS];
	atomic_size_t n_done;
	atomic_bool   is_odd; /* something that must not happen did */
	size_t        n_threads;
	size_t        n_tiles;
	PkCancel     *cancel;
	size_t        cancel_tile;
} Work;

static PkPool *
pool_of(size_t n_threads) /* 0: none, the caller works alone */
{
	PkPool *pool = NULL;
	PkError err;

	if (n_threads > 0 && pk_pool_create(n_threads, &pool, &err) != PK_OK)
	{
		diag("%s", err.text);
		exit(2);
	}
	return pool;
}

static void
reset(Work *work, size_t n_threads, size_t n_tiles)
{
	for (size_t i = 0; i < MAX_TILES; i++)
		atomic_store(&work->times[i], 0);
	for (size_t i = 0; i < PK_MAX_THREADS; i++)
		atomic_store(&work->by_thread[i], 0);
	atomic_store(&work->n_done, 0);
	atomic_store(&work->is_odd, false);
	work->n_threads = n_threads;
	work->n_tiles = n_tiles;
	work->cancel = NULL;
	work->cancel_tile = MAX_TILES;
}

static void
count_tile(void *arg, size_t thread, size_t tile)
{
	Work *work = arg;

	if (tile >= work->n_tiles || thread >= (work->n_threads > 0 ? work->n_threads : 1))
	{
		atomic_store(&work->is_odd, true);
		return;
	}
	atomic_fetch_add(&work->times[tile], 1);
	atomic_fetch_add(&work->by_thread[thread], 1);
	atomic_fetch_add(&work->n_done, 1);
	if (tile == work->cancel_tile)
		atomic_store(&work->cancel->is_set, true);
}

static bool
is_each_once(Work *work)
{
	bool good = !atomic_load(&work->is_odd) && atomic_load(&work->n_done) == work->n_tiles;

	for (size_t i = 0; i < MAX_TILES; i++)
		good &= atomic_load(&work->times[i]) == (i < work->n_tiles);
	return good;
}

static void
test_sizes(void)
{
	PkPool *pool = NULL;
	PkError err;

	is_int(pk_pool_create(0, &pool, &err), PK_BAD_ARGUMENT, "no pool without threads");
	is_int(pk_pool_create(PK_MAX_THREADS + 1, &pool, &err), PK_BAD_ARGUMENT, "nor with too many");
	ok(strstr(err.text, "1 to 256") != NULL && strstr(err.text, "257") != NULL,
	   "the error names the limits and the number");
	pk_pool_destroy(NULL);
	pool = pool_of(PK_MAX_THREADS);
	is_int((long long) pk_pool_n_threads(pool), PK_MAX_THREADS, "the most threads are there");
	pk_pool_destroy(pool);
	is_int((long long) pk_pool_n_threads(NULL), 1, "without a pool one thread works");
}

static void
test_tiles(void)
{
	static const size_t counts[] = {0, 1, 2, 3, 5, 7, 8, 9, 31, 64, 101, 1000};
	static Work         work;

	for (size_t n_threads = 0; n_threads <= 8; n_threads++)
	{
		PkPool *pool = pool_of(n_threads);
		bool    good = true;

		for (int round = 0; round < 50; round++)
		{
			for (size_t i = 0; i < PK_LENGTH(counts); i++)
			{
				reset(&work, n_threads, counts[i]);
				good &= pk_pool_run(pool, count_tile, &work, counts[i], NULL) == PK_OK;
				good &= is_each_once(&work);
			}
		}
		ok(good, "%zu threads do every tile exactly once, for any number of tiles", n_threads);
		pk_pool_destroy(pool);
	}
}

/* Runs so short and so many that some thread always comes late; args change from run to run. */
static void
test_late_threads(void)
{
	static Work work[2];
	PkPool     *pool = pool_of(4);
	bool        good = true;

	for (int run = 0; run < 5000; run++)
	{
		Work  *mine = &work[run % 2];
		size_t n = 1 + (size_t) run % 5;

		atomic_store(&mine->n_done, 0);
		mine->n_threads = 4;
		mine->n_tiles = n;
		mine->cancel_tile = MAX_TILES;
		good &= pk_pool_run(pool, count_tile, mine, n, NULL) == PK_OK;
		good &= atomic_load(&mine->n_done) == n && !atomic_load(&mine->is_odd);
	}
	ok(good, "5,000 short runs, one after another, each do their own tiles");
	pk_pool_destroy(pool);
}

/* Thread 0 holds its first tile until all others are done: somebody must take its range. */
static void
slow_first_tile(void *arg, size_t thread, size_t tile)
{
	Work  *work = arg;
	time_t begin = time(NULL);

	while (tile == 0 && atomic_load(&work->n_done) + 1 < work->n_tiles)
	{
		sched_yield();
		if (time(NULL) > begin + WAIT_S)
		{
			atomic_store(&work->is_odd, true);
			break;
		}
	}
	count_tile(work, thread, tile);
}

static void
test_help(void)
{
	static Work work;

	for (size_t n_threads = 2; n_threads <= 5; n_threads++)
	{
		PkPool *pool = pool_of(n_threads);

		reset(&work, n_threads, 101);
		pk_pool_run(pool, slow_first_tile, &work, 101, NULL);
		ok(is_each_once(&work), "%zu threads: the tiles of a slow one are taken by others",
		   n_threads);
		pk_pool_destroy(pool);
	}
}

static bool
poll_at(void *arg)
{
	int *n_left = arg;

	return (*n_left)-- <= 0;
}

static void
test_cancel(size_t n_threads)
{
	static Work work;
	PkPool     *pool = pool_of(n_threads);
	PkCancel    before = {.is_set = true}, inside = {.is_set = false};
	int         n_left;
	PkCancel    polled = {.is_set = false, .poll = poll_at, .poll_arg = &n_left};

	reset(&work, n_threads, 1000);
	is_int(pk_pool_run(pool, count_tile, &work, 1000, &before), PK_CANCELLED,
	       "a run that was cancelled before says so");
	is_int((long long) atomic_load(&work.n_done), 0, "and does nothing");

	for (int at = 0; at < 3; at++)
	{
		reset(&work, n_threads, 1000);
		atomic_store(&polled.is_set, false);
		n_left = at;

		PkStatus status = pk_pool_run(pool, count_tile, &work, 1000, &polled);
		bool     said_stop = n_left < 0; /* others may have done all before */

		ok(said_stop ? status == PK_CANCELLED : status == PK_OK && is_each_once(&work),
		   "%zu threads: poll number %d cancels", n_threads, at + 1);
		if (n_threads < 2)
			is_int((long long) atomic_load(&work.n_done), at, "before the tile that follows");
	}
	reset(&work, n_threads, 1000);
	work.cancel = &inside;
	work.cancel_tile = 999; /* the last range: a pool thread's, unless there is none */
	is_int(pk_pool_run(pool, count_tile, &work, 1000, &inside), PK_CANCELLED,
	       "a flag set inside a tile cancels");
	ok(!atomic_load(&work.is_odd) && atomic_load(&work.times[999]) == 1,
	   "and that tile was done once");

	reset(&work, n_threads, 100);
	ok(pk_pool_run(pool, count_tile, &work, 100, NULL) == PK_OK && is_each_once(&work),
	   "the next run knows nothing of it");
	pk_pool_destroy(pool);
}

/* The caller has nothing left to do and waits: it still asks, or this never ends. */
typedef struct Wait
{
	PkCancel    cancel;
	atomic_bool is_held; /* a pool thread is inside its tile */
	atomic_bool is_late;
	bool        is_polled;
	pthread_t   caller;
} Wait;

static bool
poll_when_held(void *arg)
{
	Wait *wait = arg;

	wait->is_polled = pthread_equal(pthread_self(), wait->caller) != 0;
	return atomic_load(&wait->is_held);
}

static void
hold_until_cancelled(void *arg, size_t thread, size_t tile)
{
	Wait  *wait = arg;
	time_t begin = time(NULL);

	(void) tile;
	while (thread == 0 && !atomic_load(&wait->is_held) && time(NULL) <= begin + WAIT_S)
		sched_yield();
	if (thread == 0)
		return;
	atomic_store(&wait->is_held, true);
	while (!pk_cancel_is_set(&wait->cancel))
	{
		if (time(NULL) > begin + WAIT_S)
		{
			atomic_store(&wait->is_late, true);
			break;
		}
		sched_yield();
	}
}

static void
test_poll_while_waiting(void)
{
	PkPool *pool = pool_of(2);
	Wait    wait = {.caller = pthread_self()};

	wait.cancel.poll = poll_when_held;
	wait.cancel.poll_arg = &wait;
	is_int(pk_pool_run(pool, hold_until_cancelled, &wait, 2, &wait.cancel), PK_CANCELLED,
	       "a caller that waits for others asks for cancel");
	ok(!atomic_load(&wait.is_late), "and they see it");
	ok(wait.is_polled, "only the calling thread asks");
	pk_pool_destroy(pool);
}

static void
look_at_mask(void *arg, size_t thread, size_t tile)
{
	Work    *work = arg;
	sigset_t mask;
	bool     is_right = true;

	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	for (int s = 1; s < 32; s++) /* what is above belongs to libc and emulators in part */
		if (s != SIGKILL && s != SIGSTOP)
			is_right &= sigismember(&mask, s) == (s != SIGBUS);
	if (thread > 0 && !is_right)
		atomic_store(&work->is_odd, true);
	slow_first_tile(arg, thread, tile); /* so that others take part */
}

static void
test_signals(void)
{
	static Work work;
	sigset_t    before, after;
	bool        is_same = true;

	pthread_sigmask(SIG_BLOCK, NULL, &before);

	PkPool *pool = pool_of(3);

	pthread_sigmask(SIG_BLOCK, NULL, &after);
	for (int s = 1; s < NSIG; s++)
		is_same &= sigismember(&before, s) == sigismember(&after, s);
	ok(is_same, "the caller's signal mask stays as it was");
	reset(&work, 3, 50);
	pk_pool_run(pool, look_at_mask, &work, 50, NULL);
	ok(is_each_once(&work) && atomic_load(&work.by_thread[0]) < 50,
	   "pool threads block all signals but that of a map that can't be read");
	pk_pool_destroy(pool);
}

static void
test_many_pools(void)
{
	static Work work;
	bool        good = true;

	for (size_t i = 0; i < 300; i++)
	{
		size_t  n_threads = 1 + i % 6;
		PkPool *pool = pool_of(n_threads);

		for (size_t run = 0; run < i % 3; run++)
		{
			reset(&work, n_threads, 17);
			good &= pk_pool_run(pool, count_tile, &work, 17, NULL) == PK_OK && is_each_once(&work);
		}
		pk_pool_destroy(pool); /* used or not, its threads awake or asleep */
	}
	ok(good, "300 pools come and go");
}

/* Threads that went to sleep are woken. */
static void
test_sleepers(void)
{
	static Work           work;
	const struct timespec pause = {.tv_nsec = 5000000};
	PkPool               *pool = pool_of(3);
	bool                  good = true;

	for (int i = 0; i < 20; i++)
	{
		nanosleep(&pause, NULL);
		reset(&work, 3, 101);
		pk_pool_run(pool, slow_first_tile, &work, 101, NULL);
		good &= is_each_once(&work);
	}
	ok(good, "threads that sleep are woken for a run");
	nanosleep(&pause, NULL);
	pk_pool_destroy(pool);
}

static pthread_t   absent;
static atomic_bool is_absent, is_gone, is_back;

/* Until it is called back; in the end it comes anyway, so that nobody waits for ever. */
static void
stay_away(int signal)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	(void) signal;
	atomic_store(&is_gone, true);
	for (int i = 0; i < 2000 && atomic_load(&is_absent); i++)
		nanosleep(&pause, NULL);
	atomic_store(&is_back, true);
}

/* The member says which thread it is; the caller leaves it time to come. */
static void
meet(void *arg, size_t thread, size_t tile)
{
	if (thread == 1)
		absent = pthread_self();
	slow_first_tile(arg, thread, tile);
}

static void
run_until_met(PkPool *pool, Work *work)
{
	time_t begin = time(NULL);

	do
	{
		reset(work, 2, 50);
		pk_pool_run(pool, meet, work, 50, NULL);
	} while (atomic_load(&work->by_thread[1]) == 0 && time(NULL) < begin + WAIT_S);
}

/* 1,000 runs while the thread is away; false where it came back before their end. */
static bool
run_without(PkPool *pool, Work *work)
{
	const struct timespec asleep = {.tv_nsec = 20000000};
	bool                  good = true;

	run_until_met(pool, work);
	nanosleep(&asleep, NULL);
	atomic_store(&is_gone, false);
	atomic_store(&is_back, false);
	atomic_store(&is_absent, true);
	pthread_kill(absent, SIGBUS);
	while (!atomic_load(&is_gone))
		sched_yield();
	for (int i = 0; i < 1000; i++)
	{
		reset(work, 2, 20);
		good &= pk_pool_run(pool, count_tile, work, 20, NULL) == PK_OK && is_each_once(work) &&
		        atomic_load(&work->by_thread[0]) == 20;
	}
	good &= !atomic_load(&is_back);
	atomic_store(&is_absent, false);
	while (!atomic_load(&is_back))
		sched_yield();
	return good;
}

/*
 * A thread in a signal's handler is as one whose core others have: runs end without it, and when it
 * is back it takes part. Should the signal meet it with the pool's lock in hand, all wait: once
 * more.
 */
static void
test_absent_thread(void)
{
	static Work      work;
	struct sigaction away = {.sa_handler = stay_away}, before;
	PkPool          *pool = pool_of(2);
	bool             good = false;

	sigaction(SIGBUS, &away, &before);
	for (int i = 0; i < 5 && !good; i++)
		good = run_without(pool, &work);
	ok(good, "1,000 runs end without a thread that has no core");
	run_until_met(pool, &work);
	ok(is_each_once(&work) && atomic_load(&work.by_thread[1]) > 0,
	   "which takes part when it is back");
	sigaction(SIGBUS, &before, NULL);
	pk_pool_destroy(pool);
}

int
main(void)
{
	test_sizes();
	test_tiles();
	test_late_threads();
	test_help();
	for (size_t n_threads = 0; n_threads <= 4; n_threads++)
		test_cancel(n_threads);
	test_poll_while_waiting();
	test_signals();
	test_many_pools();
	test_sleepers();
	test_absent_thread();
	return done_testing();
}

/*
 * threads.c
 *    The pool. Tiles are dealt out in contiguous ranges, one a thread, each with an atomic cursor:
 *    a thread that is done takes from the ranges of the others, so a core that was taken away
 *    delays one tile, not the step.
 *
 * A run is published by a generation number; pool threads wait for the next one by spinning a short
 * time and then sleeping on a futex-backed condition variable. They enter it by the gate, which the
 * caller shuts when no tile is left: it waits for those that are inside, and a thread that wakes
 * too late, as others have its core, is not waited for. Written by the caller: run, tiles, ranges
 * (while the gate is shut and nobody inside), generation (under lock). Written by all: cursors,
 * gate (atomics).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/threads.h"

#define SPIN_ROUNDS 2000 /* some 20 to 100 us; a pause is 10 to 45 ns */
#define POLL_NS 1000000  /* while waiting for the others the caller polls cancel each ms */
#define SHUT 0x80000000u /* of the gate; the other bits count the threads inside */
/* A kernel keeps 140 kB there, and libc all that the libraries have per thread. */
#define STACK_BYTES ((size_t) 1 << 20)

typedef struct Range
{
	atomic_size_t next;
	size_t        end;
	char          padding[PK_ALIGNMENT - 2 * sizeof(size_t)]; /* a cache line each */
} Range;

typedef struct Member
{
	PkPool   *pool;
	size_t    index;
	pthread_t thread;
} Member;

struct PkPool
{
	size_t          n_threads;
	size_t          n_started;
	Member         *members;
	Range          *ranges;
	PkTileFn        fn;
	void           *arg;
	PkCancel       *cancel;
	atomic_uint     generation;
	atomic_uint     gate;
	atomic_bool     is_ending;
	pthread_mutex_t lock;
	pthread_cond_t  has_run;
	pthread_cond_t  is_idle;
};

PK_INLINE void  spin(void);
static void     init_locks(PkPool *pool);
static PkStatus start_members(PkPool *pool, PkError *err);
static void    *member_main(void *arg);
static bool     wait_for_run(PkPool *pool, unsigned *seen);
static PkStatus run_alone(PkTileFn fn, void *arg, size_t n_tiles, PkCancel *cancel);
static void     publish(PkPool *pool, size_t n_tiles);
static bool     enter(PkPool *pool);
static void     work(PkPool *pool, size_t thread, bool is_caller);
static bool     take_tile(PkPool *pool, size_t thread, size_t *tile);
static void     leave(PkPool *pool);
static void     wait_for_members(PkPool *pool);
static void     wait_a_poll(PkPool *pool);

PkStatus
pk_pool_create(size_t n_threads, PkPool **out, PkError *err)
{
	void *memory;

	if (n_threads < 1 || n_threads > PK_MAX_THREADS)
		return pk_error(err, PK_BAD_ARGUMENT, "a pool has 1 to %d threads, not %zu", PK_MAX_THREADS,
		                n_threads);
	PK_FORWARD(pk_calloc(1, sizeof(PkPool), &memory, err));

	PkPool *pool = memory;

	pool->n_threads = n_threads;
	atomic_init(&pool->gate, SHUT);
	init_locks(pool);
	pool->members = calloc(n_threads, sizeof(Member));
	pool->ranges = aligned_alloc(PK_ALIGNMENT, n_threads * sizeof(Range));

	PkStatus status = pool->members != NULL && pool->ranges != NULL
	                      ? start_members(pool, err)
	                      : pk_error(err, PK_NO_MEMORY, "out of memory for %zu threads", n_threads);

	if (status != PK_OK)
		pk_pool_destroy(pool);
	else
		*out = pool;
	return status;
}

/* Waits are by the monotonic clock: setting the time must not delay a cancel. */
static void
init_locks(PkPool *pool)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->has_run, NULL);
	pthread_cond_init(&pool->is_idle, &attributes);
	pthread_condattr_destroy(&attributes);
}

static PkStatus
start_members(PkPool *pool, PkError *err)
{
	pthread_attr_t attributes;
	sigset_t       all, before;
	int            failure = 0;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* of a thread's own access to a mapped file, see mapguard.h */
	pthread_sigmask(SIG_SETMASK, &all, &before); /* threads inherit it */
	for (size_t i = 1; i < pool->n_threads && failure == 0; i++)
	{
		pool->members[i] = (Member){.pool = pool, .index = i};
		failure =
			pthread_create(&pool->members[i].thread, &attributes, member_main, &pool->members[i]);
		pool->n_started += failure == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (failure != 0)
		return pk_error_errno(err, failure, "could not start thread %zu of %zu",
		                      pool->n_started + 1, pool->n_threads);
	return PK_OK;
}

void
pk_pool_destroy(PkPool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	atomic_store(&pool->is_ending, true);
	atomic_fetch_add(&pool->generation, 1);
	pthread_cond_broadcast(&pool->has_run);
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 1; i <= pool->n_started; i++)
		pthread_join(pool->members[i].thread, NULL);
	pthread_cond_destroy(&pool->is_idle);
	pthread_cond_destroy(&pool->has_run);
	pthread_mutex_destroy(&pool->lock);
	free(pool->ranges);
	free(pool->members);
	free(pool);
}

size_t
pk_pool_n_threads(const PkPool *pool)
{
	return pool != NULL ? pool->n_threads : 1;
}

PkStatus
pk_pool_run(PkPool *pool, PkTileFn fn, void *arg, size_t n_tiles, PkCancel *cancel)
{
	if (pool == NULL)
		return run_alone(fn, arg, n_tiles, cancel);
	pool->fn = fn;
	pool->arg = arg;
	pool->cancel = cancel;
	publish(pool, n_tiles);
	work(pool, 0, true);
	atomic_fetch_or_explicit(&pool->gate, SHUT, memory_order_acq_rel);
	wait_for_members(pool);
	return pk_cancel_is_set(cancel) ? PK_CANCELLED : PK_OK;
}

static PkStatus
run_alone(PkTileFn fn, void *arg, size_t n_tiles, PkCancel *cancel)
{
	for (size_t i = 0; i < n_tiles; i++)
	{
		if (pk_cancel_poll(cancel))
			return PK_CANCELLED;
		fn(arg, 0, i);
	}
	return pk_cancel_is_set(cancel) ? PK_CANCELLED : PK_OK;
}

/* Deal the tiles out, open the gate and wake the members, if there is more than the caller does. */
static void
publish(PkPool *pool, size_t n_tiles)
{
	size_t n_threads = pool->n_threads;

	for (size_t i = 0; i < n_threads; i++)
	{
		atomic_store_explicit(&pool->ranges[i].next, n_tiles * i / n_threads, memory_order_relaxed);
		pool->ranges[i].end = n_tiles * (i + 1) / n_threads;
	}
	if (n_threads == 1 || n_tiles < 2)
		return;
	atomic_store_explicit(&pool->gate, 0, memory_order_release);
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
	pthread_cond_broadcast(&pool->has_run);
	pthread_mutex_unlock(&pool->lock);
}

static void
work(PkPool *pool, size_t thread, bool is_caller)
{
	size_t tile;

	while (take_tile(pool, thread, &tile))
	{
		if (is_caller ? pk_cancel_poll(pool->cancel) : pk_cancel_is_set(pool->cancel))
			return;
		pool->fn(pool->arg, thread, tile);
	}
}

/* The next tile of the thread's own range, else one of somebody else's. */
static bool
take_tile(PkPool *pool, size_t thread, size_t *tile)
{
	for (size_t i = 0; i < pool->n_threads; i++)
	{
		Range *range = &pool->ranges[(thread + i) % pool->n_threads];

		if (atomic_load_explicit(&range->next, memory_order_relaxed) >= range->end)
			continue;
		*tile = atomic_fetch_add_explicit(&range->next, 1, memory_order_relaxed);
		if (*tile < range->end)
			return true;
	}
	return false;
}

static void *
member_main(void *arg)
{
	Member  *member = arg;
	PkPool  *pool = member->pool;
	unsigned seen = 0;

	while (wait_for_run(pool, &seen))
		if (enter(pool))
		{
			work(pool, member->index, false);
			leave(pool);
		}
	return NULL;
}

/* Until there is a run that was not seen yet. False when the pool ends. */
static bool
wait_for_run(PkPool *pool, unsigned *seen)
{
	for (int i = 0; i < SPIN_ROUNDS; i++)
	{
		if (atomic_load_explicit(&pool->generation, memory_order_acquire) != *seen)
			break;
		spin();
	}
	if (atomic_load_explicit(&pool->generation, memory_order_acquire) == *seen)
	{
		pthread_mutex_lock(&pool->lock);
		while (atomic_load_explicit(&pool->generation, memory_order_acquire) == *seen)
			pthread_cond_wait(&pool->has_run, &pool->lock);
		pthread_mutex_unlock(&pool->lock);
	}
	*seen = atomic_load_explicit(&pool->generation, memory_order_acquire);
	return !atomic_load(&pool->is_ending);
}

/* Tell the processor that this is a loop that waits. */
PK_INLINE void
spin(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* False where the gate is shut: the run is over. While a thread is inside no other run begins. */
static bool
enter(PkPool *pool)
{
	unsigned gate = atomic_load_explicit(&pool->gate, memory_order_relaxed);

	while (!(gate & SHUT))
		if (atomic_compare_exchange_weak_explicit(&pool->gate, &gate, gate + 1,
		                                          memory_order_acquire, memory_order_relaxed))
			return true;
	return false;
}

/* The last one wakes the caller, if that waits: it has shut the gate. */
static void
leave(PkPool *pool)
{
	if (atomic_fetch_sub_explicit(&pool->gate, 1, memory_order_acq_rel) != (SHUT | 1))
		return;
	pthread_mutex_lock(&pool->lock);
	pthread_cond_signal(&pool->is_idle);
	pthread_mutex_unlock(&pool->lock);
}

/* Spins a little, then sleeps; the host is asked for cancel each ms all the time. */
static void
wait_for_members(PkPool *pool)
{
	for (int i = 0; i < SPIN_ROUNDS; i++)
	{
		if (atomic_load_explicit(&pool->gate, memory_order_acquire) == SHUT)
			return;
		spin();
	}
	while (atomic_load_explicit(&pool->gate, memory_order_acquire) != SHUT)
	{
		wait_a_poll(pool);
		(void) pk_cancel_poll(pool->cancel); /* not under the lock: it is the host's code */
	}
}

/* Sleep until the last member leaves, POLL_NS at most. */
static void
wait_a_poll(PkPool *pool)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += POLL_NS;
	if (until.tv_nsec >= 1000000000)
	{
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&pool->lock);
	if (atomic_load_explicit(&pool->gate, memory_order_acquire) != SHUT)
		pthread_cond_timedwait(&pool->is_idle, &pool->lock, &until);
	pthread_mutex_unlock(&pool->lock);
}

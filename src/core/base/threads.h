/*
 * threads.h
 *    The engine's pool: static split, spin-then-sleep barrier that waits for no thread without a
 * core.
 *
 * The calling thread takes part as thread 0, so a pool of one starts no thread. Pool threads
 * block all signals but SIGBUS, never allocate and never call PostgreSQL. Only one thread may use a
 * pool.
 */
#ifndef PK_THREADS_H
#define PK_THREADS_H

#include "core/base/cancel.h"
#include "core/base/status.h"

typedef struct PkPool PkPool;

#define PK_MAX_THREADS 256

/* n_threads from 1 to PK_MAX_THREADS. */
PkStatus pk_pool_create(size_t n_threads, PkPool **out, PkError *err);

/* Ends and joins all threads. NULL is allowed. */
void pk_pool_destroy(PkPool *pool);

/* 1 without a pool. */
size_t pk_pool_n_threads(const PkPool *pool);

/*
 * One tile of work. thread is 0 to n_threads - 1 (for scratch memory), tile 0 to n_tiles - 1.
 */
typedef void (*PkTileFn)(void *arg, size_t thread, size_t tile);

/*
 * Run fn for tiles 0 to n_tiles - 1 and return when all are done. A tile should be about 1 ms of
 * work or less; results must not depend on which thread ran it. Between its own tiles the caller
 * polls cancel; once it is set the remaining tiles are skipped and PK_CANCELLED is returned
 * (without an error text: the caller knows why). Without a pool (NULL) the caller runs all of them.
 */
PkStatus pk_pool_run(PkPool *pool, PkTileFn fn, void *arg, size_t n_tiles, PkCancel *cancel);

#endif

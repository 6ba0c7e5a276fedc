/*
 * shared.h
 *    What all processes of the server share when polyko is preloaded.
 *
 * One lock guards all of it but the backends' own entries. It is held for copying and counting
 * only, never while anything waits or computes.
 *
 *    engine, status, models, activities   written by the supervisor, read by everybody
 *    counters, reset_at                   written by everybody
 *    backends[i]                          written by its backend alone; numbers of requests also
 *                                         under the lock, so that a limit is kept exactly. The
 *                                         others are
 *                                         read without it: a torn row of a view is accepted
 */
#ifndef PKPG_SHARED_H
#define PKPG_SHARED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/lwlock.h"

#include "core/serve/message.h"

/* Relative to the data directory, which is the working directory of all processes. */
#define PKPG_ENGINE_SOCKET "pgsql_tmp_polyko_engine.sock"

#define PKPG_MAX_MODELS 32
#define PKPG_MAX_ACTIVITIES 512
#define PKPG_MAX_COUNTERS 512

typedef struct PkpgEngineState
{
	pid_t       supervisor_pid; /* 0: there is none now */
	bool        was_started;    /* a supervisor has been there */
	pid_t       pid;            /* 0: no engine program runs */
	bool        is_ready;
	TimestampTz started_at;
	uint64      n_starts;
	char        kernels[16];
	char        problem[256]; /* why it can't be started; "" if all is well */
} PkpgEngineState;

/* What requests cost, summed; of the numbers of steps the least and the largest. */
typedef struct PkpgRun
{
	uint64 n_prompt, n_generated, n_reused; /* tokens */
	uint64 n_drafted, n_accepted;           /* tokens, too */
	uint64 n_steps, n_step_rows;
	uint64 first_step, last_step; /* numbers of the engine's steps; 0: unknown */
	uint64 queue_us, run_us;
} PkpgRun;

typedef struct PkpgCounter
{
	Oid     database;
	Oid     role;
	char    model[NAMEDATALEN];
	uint64  used_at; /* PkpgShared's n_counted at its last request */
	uint64  n_answered, n_cancelled, n_failed;
	PkpgRun run;
} PkpgCounter;

/* A long job of this backend: a row of pg_stat_progress_polyko. */
typedef enum PkpgJob
{
	PKPG_NO_JOB = 0,
	PKPG_CONVERT,
	PKPG_UPDATE
} PkpgJob;

typedef struct PkpgProgress
{
	PkpgJob     job;
	int         pid;
	Oid         database;
	Oid         relation;           /* update */
	char        model[NAMEDATALEN]; /* convert */
	TimestampTz started_at;
	uint64      n_done, n_total;    /* bytes read, or rows (total unknown: 0) */
	uint64      n_failed, n_locked; /* rows */
	uint64      n_batches;
} PkpgProgress;

typedef struct PkpgBackend
{
	Oid          role; /* whose requests they are */
	uint32       n_requests;
	uint32       n_ahead; /* of these, made ahead of their time */
	PkpgProgress progress;
} PkpgBackend;

typedef struct PkpgShared
{
	LWLock           *lock;
	PkpgEngineState   engine;
	PkStatusHead      status;
	PkServedModelInfo models[PKPG_MAX_MODELS];
	PkActivity        activities[PKPG_MAX_ACTIVITIES];
	TimestampTz       status_at;
	TimestampTz       reset_at;
	int               n_counters;
	uint64            n_counted;   /* requests since the server started */
	uint64            n_uncounted; /* of counters that made room for others */
	PkpgCounter       counters[PKPG_MAX_COUNTERS];
	int               n_backends;
	PkpgBackend       backends[FLEXIBLE_ARRAY_MEMBER];
} PkpgShared;

/* NULL unless the library was preloaded. */
extern PkpgShared *pkpg_shared;

/* In _PG_init, while libraries are preloaded. */
extern void pkpg_shared_init(void);

/* This backend's entry, NULL without shared memory; cleared when the backend ends. */
extern PkpgBackend *pkpg_my_backend(void);

/*
 * One more request of role by this backend. False, and none is counted, if the role would then have
 * more than limit (0: none). One that is made ahead of its time counts the others that are, too;
 * those that somebody waits for don't.
 */
extern bool pkpg_requests_add(Oid role, bool is_ahead, int limit);
extern void pkpg_requests_remove(bool is_ahead);
/* Requests of role in all backends. */
extern int  pkpg_requests_of(Oid role, bool with_ahead);

#endif

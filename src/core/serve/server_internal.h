/*
 * server_internal.h
 *    What the files of the server share; others see server.h.
 */
#ifndef PK_SERVER_INTERNAL_H
#define PK_SERVER_INTERNAL_H

#include "core/engine/engine.h"
#include "core/serve/message.h"
#include "core/serve/servedmodels.h"
#include "core/serve/server.h"

/* Pieces that a stream may be ahead of its reader. */
#define PK_STREAM_AHEAD 256

typedef struct PkSession PkSession;

/* A request of a session, from SUBMIT until it was answered or dropped. */
typedef struct PkJob
{
	struct PkJob  *prev, *next; /* of the session, in order of arrival */
	struct PkJob  *later;       /* of those that wait for a model */
	PkSession     *session;
	uint64_t       id;
	PkSubmit       submit; /* its memory is held while it waits for a model */
	PkServedModel *model;  /* NULL while it waits for one */
	PkRequest     *request;
	uint64_t       n_sent, n_read; /* pieces */
	uint64_t       arrived_us, began_us;
	uint64_t       n_steps, n_step_rows;
} PkJob;

struct PkSession
{
	PkSession *next;
	PkConn     conn;
	PkHello    hello; /* version 0: not said yet */
	uint64_t   number;
	uint64_t   used_us; /* when it said something last, or a request of it ended */
	PkJob     *first, *last;
	size_t     n_jobs;
};

struct PkServer
{
	int            listen_fd;
	int            spare_fd;        /* to accept with when there is no other; -1: none */
	uint64_t       accept_at_us;    /* nobody is accepted before */
	uint64_t       told_crowded_us; /* 0: never */
	PkConn         control;
	bool           is_configured;
	PkServeConfig  config;
	PkServeConfig  engine_config; /* what the engine was made with */
	PkEngine      *engine;
	PkServedModels models;
	PkSession     *sessions;
	uint64_t       n_sessions_ever;
	size_t         n_sessions;
	size_t         n_jobs;
	uint64_t       n_steps;                      /* since the start */
	PkJob         *first_waiting, *last_waiting; /* for a model, in order of arrival */
	uint64_t       step_began_us;                /* 0: no step is computed */
	uint64_t       step_us;                      /* that the last step took */
	bool           is_at_work;                   /* the last step left something to do */
	bool           was_given_up;                 /* the step before */
	uint64_t       polled_us;
	uint64_t       reported_us;
	uint64_t       busy_us;       /* when there was work last */
	bool           was_busy;      /* when it was last seen to, also for a moment since */
	bool           is_report_due; /* the supervisor does not know all yet */
	bool           is_idle;       /* memory was given back */
	void          *fds;           /* struct pollfd, of sockets() */
	size_t         n_fds_room;
};

/* sessions.c */
void pk_sessions_open_spare(PkServer *server);
/* All that wait to be; with no descriptor left others are closed, or the new ones refused. */
void pk_sessions_accept(PkServer *server);
void pk_sessions_drop_broken(PkServer *server);
void pk_sessions_free(PkServer *server);

/* job.c */
void   pk_session_take_frames(PkServer *server, PkSession *session);
void   pk_jobs_start_waiting(PkServer *server);
void   pk_jobs_count_step(PkServer *server);
void   pk_jobs_deliver(PkServer *server);
void   pk_jobs_fail_youngest(PkServer *server, const PkError *failure);
/* Those whose image could not be read; how many. */
size_t pk_jobs_fail_unreadable(PkServer *server);
void   pk_jobs_free(PkServer *server, PkSession *session);
/* True if what was received and not taken yet drops a request that runs. */
bool   pk_session_drops(const PkSession *session);

/* report.c */
void pk_report_models_to(PkServer *server);
void pk_report_status(PkServer *server);
/* A line for the server's log: ASCII, without anything of a request. */
void pk_report_note(PkServer *server, const char *text);

#endif

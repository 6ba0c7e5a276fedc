/*
 * host.h
 *    Where requests run: the seam between SQL functions and the engine.
 *
 * Functions know only what is declared here. With the library preloaded requests go to the engine
 * program, which serves all sessions (host_shared.c); else the engine lives in this backend
 * (host_local.c). Answers are the same.
 *
 * Everything handed out belongs to CurrentMemoryContext; when that context goes away, by error,
 * cancel or rollback as well, the request and its keys and values go with it. Every call answers
 * interrupts.
 */
#ifndef PKPG_HOST_H
#define PKPG_HOST_H

#include "core/engine/engine.h"
#include "pg/shared.h"

/* A finished generation, one block of memory; text is valid UTF-8 without an end mark. */
typedef struct PkpgGeneration
{
	double   logprob;
	PkFinish finish;
	int32_t  n_prompt;
	int32_t  n_completion;
	size_t   text_len;
	char     text[FLEXIBLE_ARRAY_MEMBER];
} PkpgGeneration;

#define PKPG_GENERATION_SIZE(text_len) (offsetof(PkpgGeneration, text) + (text_len))

typedef struct PkpgRequest PkpgRequest;

/*
 * Take a request in; nothing is computed yet. wants_pieces: it will be read by
 * pkpg_request_next(). 53400 when the role has polyko.max_concurrent_requests already. Requests
 * that are made ahead of their time are counted only against each other: they take places that are
 * left, and others are not refused for them.
 */
extern PkpgRequest *pkpg_request_begin(const PkRequestSpec *spec, bool wants_pieces, bool is_ahead);
/* Gives the request back at once. The memory context would do it later. */
extern void         pkpg_request_end(PkpgRequest *request);
/* False if one more request ahead of its time would be one too many for this role. */
extern bool         pkpg_has_room(void);

/* Compute or wait: one step of the requests of this session. */
extern void pkpg_step(void);
/* Its answer is there, or it failed: then taking the answer raises the error. */
extern bool pkpg_request_is_done(const PkpgRequest *request);
extern bool pkpg_request_has_failed(const PkpgRequest *request);
/* Add what a request that is done has cost. */
extern void pkpg_request_count(const PkpgRequest *request, PkpgRun *run);

/* The next token, computed when it is asked for; false at the end. Valid until the next call. */
extern bool pkpg_request_next(PkpgRequest *request, PkPiece *piece);

/* What a request that is done has given, in CurrentMemoryContext; the request ends. */
extern PkpgGeneration *pkpg_request_generation(PkpgRequest *request);
/* *n floats of the pooled hidden state. */
extern float          *pkpg_request_floats(PkpgRequest *request, size_t *n);

#endif

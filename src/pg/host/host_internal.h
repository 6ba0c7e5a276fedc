/*
 * host_internal.h
 *    What the two hosts offer to host.c.
 *
 * A host's request is not tied to a memory context: host.c frees it. free never fails.
 */
#ifndef PKPG_HOST_INTERNAL_H
#define PKPG_HOST_INTERNAL_H

#include "pg/host/host.h"

/* What is asked, beyond the spec. */
typedef struct PkpgAsk
{
	const PkRequestSpec *spec;
	const char          *model_name;
	Oid                  role;
	bool                 wants_pieces;
} PkpgAsk;

/* What came of it. Pointers are valid until the request is freed. */
typedef struct PkpgAnswer
{
	PkFinish     finish;
	double       logprob;
	size_t       n_prompt, n_completion;
	const char  *text; /* generate */
	size_t       text_len;
	const float *floats; /* embed */
	size_t       n_floats;
	PkpgRun      run;
} PkpgAnswer;

typedef struct PkpgHost
{
	/* Make *out first, then whatever may fail: what is there is freed by the caller. */
	void (*begin)(const PkpgAsk *ask, void **out);
	void (*free)(void *request);
	void (*step)(void);
	bool (*is_done)(const void *request);
	bool (*has_failed)(const void *request);
	/* Raise what a request failed with, if it did. */
	void (*check)(const void *request);
	void (*answer)(const void *request, PkpgAnswer *out);
	/* Piece i, if it is there already. */
	bool (*piece)(void *request, size_t i, PkPiece *out);
	/* Requests that are not done. */
	size_t (*n_running)(void);
} PkpgHost;

extern const PkpgHost pkpg_local_host;
extern const PkpgHost pkpg_shared_host;

/* True if there is an engine program to ask, or will be in a moment. */
extern bool pkpg_shared_host_is_there(void);

#endif

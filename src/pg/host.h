/*
 * host.h
 *    Where requests run: the seam between SQL functions and the engine.
 *
 * Functions know only what is declared here. In this version the engine lives in the backend that
 * asks (host.c); a shared engine takes the place of host.c and changes nothing above this line.
 * Everything handed out belongs to CurrentMemoryContext; when that context goes away, by error,
 * cancel or rollback as well, the request and its keys and values go with it. Every call answers
 * interrupts.
 */
#ifndef PKPG_HOST_H
#define PKPG_HOST_H

#include "core/engine/engine.h"

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

/* Take a request in; nothing is computed yet. */
PkpgRequest *pkpg_request_begin(const PkRequestSpec *spec);
/* Gives the request back at once. The memory context would do it later. */
void         pkpg_request_end(PkpgRequest *request);

/* One step of all requests of this session; their number before it. */
size_t pkpg_step(void);
bool   pkpg_request_is_done(const PkpgRequest *request);
/* Add its tokens so far, those of the prompt and those generated. */
void   pkpg_request_count(const PkpgRequest *request, uint64_t *n_prompt, uint64_t *n_generated);

/* The next token, computed when it is asked for; false at the end. Valid until the next call. */
bool pkpg_request_next(PkpgRequest *request, PkPiece *piece);

/* What a request that is done has given, in CurrentMemoryContext; the request ends. */
PkpgGeneration *pkpg_request_generation(PkpgRequest *request);
/* *n floats of the pooled hidden state. */
float          *pkpg_request_floats(PkpgRequest *request, size_t *n);

#endif

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

PkpgGeneration *pkpg_run_generate(const PkRequestSpec *spec);

/* *n floats of the pooled hidden state. */
const float *pkpg_run_embed(const PkRequestSpec *spec, size_t *n);

typedef struct PkpgStream PkpgStream;

PkpgStream *pkpg_stream_begin(const PkRequestSpec *spec);
/* The next token, computed when it is asked for; false at the end. Valid until the next call. */
bool        pkpg_stream_next(PkpgStream *stream, PkPiece *piece);
/* Gives the request back at once. The memory context would do it later. */
void        pkpg_stream_end(PkpgStream *stream);

#endif

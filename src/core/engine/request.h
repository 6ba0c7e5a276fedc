/*
 * request.h
 *    A request inside the engine: its tokens, its blocks, its answer, and the moves it may make.
 *
 *    WAITING --> PREFILL --> DECODE --> ENDED      WAITING holds no blocks
 *       ^           |           |                  PREFILL and DECODE may go back when pre-empted
 *       +-----------+-----------+                  PREFILL goes to ENDED for embed and score
 */
#ifndef PK_REQUEST_H
#define PK_REQUEST_H

#include "core/engine/engine.h"
#include "core/engine/pace.h"
#include "core/infer/forward.h"
#include "core/infer/prefix.h"
#include "core/sample/lookup.h"
#include "core/sample/stop.h"

/* A model as the engine sees it; requests count its users. */
typedef struct PkEngineModel
{
	struct PkEngineModel *next;
	PkModel              *model; /* a reference */
	PkKvCache            *cache;
	PkPrefixTree         *prefixes;
	PkPace                pace;
	size_t                n_requests;

	/* of the step being planned */
	size_t index;
	size_t n_decoding; /* requests, paused ones left out */
	size_t n_drafted;  /* tokens that they would compute ahead */
	size_t n_prompts;
} PkEngineModel;

/* Those who asked, while they have unfinished requests. */
typedef struct PkEngineSession
{
	struct PkEngineSession *next;
	uint64_t                id;
	uint64_t                n_served; /* prompt tokens it was given, as the scheduler counts */
	size_t                  n_requests;
	size_t                  index; /* in the step being planned */
} PkEngineSession;

#define PK_N_PHASES (PK_PHASE_ENDED + 1)

/* Where a generated token lies in the output. */
typedef struct PkGenerated
{
	float  logprob;
	size_t begin;      /* byte of the output at which the token begins */
	size_t shown_from; /* its piece: bytes [shown_from, shown_to) */
	size_t shown_to;
} PkGenerated;

/* Tokens that may come next stand behind those of the request. */
typedef struct PkDraft
{
	size_t        n_most;     /* 0: none */
	size_t        n_proposed; /* tokens that stand there; 0 once one was wrong */
	size_t        n;          /* of them, in the step being planned or computed */
	size_t        n_matched;  /* tokens before the next that agree with those before it elsewhere */
	double        chance;     /* of the one after those n: that it and all before it are right */
	PkLookupRates rates;
	size_t        n_drafted, n_accepted; /* so far */
} PkDraft;

/* PK_REQUEST_GENERATE. */
typedef struct PkGeneration
{
	PkSampler     *sampler;
	PkStop        *stop;
	PkDecodeStream decoder;
	PkDraft        draft;
	size_t         max_new; /* max_tokens, or what the context leaves */
	size_t         n_new;   /* tokens sampled, the end token not among them */
	PkGenerated   *tokens;  /* (max_new) */
	size_t         n_pieces;
	size_t         n_completion;
	double         logprob;
	char          *text;
	size_t         text_len;
	size_t         text_room;
	size_t         shown_len; /* bytes of text that pieces have given */
} PkGeneration;

struct PkRequest
{
	PkEngine        *engine;
	PkEngineModel   *model;
	PkEngineSession *session;     /* NULL once it has ended */
	PkRequest       *prev, *next; /* unfinished requests in order of arrival */
	PkRequestKind    kind;
	PkPhase          phase;
	bool             is_paused;
	PkFinish         finish;
	int32_t         *tokens; /* (n_prompt + max_new) */
	size_t           n_prompt;
	size_t           n_tokens; /* prompt and what was generated */
	size_t           n_cached;
	size_t           n_reused; /* first position that it ever computed; SIZE_MAX: none yet */
	size_t           n_step;   /* positions of the step that is computed, drafted ones last */
	PkKvSeq          seq;
	PkPrefixPath     path;   /* its key is 0 when it shares nothing */
	bool             leaves; /* what it computes serves others */
	PkGeneration     gen;

	/* embed and score */
	PkPooling pooling;
	bool      normalize;
	int32_t   layer;
	float    *floats; /* (E), or (n_prompt - 1) */
	size_t    n_floats;
	size_t    n_pooled; /* positions that floats has taken in */
};

/* Copy and check spec (not yet in any list, no blocks). model's cache exists. */
PkStatus pk_request_create(const PkRequestSpec *spec, PkEngineModel *model, PkRequest **out,
                           PkError *err);
void     pk_request_destroy(PkRequest *request);

/* Most positions that will be cached at a time. */
size_t pk_request_max_positions(const PkRequestSpec *spec);

/* PK_INTERNAL for a move that the drawing above does not have. */
PkStatus pk_request_move(PkRequest *request, PkPhase to, PkError *err);

/* Positions that are not cached yet. */
static inline size_t
pk_request_n_todo(const PkRequest *request)
{
	return request->n_tokens - request->n_cached;
}

/* Blocks at the beginning that need not be computed if their keys and values are there. */
size_t pk_request_n_skippable(const PkRequest *request);

/* The next n of n_step positions are computed. */
void pk_request_advance(PkRequest *request, size_t n);

/* Give all keys and values back; nothing is cached then. */
void pk_request_let_go(PkRequest *request);

/* Room for the text of n_new more tokens, so that nothing is allocated once they were sampled. */
PkStatus pk_request_reserve(PkRequest *request, size_t n_new, PkError *err);

/* Take in a sampled token (any, also an end token). True when the generation has ended. */
bool pk_request_push(PkRequest *request, int32_t id, float logprob);

#endif

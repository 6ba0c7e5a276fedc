/*
 * engine.h
 *    Requests in, tokens and embeddings out: the seam between a host and the computing core.
 *
 * A host is the engine program, a PostgreSQL backend, or polyko_cli. It submits
 * requests (token ids and options; never a path, a catalog entry or a setting) and calls
 * pk_engine_step() until they are done; each step takes decode tokens of all running sequences
 * plus chunks of waiting prompts. Output depends only on model, request and seed: not on what else
 * is in the batch, threads, chunking or tier ('q8' and 'q4').
 *
 * One thread calls an engine. Nothing here waits, prints or throws.
 */
#ifndef PK_ENGINE_H
#define PK_ENGINE_H

#include "core/base/cancel.h"
#include "core/model/model.h"
#include "core/sample/sampler.h"

typedef struct PkEngine  PkEngine;
typedef struct PkRequest PkRequest;

typedef struct PkEngineConfig
{
	size_t n_threads;        /* 0: pk_n_processors() */
	size_t kv_cache_bytes;   /* upper bound of all KV blocks */
	size_t max_batch_tokens; /* tokens of one step; 0: default. Chunks shrink by time below it */
	const char *kernels;     /* tier, NULL or "auto": best */
} PkEngineConfig;

PkStatus    pk_engine_create(const PkEngineConfig *config, PkEngine **out, PkError *err);
void        pk_engine_destroy(PkEngine *engine);       /* requests must be freed first */
const char *pk_engine_kernels(const PkEngine *engine); /* name of the tier in use */

/* Give back pool threads, KV and scratch memory; they come again with the next step. */
void pk_engine_idle(PkEngine *engine);

/*
 * Nobody asks for the moment, no request is alive: threads end, nothing is known of earlier
 * prompts, but memory stays for the next request. pk_engine_discard() gives that back, in a signal
 * handler if need be, if no call of the engine is under way.
 */
void pk_engine_rest(PkEngine *engine);
void pk_engine_discard(const PkEngine *engine);

/* Raise the upper bound of all KV blocks. */
void pk_engine_allow_kv(PkEngine *engine, size_t bytes);

/* Let go of a model and of what was kept for it, if no request uses it. */
void pk_engine_forget(PkEngine *engine, const PkModel *model);

typedef enum PkPooling
{
	PK_POOLING_MEAN = 0,
	PK_POOLING_LAST = 1
} PkPooling;

typedef enum PkRequestKind
{
	PK_REQUEST_GENERATE,
	PK_REQUEST_EMBED,
	PK_REQUEST_SCORE /* log-probability of each prompt token after the first (nll, perplexity) */
} PkRequestKind;

typedef struct PkRequestSpec
{
	PkRequestKind  kind;
	PkModel       *model;  /* the request holds a reference */
	const int32_t *tokens; /* copied; at least one, each below the model's vocabulary */
	size_t         n_tokens;
	uint64_t       session; /* requests of one session take turns with those of others as one */

	/*
	 * The beginning of a prompt is computed once for all requests with the same model and the same
	 * key (a host puts the role there). 0: this one neither uses nor leaves anything.
	 */
	uint64_t cache_key;

	/* PK_REQUEST_GENERATE */
	int32_t            max_tokens; /* > 0 */
	PkSampleParams     sample;
	const char *const *stop; /* copied */
	const size_t      *stop_lens;
	size_t             n_stop;
	uint32_t           prompt_lookup_num_tokens; /* most tokens drafted (lookup.h), 0: none */

	/* PK_REQUEST_EMBED */
	PkPooling pooling;
	bool      normalize;
	int32_t   layer; /* -1: after the final LayerNorm; 0: token embeddings; k: after layer k */
} PkRequestSpec;

/* Where an unfinished request stands. */
typedef enum PkPhase
{
	PK_PHASE_WAITING, /* holds no keys and values: not begun, or to be computed again */
	PK_PHASE_PREFILL,
	PK_PHASE_DECODE,
	PK_PHASE_ENDED
} PkPhase;

typedef enum PkFinish
{
	PK_FINISH_NONE = 0, /* not done yet */
	PK_FINISH_STOP,     /* an end token */
	PK_FINISH_LENGTH,   /* max_tokens or the context */
	PK_FINISH_STOP_STRING,
	PK_FINISH_DONE /* embed and score */
} PkFinish;

/* One generated token, the end token not among them. */
typedef struct PkPiece
{
	int32_t     id;
	float       logprob;
	const char *text; /* decoded text that is certain since the token before; may be empty */
	size_t      len;
} PkPiece;

/*
 * Check spec and take it in. PK_TOO_LONG when the prompt leaves no room in the context (for
 * generate: n_tokens >= context; for embed and score: n_tokens > context), PK_BAD_ARGUMENT for
 * options, PK_NO_MEMORY when its KV can never fit kv_cache_bytes.
 */
PkStatus pk_engine_submit(PkEngine *engine, const PkRequestSpec *spec, PkRequest **out,
                          PkError *err);

/* Cancels a request that still runs; frees its KV, its result and its reference to the model. */
void pk_request_free(PkRequest *request);

/*
 * A paused request takes part in no step, and its KV is the first to make way. Afterwards it goes
 * on where it was, with the same tokens. No effect on one that has ended.
 */
void pk_request_pause(PkRequest *request, bool paused);

/*
 * Compute one step for the unfinished requests. While some of them decode, prompts are cut so that
 * it takes about 100 ms, up to 200 ms where decoding alone takes half of that.
 * PK_CANCELLED: the flag was seen within a few ms; requests are as of the step before, or have
 * some of its tokens already, and may be stepped again or freed. Any other failure ends no request
 * but tells the caller.
 */
PkStatus pk_engine_step(PkEngine *engine, PkCancel *cancel, PkError *err);

/* Requests that are not finished, paused ones among them. */
size_t pk_engine_n_running(const PkEngine *engine);

/* Whether a step would compute something: false if all are paused or none is there. */
bool pk_engine_has_work(const PkEngine *engine);

typedef struct PkEngineStats
{
	size_t   kv_max_bytes;
	size_t   kv_used_bytes;   /* held by requests */
	size_t   kv_cached_bytes; /* beginnings of prompts that no request holds */
	size_t   n_running;       /* requests in prefill or decode */
	size_t   n_waiting;
	size_t   workspace_bytes;
	uint64_t n_steps;     /* steps of a model, since the engine was created */
	uint64_t n_step_rows; /* tokens that they computed */
} PkEngineStats;

void pk_engine_stats(const PkEngine *engine, PkEngineStats *out);

PkFinish pk_request_finish(const PkRequest *request);
PkPhase  pk_request_phase(const PkRequest *request);
size_t   pk_request_n_prompt(const PkRequest *request);
size_t   pk_request_n_reused(const PkRequest *request); /* prompt tokens that were not computed */
size_t   pk_request_n_cached(const PkRequest *request); /* positions whose KV it holds */

/*
 * Generate: tokens so far. Pieces 0 to n_pieces - 1 are final: text that may still turn out to be
 * the beginning of a stop string, or half a character, is held back until it is certain; a held
 * token has an empty text, its bytes come with a later piece. A token is a piece once it was
 * sampled; a step may give several. Tokens that a stop string cut off are not counted in
 * n_completion.
 */
size_t      pk_request_n_pieces(const PkRequest *request);
PkPiece     pk_request_piece(const PkRequest *request, size_t i); /* valid until the next step */
size_t      pk_request_n_completion(const PkRequest *request);
size_t      pk_request_n_drafted(const PkRequest *request);  /* tokens that were computed ahead, */
size_t      pk_request_n_accepted(const PkRequest *request); /* and those of them that were right */
double      pk_request_logprob(const PkRequest *request);    /* summed over the tokens counted */
const char *pk_request_text(const PkRequest *request, size_t *len); /* whole output once finished */

/* Embed: (hidden_size) once finished. Score: (n_tokens - 1) log-probabilities. Else NULL. */
const float *pk_request_floats(const PkRequest *request, size_t *n);

#endif

/*
 * batch.h
 *    The tokens of one step: several sequences packed without padding.
 *
 * Tokens of one sequence stand together in position order. seq points to the blocks that hold its
 * earlier positions and take the new ones.
 */
#ifndef PK_BATCH_H
#define PK_BATCH_H

#include "core/infer/kvcache.h"

#define PK_NO_CAPTURE (-2) /* no hidden state is wanted */
#define PK_NO_OUTPUT SIZE_MAX

typedef struct PkBatch
{
	size_t    n_tokens;
	size_t    n_outputs; /* tokens whose logits are wanted */
	size_t    n_room;
	int32_t  *token;   /* (T) */
	uint32_t *pos;     /* (T) */
	PkKvSeq **seq;     /* (T) */
	int32_t  *capture; /* (T) layer whose hidden state is kept, -1: after the final LayerNorm */
	size_t   *output;  /* (T) row among the outputs, or PK_NO_OUTPUT */
	size_t   *source;  /* (n_outputs) token of each output */
} PkBatch;

/* Room for n_tokens (what was in it is lost); a batch that is zeroed is empty. */
PkStatus pk_batch_reserve(PkBatch *batch, size_t n_tokens, PkError *err);
void     pk_batch_free(PkBatch *batch);
void     pk_batch_clear(PkBatch *batch);

/* Add a token; there must be room. Returns its row. */
size_t pk_batch_add(PkBatch *batch, PkKvSeq *seq, int32_t token, size_t pos, bool wants_logits,
                    int32_t capture);

#endif

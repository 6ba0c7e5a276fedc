/*
 * attention.h
 *    Rotary embedding, writing keys and values to the cache, causal attention over it.
 */
#ifndef PK_ATTENTION_H
#define PK_ATTENTION_H

#include "core/infer/batch.h"
#include "core/infer/compute.h"
#include "core/infer/workspace.h"
#include "core/model/model.h"

typedef struct PkAttention
{
	const PkConfig  *config;
	const PkWeights *weights;
	const PkBatch   *batch;
	PkWorkspace     *space;
	size_t           layer;
	/* Activations of (T, E) for the next product, set to come from space->normed. */
	PkActs          *next;
	PkQuant          next_quant;
} PkAttention;

/* True where a head has whole groups of the format, so that pk_attention() quantises its result. */
bool pk_attention_quantizes(const PkConfig *config, PkQuant quant);

/*
 * From space->qkv (T, 3E) to next, quantised, or to space->normed (T, E). Queries and keys are rotated, keys and values
 * go to the cache in its format, and all attention reads them back from there, also within the
 * chunk: so the cut of a prompt into chunks changes nothing.
 */
PkStatus pk_attention(const PkCompute *compute, PkAttention *attention);

#endif

/*
 * attention.h
 *    Causal attention over the cache.
 */
#ifndef PK_ATTENTION_H
#define PK_ATTENTION_H

#include "core/infer/batch.h"
#include "core/infer/compute.h"
#include "core/infer/workspace.h"
#include "core/model/model.h"

typedef struct PkAttention
{
	const PkConfig *config;
	const PkBatch  *batch;
	PkWorkspace    *space;
	size_t          layer;
	/* Activations of (n_rows, E) for the next product, set to come from space->normed. */
	PkActs         *next;
	PkQuant         next_quant;
} PkAttention;

/*
 * From the queries in space->qkv of tokens space->rows (n_rows) to next, quantised, or to
 * space->normed (n_rows, E). All attention reads keys and values back from the cache, also within
 * the chunk: so the cut of a prompt into chunks changes nothing.
 */
PkStatus pk_attention_run(const PkCompute *compute, PkAttention *attention);

/* True where a head has whole groups of the format, so that its result is quantised at once. */
bool pk_attention_quantizes(const PkConfig *config, PkQuant quant);

#endif

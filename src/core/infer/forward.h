/*
 * forward.h
 *    One step of GPT-NeoX for a batch: tokens in, hidden states and logits out.
 */
#ifndef PK_FORWARD_H
#define PK_FORWARD_H

#include "core/infer/batch.h"
#include "core/infer/compute.h"
#include "core/infer/workspace.h"
#include "core/model/model.h"

typedef struct PkForward
{
	const PkModel *model;
	const PkBatch *batch;
	PkWorkspace   *space;
} PkForward;

/* Size the workspace for this batch, and load what the format needs. Before pk_forward_run(). */
PkStatus pk_forward_prepare(const PkForward *forward, size_t n_threads, PkError *err);

/*
 * Run all layers that the batch needs. Sequences must hold the blocks of all positions. Afterwards
 * space->captured (T, E) has the hidden states asked for, and space->outputs (n_outputs, E) the
 * inputs of the output head. PK_CANCELLED: positions of this batch in the cache are undefined,
 * earlier ones untouched; running the batch again gives what it would have given.
 */
PkStatus pk_forward_run(const PkCompute *compute, const PkForward *forward);

/* Logits of outputs first to first + n - 1 (n <= PK_HEAD_ROWS) to space->logits (n, V). */
PkStatus pk_forward_logits(const PkCompute *compute, const PkForward *forward, size_t first,
                           size_t n);

#endif

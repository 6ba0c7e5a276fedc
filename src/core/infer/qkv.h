/*
 * qkv.h
 *    Queries, keys and values of a layer: the product, rotary embedding, and keys and values on
 *    their way to the cache.
 */
#ifndef PK_QKV_H
#define PK_QKV_H

#include "core/infer/batch.h"
#include "core/infer/compute.h"
#include "core/infer/workspace.h"
#include "core/model/model.h"

/* The parts of the product in the order of its rows, each E of them. */
typedef enum PkQkvPart
{
	PK_QUERIES,
	PK_KEYS,
	PK_VALUES,
	PK_QKV_END
} PkQkvPart;

typedef struct PkQkv
{
	const PkConfig  *config;
	const PkWeights *weights;
	const PkBatch   *batch;
	PkWorkspace     *space;
	size_t           layer;
} PkQkv;

/*
 * Parts [begin, end) for rows [0, n_rows) of the workspace, from space->acts_attn to space->qkv.
 * Queries and keys are rotated; keys and values are written to the cache of their sequences.
 * PK_CANCELLED: the cache holds some of them.
 */
PkStatus pk_qkv_run(const PkCompute *compute, const PkQkv *qkv, PkQkvPart begin, PkQkvPart end);

/* True where parts can be computed one at a time: they begin with a row block. */
bool pk_qkv_has_parts(const PkConfig *config);

#endif

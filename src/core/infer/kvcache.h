/*
 * kvcache.h
 *    Blocks of keys and values, shared out to sequences.
 *
 * A block holds PK_KV_BLOCK positions of all layers of one model. For each layer first the keys
 * (H, D, PK_KV_BLOCK), position fastest, then the values (H, PK_KV_BLOCK, D): what attend_f16 and
 * attend_f32 want. The format belongs to the quantization: f32 for 'f32', f16 for all others.
 *
 * Each block is its own mapping, so caches of several models share one budget without
 * fragmentation. A freed block stays mapped for the next sequence until another cache needs the
 * room or the host idles. What another sequence left reaches no result: keys of positions that are
 * not seen are masked, values are read by position, and of layers that an embedding does not need
 * nothing is used. Beyond that a block that a step takes and does not fill is cleared. Blocks that
 * are kept for what they hold (prefix.h) are given up when sequences need the room.
 */
#ifndef PK_KVCACHE_H
#define PK_KVCACHE_H

#include "core/base/status.h"
#include "core/kernels/kernels.h"
#include "core/model/config.h"

typedef struct PkKvCache PkKvCache;

/* Bytes that all caches of an engine may map together. Set max_bytes; the rest is zero. */
typedef struct PkKvBudget
{
	size_t     max_bytes;
	size_t     mapped_bytes;
	size_t     free_bytes;   /* of these, in blocks that nobody holds */
	size_t     cached_bytes; /* of these, in blocks that no sequence holds but prefix.c keeps */
	PkKvCache *caches;       /* all that share it */

	/* of prefix.c: blocks that it keeps, and how to give up the oldest; false: there is none */
	struct PkPrefixNode *oldest, *newest;
	bool (*give_up)(struct PkKvBudget *budget);
} PkKvBudget;

/* Bytes of the blocks that sequences hold. */
static inline size_t
pk_kv_held(const PkKvBudget *budget)
{
	return budget->mapped_bytes - budget->free_bytes - budget->cached_bytes;
}

/* A sequence: blocks of its positions in order. Zeroed is empty. */
typedef struct PkKvSeq
{
	PkKvCache *cache;
	void     **blocks;
	size_t     n_blocks;
	size_t     n_shared; /* the first of them, which prefix.c owns: read only */
	size_t     n_room;
} PkKvSeq;

PkStatus pk_kv_cache_create(const PkConfig *config, PkQuant quant, PkKvBudget *budget,
                            PkKvCache **out, PkError *err);
void     pk_kv_cache_destroy(PkKvCache *cache); /* its sequences must be freed first */

/* Unmap the blocks that no sequence holds. */
void pk_kv_cache_trim(PkKvCache *cache);

/* Give back the memory of free blocks, which stay. Safe in a signal handler. */
void pk_kv_cache_discard(const PkKvCache *cache);

size_t pk_kv_block_bytes(const PkKvCache *cache);
bool   pk_kv_is_f32(const PkKvCache *cache);

/* Blocks that hold n_positions. */
static inline size_t
pk_kv_n_blocks(size_t n_positions)
{
	return (n_positions + PK_KV_BLOCK - 1) / PK_KV_BLOCK;
}

/* An empty sequence with room for the table of max_positions (no block yet). */
PkStatus pk_kv_seq_init(PkKvSeq *seq, PkKvCache *cache, size_t max_positions, PkError *err);

/*
 * Hold at least the blocks of n_positions, all of which the next step writes; what it does not
 * write must not be used. PK_NO_MEMORY: what it held before it still holds.
 */
PkStatus pk_kv_seq_grow(PkKvSeq *seq, size_t n_positions, PkError *err);

/* Give back what it holds of its own beyond the blocks of n_positions. */
void pk_kv_seq_shrink(PkKvSeq *seq, size_t n_positions);

/* Give all blocks back; the sequence may grow again. Shared ones were released before. */
void pk_kv_seq_clear(PkKvSeq *seq);
void pk_kv_seq_free(PkKvSeq *seq);

/* A block that nobody needs. */
void pk_kv_block_give(PkKvCache *cache, void *block);

PkKvBudget *pk_kv_budget(const PkKvCache *cache);

/* Keys (D, PK_KV_BLOCK) and values (PK_KV_BLOCK, D) of one head in a block. */
void *pk_kv_keys(const PkKvCache *cache, void *block, size_t layer, size_t head);
void *pk_kv_values(const PkKvCache *cache, void *block, size_t layer, size_t head);

#endif

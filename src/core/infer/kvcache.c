/*
 * kvcache.c
 *    One free list for each model, one budget for all.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/infer/kvcache.h"

#define PAGE_BYTES ((size_t) 4096)

/* A free block's first bytes. */
typedef struct FreeBlock
{
	struct FreeBlock *next;
} FreeBlock;

struct PkKvCache
{
	PkKvBudget *budget;
	PkKvCache  *next;       /* in the budget's list */
	size_t      part_bytes; /* keys, or values, of one head in a block */
	size_t      n_heads;
	size_t      block_bytes; /* of all layers, whole pages */
	bool        is_f32;
	FreeBlock  *free_blocks;
};

static PkStatus block_take(PkKvCache *cache, bool is_filled, void **block, PkError *err);
static bool     has_room(const PkKvCache *cache);
static void     trim_others(PkKvBudget *budget, size_t needed_bytes);

PkStatus
pk_kv_cache_create(const PkConfig *config, PkQuant quant, PkKvBudget *budget, PkKvCache **out,
                   PkError *err)
{
	void  *room;
	size_t bytes = PK_KV_BLOCK * (quant == PK_QUANT_F32 ? sizeof(float) : sizeof(uint16_t));
	size_t total;

	if (!pk_size_mul(bytes, config->hidden_size, &total) ||
	    !pk_size_mul(total, 2 * (size_t) config->num_hidden_layers, &total) ||
	    !pk_size_add(total, PAGE_BYTES, &total))
		return pk_error(err, PK_INTERNAL, "a block of keys and values has no size");
	PK_FORWARD(pk_calloc(1, sizeof(PkKvCache), &room, err));

	PkKvCache *cache = room;

	cache->budget = budget;
	cache->n_heads = config->num_attention_heads;
	cache->part_bytes = bytes * (config->hidden_size / config->num_attention_heads);
	cache->block_bytes = (total - 1) / PAGE_BYTES * PAGE_BYTES;
	cache->is_f32 = quant == PK_QUANT_F32;
	cache->next = budget->caches;
	budget->caches = cache;
	*out = cache;
	return PK_OK;
}

void
pk_kv_cache_destroy(PkKvCache *cache)
{
	if (cache == NULL)
		return;
	pk_kv_cache_trim(cache);

	PkKvCache **link = &cache->budget->caches;

	while (*link != cache)
		link = &(*link)->next;
	*link = cache->next;
	free(cache);
}

void
pk_kv_cache_trim(PkKvCache *cache)
{
	while (cache->free_blocks != NULL)
	{
		FreeBlock *block = cache->free_blocks;

		cache->free_blocks = block->next;
		pk_pages_free(block, cache->block_bytes);
		cache->budget->mapped_bytes -= cache->block_bytes;
		cache->budget->free_bytes -= cache->block_bytes;
	}
}

/* The link at the beginning of a block stays. */
void
pk_kv_cache_discard(const PkKvCache *cache)
{
	for (FreeBlock *block = cache->free_blocks; block != NULL; block = block->next)
		pk_pages_discard((char *) block + PAGE_BYTES, cache->block_bytes - PAGE_BYTES);
}

size_t
pk_kv_block_bytes(const PkKvCache *cache)
{
	return cache->block_bytes;
}

bool
pk_kv_is_f32(const PkKvCache *cache)
{
	return cache->is_f32;
}

PkStatus
pk_kv_seq_init(PkKvSeq *seq, PkKvCache *cache, size_t max_positions, PkError *err)
{
	void *blocks;

	*seq = (PkKvSeq){.cache = cache, .n_room = pk_kv_n_blocks(max_positions)};
	PK_FORWARD(pk_calloc(seq->n_room, sizeof(void *), &blocks, err));
	seq->blocks = blocks;
	return PK_OK;
}

PkStatus
pk_kv_seq_grow(PkKvSeq *seq, size_t n_positions, PkError *err)
{
	size_t n_needed = pk_kv_n_blocks(n_positions);

	if (n_needed > seq->n_room)
		return pk_error(err, PK_INTERNAL, "sequence of %zu blocks asks for %zu", seq->n_room,
		                n_needed);
	while (seq->n_blocks < n_needed)
	{
		bool is_filled = (seq->n_blocks + 1) * PK_KV_BLOCK <= n_positions;

		PK_FORWARD(block_take(seq->cache, is_filled, &seq->blocks[seq->n_blocks], err));
		seq->n_blocks++;
	}
	return PK_OK;
}

/* is_filled: the next step writes all of it. */
static PkStatus
block_take(PkKvCache *cache, bool is_filled, void **block, PkError *err)
{
	PkKvBudget *budget = cache->budget;

	while (!has_room(cache))
		if (budget->give_up == NULL || !budget->give_up(budget))
			return pk_error(err, PK_NO_MEMORY, "the KV cache is full: %zu of %zu bytes are in use",
			                budget->mapped_bytes, budget->max_bytes);
	if (cache->free_blocks != NULL)
	{
		*block = cache->free_blocks;
		cache->free_blocks = cache->free_blocks->next;
		budget->free_bytes -= cache->block_bytes;
		if (!is_filled)
			memset(*block, 0, cache->block_bytes);
		return PK_OK;
	}
	PK_FORWARD(pk_pages_alloc(cache->block_bytes, block, err));
	budget->mapped_bytes += cache->block_bytes;
	return PK_OK;
}

/* For a block: one is free, or may be mapped. */
static bool
has_room(const PkKvCache *cache)
{
	PkKvBudget *budget = cache->budget;

	if (cache->free_blocks != NULL)
		return true;
	trim_others(budget, cache->block_bytes);
	return cache->block_bytes <= budget->max_bytes - budget->mapped_bytes;
}

/* Blocks that other models left mapped make way. */
static void
trim_others(PkKvBudget *budget, size_t needed_bytes)
{
	for (PkKvCache *cache = budget->caches; cache != NULL; cache = cache->next)
	{
		if (needed_bytes <= budget->max_bytes - budget->mapped_bytes)
			return;
		pk_kv_cache_trim(cache);
	}
}

void
pk_kv_seq_shrink(PkKvSeq *seq, size_t n_positions)
{
	size_t n = pk_kv_n_blocks(n_positions);

	n = n > seq->n_shared ? n : seq->n_shared;
	while (seq->n_blocks > n)
		pk_kv_block_give(seq->cache, seq->blocks[--seq->n_blocks]);
}

void
pk_kv_seq_clear(PkKvSeq *seq)
{
	PK_ASSERT(seq->n_shared == 0);
	while (seq->n_blocks > 0)
		pk_kv_block_give(seq->cache, seq->blocks[--seq->n_blocks]);
}

void
pk_kv_block_give(PkKvCache *cache, void *block)
{
	FreeBlock *given = block;

	given->next = cache->free_blocks;
	cache->free_blocks = given;
	cache->budget->free_bytes += cache->block_bytes;
}

PkKvBudget *
pk_kv_budget(const PkKvCache *cache)
{
	return cache->budget;
}

void
pk_kv_seq_free(PkKvSeq *seq)
{
	if (seq->blocks == NULL)
		return;
	pk_kv_seq_clear(seq);
	free(seq->blocks);
	*seq = (PkKvSeq){0};
}

void *
pk_kv_keys(const PkKvCache *cache, void *block, size_t layer, size_t head)
{
	return (char *) block + (2 * layer * cache->n_heads + head) * cache->part_bytes;
}

void *
pk_kv_values(const PkKvCache *cache, void *block, size_t layer, size_t head)
{
	return (char *) block + ((2 * layer + 1) * cache->n_heads + head) * cache->part_bytes;
}

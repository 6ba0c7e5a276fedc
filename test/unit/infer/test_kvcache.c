/*
 * test_kvcache.c
 *    Blocks: budget, reuse, and that nobody reads what another left.
 */
#include "../tap.h"
#include "core/infer/kvcache.h"

#define ALL_POSITIONS 640

static const PkConfig small = {.hidden_size = 48, .num_hidden_layers = 2, .num_attention_heads = 4};
static const PkConfig large = {
	.hidden_size = 256, .num_hidden_layers = 6, .num_attention_heads = 4};

static void test_layout(void);
static void test_budget(void);
static void test_reuse(void);

int
main(void)
{
	test_layout();
	test_budget();
	test_reuse();
	return done_testing();
}

static void
test_layout(void)
{
	PkKvBudget budget = {.max_bytes = (size_t) 1 << 20};
	PkKvCache *half = NULL;
	PkKvCache *full = NULL;
	char       block[1 << 17];

	ok(pk_kv_cache_create(&small, PK_QUANT_Q8, &budget, &half, NULL) == PK_OK &&
	       pk_kv_cache_create(&small, PK_QUANT_F32, &budget, &full, NULL) == PK_OK,
	   "caches of two formats share a budget");
	ok(!pk_kv_is_f32(half) && pk_kv_is_f32(full), "'f32' keeps f32, the others f16");
	is_int((long long) pk_kv_block_bytes(half), 8192, "a block is 16 positions in whole pages");
	is_int((long long) pk_kv_block_bytes(full), 12288, "twice as many bytes in f32");
	is_int((char *) pk_kv_keys(half, block, 1, 3) - block, (2 * 48 * 16 + 3 * 12 * 16) * 2,
	       "keys of layer 1 follow keys and values of layer 0");
	is_int((char *) pk_kv_values(half, block, 1, 0) - (char *) pk_kv_keys(half, block, 1, 0),
	       48 * 16 * 2, "values follow the keys of all heads");
	pk_kv_cache_destroy(half);
	pk_kv_cache_destroy(full);
	pk_kv_cache_destroy(NULL);
	ok(budget.caches == NULL && budget.mapped_bytes == 0, "destroyed caches leave the budget");
}

static void
test_budget(void)
{
	PkKvBudget budget = {.max_bytes = 20 * 8192};
	PkKvCache *cache = NULL;
	PkKvCache *other = NULL;
	PkKvSeq    a;
	PkKvSeq    b;
	PkError    err;

	if (!ok(!(pk_kv_cache_create(&small, PK_QUANT_Q8, &budget, &cache, &err) != PK_OK ||
	          pk_kv_cache_create(&large, PK_QUANT_Q8, &budget, &other, &err) != PK_OK ||
	          pk_kv_seq_init(&a, cache, ALL_POSITIONS, &err) != PK_OK ||
	          pk_kv_seq_init(&b, other, ALL_POSITIONS, &err) != PK_OK),
	        "set up"))
		return;
	is_int(pk_kv_seq_grow(&a, 33, &err), PK_OK, "a sequence grows");
	is_int((long long) a.n_blocks, 3, "33 positions are three blocks");
	is_int(pk_kv_seq_grow(&a, 16 * 21, &err), PK_NO_MEMORY, "not beyond the budget");
	is_int((long long) a.n_blocks, 20, "what it got it holds");
	is_int(pk_kv_seq_grow(&b, 1, &err), PK_NO_MEMORY, "nothing is left for another model");
	pk_kv_seq_clear(&a);
	ok(pk_kv_seq_grow(&b, 1, &err) == PK_OK && budget.mapped_bytes <= budget.max_bytes,
	   "blocks given back make way for it");
	is_int(pk_kv_seq_grow(&a, ALL_POSITIONS + 1, &err), PK_INTERNAL,
	       "no more positions than were announced");
	pk_kv_seq_free(&a);
	pk_kv_seq_free(&b);
	pk_kv_cache_destroy(cache);
	pk_kv_cache_destroy(other);
	is_int((long long) budget.mapped_bytes, 0, "everything is unmapped in the end");
}

static void
test_reuse(void)
{
	PkKvBudget budget = {.max_bytes = (size_t) 1 << 20};
	PkKvCache *cache = NULL;
	PkKvSeq    seq;
	PkError    err;
	size_t     n_dirty = 0;

	if (!ok(!(pk_kv_cache_create(&small, PK_QUANT_Q8, &budget, &cache, &err) != PK_OK ||
	          pk_kv_seq_init(&seq, cache, 64, &err) != PK_OK ||
	          pk_kv_seq_grow(&seq, 64, &err) != PK_OK),
	        "set up"))
		return;
	for (size_t i = 0; i < seq.n_blocks; i++)
		memset(seq.blocks[i], 0x7f, pk_kv_block_bytes(cache));
	pk_kv_seq_clear(&seq);

	size_t mapped = budget.mapped_bytes;

	is_int(pk_kv_seq_grow(&seq, 63, &err), PK_OK, "blocks are taken again");
	is_int((long long) budget.mapped_bytes, (long long) mapped, "without new memory");
	for (size_t k = 0; k < pk_kv_block_bytes(cache); k++)
		n_dirty += ((char *) seq.blocks[3])[k] != 0;
	is_int((long long) n_dirty, 0, "that with an empty position holds nothing of the one before");
	pk_kv_seq_clear(&seq);
	pk_kv_cache_trim(cache);
	is_int((long long) budget.mapped_bytes, 0, "trim unmaps what nobody holds");
	pk_kv_seq_free(&seq);
	pk_kv_cache_destroy(cache);
}

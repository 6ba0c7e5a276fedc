/*
 * test_prefix.c
 *    The tree of beginnings: who finds what, what is given up first, and a random load that checks
 *    each block's content and each byte of the budget.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/infer/prefix.h"

#define KEY 7
#define BLOCK PK_KV_BLOCK
#define MAX_BLOCKS 6
#define N_SEQS 6
#define N_MOVES 200000

static const PkConfig small = {.hidden_size = 48, .num_hidden_layers = 2, .num_attention_heads = 4};
static const PkConfig large = {
	.hidden_size = 128, .num_hidden_layers = 2, .num_attention_heads = 4};

/* A sequence in these tests. */
typedef struct Row
{
	PkKvSeq      seq;
	PkPrefixPath path;
	int32_t      tokens[MAX_BLOCKS * BLOCK];
	size_t       n_done; /* blocks */
} Row;

typedef struct Cache
{
	PkKvBudget    budget;
	PkKvCache    *cache;
	PkPrefixTree *tree;
} Cache;

static void test_find(void);
static void test_announce(void);
static void test_give_up(void);
static void test_two_models(void);
static void test_random(void);

int
main(void)
{
	test_find();
	test_announce();
	test_give_up();
	test_two_models();
	test_random();
	return done_testing();
}

static void
cache_open(Cache *out, size_t n_blocks)
{
	*out = (Cache){.budget = {.max_bytes = n_blocks * 8192}};
	if (pk_kv_cache_create(&small, PK_QUANT_Q8, &out->budget, &out->cache, NULL) != PK_OK ||
	    pk_prefix_create(out->cache, &out->tree, NULL) != PK_OK)
		abort();
}

static void
cache_close(Cache *cache)
{
	pk_prefix_destroy(cache->tree);
	pk_kv_cache_destroy(cache->cache);
	is_int((long long) cache->budget.mapped_bytes, 0, "everything is unmapped in the end");
}

/* A row whose block b is all of tokens letters[b]. */
static void
row_open(Row *row, Cache *cache, uint64_t key, const char *letters)
{
	*row = (Row){.path = {.key = key}};
	if (pk_kv_seq_init(&row->seq, cache->cache, (size_t) MAX_BLOCKS * BLOCK, NULL) != PK_OK)
		abort();
	for (size_t i = 0; letters[i / BLOCK] != '\0'; i++)
		row->tokens[i] = letters[i / BLOCK];
}

static void
row_close(Row *row, Cache *cache)
{
	pk_prefix_release(cache->tree, &row->path, &row->seq);
	pk_kv_seq_free(&row->seq);
}

static PkPrefixFound
find(Cache *cache, uint64_t key, const char *letters)
{
	Row row;

	row_open(&row, cache, key, letters);

	PkPrefixFound found = pk_prefix_find(cache->tree, key, row.tokens, strlen(letters));

	pk_kv_seq_free(&row.seq);
	return found;
}

/* Compute and leave letters. */
static void
leave(Cache *cache, const char *letters)
{
	Row row;

	row_open(&row, cache, KEY, letters);
	pk_prefix_hold(cache->tree, &row.path, &row.seq, row.tokens, strlen(letters));
	if (pk_kv_seq_grow(&row.seq, strlen(letters) * BLOCK, NULL) != PK_OK)
		abort();
	pk_prefix_publish(cache->tree, &row.path, &row.seq, row.tokens, strlen(letters));
	row_close(&row, cache);
}

static void
test_find(void)
{
	Cache cache;
	Row   row;

	cache_open(&cache, 20);
	is_int((long long) find(&cache, KEY, "abc").n_ready, 0, "an empty tree knows nothing");
	leave(&cache, "abc");
	leave(&cache, "abd");
	is_int((long long) cache.budget.cached_bytes, 4 * 8192, "two that begin alike are four blocks");
	is_int((long long) find(&cache, KEY, "abcx").n_ready, 3, "as far as it is the same");
	is_int((long long) find(&cache, KEY, "abd").n_ready, 3, "each way is found");
	is_int((long long) find(&cache, KEY, "b").n_ready, 0, "only from the beginning");
	is_int((long long) find(&cache, KEY, "ac").n_ready, 1, "and without gaps");
	is_int((long long) find(&cache, KEY + 1, "abc").n_ready, 0, "another key knows nothing of it");

	row_open(&row, &cache, KEY, "abce");
	pk_prefix_hold(cache.tree, &row.path, &row.seq, row.tokens, 2);
	ok(row.seq.n_blocks == 2 && row.seq.n_shared == 2, "no more is taken than was asked for");
	ok(cache.budget.cached_bytes == 2 * 8192 && pk_kv_held(&cache.budget) == 2 * 8192,
	   "what is taken is held, the rest is kept");

	PkPrefixFound found = find(&cache, KEY, "abc");

	ok(found.n_ready == 3 && found.n_idle == 1, "find says what somebody holds");
	if (!ok(pk_kv_seq_grow(&row.seq, (size_t) 4 * BLOCK, NULL) == PK_OK, "it grows on its own"))
		return;

	void *own = row.seq.blocks[2];

	pk_prefix_publish(cache.tree, &row.path, &row.seq, row.tokens, 4);
	ok(row.seq.blocks[2] != own && row.seq.n_shared == 4,
	   "a block that was there already is swapped, a new one joins");
	ok(pk_kv_held(&cache.budget) == 4 * 8192 && cache.budget.free_bytes == 8192,
	   "the double is free");
	row_close(&row, &cache);
	is_int((long long) find(&cache, KEY, "abce").n_ready, 4, "what it leaves is found");
	cache_close(&cache);
}

static void
test_announce(void)
{
	Cache cache;
	Row   first;
	Row   second;

	cache_open(&cache, 20);
	row_open(&first, &cache, KEY, "abc");
	pk_prefix_announce(cache.tree, &first.path, first.tokens, 3);
	ok(find(&cache, KEY, "ax").is_awaited, "what is announced can be waited for");
	ok(!find(&cache, KEY, "xa").is_awaited, "by those who begin alike");
	is_int((long long) pk_kv_held(&cache.budget), 0, "it takes no room");
	if (pk_kv_seq_grow(&first.seq, (size_t) 2 * BLOCK, NULL) != PK_OK)
		return;
	pk_prefix_publish(cache.tree, &first.path, &first.seq, first.tokens, 2);

	PkPrefixFound found = find(&cache, KEY, "abd");

	ok(found.n_ready == 2 && !found.is_awaited, "what is complete is waited for no more");
	ok(find(&cache, KEY, "abc").is_awaited, "the rest is");

	row_open(&second, &cache, KEY, "abc");
	if (pk_kv_seq_grow(&second.seq, (size_t) 3 * BLOCK, NULL) != PK_OK)
		return;
	pk_prefix_announce(cache.tree, &second.path, second.tokens, 3);
	is_int((long long) second.path.n_nodes, 0, "nobody announces what another has");
	pk_prefix_publish(cache.tree, &second.path, &second.seq, second.tokens, 3);
	ok(second.seq.n_shared == 2 && second.path.n_ready == 2,
	   "who computed it all the same takes what is complete, and leaves the rest to the other");

	pk_prefix_retract(cache.tree, &first.path);
	ok(!find(&cache, KEY, "abc").is_awaited, "what is taken back is not waited for");
	pk_prefix_publish(cache.tree, &second.path, &second.seq, second.tokens, 3);
	is_int((long long) find(&cache, KEY, "abc").n_ready, 3, "another may complete it");
	row_close(&first, &cache);
	row_close(&second, &cache);
	cache_close(&cache);
}

static void
test_give_up(void)
{
	Cache cache;
	Row   row;
	Row   other;

	cache_open(&cache, 6);
	leave(&cache, "abc");
	leave(&cache, "xy");
	leave(&cache, "ab"); /* used again */
	row_open(&row, &cache, KEY, "pqrstu");
	if (!ok(pk_kv_seq_grow(&row.seq, (size_t) 2 * BLOCK, NULL) == PK_OK, "what is kept makes way"))
		return;
	is_int((long long) find(&cache, KEY, "abc").n_ready, 2,
	       "the end that was used least goes first");
	ok(pk_kv_seq_grow(&row.seq, (size_t) 4 * BLOCK, NULL) == PK_OK &&
	       find(&cache, KEY, "xy").n_ready == 0 && find(&cache, KEY, "ab").n_ready == 2,
	   "then the way that was used before the other");

	row_open(&other, &cache, KEY, "ab");
	pk_prefix_hold(cache.tree, &other.path, &other.seq, other.tokens, 2);
	is_int(pk_kv_seq_grow(&row.seq, (size_t) 5 * BLOCK, NULL), PK_NO_MEMORY,
	       "what a sequence holds never goes");
	row_close(&other, &cache);
	is_int(pk_kv_seq_grow(&row.seq, (size_t) 6 * BLOCK, NULL), PK_OK, "once let go it does");
	is_int((long long) cache.budget.cached_bytes, 0, "down to nothing");
	row_close(&row, &cache);
	cache_close(&cache);
}

static void
test_two_models(void)
{
	Cache      a;
	PkKvCache *cache_b = NULL;
	PkKvSeq    seq;

	cache_open(&a, 6);
	if (!ok(pk_kv_cache_create(&large, PK_QUANT_Q8, &a.budget, &cache_b, NULL) == PK_OK &&
	            pk_kv_seq_init(&seq, cache_b, 64, NULL) == PK_OK,
	        "another model with blocks twice as large"))
		return;
	leave(&a, "abcdef");
	is_int(pk_kv_seq_grow(&seq, (size_t) 2 * BLOCK, NULL), PK_OK,
	       "beginnings of one model make way for the other");
	ok(a.budget.mapped_bytes <= a.budget.max_bytes && find(&a, KEY, "abcdef").n_ready == 2,
	   "no more of them than it takes");
	pk_kv_seq_free(&seq);
	pk_kv_cache_destroy(cache_b);
	cache_close(&a);
}

/* What a block of the tokens up to its end must hold. */
static uint64_t
content(const int32_t *tokens, size_t b)
{
	uint64_t sum = 1469598103934665603u;

	for (size_t i = 0; i < (b + 1) * BLOCK; i++)
		sum = (sum ^ (uint64_t) tokens[i]) * 1099511628211u;
	return sum;
}

static bool
has_right_blocks(const Row *row)
{
	for (size_t b = 0; b < row->n_done; b++)
		if (memcmp(row->seq.blocks[b], &(uint64_t){content(row->tokens, b)}, 8) != 0)
			return false;
	return row->seq.n_shared <= row->n_done;
}

/* Bytes of the blocks that rows hold, each counted once. */
static size_t
held_bytes(const Row *rows)
{
	size_t n = 0;

	for (size_t r = 0; r < N_SEQS; r++)
		for (size_t b = 0; b < rows[r].seq.n_blocks; b++)
		{
			bool is_counted = false;

			for (size_t r2 = 0; r2 < r && !is_counted; r2++)
				is_counted =
					b < rows[r2].seq.n_blocks && rows[r2].seq.blocks[b] == rows[r].seq.blocks[b];
			n += is_counted ? 0 : 8192;
		}
	return n;
}

static void
begin_row(Row *row, Cache *cache)
{
	size_t known;

	pk_prefix_release(cache->tree, &row->path, &row->seq);
	pk_kv_seq_clear(&row->seq);
	for (size_t i = 0; i < PK_LENGTH(row->tokens); i++)
		row->tokens[i] = i % BLOCK == 0 ? rand() % 2 : 5;
	row->path.key = 1 + (uint64_t) rand() % 2;
	pk_prefix_hold(cache->tree, &row->path, &row->seq, row->tokens, (size_t) rand() % MAX_BLOCKS);
	row->n_done = row->seq.n_shared;
	known = row->n_done + (size_t) rand() % (MAX_BLOCKS + 1 - row->n_done);
	if (rand() % 2 == 0)
		pk_prefix_announce(cache->tree, &row->path, row->tokens, known);
}

static void
compute_block(Row *row, Cache *cache)
{
	if (row->n_done == MAX_BLOCKS ||
	    pk_kv_seq_grow(&row->seq, (row->n_done + 1) * BLOCK, NULL) != PK_OK)
		return;
	memcpy(row->seq.blocks[row->n_done], &(uint64_t){content(row->tokens, row->n_done)}, 8);
	row->n_done++;
	if (rand() % 3 > 0)
		pk_prefix_publish(cache->tree, &row->path, &row->seq, row->tokens, row->n_done);
}

static void
test_random(void)
{
	unsigned seed = 77;
	Cache    cache;
	Row      rows[N_SEQS];
	size_t   n_wrong = 0;
	size_t   n_lost = 0;
	size_t   n_shared = 0;

	diag("seed %u", seed);
	srand(seed);
	cache_open(&cache, 24);
	for (size_t r = 0; r < N_SEQS; r++)
		row_open(&rows[r], &cache, 1, "");
	for (size_t k = 0; k < N_MOVES; k++)
	{
		Row *row = &rows[rand() % N_SEQS];

		if (rand() % 6 == 0)
			begin_row(row, &cache);
		else if (rand() % 20 == 0)
			pk_prefix_retract(cache.tree, &row->path);
		else
			compute_block(row, &cache);
		for (size_t r = 0; r < N_SEQS; r++)
			n_wrong += !has_right_blocks(&rows[r]);
		n_lost += pk_kv_held(&cache.budget) != held_bytes(rows) ||
		          cache.budget.mapped_bytes > cache.budget.max_bytes;
		n_shared += row->seq.n_shared;
	}
	is_int((long long) n_wrong, 0, "every sequence reads the blocks of its own tokens");
	is_int((long long) n_lost, 0, "and every byte is accounted for");
	ok(n_shared > N_MOVES / 2, "though many are shared (%zu)", n_shared);
	for (size_t r = 0; r < N_SEQS; r++)
		row_close(&rows[r], &cache);
	cache_close(&cache);
}

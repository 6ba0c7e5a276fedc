/*
 * prefix.c
 *    Nodes in one hash table a tree, found by parent, key and tokens; what nobody holds stands in
 *    the budget's list, which all models share.
 *
 * Whoever holds a node holds its parents, and lets go of the last one first. So in the list each
 * node stands before its parent, and the first one never has children.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/infer/prefix.h"

#define FIRST_BUCKETS ((size_t) 64)

typedef struct PkPrefixNode Node;

struct PkPrefixNode
{
	PkPrefixTree *tree;
	Node         *parent; /* NULL: a beginning */
	Node         *next;   /* in the bucket */
	Node         *older, *newer;
	void         *block; /* NULL: announced */
	size_t        n_holders;
	size_t        n_children;
	uint64_t      hash;
	uint64_t      key;
	int32_t       tokens[PK_KV_BLOCK];
};

struct PkPrefixTree
{
	PkKvCache *cache;
	Node     **buckets;
	size_t     n_buckets; /* a power of two */
	size_t     n_nodes;
};

static uint64_t hash_of(const Node *parent, uint64_t key, const int32_t *tokens);
static Node    *node_find(const PkPrefixTree *tree, const Node *parent, uint64_t key,
                          const int32_t *tokens);
static Node    *node_add(PkPrefixTree *tree, PkPrefixPath *path, const int32_t *tokens);
static void     node_remove(Node *node);
static void     grow_table(PkPrefixTree *tree);
static void     hold(PkPrefixPath *path, Node *node);
static void     let_go(Node *node);
static void     list_append(PkKvBudget *budget, Node *node);
static void     list_remove(PkKvBudget *budget, Node *node);
static bool     give_up_oldest(PkKvBudget *budget);
static Node    *announced(const PkPrefixPath *path);
static bool     publish_next(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq,
                             const int32_t *tokens);

PkStatus
pk_prefix_create(PkKvCache *cache, PkPrefixTree **out, PkError *err)
{
	void *room;
	void *buckets;

	PK_FORWARD(pk_calloc(1, sizeof(PkPrefixTree), &room, err));

	PkPrefixTree *tree = room;
	PkStatus      status = pk_calloc(FIRST_BUCKETS, sizeof(Node *), &buckets, err);

	if (status != PK_OK)
	{
		free(tree);
		return status;
	}
	tree->cache = cache;
	tree->buckets = buckets;
	tree->n_buckets = FIRST_BUCKETS;
	pk_kv_budget(cache)->give_up = give_up_oldest;
	*out = tree;
	return PK_OK;
}

void
pk_prefix_destroy(PkPrefixTree *tree)
{
	if (tree == NULL)
		return;

	PkKvBudget *budget = pk_kv_budget(tree->cache);

	for (Node *node = budget->oldest; node != NULL;)
	{
		Node *newer = node->newer;

		if (node->tree == tree)
			node_remove(node);
		node = newer;
	}
	PK_ASSERT(tree->n_nodes == 0); /* the others are held */
	free(tree->buckets);
	free(tree);
}

PkPrefixFound
pk_prefix_find(PkPrefixTree *tree, uint64_t key, const int32_t *tokens, size_t n_blocks)
{
	PkPrefixFound found = {0};
	const Node   *parent = NULL;

	while (found.n_ready < n_blocks)
	{
		const Node *node = node_find(tree, parent, key, tokens + found.n_ready * PK_KV_BLOCK);

		if (node == NULL)
			break;
		if (node->block == NULL)
		{
			found.is_awaited = true;
			break;
		}
		found.n_ready++;
		found.n_idle += node->n_holders == 0 ? 1 : 0;
		parent = node;
	}
	return found;
}

void
pk_prefix_hold(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq, const int32_t *tokens,
               size_t n_blocks)
{
	PK_ASSERT(path->n_nodes == 0 && seq->n_blocks == 0 && n_blocks <= seq->n_room);
	while (path->n_ready < n_blocks)
	{
		Node *node = node_find(tree, path->tip, path->key, tokens + path->n_ready * PK_KV_BLOCK);

		if (node == NULL || node->block == NULL)
			return;
		hold(path, node);
		path->n_ready++;
		seq->blocks[seq->n_blocks++] = node->block;
		seq->n_shared++;
	}
}

void
pk_prefix_announce(PkPrefixTree *tree, PkPrefixPath *path, const int32_t *tokens, size_t n_blocks)
{
	while (path->n_nodes < n_blocks)
	{
		const int32_t *next = tokens + path->n_nodes * PK_KV_BLOCK;

		/* without memory for a node the sequence goes on alone */
		if (node_find(tree, path->tip, path->key, next) != NULL ||
		    node_add(tree, path, next) == NULL)
			return;
	}
}

void
pk_prefix_publish(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq, const int32_t *tokens,
                  size_t n_blocks)
{
	PK_ASSERT(n_blocks <= seq->n_blocks);
	while (path->n_ready < n_blocks && publish_next(tree, path, seq, tokens))
		;
}

/* False: not now. Another one computes the block too, or there is no memory for a node. */
static bool
publish_next(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq, const int32_t *tokens)
{
	const int32_t *next = tokens + path->n_ready * PK_KV_BLOCK;
	Node          *node;

	if (path->n_nodes > path->n_ready)
	{
		node = announced(path);
		node->block = seq->blocks[path->n_ready];
	}
	else if ((node = node_find(tree, path->tip, path->key, next)) == NULL)
	{
		node = node_add(tree, path, next);
		if (node == NULL)
			return false;
		node->block = seq->blocks[path->n_ready];
	}
	else if (node->block == NULL)
		return false;
	else
	{
		hold(path, node);
		pk_kv_block_give(tree->cache, seq->blocks[path->n_ready]);
		seq->blocks[path->n_ready] = node->block;
	}
	path->n_ready++;
	seq->n_shared++;
	return true;
}

/* The first node of path that is not complete. */
static Node *
announced(const PkPrefixPath *path)
{
	Node *node = path->tip;

	for (size_t i = path->n_nodes - 1; i > path->n_ready; i--)
		node = node->parent;
	return node;
}

void
pk_prefix_retract(PkPrefixTree *tree, PkPrefixPath *path)
{
	(void) tree;
	while (path->n_nodes > path->n_ready)
	{
		Node *node = path->tip;

		path->tip = node->parent;
		path->n_nodes--;
		node_remove(node);
	}
}

void
pk_prefix_release(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq)
{
	pk_prefix_retract(tree, path);
	while (path->tip != NULL)
	{
		Node *node = path->tip;

		path->tip = node->parent;
		let_go(node);
	}
	if (seq->n_shared > 0)
		memmove(seq->blocks, seq->blocks + seq->n_shared,
		        (seq->n_blocks - seq->n_shared) * sizeof(void *));
	seq->n_blocks -= seq->n_shared;
	seq->n_shared = 0;
	path->n_nodes = path->n_ready = 0;
}

static uint64_t
hash_of(const Node *parent, uint64_t key, const int32_t *tokens)
{
	uint64_t  name[2 + PK_KV_BLOCK * sizeof(int32_t) / sizeof(uint64_t)];
	PkHash128 hash;
	uint64_t  out;

	name[0] = (uint64_t) (uintptr_t) parent;
	name[1] = key;
	memcpy(name + 2, tokens, PK_KV_BLOCK * sizeof(int32_t));
	hash = pk_hash128(name, sizeof(name));
	memcpy(&out, hash.bytes, sizeof(out));
	return out;
}

static Node *
node_find(const PkPrefixTree *tree, const Node *parent, uint64_t key, const int32_t *tokens)
{
	uint64_t hash = hash_of(parent, key, tokens);
	Node    *node = tree->buckets[hash & (tree->n_buckets - 1)];

	while (node != NULL && (node->hash != hash || node->parent != parent || node->key != key ||
	                        memcmp(node->tokens, tokens, sizeof(node->tokens)) != 0))
		node = node->next;
	return node;
}

/* A node after path's last one, held by path and without a block; NULL: no memory. */
static Node *
node_add(PkPrefixTree *tree, PkPrefixPath *path, const int32_t *tokens)
{
	Node *node = calloc(1, sizeof(Node));

	if (node == NULL)
		return NULL;
	if (tree->n_nodes >= tree->n_buckets)
		grow_table(tree);
	node->tree = tree;
	node->parent = path->tip;
	node->key = path->key;
	node->n_holders = 1;
	node->hash = hash_of(path->tip, path->key, tokens);
	memcpy(node->tokens, tokens, sizeof(node->tokens));

	Node **bucket = &tree->buckets[node->hash & (tree->n_buckets - 1)];

	node->next = *bucket;
	*bucket = node;
	tree->n_nodes++;
	if (node->parent != NULL)
		node->parent->n_children++;
	path->tip = node;
	path->n_nodes++;
	return node;
}

/* Also from the list, and its block goes back. */
static void
node_remove(Node *node)
{
	PkPrefixTree *tree = node->tree;
	Node        **link = &tree->buckets[node->hash & (tree->n_buckets - 1)];

	PK_ASSERT(node->n_children == 0);
	if (node->n_holders == 0)
		list_remove(pk_kv_budget(tree->cache), node);
	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	tree->n_nodes--;
	if (node->parent != NULL)
		node->parent->n_children--;
	if (node->block != NULL)
		pk_kv_block_give(tree->cache, node->block);
	free(node);
}

/* Without memory chains grow longer. */
static void
grow_table(PkPrefixTree *tree)
{
	size_t n_buckets = 2 * tree->n_buckets;
	Node **buckets = calloc(n_buckets, sizeof(Node *));

	if (buckets == NULL)
		return;
	for (size_t i = 0; i < tree->n_buckets; i++)
		for (Node *node = tree->buckets[i], *next; node != NULL; node = next)
		{
			Node **bucket = &buckets[node->hash & (n_buckets - 1)];

			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	free(tree->buckets);
	tree->buckets = buckets;
	tree->n_buckets = n_buckets;
}

static void
hold(PkPrefixPath *path, Node *node)
{
	if (node->n_holders++ == 0)
		list_remove(pk_kv_budget(node->tree->cache), node);
	path->tip = node;
	path->n_nodes++;
}

static void
let_go(Node *node)
{
	if (--node->n_holders == 0)
		list_append(pk_kv_budget(node->tree->cache), node);
}

static void
list_append(PkKvBudget *budget, Node *node)
{
	node->older = budget->newest;
	node->newer = NULL;
	if (budget->newest != NULL)
		budget->newest->newer = node;
	else
		budget->oldest = node;
	budget->newest = node;
	budget->cached_bytes += pk_kv_block_bytes(node->tree->cache);
}

static void
list_remove(PkKvBudget *budget, Node *node)
{
	if (node->older != NULL)
		node->older->newer = node->newer;
	else
		budget->oldest = node->newer;
	if (node->newer != NULL)
		node->newer->older = node->older;
	else
		budget->newest = node->older;
	node->older = node->newer = NULL;
	budget->cached_bytes -= pk_kv_block_bytes(node->tree->cache);
}

static bool
give_up_oldest(PkKvBudget *budget)
{
	if (budget->oldest == NULL)
		return false;
	node_remove(budget->oldest);
	return true;
}

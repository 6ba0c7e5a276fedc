/*
 * prefix.h
 *    Beginnings of prompts whose keys and values are there already: a tree over token ids.
 *
 * A node is one whole block (PK_KV_BLOCK tokens) after the blocks of its parents. Keys and values
 * of a position depend on nothing but the tokens up to it, so whoever begins with the same tokens
 * may read the same blocks; nobody writes a block once it is in the tree. Sequences hold the nodes
 * on their path; what none holds is kept until its room is needed, and given up in the order in
 * which it was let go, ends before beginnings.
 *
 * A sequence announces the blocks that it is going to compute, so that others that begin alike can
 * wait instead of computing them too.
 *
 * Trees of different keys (a role) know nothing of each other. One thread; the budget of the cache
 * counts all blocks.
 */
#ifndef PK_PREFIX_H
#define PK_PREFIX_H

#include "core/infer/kvcache.h"

typedef struct PkPrefixTree PkPrefixTree;

/* A way into the tree of a sequence's cache: what the sequence shares. Zeroed: nothing. */
typedef struct PkPrefixPath
{
	uint64_t             key;
	struct PkPrefixNode *tip; /* its last node */
	size_t               n_nodes;
	size_t               n_ready; /* of them; the others it announced */
} PkPrefixPath;

typedef struct PkPrefixFound
{
	size_t n_ready;    /* blocks that are there */
	size_t n_idle;     /* of these, blocks that no sequence holds */
	bool   is_awaited; /* the next one is being computed */
} PkPrefixFound;

PkStatus pk_prefix_create(PkKvCache *cache, PkPrefixTree **out, PkError *err);
void     pk_prefix_destroy(PkPrefixTree *tree); /* before its cache; no path holds anything */

/* What is known of the first n_blocks blocks of tokens. */
PkPrefixFound pk_prefix_find(PkPrefixTree *tree, uint64_t key, const int32_t *tokens,
                             size_t n_blocks);

/*
 * Let seq, which holds nothing and has room, begin with those of its first n_blocks blocks that are
 * there (seq->n_shared afterwards).
 */
void pk_prefix_hold(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq, const int32_t *tokens,
                    size_t n_blocks);

/* Say that seq will compute the blocks up to n_blocks, as far as nobody else does. */
void pk_prefix_announce(PkPrefixTree *tree, PkPrefixPath *path, const int32_t *tokens,
                        size_t n_blocks);

/* The first n_blocks blocks of seq are complete. Those that are there already are swapped. */
void pk_prefix_publish(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq, const int32_t *tokens,
                       size_t n_blocks);

/* Take back what was announced and is not complete: nobody waits for it any more. */
void pk_prefix_retract(PkPrefixTree *tree, PkPrefixPath *path);

/* Let go of all; seq keeps only blocks of its own and is of no use before pk_kv_seq_clear(). */
void pk_prefix_release(PkPrefixTree *tree, PkPrefixPath *path, PkKvSeq *seq);

#endif

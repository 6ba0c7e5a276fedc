/*
 * trie.h
 *    A trie of bytes; finding added tokens: leftmost, and of those the longest.
 */
#ifndef PK_TRIE_H
#define PK_TRIE_H

#include "core/tokenizer/blob.h"

typedef struct PkTriePattern
{
	const char *text;
	size_t      len; /* at least 1 */
	int32_t     id;
	uint32_t    order; /* of equal texts the lowest wins */
} PkTriePattern;

/*
 * Build the nodes and edges (malloc'ed) of n patterns, which are sorted in place. No patterns give
 * no nodes.
 */
PkStatus pk_trie_build(PkTriePattern *patterns, size_t n, PkTrieNode **nodes, size_t *n_nodes,
                       PkTrieEdge **edges, size_t *n_edges, PkError *err);

/* False unless every edge and node lies inside; fills trie->starts. max_id: ids are below it. */
bool pk_trie_attach(PkTrie *trie, size_t n_nodes, size_t n_edges, size_t max_id);

/* The edge from node that takes byte, or NULL. */
const PkTrieEdge *pk_trie_edge(const PkTrie *trie, const PkTrieNode *node, uint8_t byte);

/*
 * The first match that starts at or after from and before limit (<= len): its id and bytes
 * [*start, *end), or -1.
 */
int32_t pk_trie_find(const PkTrie *trie, const char *text, size_t len, size_t from, size_t limit,
                     size_t *start, size_t *end);

#endif

/*
 * trie.c
 *    A byte trie with sorted edges, built breadth first from sorted patterns.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/tokenizer/trie.h"

/* Patterns low to high - 1 share their first depth bytes: the node to come. */
typedef struct Span
{
	size_t low, high, depth;
} Span;

typedef struct Builder
{
	const PkTriePattern *patterns;
	PkTrieNode          *nodes;
	PkTrieEdge          *edges;
	Span                *spans; /* one a node */
	size_t               n_nodes, n_edges;
} Builder;

static int     compare_patterns(const void *left, const void *right);
static void    build_node(Builder *builder, size_t node);
static int32_t match_at(const PkTrie *trie, const char *text, size_t len, size_t *match_len);
static size_t  longest_pattern(const PkTrie *trie, size_t n_edges);
static bool    is_inside(const char *text, size_t len, size_t at);

PkStatus
pk_trie_build(PkTriePattern *patterns, size_t n, PkTrieNode **nodes, size_t *n_nodes,
              PkTrieEdge **edges, size_t *n_edges, PkError *err)
{
	size_t  n_most = 1; /* nodes: the root, and one for each byte at most */
	Builder builder = {.patterns = patterns, .n_nodes = 1};

	*nodes = NULL;
	*edges = NULL;
	*n_nodes = *n_edges = 0;
	if (n == 0)
		return PK_OK;
	for (size_t i = 0; i < n; i++)
		if (!pk_size_add(n_most, patterns[i].len, &n_most) || n_most > UINT32_MAX / 2)
			return pk_error(err, PK_UNSUPPORTED, "the patterns are too long together");
	qsort(patterns, n, sizeof(*patterns), compare_patterns);
	builder.nodes = calloc(n_most, sizeof(*builder.nodes));
	builder.edges = calloc(n_most, sizeof(*builder.edges));
	builder.spans = calloc(n_most, sizeof(*builder.spans));
	if (builder.nodes == NULL || builder.edges == NULL || builder.spans == NULL)
	{
		free(builder.nodes);
		free(builder.edges);
		free(builder.spans);
		return pk_error(err, PK_NO_MEMORY, "out of memory for %zu trie nodes", n_most);
	}
	builder.spans[0] = (Span){0, n, 0};
	for (size_t node = 0; node < builder.n_nodes; node++)
		build_node(&builder, node);
	free(builder.spans);
	*nodes = builder.nodes;
	*n_nodes = builder.n_nodes;
	*edges = builder.edges;
	*n_edges = builder.n_edges;
	return PK_OK;
}

static int
compare_patterns(const void *left, const void *right)
{
	const PkTriePattern *a = left, *b = right;
	int                  order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);

	if (order != 0)
		return order;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static void
build_node(Builder *builder, size_t node)
{
	Span   span = builder->spans[node];
	size_t i = span.low;

	builder->nodes[node].id = -1;
	for (; i < span.high && builder->patterns[i].len == span.depth; i++)
		if (i == span.low) /* equal texts follow in order */
			builder->nodes[node].id = builder->patterns[i].id;
	builder->nodes[node].first_edge = (uint32_t) builder->n_edges;
	while (i < span.high)
	{
		uint8_t byte = (uint8_t) builder->patterns[i].text[span.depth];
		size_t  high = i + 1;

		while (high < span.high && (uint8_t) builder->patterns[high].text[span.depth] == byte)
			high++;
		builder->edges[builder->n_edges++] = (PkTrieEdge){byte, (uint32_t) builder->n_nodes};
		builder->spans[builder->n_nodes++] = (Span){i, high, span.depth + 1};
		builder->nodes[node].n_edges++;
		i = high;
	}
}

bool
pk_trie_attach(PkTrie *trie, size_t n_nodes, size_t n_edges, size_t max_id)
{
	trie->n_nodes = n_nodes;
	for (size_t i = 0; i < n_nodes; i++)
	{
		const PkTrieNode *node = &trie->nodes[i];

		if (node->first_edge > n_edges || node->n_edges > n_edges - node->first_edge)
			return false;
		if (node->id < -1 || (node->id >= 0 && (size_t) node->id >= max_id))
			return false;
	}
	for (size_t i = 0; i < n_edges; i++)
		if (trie->edges[i].node >= n_nodes || trie->edges[i].byte > 255 ||
		    trie->edges[i].node != i + 1) /* as pk_trie_build() numbers them: no circle */
			return false;
	for (size_t i = 0; n_nodes > 0 && i < trie->nodes[0].n_edges; i++)
		trie->starts[trie->edges[trie->nodes[0].first_edge + i].byte] = true;
	trie->longest = longest_pattern(trie, n_edges);
	return trie->longest <= PK_MAX_ADDED_LEN;
}

/* Steps from the root to the deepest node: nodes lie breadth first, a level after the other. */
static size_t
longest_pattern(const PkTrie *trie, size_t n_edges)
{
	size_t n_levels = 0;

	for (size_t low = 0, high = trie->n_nodes > 0 ? 1 : 0; low < high && n_levels <= n_edges;
	     n_levels++)
	{
		size_t next = high;

		for (size_t i = low; i < high; i++)
			if (trie->nodes[i].first_edge + trie->nodes[i].n_edges + 1 > next)
				next = trie->nodes[i].first_edge + trie->nodes[i].n_edges + 1;
		low = high;
		high = next < trie->n_nodes ? next : trie->n_nodes;
	}
	return n_levels > 0 ? n_levels - 1 : 0;
}

int32_t
pk_trie_find(const PkTrie *trie, const char *text, size_t len, size_t from, size_t limit,
             size_t *start, size_t *end)
{
	if (trie->n_nodes == 0)
		return -1;
	for (size_t i = from; i < limit; i++)
	{
		size_t match_len;

		if (!trie->starts[(uint8_t) text[i]] || is_inside(text, len, i))
			continue;

		int32_t id = match_at(trie, text + i, len - i, &match_len);

		if (id >= 0)
		{
			*start = i;
			*end = i + match_len;
			return id;
		}
	}
	return -1;
}

/* True between two bytes of one character: only the patterns of an altered blob end there. */
static bool
is_inside(const char *text, size_t len, size_t at)
{
	return at < len && ((uint8_t) text[at] & 0xc0) == 0x80;
}

static int32_t
match_at(const PkTrie *trie, const char *text, size_t len, size_t *match_len)
{
	const PkTrieNode *node = &trie->nodes[0];
	int32_t           id = -1;

	for (size_t i = 0; i < len; i++)
	{
		const PkTrieEdge *edge = pk_trie_edge(trie, node, (uint8_t) text[i]);

		if (edge == NULL)
			break;
		node = &trie->nodes[edge->node];
		if (node->id >= 0 && !is_inside(text, len, i + 1))
		{
			id = node->id;
			*match_len = i + 1;
		}
	}
	return id;
}

const PkTrieEdge *
pk_trie_edge(const PkTrie *trie, const PkTrieNode *node, uint8_t byte)
{
	size_t low = node->first_edge, high = low + node->n_edges;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (trie->edges[middle].byte == byte)
			return &trie->edges[middle];
		if (trie->edges[middle].byte < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

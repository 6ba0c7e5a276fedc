/*
 * match_build.c
 *    Tables for pk_match_word(): how each token came about, and a double array over their bytes
 *    (Aoe, 1989).
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/hashtable.h"
#include "core/tokenizer/match.h"
#include "core/tokenizer/trie.h"

#define MAX_TEXT_BYTES ((size_t) 16 << 20) /* of all tokens: the trie takes some 40 for each */
#define BLOCK 256                          /* the children of a node lie in one */
#define OPEN_BLOCKS 16                     /* the last so many are searched for free slots */
#define POLL_EVERY 1024

/* The double array as it grows. */
typedef struct Slots
{
	uint64_t *nodes;
	uint8_t  *is_base; /* of some node: two must not share one */
	uint32_t *n_free;  /* free slots of each block */
	size_t    n, room, base_room, free_room;
} Slots;

static bool     is_trained(const PkTokenizer *view);
static PkStatus trace_tokens(const PkTokenizer *view, PkMatchToken *tokens, bool *is_fit,
                             PkCancel *cancel, PkError *err);
static PkStatus trace_token(const PkTokenizer *view, PkBpe *bpe, uint32_t id, PkMatchToken *token,
                            PkCancel *cancel, PkError *err);
static int32_t  find_word(const PkTokenizer *view, const char *text, size_t len);
static void     find_partners(const PkTokenizer *view, PkMatchToken *tokens);
static bool     comes_after_its_parts(const PkMatchToken *tokens, size_t n);
static PkStatus lay_array(const PkTokenizer *view, PkMatchToken *tokens, Slots *slots,
                          PkCancel *cancel, PkError *err);
static PkStatus lay_nodes(const PkTrieNode *nodes, size_t n_nodes, const PkTrieEdge *edges,
                          PkMatchToken *tokens, Slots *slots, PkCancel *cancel, PkError *err);
static PkStatus find_base(Slots *slots, const PkTrieEdge *edges, size_t n_edges, size_t *base,
                          PkError *err);
static void     take_base(Slots *slots, size_t base, size_t n_edges);
static bool     is_free(const Slots *slots, size_t base, const PkTrieEdge *edges, size_t n_edges);
static PkStatus add_block(Slots *slots, PkError *err);
static PkStatus poll(PkCancel *cancel, size_t i, PkError *err);

PkStatus
pk_match_build(const PkTokenizer *view, uint64_t **nodes, size_t *n_nodes, PkMatchToken **tokens,
               PkCancel *cancel, PkError *err)
{
	Slots    slots = {.n = 0};
	void    *memory;
	bool     is_fit = false;
	PkStatus status;

	*nodes = NULL;
	*tokens = NULL;
	*n_nodes = 0;
	if (!is_trained(view))
		return PK_OK;
	PK_FORWARD(pk_calloc(view->n_ids, sizeof(PkMatchToken), &memory, err));
	PK_FORWARD_TO(done, trace_tokens(view, memory, &is_fit, cancel, err));
	if (is_fit)
		PK_FORWARD_TO(done, lay_array(view, memory, &slots, cancel, err));
	status = PK_OK;

done:
	free(slots.is_base);
	free(slots.n_free);
	if (status == PK_OK && slots.n > 0 && slots.n <= PK_MATCH_MAX_NODES)
	{
		*nodes = slots.nodes;
		*n_nodes = slots.n;
		*tokens = memory;
		return PK_OK;
	}
	free(slots.nodes);
	free(memory);
	return status;
}

/* Each byte is a token, and the texts are of a bearable size. */
static bool
is_trained(const PkTokenizer *view)
{
	if ((view->header->flags & PK_BLOB_BYTE_LEVEL) == 0 ||
	    view->word_offsets[view->n_ids] > MAX_TEXT_BYTES)
		return false;
	for (size_t byte = 0; byte < 256; byte++)
		if (view->header->byte_ids[byte] < 0)
			return false;
	return true;
}

static PkStatus
trace_tokens(const PkTokenizer *view, PkMatchToken *tokens, bool *is_fit, PkCancel *cancel,
             PkError *err)
{
	PkBpe    bpe = {0};
	PkStatus status = PK_OK;

	for (size_t id = 0; id < view->n_ids && status == PK_OK; id++)
	{
		status = trace_token(view, &bpe, (uint32_t) id, &tokens[id], cancel, err);
		if (status == PK_OK)
			status = poll(cancel, id, err);
	}
	if (status == PK_OK)
		find_partners(view, tokens);
	*is_fit = comes_after_its_parts(tokens, view->n_ids);
	pk_bpe_free(&bpe);
	return status;
}

/* Its last merge, if the merges lead to it at all. */
static PkStatus
trace_token(const PkTokenizer *view, PkBpe *bpe, uint32_t id, PkMatchToken *token, PkCancel *cancel,
            PkError *err)
{
	const char *text = view->word_text + view->word_offsets[id];
	size_t      len = view->word_offsets[id + 1] - view->word_offsets[id];

	*token = (PkMatchToken){PK_NO_TOKEN, PK_NO_TOKEN, PK_NO_TOKEN, PK_NO_TOKEN, 0};
	if (len == 0 || len > PK_MATCH_BYTES || find_word(view, text, len) != (int32_t) id)
		return PK_OK;
	if (len == 1)
	{
		token->made_at = 0;
		return PK_OK;
	}
	PK_FORWARD(pk_bpe_word(bpe, view, text, len, cancel, err));

	int32_t left = find_word(view, text, bpe->last_join);
	int32_t right = find_word(view, text + bpe->last_join, len - bpe->last_join);

	if (left < 0 || right < 0)
		return pk_error(err, PK_INTERNAL, "token %u has parts that are no tokens", id);
	token->left = (uint32_t) left;
	token->right = (uint32_t) right;
	token->made_at =
		pk_pair_find(view->merge_table, view->merge_bits, token->left, token->right) + 1;
	return PK_OK;
}

static int32_t
find_word(const PkTokenizer *view, const char *text, size_t len)
{
	return pk_text_find(view->word_table, view->word_bits, view->word_offsets, view->word_text,
	                    text, len, pk_text_hash(text, len));
}

static void
find_partners(const PkTokenizer *view, PkMatchToken *tokens)
{
	for (size_t slot = 0; slot < (size_t) 1 << view->merge_bits; slot++)
	{
		uint64_t entry = view->merge_table[slot];
		uint32_t right = (uint32_t) (entry >> PK_ID_BITS & PK_ID_MASK);

		if (entry != PK_PAIR_FREE)
			tokens[entry >> 2 * PK_ID_BITS].partners |= PK_MATCH_PARTNER(right);
	}
}

static bool
comes_after_its_parts(const PkMatchToken *tokens, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (tokens[i].left != PK_NO_TOKEN && (tokens[tokens[i].left].made_at >= tokens[i].made_at ||
		                                      tokens[tokens[i].right].made_at >= tokens[i].made_at))
			return false;
	return true;
}

static PkStatus
lay_array(const PkTokenizer *view, PkMatchToken *tokens, Slots *slots, PkCancel *cancel,
          PkError *err)
{
	PkTrieNode *nodes = NULL;
	PkTrieEdge *edges = NULL;
	size_t      n = 0, n_nodes, n_edges;
	void       *memory;

	PK_FORWARD(pk_calloc(view->n_ids, sizeof(PkTriePattern), &memory, err));

	PkTriePattern *patterns = memory;

	for (size_t id = 0; id < view->n_ids; id++)
		if (tokens[id].made_at != PK_NO_TOKEN)
		{
			patterns[n] = (PkTriePattern){view->word_text + view->word_offsets[id],
			                              view->word_offsets[id + 1] - view->word_offsets[id],
			                              (int32_t) id, (uint32_t) n};
			n++;
		}

	PkStatus status = pk_trie_build(patterns, n, &nodes, &n_nodes, &edges, &n_edges, err);

	if (status == PK_OK)
		status = lay_nodes(nodes, n_nodes, edges, tokens, slots, cancel, err);
	free(patterns);
	free(nodes);
	free(edges);
	return status;
}

/* The trie's nodes in their order, which is by depth: a parent has its slot before its children. */
static PkStatus
lay_nodes(const PkTrieNode *nodes, size_t n_nodes, const PkTrieEdge *edges, PkMatchToken *tokens,
          Slots *slots, PkCancel *cancel, PkError *err)
{
	typedef struct Place
	{
		uint32_t slot, token; /* the last token on the way here */
	} Place;

	void    *memory;
	PkStatus status = PK_OK;

	PK_FORWARD(pk_calloc(n_nodes, sizeof(Place), &memory, err));

	Place *places = memory;

	places[0].token = PK_NO_TOKEN;
	PK_FORWARD_TO(done, add_block(slots, err)); /* the root's */
	for (size_t i = 0; i < n_nodes && slots->n <= PK_MATCH_MAX_NODES; i++)
	{
		const PkTrieEdge *first = &edges[nodes[i].first_edge];
		size_t            base = 0;

		if (nodes[i].id >= 0)
		{
			slots->nodes[places[i].slot] |= (uint64_t) ((uint32_t) nodes[i].id + 1)
			                                << (PK_MATCH_BASE_BITS + PK_MATCH_LABEL_BITS);
			tokens[nodes[i].id].shorter = places[i].token;
			places[i].token = (uint32_t) nodes[i].id;
		}
		PK_FORWARD_TO(done, poll(cancel, i, err));
		if (nodes[i].n_edges == 0)
			continue;
		PK_FORWARD_TO(done, find_base(slots, first, nodes[i].n_edges, &base, err));
		slots->nodes[places[i].slot] |= base;
		for (size_t k = 0; k < nodes[i].n_edges; k++)
		{
			slots->nodes[base ^ first[k].byte] = (uint64_t) (first[k].byte + 1)
			                                     << PK_MATCH_BASE_BITS;
			places[first[k].node] = (Place){(uint32_t) (base ^ first[k].byte), places[i].token};
		}
	}

done:
	free(places);
	return status;
}

/* A base of its own under which all children find a free slot. */
static PkStatus
find_base(Slots *slots, const PkTrieEdge *edges, size_t n_edges, size_t *base, PkError *err)
{
	size_t n_blocks = slots->n / BLOCK;
	size_t first = n_blocks > OPEN_BLOCKS ? (n_blocks - OPEN_BLOCKS) * BLOCK : BLOCK;

	for (size_t slot = first; slot < slots->n; slot++)
	{
		if (slots->n_free[slot / BLOCK] < n_edges)
		{
			slot |= BLOCK - 1;
			continue;
		}
		*base = slot ^ edges[0].byte;
		if (PK_MATCH_LABEL(slots->nodes[slot]) == 0 && slots->is_base[*base] == 0 &&
		    is_free(slots, *base, edges, n_edges))
		{
			take_base(slots, *base, n_edges);
			return PK_OK;
		}
	}
	*base = slots->n;
	PK_FORWARD(add_block(slots, err));
	take_base(slots, *base, n_edges);
	return PK_OK;
}

static void
take_base(Slots *slots, size_t base, size_t n_edges)
{
	slots->is_base[base] = 1;
	slots->n_free[base / BLOCK] -= (uint32_t) n_edges;
}

static bool
is_free(const Slots *slots, size_t base, const PkTrieEdge *edges, size_t n_edges)
{
	for (size_t i = 0; i < n_edges; i++)
		if (PK_MATCH_LABEL(slots->nodes[base ^ edges[i].byte]) != 0)
			return false;
	return true;
}

static PkStatus
add_block(Slots *slots, PkError *err)
{
	void    *nodes = slots->nodes, *is_base = slots->is_base, *n_free = slots->n_free;
	PkStatus status = pk_grow(&nodes, &slots->room, slots->n + BLOCK, sizeof(uint64_t), err);

	slots->nodes = nodes;
	PK_FORWARD(status);
	status = pk_grow(&is_base, &slots->base_room, slots->n + BLOCK, 1, err);
	slots->is_base = is_base;
	PK_FORWARD(status);
	status = pk_grow(&n_free, &slots->free_room, slots->n / BLOCK + 1, sizeof(uint32_t), err);
	slots->n_free = n_free;
	PK_FORWARD(status);
	slots->n_free[slots->n / BLOCK] = BLOCK;
	memset(slots->nodes + slots->n, 0, BLOCK * sizeof(uint64_t));
	memset(slots->is_base + slots->n, 0, BLOCK);
	slots->n += BLOCK;
	return PK_OK;
}

static PkStatus
poll(PkCancel *cancel, size_t i, PkError *err)
{
	if (i % POLL_EVERY == 0 && pk_cancel_poll(cancel))
		return pk_error(err, PK_CANCELLED, "reading tokenizer.json was cancelled");
	return PK_OK;
}

/*
 * match.c
 *    Walking a word along its tokens.
 */
#include <string.h>

#include "core/tokenizer/hashtable.h"
#include "core/tokenizer/match.h"

static uint32_t longest_token(const PkTokenizer *tokenizer, const char *word, size_t len,
                              size_t *found_len);
static bool     fits(const PkTokenizer *tokenizer, uint32_t left, uint32_t right);
static bool     is_right_token(const PkTokenizer *tokenizer, uint32_t id);
static bool     is_right_merge(const PkTokenizer *tokenizer, uint32_t id);

_Static_assert(PK_MATCH_BYTES < 64, "the places of a word are the bits of a number");

PK_INLINE size_t
token_len(const PkTokenizer *tokenizer, uint32_t id)
{
	return tokenizer->word_offsets[id + 1] - tokenizer->word_offsets[id];
}

PK_INLINE uint32_t
shorter(const PkTokenizer *tokenizer, uint32_t id, size_t *len)
{
	id = tokenizer->match_tokens[id].shorter;
	*len = id != PK_NO_TOKEN ? token_len(tokenizer, id) : 0;
	return id;
}

size_t
pk_match_word(const PkTokenizer *tokenizer, const char *word, size_t len, uint32_t *ids,
              uint32_t *ends)
{
	uint64_t dead_ends = 0; /* places after which no division fits */
	size_t   n = 0, at = 0;

	if (tokenizer->n_match_nodes == 0 || len == 0 || len > PK_MATCH_BYTES)
		return 0;

	size_t   id_len;
	uint32_t id = longest_token(tokenizer, word, len, &id_len);

	while (at < len)
	{
		if (id == PK_NO_TOKEN)
		{
			if (n == 0)
				return 0;
			dead_ends |= UINT64_C(1) << at;
			id = shorter(tokenizer, ids[--n], &id_len);
			at = n > 0 ? ends[n - 1] : 0;
		}
		else if (id_len <= len - at && (dead_ends >> (at + id_len) & 1) == 0 &&
		         (n == 0 || fits(tokenizer, ids[n - 1], id)))
		{
			at += id_len;
			ids[n] = id;
			ends[n++] = (uint32_t) at;
			id = longest_token(tokenizer, word + at, len - at, &id_len);
		}
		else
			id = shorter(tokenizer, id, &id_len);
	}
	return n;
}

/* The longest token that word begins with, and its bytes; or PK_NO_TOKEN. */
static uint32_t
longest_token(const PkTokenizer *tokenizer, const char *word, size_t len, size_t *found_len)
{
	const uint64_t *nodes = tokenizer->match_nodes;
	uint64_t        node = nodes[0];
	uint32_t        id_plus_1 = 0;

	for (size_t i = 0; i < len; i++)
	{
		uint32_t byte = (uint8_t) word[i];

		node = nodes[PK_MATCH_BASE(node) ^ byte];
		if (PK_MATCH_LABEL(node) != byte + 1)
			break;
		if (PK_MATCH_ID_PLUS_1(node) != 0)
		{
			id_plus_1 = PK_MATCH_ID_PLUS_1(node);
			*found_len = i + 1;
		}
	}
	return id_plus_1 - 1;
}

/*
 * Whether no merge joins the two. Their making is undone, the later merge first: at each step the
 * symbols that met at the boundary, and a merge of those two would have come if it is earlier in
 * the list than what used one of them up. Of equal merges the left one comes first.
 */
static bool
fits(const PkTokenizer *tokenizer, uint32_t left, uint32_t right)
{
	const PkMatchToken *tokens = tokenizer->match_tokens;
	uint32_t            limit = PK_NO_TOKEN; /* a merge that is made before it would have come */

	for (;;)
	{
		uint32_t left_at = tokens[left].made_at, right_at = tokens[right].made_at;

		if ((tokens[left].partners & PK_MATCH_PARTNER(right)) != 0)
		{
			uint32_t rank =
				pk_pair_find(tokenizer->merge_table, tokenizer->merge_bits, left, right);

			if (rank != UINT32_MAX && rank + 1 < limit)
				return false;
		}
		if (left_at == 0 && right_at == 0)
			return true;
		if (left_at > right_at)
		{
			limit = left_at;
			left = tokens[left].right;
		}
		else
		{
			limit = right_at + 1;
			right = tokens[right].left;
		}
	}
}

bool
pk_match_check(const PkTokenizer *tokenizer)
{
	size_t n_nodes = tokenizer->n_match_nodes;

	if (n_nodes == 0)
		return true;
	if (n_nodes % 256 != 0 || n_nodes > PK_MATCH_MAX_NODES)
		return false;
	for (size_t i = 0; i < n_nodes; i++)
	{
		uint64_t node = tokenizer->match_nodes[i];
		uint32_t id_plus_1 = PK_MATCH_ID_PLUS_1(node);

		if (PK_MATCH_BASE(node) >= n_nodes || id_plus_1 > tokenizer->n_ids ||
		    (id_plus_1 > 0 && tokenizer->match_tokens[id_plus_1 - 1].made_at == PK_NO_TOKEN))
			return false;
	}
	for (uint32_t id = 0; id < tokenizer->n_ids; id++)
		if (!is_right_token(tokenizer, id))
			return false;
	return true;
}

static bool
is_right_token(const PkTokenizer *tokenizer, uint32_t id)
{
	const PkMatchToken *token = &tokenizer->match_tokens[id];
	size_t              n_ids = tokenizer->n_ids;

	if (token->made_at == PK_NO_TOKEN)
		return true;
	if (token->shorter != PK_NO_TOKEN &&
	    (token->shorter >= n_ids || token_len(tokenizer, token->shorter) == 0 ||
	     token_len(tokenizer, token->shorter) >= token_len(tokenizer, id) ||
	     tokenizer->match_tokens[token->shorter].made_at == PK_NO_TOKEN))
		return false;
	if (token->made_at == 0)
		return token_len(tokenizer, id) == 1;
	return token->left < n_ids && token->right < n_ids && is_right_merge(tokenizer, id);
}

/* The parts are tokens that were made before, and join to the whole. */
static bool
is_right_merge(const PkTokenizer *tokenizer, uint32_t id)
{
	const PkMatchToken *token = &tokenizer->match_tokens[id];
	const PkMatchToken *left = &tokenizer->match_tokens[token->left];
	const PkMatchToken *right = &tokenizer->match_tokens[token->right];

	return left->made_at < token->made_at && right->made_at < token->made_at &&
	       token_len(tokenizer, token->left) > 0 && token_len(tokenizer, token->right) > 0 &&
	       token_len(tokenizer, token->left) + token_len(tokenizer, token->right) ==
	           token_len(tokenizer, id);
}

/*
 * vocab.c
 *    The added_tokens and model sections of tokenizer.json.
 *
 * Ids must be those that Hugging Face tokenizers would give: it numbers added tokens itself and
 * only warns where the file says otherwise, so a file that disagrees has no one meaning.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/tokenizer/draft.h"
#include "core/tokenizer/hashtable.h"

#define QUOTE_ROOM 120

static PkStatus check_model(PkDraft *draft, const PkJson *model, PkError *err);
static PkStatus read_vocab(PkDraft *draft, const PkJson *vocab, PkError *err);
static PkStatus read_added(PkDraft *draft, const PkJson *list, const PkJson *vocab, PkError *err);
static PkStatus read_added_token(PkDraft *draft, const PkJson *item, const PkJson *vocab,
                                 int64_t *max_added, PkError *err);
static PkStatus read_flag(const PkJson *item, const char *key, uint8_t flag, uint8_t *flags,
                          PkError *err);
static PkStatus index_spellings(PkDraft *draft, PkError *err);
static PkStatus read_merges(PkDraft *draft, const PkJson *list, PkError *err);
static PkStatus split_merge(const PkJson *item, bool is_pair, size_t i, const char *half[2],
                            size_t len[2], PkError *err);
static PkStatus merge_token(const PkDraft *draft, const char *text, size_t len, size_t i,
                            uint32_t *id, PkError *err);
static PkStatus read_unknown(PkDraft *draft, const PkJson *model, PkError *err);
static void     find_fallback(PkDraft *draft);

PkStatus
pk_draft_vocab(PkDraft *draft, const PkJson *root, PkError *err)
{
	const PkJson *model = pk_json_get(root, "model");
	const PkJson *vocab = pk_json_get(model, "vocab");

	PK_FORWARD(check_model(draft, model, err));
	PK_FORWARD(read_vocab(draft, vocab, err));
	PK_FORWARD(read_added(draft, pk_json_get(root, "added_tokens"), vocab, err));
	PK_FORWARD(index_spellings(draft, err));
	PK_FORWARD(read_merges(draft, pk_json_get(model, "merges"), err));
	PK_FORWARD(read_unknown(draft, model, err));
	find_fallback(draft);
	return PK_OK;
}

/* Refuse options of the model that we don't run; an option that changes nothing passes. */
static PkStatus
check_model(PkDraft *draft, const PkJson *model, PkError *err)
{
	static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
	static const struct
	{
		const char *key;
		uint32_t    flag;
	} switches[] = {{"byte_fallback", PK_BLOB_BYTE_FALLBACK}, {"fuse_unk", PK_BLOB_FUSE_UNK}};
	const PkJson *type = pk_json_get(model, "type");
	const PkJson *dropout = pk_json_get(model, "dropout");
	char          quoted[QUOTE_ROOM];
	size_t        len;
	double        rate;

	if (pk_json_type(model) != PK_JSON_OBJECT)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: model is no object");
	if (pk_json_type(type) == PK_JSON_STRING && !pk_json_string_is(type, "BPE"))
	{
		const char *name = pk_json_string(type, &len);

		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: model type \"%s\" is not supported",
		                pk_error_quote(quoted, sizeof(quoted), name, len));
	}
	if (pk_json_type(type) != PK_JSON_STRING && pk_json_type(type) != PK_JSON_MISSING)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: model type is no string");
	if (pk_json_type(dropout) > PK_JSON_NULL && !(pk_json_real(dropout, &rate) && rate == 0))
		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: model dropout is not supported");
	for (size_t i = 0; i < PK_LENGTH(affixes); i++)
	{
		const PkJson *affix = pk_json_get(model, affixes[i]);

		if (pk_json_type(affix) > PK_JSON_NULL && !pk_json_string_is(affix, ""))
			return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: model %s is not supported",
			                affixes[i]);
	}
	for (size_t i = 0; i < PK_LENGTH(switches); i++)
	{
		const PkJson *node = pk_json_get(model, switches[i].key);
		bool          is_on = false;

		if (pk_json_type(node) > PK_JSON_NULL && !pk_json_bool(node, &is_on))
			return pk_error(err, PK_BAD_FILE, "tokenizer.json: model %s is neither true nor false",
			                switches[i].key);
		draft->header.flags |= is_on ? switches[i].flag : 0;
	}

	const PkJson *ignore = pk_json_get(model, "ignore_merges");

	if (pk_json_type(ignore) > PK_JSON_NULL && !pk_json_bool(ignore, &draft->ignore_merges))
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: model ignore_merges is neither true nor false");
	return PK_OK;
}

/* draft->tokens gets room for the added tokens, too, in pk_draft_vocab()'s next step. */
static PkStatus
read_vocab(PkDraft *draft, const PkJson *vocab, PkError *err)
{
	size_t n = pk_json_size(vocab), n_read = 0;
	void  *tokens;

	if (pk_json_type(vocab) != PK_JSON_OBJECT)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: model vocab is no object");
	if (n > PK_MAX_IDS)
		return pk_error(err, PK_UNSUPPORTED,
		                "tokenizer.json: vocab has %zu tokens, the limit is %u", n, PK_MAX_IDS);
	PK_FORWARD(pk_calloc(n, sizeof(PkDraftToken), &tokens, err));
	draft->tokens = tokens;
	draft->n_ids = draft->n_model = n;
	for (const PkJsonMember *it = pk_json_first(vocab); it != NULL; it = pk_json_next(vocab, it))
	{
		size_t      len;
		const char *text = pk_json_member_key(it, &len);
		char        quoted[QUOTE_ROOM];
		int64_t     id;

		PK_FORWARD(pk_draft_poll(draft, n_read++, err));
		pk_error_quote(quoted, sizeof(quoted), text, len);
		if (!pk_json_int(pk_json_member_value(it), &id))
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: the id of token \"%s\" is no integer", quoted);
		if (id < 0)
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: token \"%s\" has the negative id %lld", quoted,
			                (long long) id);
		if ((uint64_t) id >= n)
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: vocab has holes: %zu tokens, but \"%s\" has id %lld",
			                n, quoted, (long long) id);
		if (draft->tokens[id].text != NULL)
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: vocab gives id %lld twice, again to \"%s\"",
			                (long long) id, quoted);
		draft->tokens[id] = (PkDraftToken){.text = text, .len = len, .is_model = true};
	}
	return PK_OK;
}

static PkStatus
read_added(PkDraft *draft, const PkJson *list, const PkJson *vocab, PkError *err)
{
	size_t  n = pk_json_size(list);
	int64_t max_added = -1;
	void   *ids;

	if (pk_json_type(list) > PK_JSON_NULL && pk_json_type(list) != PK_JSON_ARRAY)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: added_tokens is no array");
	if (n > PK_MAX_IDS - draft->n_model)
		return pk_error(err, PK_UNSUPPORTED,
		                "tokenizer.json: %zu tokens and %zu added tokens, the limit is %u",
		                draft->n_model, n, PK_MAX_IDS);

	PkDraftToken *tokens = realloc(draft->tokens, (draft->n_model + n + 1) * sizeof(*tokens));

	if (tokens == NULL)
		return pk_error(err, PK_NO_MEMORY, "out of memory for %zu tokens", draft->n_model + n);
	draft->tokens = tokens;
	memset(tokens + draft->n_model, 0, (n + 1) * sizeof(*tokens));
	PK_FORWARD(pk_calloc(n, sizeof(uint32_t), &ids, err));
	draft->added = ids;
	for (size_t i = 0; i < n; i++)
	{
		PK_FORWARD(pk_draft_poll(draft, i, err));
		PK_FORWARD(read_added_token(draft, pk_json_at(list, i), vocab, &max_added, err));
	}
	return PK_OK;
}

/* *max_added: highest id of the added tokens before this one, or -1. */
static PkStatus
read_added_token(PkDraft *draft, const PkJson *item, const PkJson *vocab, int64_t *max_added,
                 PkError *err)
{
	size_t      len = 0;
	const char *text = pk_json_string(pk_json_get(item, "content"), &len);
	char        quoted[QUOTE_ROOM];
	int64_t     id, expected;
	uint8_t     flags = PK_TOKEN_ADDED, normalized = 0;

	if (text == NULL)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: added token %zu has no content",
		                draft->n_added);
	pk_error_quote(quoted, sizeof(quoted), text, len);
	if (len == 0)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: added token %zu is empty",
		                draft->n_added);
	if (!pk_json_int(pk_json_get(item, "id"), &id))
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: added token \"%s\" has no id", quoted);
	PK_FORWARD(read_flag(item, "special", PK_TOKEN_SPECIAL, &flags, err));
	PK_FORWARD(read_flag(item, "single_word", PK_TOKEN_SINGLE_WORD, &flags, err));
	PK_FORWARD(read_flag(item, "lstrip", PK_TOKEN_LSTRIP, &flags, err));
	PK_FORWARD(read_flag(item, "rstrip", PK_TOKEN_RSTRIP, &flags, err));
	PK_FORWARD(read_flag(item, "normalized", 1, &normalized, err));

	/* A text with NUL can't be a vocab key, and pk_json_get() would cut it there. */
	const PkJson *known = memchr(text, 0, len) == NULL ? pk_json_get(vocab, text) : NULL;

	if (!pk_json_int(known, &expected))
		expected =
			*max_added >= (int64_t) draft->n_model ? *max_added + 1 : (int64_t) draft->n_model;
	if (id != expected)
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: added token \"%s\" has id %lld where %lld follows", quoted,
		                (long long) id, (long long) expected);

	PkDraftToken *token = &draft->tokens[id];

	if ((token->flags & PK_TOKEN_ADDED) != 0)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: added token \"%s\" is there twice",
		                quoted);
	token->text = text;
	token->len = len;
	token->flags = flags;
	token->is_normalized = normalized != 0;
	draft->added[draft->n_added++] = (uint32_t) id;
	*max_added = id > *max_added ? id : *max_added;
	if ((size_t) id >= draft->n_ids)
		draft->n_ids = (size_t) id + 1;
	return PK_OK;
}

static PkStatus
read_flag(const PkJson *item, const char *key, uint8_t flag, uint8_t *flags, PkError *err)
{
	bool is_on = false;

	if (!pk_json_bool(pk_json_get(item, key), &is_on))
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: an added token's %s is not true or false", key);
	*flags |= is_on ? flag : 0;
	return PK_OK;
}

static PkStatus
index_spellings(PkDraft *draft, PkError *err)
{
	size_t total = 0;
	void  *offsets, *text, *table;

	for (size_t i = 0; i < draft->n_ids; i++)
		if (!pk_size_add(total, draft->tokens[i].len, &total) || total > UINT32_MAX / 2)
			return pk_error(err, PK_UNSUPPORTED,
			                "tokenizer.json: the vocabulary's texts are too long");
	PK_FORWARD(pk_calloc(draft->n_ids + 1, sizeof(uint32_t), &offsets, err));
	draft->spell_offsets = offsets;
	PK_FORWARD(pk_calloc(total, 1, &text, err));
	draft->spell_text = text;
	draft->spell_bits = pk_table_bits(draft->n_ids);
	PK_FORWARD(pk_calloc((size_t) 1 << draft->spell_bits, sizeof(uint64_t), &table, err));
	draft->spell_table = table;
	for (size_t i = 0; i < draft->n_ids; i++)
	{
		const PkDraftToken *token = &draft->tokens[i];
		char                quoted[QUOTE_ROOM];

		PK_FORWARD(pk_draft_poll(draft, i, err));
		if (pk_draft_find(draft, token->text, token->len) >= 0)
			return pk_error(err, PK_BAD_FILE, "tokenizer.json: token \"%s\" is there twice",
			                pk_error_quote(quoted, sizeof(quoted), token->text, token->len));
		memcpy(draft->spell_text + draft->spell_offsets[i], token->text, token->len);
		draft->spell_offsets[i + 1] = draft->spell_offsets[i] + (uint32_t) token->len;
		if (!pk_text_insert(draft->spell_table, draft->spell_bits,
		                    pk_text_hash(token->text, token->len), (uint32_t) i))
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: the vocab is made to be slow (token %zu)", i);
	}
	return PK_OK;
}

int32_t
pk_draft_find(const PkDraft *draft, const char *text, size_t len)
{
	return pk_text_find(draft->spell_table, draft->spell_bits, draft->spell_offsets,
	                    draft->spell_text, text, len, pk_text_hash(text, len));
}

static PkStatus
read_merges(PkDraft *draft, const PkJson *list, PkError *err)
{
	size_t n = pk_json_size(list);
	bool   is_pair = pk_json_type(pk_json_at(list, 0)) == PK_JSON_ARRAY;
	void  *merges;

	if (pk_json_type(list) != PK_JSON_ARRAY)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: model merges is no array");
	if (n > PK_MAX_MERGES)
		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: %zu merges, the limit is %u", n,
		                PK_MAX_MERGES);
	PK_FORWARD(pk_calloc(n, sizeof(PkDraftMerge), &merges, err));
	draft->merges = merges;
	for (size_t i = 0; i < n; i++)
	{
		const PkJson *item = pk_json_at(list, i);
		const char   *line = pk_json_string(item, NULL);
		const char   *half[2] = {NULL, NULL};
		size_t        len[2] = {0, 0};
		uint32_t      id[3];

		PK_FORWARD(pk_draft_poll(draft, i, err));
		if (line != NULL && strncmp(line, "#version", 8) == 0)
			continue; /* the head line of merges.txt, kept by some converters */
		PK_FORWARD(split_merge(item, is_pair, i, half, len, err));
		PK_FORWARD(merge_token(draft, half[0], len[0], i, &id[0], err));
		PK_FORWARD(merge_token(draft, half[1], len[1], i, &id[1], err));

		char *joined = malloc(len[0] + len[1] + 1);

		if (joined == NULL)
			return pk_error(err, PK_NO_MEMORY, "out of memory for merge %zu", i);
		memcpy(joined, half[0], len[0]);
		memcpy(joined + len[0], half[1], len[1]);

		PkStatus status = merge_token(draft, joined, len[0] + len[1], i, &id[2], err);

		free(joined);
		PK_FORWARD(status);
		draft->merges[draft->n_merges++] = (PkDraftMerge){id[0], id[1], id[2]};
	}
	return PK_OK;
}

/* Both spellings of a merge: "a b" (exactly one space) and ["a", "b"]; a list has one of them. */
static PkStatus
split_merge(const PkJson *item, bool is_pair, size_t i, const char *half[2], size_t len[2],
            PkError *err)
{
	if (is_pair)
	{
		half[0] = pk_json_string(pk_json_at(item, 0), &len[0]);
		half[1] = pk_json_string(pk_json_at(item, 1), &len[1]);
		if (pk_json_type(item) != PK_JSON_ARRAY || pk_json_size(item) != 2 || half[0] == NULL ||
		    half[1] == NULL)
			return pk_error(err, PK_BAD_FILE, "tokenizer.json: merge %zu is no pair of strings", i);
		return PK_OK;
	}

	size_t      line_len = 0;
	const char *line = pk_json_string(item, &line_len);
	const char *space = line != NULL ? memchr(line, ' ', line_len) : NULL;

	if (space == NULL || memchr(space + 1, ' ', line_len - (size_t) (space + 1 - line)) != NULL)
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: merge %zu is no text of two tokens with one space", i);
	half[0] = line;
	len[0] = (size_t) (space - line);
	half[1] = space + 1;
	len[1] = line_len - len[0] - 1;
	return PK_OK;
}

static PkStatus
merge_token(const PkDraft *draft, const char *text, size_t len, size_t i, uint32_t *id,
            PkError *err)
{
	int32_t found = pk_draft_find(draft, text, len);
	char    quoted[QUOTE_ROOM];

	if (found < 0 || !draft->tokens[found].is_model)
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: merge %zu names \"%s\", which is not in the vocab", i,
		                pk_error_quote(quoted, sizeof(quoted), text, len));
	*id = (uint32_t) found;
	return PK_OK;
}

static PkStatus
read_unknown(PkDraft *draft, const PkJson *model, PkError *err)
{
	const PkJson *node = pk_json_get(model, "unk_token");
	size_t        len;
	const char   *text = pk_json_string(node, &len);
	char          quoted[QUOTE_ROOM];

	draft->header.unk_id = -1;
	if (pk_json_type(node) <= PK_JSON_NULL)
		return PK_OK;
	if (text == NULL)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: model unk_token is no string");

	int32_t id = pk_draft_find(draft, text, len);

	if (id < 0 || !draft->tokens[id].is_model)
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: model unk_token \"%s\" is not in the vocab",
		                pk_error_quote(quoted, sizeof(quoted), text, len));
	draft->header.unk_id = id;
	return PK_OK;
}

/* Tokens <0x00> to <0xFF>, as far as the vocab has them. */
static void
find_fallback(PkDraft *draft)
{
	for (unsigned int byte = 0; byte < 256; byte++)
	{
		char name[8];

		snprintf(name, sizeof(name), "<0x%02X>", byte);

		int32_t id = pk_draft_find(draft, name, 6);

		draft->header.fallback_ids[byte] = id >= 0 && draft->tokens[id].is_model ? id : -1;
	}
}

PkStatus
pk_draft_poll(const PkDraft *draft, size_t i, PkError *err)
{
	if (i % 256 != 0 || !pk_cancel_poll(draft->cancel))
		return PK_OK;
	return pk_error(err, PK_CANCELLED, "cancelled");
}

void
pk_draft_free(PkDraft *draft)
{
	for (size_t i = 0; i < draft->n_added; i++)
		free(draft->tokens[draft->added[i]].normal_text);
	free(draft->tokens);
	free(draft->added);
	free(draft->spell_offsets);
	free(draft->spell_text);
	free(draft->spell_table);
	free(draft->merges);
	free(draft->patterns);
	free(draft->template_ids);
}

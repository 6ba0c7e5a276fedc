/*
 * compile.c
 *    From tokenizer.json to a blob.
 *
 * The blob is the same on every machine: tables are filled in the order of ids and ranks, hashes
 * are ours, unused bytes are zero.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/alphabet.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/draft.h"
#include "core/tokenizer/hashtable.h"
#include "core/tokenizer/match.h"
#include "core/tokenizer/trie.h"

#define MAX_TOKEN_BYTES ((size_t) 1 << 20)
#define MAX_JSON_BYTES ((size_t) 256 << 20)

/* What becomes the sections; places hold offset and count, data what lies there. */
typedef struct Layout
{
	PkSectionPlace places[PK_N_SECTIONS];
	const void    *data[PK_N_SECTIONS];
	void          *owned[PK_N_SECTIONS]; /* freed at the end */
	size_t         size;
} Layout;

static PkStatus build(PkDraft *draft, const PkJson *root, void **blob, size_t *size, PkError *err);
static void set_section(Layout *layout, PkSection section, void *data, size_t count, bool owned);
static PkStatus    normalize_added(PkDraft *draft, PkError *err);
static PkStatus    normalize_token(const PkDraft *draft, PkDraftToken *token, PkError *err);
static PkStatus    lay_texts(PkDraft *draft, Layout *layout, PkError *err);
static size_t      token_bytes(const PkDraft *draft, size_t id, bool is_piece, char *out);
static PkStatus    lay_flags(const PkDraft *draft, Layout *layout, PkError *err);
static PkStatus    lay_merges(const PkDraft *draft, Layout *layout, PkError *err);
static void        find_byte_ids(PkDraft *draft);
static PkStatus    lay_tries(PkDraft *draft, Layout *layout, PkError *err);
static PkStatus    lay_trie(PkDraft *draft, Layout *layout, bool is_normalized, PkError *err);
static size_t      collect_patterns(PkDraft *draft, bool is_normalized, PkTriePattern *patterns);
static const char *alias_of(const char *text, size_t len);
static PkStatus    lay_words(const PkDraft *draft, Layout *layout, PkError *err);
static PkStatus    lay_matches(const PkDraft *draft, Layout *layout, PkError *err);
static PkStatus is_whole_word(const PkDraft *draft, const PkTokenizer *view, PkBpe *bpe, size_t id,
                              bool is_char, bool *is_whole, PkError *err);
static void     view_layout(const PkDraft *draft, const Layout *layout, PkTokenizer *view);
static PkStatus assemble(const PkDraft *draft, Layout *layout, void **blob, size_t *size,
                         PkError *err);

PkStatus
pk_tokenizer_compile(const char *json, size_t json_len, PkCancel *cancel, void **blob,
                     size_t *blob_size, PkError *err)
{
	PkDraft    draft = {.cancel = cancel};
	PkJsonDoc *doc;

	if (json_len > MAX_JSON_BYTES)
		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json has %zu bytes, the limit is %zu",
		                json_len, MAX_JSON_BYTES);
	PK_FORWARD(pk_json_parse_long(json, json_len, "tokenizer.json", cancel, &doc, err));

	PkStatus status = build(&draft, pk_json_root(doc), blob, blob_size, err);

	pk_draft_free(&draft);
	pk_json_free(doc);
	return status;
}

static PkStatus
build(PkDraft *draft, const PkJson *root, void **blob, size_t *size, PkError *err)
{
	const PkJson *version = pk_json_get(root, "version");
	Layout        layout = {.size = 0};
	PkStatus      status;

	if (pk_json_type(root) != PK_JSON_OBJECT)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json is no object");
	if (version != NULL && !pk_json_string_is(version, "1.0"))
		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: version is not \"1.0\"");
	PK_FORWARD(pk_draft_vocab(draft, root, err));
	PK_FORWARD(pk_draft_parts(draft, root, err));
	draft->header.alias_id = -1;
	find_byte_ids(draft);
	PK_FORWARD(normalize_added(draft, err));
	PK_FORWARD_TO(done, lay_texts(draft, &layout, err));
	PK_FORWARD_TO(done, lay_flags(draft, &layout, err));
	PK_FORWARD_TO(done, lay_merges(draft, &layout, err));
	PK_FORWARD_TO(done, lay_tries(draft, &layout, err));
	PK_FORWARD_TO(done, lay_words(draft, &layout, err));
	PK_FORWARD_TO(done, lay_matches(draft, &layout, err));
	set_section(&layout, PK_SECTION_SPELL_TABLE, draft->spell_table,
	            (size_t) 1 << draft->spell_bits, false);
	set_section(&layout, PK_SECTION_PATTERNS, draft->patterns, draft->patterns_len, false);
	set_section(&layout, PK_SECTION_TEMPLATE, draft->template_ids, draft->n_template, false);
	status = assemble(draft, &layout, blob, size, err);

done:
	for (size_t i = 0; i < PK_N_SECTIONS; i++)
		free(layout.owned[i]);
	return status;
}

static void
set_section(Layout *layout, PkSection section, void *data, size_t count, bool owned)
{
	layout->data[section] = data;
	layout->places[section].count = count;
	layout->owned[section] = owned ? data : NULL;
}

/*
 * Added tokens with normalized = true are looked for, and decoded, as the normalizers leave their
 * text. skip_special goes by that text, too: only a text that is a special token's is skipped.
 */
static PkStatus
normalize_added(PkDraft *draft, PkError *err)
{
	for (size_t i = 0; i < draft->n_added; i++)
	{
		PkDraftToken *token = &draft->tokens[draft->added[i]];

		PK_FORWARD(pk_draft_poll(draft, i, err));
		if (token->is_normalized)
			PK_FORWARD(normalize_token(draft, token, err));

		int32_t shown = token->normal_text != NULL
		                    ? pk_draft_find(draft, token->normal_text, token->normal_len)
		                    : (int32_t) draft->added[i];

		if (shown >= 0 && (draft->tokens[shown].flags & PK_TOKEN_SPECIAL) != 0)
			token->flags |= PK_TOKEN_SKIPPED;
	}
	return PK_OK;
}

static PkStatus
normalize_token(const PkDraft *draft, PkDraftToken *token, PkError *err)
{
	for (uint32_t i = 0; i < draft->header.n_normalizers; i++)
	{
		PkNormalized normalized = {0};
		const char  *text = token->normal_text != NULL ? token->normal_text : token->text;
		size_t       len = token->normal_text != NULL ? token->normal_len : token->len;
		bool         is_same;
		PkStatus     status = pk_normalize((PkNormalForm) draft->header.normalizers[i], text, len,
		                                   &normalized, &is_same, NULL, err);

		if (status == PK_OK && !is_same)
		{
			free(token->normal_text);
			token->normal_text = normalized.text;
			token->normal_len = normalized.len;
			normalized.text = NULL;
		}
		pk_normalized_free(&normalized);
		PK_FORWARD(status);
	}
	return PK_OK;
}

/* Spellings, and the bytes that each token stands for in decoding and as a word. */
static PkStatus
lay_texts(PkDraft *draft, Layout *layout, PkError *err)
{
	static const PkSection offset_sections[] = {PK_SECTION_PIECE_OFFSETS, PK_SECTION_WORD_OFFSETS};
	static const PkSection text_sections[] = {PK_SECTION_PIECE_TEXT, PK_SECTION_WORD_TEXT};
	size_t                 n = draft->n_ids, longest = 0, room = draft->spell_offsets[n];

	for (size_t i = 0; i < draft->n_added; i++)
		if (!pk_size_add(room, draft->tokens[draft->added[i]].normal_len, &room) ||
		    room > UINT32_MAX / 2)
			return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: the added tokens are too long");

	set_section(layout, PK_SECTION_SPELL_OFFSETS, draft->spell_offsets, n + 1, false);
	set_section(layout, PK_SECTION_SPELL_TEXT, draft->spell_text, draft->spell_offsets[n], false);
	for (size_t k = 0; k < PK_LENGTH(offset_sections); k++)
	{
		void *offsets, *text;

		PK_FORWARD(pk_calloc(n + 1, sizeof(uint32_t), &offsets, err));
		set_section(layout, offset_sections[k], offsets, n + 1, true);
		PK_FORWARD(pk_calloc(room, 1, &text, err));
		set_section(layout, text_sections[k], text, 0, true);

		uint32_t *place = offsets;

		for (size_t id = 0; id < n; id++)
		{
			PK_FORWARD(pk_draft_poll(draft, id, err));

			size_t len = token_bytes(draft, id, k == 0, (char *) text + place[id]);

			place[id + 1] = place[id] + (uint32_t) len;
			longest = k == 0 && len > longest ? len : longest;
		}
		layout->places[text_sections[k]].count = place[n];
	}
	draft->header.max_piece_len = (uint32_t) longest;
	return PK_OK;
}

/* Never longer than the spelling or its normalised text. */
static size_t
token_bytes(const PkDraft *draft, size_t id, bool is_piece, char *out)
{
	const PkDraftToken *token = &draft->tokens[id];
	bool                is_normal = is_piece && token->normal_text != NULL;
	const char         *text = is_normal ? token->normal_text : token->text;
	bool                is_byte_level =
        is_piece ? draft->is_byte_decoder : (draft->header.flags & PK_BLOB_BYTE_LEVEL) != 0;
	size_t text_len = is_normal ? token->normal_len : token->len, len;

	if (is_byte_level && pk_alphabet_unmap(text, text_len, out, &len))
		return len;
	memcpy(out, text, text_len);
	if (!is_piece || !draft->is_fallback_decoder)
		return text_len;

	/* ByteFallback: <0x00> to <0xFF>, hexadecimal digits of both cases. */
	char digits[3] = {0};

	if (text_len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
		return text_len;
	memcpy(digits, text + 3, 2);
	if (strspn(digits, "0123456789abcdefABCDEF") != 2)
		return text_len;
	out[0] = (char) strtoul(digits, NULL, 16);
	return 1;
}

static PkStatus
lay_flags(const PkDraft *draft, Layout *layout, PkError *err)
{
	void *flags;

	PK_FORWARD(pk_calloc(draft->n_ids, 1, &flags, err));
	set_section(layout, PK_SECTION_FLAGS, flags, draft->n_ids, true);
	for (size_t id = 0; id < draft->n_ids; id++)
		((uint8_t *) flags)[id] = draft->tokens[id].flags;
	return PK_OK;
}

/* A pair that is listed twice has the later rank, as in Hugging Face's map. */
static PkStatus
lay_merges(const PkDraft *draft, Layout *layout, PkError *err)
{
	uint32_t bits = pk_table_bits(draft->n_merges);
	size_t   n_slots = (size_t) 1 << bits;
	void    *table, *ids;

	PK_FORWARD(pk_calloc(n_slots, sizeof(uint64_t), &table, err));
	set_section(layout, PK_SECTION_MERGE_TABLE, table, n_slots, true);
	PK_FORWARD(pk_calloc(draft->n_merges, sizeof(uint32_t), &ids, err));
	set_section(layout, PK_SECTION_MERGE_IDS, ids, draft->n_merges, true);
	memset(table, 0xff, n_slots * sizeof(uint64_t)); /* PK_PAIR_FREE */
	for (size_t rank = 0; rank < draft->n_merges; rank++)
	{
		const PkDraftMerge *merge = &draft->merges[rank];

		PK_FORWARD(pk_draft_poll(draft, rank, err));
		if (!pk_pair_insert(table, bits, merge->left, merge->right, (uint32_t) rank))
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: the merges are made to be slow (merge %zu)", rank);
		((uint32_t *) ids)[rank] = merge->made;
	}
	return PK_OK;
}

static void
find_byte_ids(PkDraft *draft)
{
	for (unsigned int byte = 0; byte < 256; byte++)
	{
		char    letter[4];
		size_t  n = pk_utf8_encode(pk_alphabet_letter((uint8_t) byte), letter);
		int32_t id = pk_draft_find(draft, letter, n);

		draft->header.byte_ids[byte] = id >= 0 && draft->tokens[id].is_model ? id : -1;
	}
}

static PkStatus
lay_tries(PkDraft *draft, Layout *layout, PkError *err)
{
	PK_FORWARD(lay_trie(draft, layout, false, err));
	return lay_trie(draft, layout, true, err);
}

static PkStatus
lay_trie(PkDraft *draft, Layout *layout, bool is_normalized, PkError *err)
{
	PkSection   node_section = is_normalized ? PK_SECTION_NORMAL_NODES : PK_SECTION_RAW_NODES;
	PkSection   edge_section = is_normalized ? PK_SECTION_NORMAL_EDGES : PK_SECTION_RAW_EDGES;
	PkTrieNode *nodes = NULL;
	PkTrieEdge *edges = NULL;
	size_t      n_nodes = 0, n_edges = 0, n_bytes = 0;
	void       *patterns;

	for (size_t i = 0; i < draft->n_added; i++)
	{
		const PkDraftToken *token = &draft->tokens[draft->added[i]];
		size_t              len = token->normal_text != NULL ? token->normal_len : token->len;

		n_bytes += len;
		if (len > PK_MAX_ADDED_LEN || n_bytes > PK_MAX_ADDED_BYTES)
			return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: the added tokens are too long");
	}

	PK_FORWARD(
		pk_calloc(draft->n_added + 2, sizeof(PkTriePattern), &patterns, err)); /* 2: aliases */

	PkStatus status = pk_trie_build(patterns, collect_patterns(draft, is_normalized, patterns),
	                                &nodes, &n_nodes, &edges, &n_edges, err);

	set_section(layout, node_section, nodes, n_nodes, true);
	set_section(layout, edge_section, edges, n_edges, true);
	free(patterns);
	return status;
}

/* Special tokens come first, as they do in Hugging Face's list: they win over equal texts. */
static size_t
collect_patterns(PkDraft *draft, bool is_normalized, PkTriePattern *patterns)
{
	size_t n = 0;

	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < draft->n_added; i++)
		{
			const PkDraftToken *token = &draft->tokens[draft->added[i]];
			bool                is_special = (token->flags & PK_TOKEN_SPECIAL) != 0;
			const char         *alias = alias_of(token->text, token->len);
			int32_t             id = (int32_t) draft->added[i];

			if (token->is_normalized != is_normalized || is_special != (pass == 0))
				continue;
			patterns[n] = (PkTriePattern){token->text, token->len, id, (uint32_t) n};
			if (token->normal_text != NULL)
			{
				patterns[n].text = token->normal_text;
				patterns[n].len = token->normal_len;
			}
			n++;
			if (alias == NULL || pk_draft_find(draft, alias, strlen(alias)) >= 0)
				continue;
			patterns[n] = (PkTriePattern){alias, strlen(alias), id, (uint32_t) n};
			n++;
			draft->header.alias_id = id;
		}
	return n;
}

/* The model card says <|tell|> where the vocabulary of Polyglot-Ko says <|tel|>. */
static const char *
alias_of(const char *text, size_t len)
{
	if (len == 7 && memcmp(text, "<|tel|>", 7) == 0)
		return "<|tell|>";
	if (len == 8 && memcmp(text, "<|tell|>", 8) == 0)
		return "<|tel|>";
	return NULL;
}

/*
 * The table of words that are one token: found at once, without merging. With ignore_merges every
 * token is such a word, otherwise those that their own merges lead to. Single characters are always
 * among them.
 */
static PkStatus
lay_words(const PkDraft *draft, Layout *layout, PkError *err)
{
	uint32_t    bits = pk_table_bits(draft->n_ids);
	void       *table;
	PkBpe       bpe = {0};
	PkTokenizer view = {0};
	PkStatus    status = PK_OK;

	PK_FORWARD(pk_calloc((size_t) 1 << bits, sizeof(uint64_t), &table, err));
	set_section(layout, PK_SECTION_WORD_TABLE, table, (size_t) 1 << bits, true);
	view_layout(draft, layout, &view);
	for (int pass = 0; pass < 2; pass++) /* characters first: the others are made of them */
		for (size_t id = 0; id < draft->n_ids; id++)
		{
			const char *text = view.word_text + view.word_offsets[id];
			size_t      len = view.word_offsets[id + 1] - view.word_offsets[id];
			bool        is_whole,
				is_char = pk_utf8_char_len(draft->tokens[id].text, draft->tokens[id].len) ==
			              draft->tokens[id].len;

			PK_FORWARD_TO(done, pk_draft_poll(draft, id, err));
			if (!draft->tokens[id].is_model || len == 0 || is_char != (pass == 0))
				continue;
			PK_FORWARD_TO(done, is_whole_word(draft, &view, &bpe, id, is_char, &is_whole, err));
			if (is_whole && !pk_text_insert(table, bits, pk_text_hash(text, len), (uint32_t) id))
			{
				status = pk_error(err, PK_BAD_FILE,
				                  "tokenizer.json: the vocab is made to be slow (token %zu)", id);
				goto done;
			}
		}

done:
	pk_bpe_free(&bpe);
	return status;
}

/* The token is in the model and not empty; is_char: it is one character. */
static PkStatus
is_whole_word(const PkDraft *draft, const PkTokenizer *view, PkBpe *bpe, size_t id, bool is_char,
              bool *is_whole, PkError *err)
{
	const PkDraftToken *token = &draft->tokens[id];
	bool                is_byte_level = (draft->header.flags & PK_BLOB_BYTE_LEVEL) != 0;

	*is_whole = false;
	for (size_t i = 0; is_byte_level && i < token->len;)
	{
		size_t n = pk_utf8_char_len(token->text + i, token->len - i);

		if (n == 0 || pk_alphabet_byte(pk_utf8_decode(token->text + i, n)) < 0)
			return PK_OK; /* no word of bytes is spelled so */
		i += n;
	}
	if (draft->ignore_merges || is_char)
	{
		*is_whole = true;
		return PK_OK;
	}
	if (token->len > MAX_TOKEN_BYTES) /* too much memory; such a word is merged when it is met */
		return PK_OK;
	PK_FORWARD(pk_bpe_word(bpe, view, view->word_text + view->word_offsets[id],
	                       view->word_offsets[id + 1] - view->word_offsets[id], draft->cancel,
	                       err));
	*is_whole = bpe->n == 1 && bpe->ids[0] == id;
	return PK_OK;
}

/* With ignore_merges a word's tokens don't follow from merging alone. */
static PkStatus
lay_matches(const PkDraft *draft, Layout *layout, PkError *err)
{
	PkTokenizer   view = {0};
	uint64_t     *nodes = NULL;
	PkMatchToken *tokens = NULL;
	size_t        n_nodes = 0;
	PkStatus      status = PK_OK;

	view_layout(draft, layout, &view);
	if (!draft->ignore_merges)
		status = pk_match_build(&view, &nodes, &n_nodes, &tokens, draft->cancel, err);
	set_section(layout, PK_SECTION_MATCH_NODES, nodes, n_nodes, true);
	set_section(layout, PK_SECTION_MATCH_TOKENS, tokens, n_nodes > 0 ? draft->n_ids : 0, true);
	return status;
}

/* As much of a tokenizer as pk_bpe_word() reads. */
static void
view_layout(const PkDraft *draft, const Layout *layout, PkTokenizer *view)
{
	view->header = &draft->header;
	view->n_ids = draft->n_ids;
	view->word_offsets = layout->data[PK_SECTION_WORD_OFFSETS];
	view->word_text = layout->data[PK_SECTION_WORD_TEXT];
	view->word_table = layout->data[PK_SECTION_WORD_TABLE];
	view->word_bits = pk_table_bits(draft->n_ids);
	view->merge_table = layout->data[PK_SECTION_MERGE_TABLE];
	view->merge_bits = pk_table_bits(draft->n_merges);
	view->merge_ids = layout->data[PK_SECTION_MERGE_IDS];
}

static PkStatus
assemble(const PkDraft *draft, Layout *layout, void **blob, size_t *size, PkError *err)
{
	size_t end = sizeof(PkBlobHeader);

	for (size_t i = 0; i < PK_N_SECTIONS; i++)
	{
		size_t bytes = (size_t) layout->places[i].count * pk_blob_item_size((PkSection) i);

		layout->places[i].offset = pk_round_up(end, PK_ALIGNMENT);
		for (size_t k = 0; k < i; k++) /* equal sections share their place */
			if (bytes > 0 && layout->places[k].count == layout->places[i].count &&
			    pk_blob_item_size((PkSection) k) == pk_blob_item_size((PkSection) i) &&
			    memcmp(layout->data[k], layout->data[i], bytes) == 0)
			{
				layout->places[i].offset = layout->places[k].offset;
				bytes = 0;
			}
		end = bytes > 0 ? layout->places[i].offset + bytes : end;
	}

	size_t total = pk_round_up(end, PK_ALIGNMENT);
	char  *out = aligned_alloc(PK_ALIGNMENT, total);

	if (out == NULL)
		return pk_error(err, PK_NO_MEMORY, "out of memory: a tokenizer of %zu bytes", total);
	memset(out, 0, total);

	PkBlobHeader *header = (PkBlobHeader *) (void *) out;

	*header = draft->header;
	header->magic = PK_BLOB_MAGIC;
	header->version = PK_BLOB_VERSION;
	header->header_size = sizeof(PkBlobHeader);
	header->blob_size = total;
	header->n_ids = (uint32_t) draft->n_ids;
	memcpy(header->sections, layout->places, sizeof(header->sections));
	for (size_t i = 0; i < PK_N_SECTIONS; i++)
		if (layout->places[i].count > 0)
			memcpy(out + layout->places[i].offset, layout->data[i],
			       (size_t) layout->places[i].count * pk_blob_item_size((PkSection) i));
	*blob = out;
	*size = total;
	return PK_OK;
}

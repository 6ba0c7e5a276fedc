/*
 * blob.c
 *    Opening a blob: every offset, count and id in it is checked here, once.
 *
 * The cost is one pass over the tables (about a millisecond for 30,003 tokens). A blob whose values
 * were altered within their ranges gives wrong tokens, never a wrong access; the image's checksum
 * is what finds that.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/tokenizer/blob.h"
#include "core/tokenizer/hashtable.h"
#include "core/tokenizer/match.h"
#include "core/tokenizer/trie.h"

static PkStatus    check_header(const PkBlobHeader *header, size_t size, PkError *err);
static PkStatus    check_sections(const PkBlobHeader *header, size_t size, PkError *err);
static bool        has_count(const PkBlobHeader *header, PkSection section, uint64_t count);
static PkStatus    check_parts(const PkBlobHeader *header, PkError *err);
static PkStatus    check_ids(const int32_t *ids, size_t n, size_t n_ids, PkError *err);
static void        attach(PkTokenizer *tokenizer, const char *blob);
static const void *section_data(const char *blob, PkSection section);
static uint32_t    table_bits(const PkBlobHeader *header, PkSection section);
static PkStatus    check_tables(const PkTokenizer *tokenizer, PkError *err);
static bool        is_offsets(const uint32_t *offsets, size_t n, uint64_t text_len);
static bool        is_text_table(const uint64_t *table, uint32_t bits, size_t n_ids);
static bool     is_merge_table(const uint64_t *table, uint32_t bits, size_t n_ids, size_t n_merges);
static PkStatus attach_tries(PkTokenizer *tokenizer, const char *blob, PkError *err);
static PkStatus compile_patterns(PkTokenizer *tokenizer, PkError *err);

size_t
pk_blob_item_size(PkSection section)
{
	switch (section)
	{
		case PK_SECTION_SPELL_OFFSETS:
		case PK_SECTION_PIECE_OFFSETS:
		case PK_SECTION_WORD_OFFSETS:
		case PK_SECTION_MERGE_IDS:
		case PK_SECTION_TEMPLATE:
			return 4;
		case PK_SECTION_SPELL_TABLE:
		case PK_SECTION_WORD_TABLE:
		case PK_SECTION_MERGE_TABLE:
		case PK_SECTION_MATCH_NODES:
			return 8;
		case PK_SECTION_RAW_NODES:
		case PK_SECTION_NORMAL_NODES:
			return sizeof(PkTrieNode);
		case PK_SECTION_RAW_EDGES:
		case PK_SECTION_NORMAL_EDGES:
			return sizeof(PkTrieEdge);
		case PK_SECTION_MATCH_TOKENS:
			return sizeof(PkMatchToken);
		default:
			return 1;
	}
}

PkStatus
pk_tokenizer_open(const void *blob, size_t blob_size, PkTokenizer **out, PkError *err)
{
	const PkBlobHeader *header = blob;
	void               *memory;
	PkStatus            status;

	if ((uintptr_t) blob % PK_ALIGNMENT != 0)
		return pk_error(err, PK_INTERNAL, "tokenizer tables are not aligned");
	PK_FORWARD(check_header(header, blob_size, err));
	PK_FORWARD(check_sections(header, blob_size, err));
	PK_FORWARD(check_parts(header, err));
	PK_FORWARD(pk_calloc(1, sizeof(PkTokenizer), &memory, err));

	PkTokenizer *tokenizer = memory;

	tokenizer->header = header;
	attach(tokenizer, blob);
	PK_FORWARD_TO(failed, check_tables(tokenizer, err));
	PK_FORWARD_TO(failed, attach_tries(tokenizer, blob, err));
	PK_FORWARD_TO(failed, compile_patterns(tokenizer, err));
	*out = tokenizer;
	return PK_OK;

failed:
	pk_tokenizer_close(tokenizer);
	return status;
}

void
pk_tokenizer_close(PkTokenizer *tokenizer)
{
	if (tokenizer == NULL)
		return;
	for (size_t i = 0; i < PK_MAX_STEPS; i++)
		pk_regex_free(tokenizer->regexes[i]);
	free(tokenizer);
}

static PkStatus
check_header(const PkBlobHeader *header, size_t size, PkError *err)
{
	if (size < sizeof(*header) || header->magic != PK_BLOB_MAGIC)
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: not our format (%zu bytes)", size);
	if (header->version != PK_BLOB_VERSION || header->header_size != sizeof(*header))
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: version %u, ours is %d",
		                header->version, PK_BLOB_VERSION);
	if (header->blob_size != size)
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: %llu bytes expected, %zu are there",
		                (unsigned long long) header->blob_size, size);
	if (header->n_ids > PK_MAX_IDS)
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: %u ids", header->n_ids);
	return PK_OK;
}

static PkStatus
check_sections(const PkBlobHeader *header, size_t size, PkError *err)
{
	for (size_t i = 0; i < PK_N_SECTIONS; i++)
	{
		const PkSectionPlace *place = &header->sections[i];

		if (place->count > 0 &&
		    (place->offset % PK_ALIGNMENT != 0 || place->offset < sizeof(*header) ||
		     place->offset > size ||
		     place->count > (size - place->offset) / pk_blob_item_size((PkSection) i)))
			return pk_error(err, PK_BAD_FILE, "tokenizer tables: section %zu lies outside", i);
	}

	uint64_t n = header->n_ids;
	bool     is_right =
		has_count(header, PK_SECTION_SPELL_OFFSETS, n + 1) &&
		has_count(header, PK_SECTION_PIECE_OFFSETS, n + 1) &&
		has_count(header, PK_SECTION_WORD_OFFSETS, n + 1) &&
		has_count(header, PK_SECTION_FLAGS, n) &&
		header->sections[PK_SECTION_MERGE_IDS].count <= PK_MAX_MERGES &&
		(has_count(header, PK_SECTION_MATCH_TOKENS, n) ||
	     (has_count(header, PK_SECTION_MATCH_TOKENS, 0) &&
	      has_count(header, PK_SECTION_MATCH_NODES, 0))) &&
		has_count(header, PK_SECTION_TEMPLATE, (uint64_t) header->n_before + header->n_after) &&
		table_bits(header, PK_SECTION_SPELL_TABLE) > 0 &&
		table_bits(header, PK_SECTION_WORD_TABLE) > 0 &&
		table_bits(header, PK_SECTION_MERGE_TABLE) > 0;

	if (!is_right)
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: a section has a wrong size");
	return PK_OK;
}

static bool
has_count(const PkBlobHeader *header, PkSection section, uint64_t count)
{
	return header->sections[section].count == count;
}

/* Logarithm of a table's slots; 0 if they are no power of two or too many. */
static uint32_t
table_bits(const PkBlobHeader *header, PkSection section)
{
	uint64_t n = header->sections[section].count;

	for (uint32_t bits = PK_TABLE_MIN_BITS; bits <= PK_ID_BITS + 2; bits++)
		if (n == UINT64_C(1) << bits)
			return bits;
	return 0;
}

static PkStatus
check_parts(const PkBlobHeader *header, PkError *err)
{
	uint64_t patterns_len = header->sections[PK_SECTION_PATTERNS].count;

	if (header->n_normalizers > PK_MAX_NORMALIZERS || header->n_steps > PK_MAX_STEPS)
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: %u normalizers, %u steps",
		                header->n_normalizers, header->n_steps);
	for (uint32_t i = 0; i < header->n_normalizers; i++)
		if (header->normalizers[i] >= PK_N_NORMAL_FORMS)
			return pk_error(err, PK_BAD_FILE, "tokenizer tables: normalizer %u is unknown", i);
	for (uint32_t i = 0; i < header->n_steps; i++)
	{
		const PkBlobStep *step = &header->steps[i];
		bool              is_last = i + 1 == header->n_steps;

		if (step->kind >= PK_N_STEP_KINDS || step->behavior >= PK_N_BEHAVIORS ||
		    step->pattern_offset > patterns_len ||
		    step->pattern_len > patterns_len - step->pattern_offset ||
		    (step->kind == PK_STEP_BYTE_LEVEL && !is_last) ||
		    (step->kind == PK_STEP_SPLIT_STRING && step->pattern_len == 0))
			return pk_error(err, PK_BAD_FILE, "tokenizer tables: step %u is broken", i);
	}
	PK_FORWARD(check_ids(&header->unk_id, 1, header->n_ids, err));
	PK_FORWARD(check_ids(&header->alias_id, 1, header->n_ids, err));
	PK_FORWARD(check_ids(header->byte_ids, 256, header->n_ids, err));
	return check_ids(header->fallback_ids, 256, header->n_ids, err);
}

/* Ids or -1. */
static PkStatus
check_ids(const int32_t *ids, size_t n, size_t n_ids, PkError *err)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] < -1 || (ids[i] >= 0 && (size_t) ids[i] >= n_ids))
			return pk_error(err, PK_BAD_FILE, "tokenizer tables: id %d of %zu", ids[i], n_ids);
	return PK_OK;
}

static void
attach(PkTokenizer *tokenizer, const char *blob)
{
	tokenizer->n_ids = tokenizer->header->n_ids;
	tokenizer->max_piece_len = tokenizer->header->max_piece_len;
	tokenizer->spell_offsets = section_data(blob, PK_SECTION_SPELL_OFFSETS);
	tokenizer->spell_text = section_data(blob, PK_SECTION_SPELL_TEXT);
	tokenizer->piece_offsets = section_data(blob, PK_SECTION_PIECE_OFFSETS);
	tokenizer->piece_text = section_data(blob, PK_SECTION_PIECE_TEXT);
	tokenizer->word_offsets = section_data(blob, PK_SECTION_WORD_OFFSETS);
	tokenizer->word_text = section_data(blob, PK_SECTION_WORD_TEXT);
	tokenizer->flags = section_data(blob, PK_SECTION_FLAGS);
	tokenizer->spell_table = section_data(blob, PK_SECTION_SPELL_TABLE);
	tokenizer->word_table = section_data(blob, PK_SECTION_WORD_TABLE);
	tokenizer->merge_table = section_data(blob, PK_SECTION_MERGE_TABLE);
	tokenizer->spell_bits = table_bits(tokenizer->header, PK_SECTION_SPELL_TABLE);
	tokenizer->word_bits = table_bits(tokenizer->header, PK_SECTION_WORD_TABLE);
	tokenizer->merge_bits = table_bits(tokenizer->header, PK_SECTION_MERGE_TABLE);
	tokenizer->merge_ids = section_data(blob, PK_SECTION_MERGE_IDS);
	tokenizer->match_nodes = section_data(blob, PK_SECTION_MATCH_NODES);
	tokenizer->match_tokens = section_data(blob, PK_SECTION_MATCH_TOKENS);
	tokenizer->n_match_nodes = (size_t) tokenizer->header->sections[PK_SECTION_MATCH_NODES].count;
	tokenizer->patterns = section_data(blob, PK_SECTION_PATTERNS);
	tokenizer->template_ids = section_data(blob, PK_SECTION_TEMPLATE);
}

/* An empty section is the blob itself: a valid address of which nothing is read. */
static const void *
section_data(const char *blob, PkSection section)
{
	const PkBlobHeader   *header = (const PkBlobHeader *) (const void *) blob;
	const PkSectionPlace *place = &header->sections[section];

	return place->count > 0 ? blob + place->offset : blob;
}

static PkStatus
check_tables(const PkTokenizer *tokenizer, PkError *err)
{
	const PkSectionPlace *places = tokenizer->header->sections;
	size_t                n = tokenizer->n_ids;
	size_t                n_merges = (size_t) places[PK_SECTION_MERGE_IDS].count;
	size_t                n_template = (size_t) places[PK_SECTION_TEMPLATE].count;

	if (!is_offsets(tokenizer->spell_offsets, n, places[PK_SECTION_SPELL_TEXT].count) ||
	    !is_offsets(tokenizer->piece_offsets, n, places[PK_SECTION_PIECE_TEXT].count) ||
	    !is_offsets(tokenizer->word_offsets, n, places[PK_SECTION_WORD_TEXT].count))
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: a token's text lies outside");
	for (size_t i = 0; i < n; i++)
		if (tokenizer->piece_offsets[i + 1] - tokenizer->piece_offsets[i] >
		    tokenizer->header->max_piece_len)
			return pk_error(err, PK_BAD_FILE, "tokenizer tables: token %zu is too long", i);
	if (tokenizer->header->max_piece_len > places[PK_SECTION_PIECE_TEXT].count)
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: the longest token has %u bytes",
		                tokenizer->header->max_piece_len);
	if (!is_text_table(tokenizer->spell_table, tokenizer->spell_bits, n) ||
	    !is_text_table(tokenizer->word_table, tokenizer->word_bits, n) ||
	    !is_merge_table(tokenizer->merge_table, tokenizer->merge_bits, n, n_merges))
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: a hash table is broken");
	for (size_t i = 0; i < n_merges; i++)
		if (tokenizer->merge_ids[i] >= n)
			return pk_error(err, PK_BAD_FILE, "tokenizer tables: merge %zu makes id %u of %zu", i,
			                tokenizer->merge_ids[i], n);
	if (!pk_match_check(tokenizer))
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: the words' tokens are broken");
	for (size_t i = 0; i < n_template; i++)
		if (tokenizer->template_ids[i] < 0)
			return pk_error(err, PK_BAD_FILE, "tokenizer tables: template id %d",
			                tokenizer->template_ids[i]);
	return check_ids(tokenizer->template_ids, n_template, n, err);
}

/* n + 1 ascending offsets from 0 to at most text_len. */
static bool
is_offsets(const uint32_t *offsets, size_t n, uint64_t text_len)
{
	bool is_ascending = offsets[0] == 0;

	for (size_t i = 0; i < n; i++)
		is_ascending &= offsets[i] <= offsets[i + 1];
	return is_ascending && offsets[n] <= text_len;
}

/* Slots name known ids, and a free one ends every search. */
static bool
is_text_table(const uint64_t *table, uint32_t bits, size_t n_ids)
{
	size_t n_slots = (size_t) 1 << bits, n_free = 0, n_run = 0;
	bool   is_right = true;

	for (size_t i = 0; i < n_slots; i++)
	{
		uint32_t id_plus_1 = (uint32_t) table[i];

		n_run = table[i] == 0 ? 0 : n_run + 1;
		is_right &= n_run <= PK_MAX_PROBES;

		n_free += table[i] == 0;
		is_right &= table[i] == 0 || (id_plus_1 > 0 && id_plus_1 <= n_ids);
	}
	return is_right && n_free > 0;
}

static bool
is_merge_table(const uint64_t *table, uint32_t bits, size_t n_ids, size_t n_merges)
{
	size_t n_slots = (size_t) 1 << bits, n_free = 0, n_run = 0;
	bool   is_right = true;

	for (size_t i = 0; i < n_slots; i++)
	{
		uint64_t entry = table[i];

		n_run = entry == PK_PAIR_FREE ? 0 : n_run + 1;
		is_right &= n_run <= PK_MAX_PROBES;
		uint64_t left = entry >> 2 * PK_ID_BITS, right = entry >> PK_ID_BITS & PK_ID_MASK;

		n_free += entry == PK_PAIR_FREE;
		is_right &= entry == PK_PAIR_FREE ||
		            (left < n_ids && right < n_ids && (entry & PK_ID_MASK) < n_merges);
	}
	return is_right && n_free > 0;
}

static PkStatus
attach_tries(PkTokenizer *tokenizer, const char *blob, PkError *err)
{
	const PkSectionPlace *places = tokenizer->header->sections;

	tokenizer->raw.nodes = section_data(blob, PK_SECTION_RAW_NODES);
	tokenizer->raw.edges = section_data(blob, PK_SECTION_RAW_EDGES);
	tokenizer->normal.nodes = section_data(blob, PK_SECTION_NORMAL_NODES);
	tokenizer->normal.edges = section_data(blob, PK_SECTION_NORMAL_EDGES);
	if (!pk_trie_attach(&tokenizer->raw, (size_t) places[PK_SECTION_RAW_NODES].count,
	                    (size_t) places[PK_SECTION_RAW_EDGES].count, tokenizer->n_ids) ||
	    !pk_trie_attach(&tokenizer->normal, (size_t) places[PK_SECTION_NORMAL_NODES].count,
	                    (size_t) places[PK_SECTION_NORMAL_EDGES].count, tokenizer->n_ids))
		return pk_error(err, PK_BAD_FILE, "tokenizer tables: the added tokens are broken");
	return PK_OK;
}

static PkStatus
compile_patterns(PkTokenizer *tokenizer, PkError *err)
{
	for (uint32_t i = 0; i < tokenizer->header->n_steps; i++)
	{
		const PkBlobStep *step = &tokenizer->header->steps[i];

		if (step->kind == PK_STEP_SPLIT_REGEX)
			PK_FORWARD(pk_regex_create(tokenizer->patterns + step->pattern_offset,
			                           step->pattern_len, &tokenizer->regexes[i], err));
	}
	return PK_OK;
}

size_t
pk_tokenizer_n_ids(const PkTokenizer *tokenizer)
{
	return tokenizer->n_ids;
}

bool
pk_tokenizer_is_special(const PkTokenizer *tokenizer, int32_t id)
{
	return id >= 0 && (size_t) id < tokenizer->n_ids &&
	       (tokenizer->flags[id] & PK_TOKEN_SPECIAL) != 0;
}

int32_t
pk_tokenizer_find(const PkTokenizer *tokenizer, const char *text, size_t len)
{
	int32_t id =
		pk_text_find(tokenizer->spell_table, tokenizer->spell_bits, tokenizer->spell_offsets,
	                 tokenizer->spell_text, text, len, pk_text_hash(text, len));
	bool is_alias = (len == 7 && memcmp(text, "<|tel|>", 7) == 0) ||
	                (len == 8 && memcmp(text, "<|tell|>", 8) == 0);

	return id < 0 && is_alias ? tokenizer->header->alias_id : id;
}

const char *
pk_tokenizer_bytes(const PkTokenizer *tokenizer, int32_t id, size_t *len)
{
	if (id < 0 || (size_t) id >= tokenizer->n_ids)
	{
		*len = 0;
		return "";
	}
	*len = tokenizer->piece_offsets[id + 1] - tokenizer->piece_offsets[id];
	return tokenizer->piece_text + tokenizer->piece_offsets[id];
}

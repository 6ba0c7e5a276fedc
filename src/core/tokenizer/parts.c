/*
 * parts.c
 *    The small sections of tokenizer.json: normalizer, pre_tokenizer, post_processor, decoder.
 *
 * A part that is not known here is refused by name. So is a combination whose meaning depends on
 * the byte letters that ByteLevel leaves behind.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/tokenizer/draft.h"
#include "core/tokenizer/pattern.h"
#include "core/tokenizer/unicode.h"

#define QUOTE_ROOM 120
#define MAX_DEPTH 16 /* of Sequence in Sequence */
#define MAX_PATTERN_LEN 4096
#define MAX_PATTERNS_LEN 8192 /* of all: every session compiles them when it opens a model */

static PkStatus check_unused(const PkJson *root, PkError *err);
static PkStatus refuse(PkError *err, const char *section, const PkJson *node);
static bool     is_type(const PkJson *node, const char *type);
static PkStatus read_normalizer(PkDraft *draft, const PkJson *node, int depth, PkError *err);
static PkStatus read_steps(PkDraft *draft, const PkJson *node, int depth, PkError *err);
static PkStatus read_byte_level(const PkJson *node, PkBlobStep *step, PkError *err);
static PkStatus read_split(PkDraft *draft, const PkJson *node, PkBlobStep *step, PkError *err);
static PkStatus read_regex(PkDraft *draft, const char *text, size_t len, PkBlobStep *step,
                           PkError *err);
static PkStatus read_behavior(const PkJson *node, PkBlobStep *step, PkError *err);
static PkStatus read_digits(const PkJson *node, PkBlobStep *step, PkError *err);
static PkStatus add_pattern(PkDraft *draft, const char *text, size_t len, PkBlobStep *step,
                            PkError *err);
static PkStatus read_post(PkDraft *draft, const PkJson *node, int depth, bool *has_template,
                          PkError *err);
static PkStatus read_template(PkDraft *draft, const PkJson *node, PkError *err);
static PkStatus add_template_token(PkDraft *draft, const PkJson *special, const PkJson *name,
                                   PkError *err);
static PkStatus read_decoder(PkDraft *draft, const PkJson *node, PkError *err);
static PkStatus add_decoder(PkDraft *draft, const PkJson *node, int depth, bool *is_fused,
                            PkError *err);
static PkStatus get_bool(const PkJson *node, const char *part, const char *key, bool fallback,
                         bool is_needed, bool *out, PkError *err);

PkStatus
pk_draft_parts(PkDraft *draft, const PkJson *root, PkError *err)
{
	bool has_template = false;

	PK_FORWARD(check_unused(root, err));
	PK_FORWARD(read_normalizer(draft, pk_json_get(root, "normalizer"), 0, err));
	PK_FORWARD(read_steps(draft, pk_json_get(root, "pre_tokenizer"), 0, err));
	PK_FORWARD(read_post(draft, pk_json_get(root, "post_processor"), 0, &has_template, err));
	return read_decoder(draft, pk_json_get(root, "decoder"), err);
}

/*
 * What the last call before save_pretrained() asked for. It says nothing of the model: transformers
 * resets both at each call that doesn't ask for them.
 */
static PkStatus
check_unused(const PkJson *root, PkError *err)
{
	static const char *const unused[] = {"truncation", "padding"};

	for (size_t i = 0; i < PK_LENGTH(unused); i++)
	{
		PkJsonType type = pk_json_type(pk_json_get(root, unused[i]));

		if (type > PK_JSON_NULL && type != PK_JSON_OBJECT)
			return pk_error(err, PK_BAD_FILE, "tokenizer.json: %s is neither an object nor null",
			                unused[i]);
	}
	return PK_OK;
}

static PkStatus
refuse(PkError *err, const char *section, const PkJson *node)
{
	size_t      len = 0;
	const char *type = pk_json_string(pk_json_get(node, "type"), &len);
	char        quoted[QUOTE_ROOM];

	if (type == NULL)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: %s has no type", section);
	return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported here", section,
	                pk_error_quote(quoted, sizeof(quoted), type, len));
}

static bool
is_type(const PkJson *node, const char *type)
{
	return pk_json_string_is(pk_json_get(node, "type"), type);
}

static PkStatus
read_normalizer(PkDraft *draft, const PkJson *node, int depth, PkError *err)
{
	static const char *const forms[PK_N_NORMAL_FORMS] = {
		[PK_NFC] = "NFC", [PK_NFD] = "NFD", [PK_NFKC] = "NFKC", [PK_NFKD] = "NFKD"};

	if (pk_json_type(node) <= PK_JSON_NULL && depth == 0)
		return PK_OK;
	if (is_type(node, "Sequence") && depth < MAX_DEPTH)
	{
		const PkJson *list = pk_json_get(node, "normalizers");

		if (pk_json_type(list) != PK_JSON_ARRAY)
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: normalizer Sequence has no normalizers");
		for (size_t i = 0; i < pk_json_size(list); i++)
			PK_FORWARD(read_normalizer(draft, pk_json_at(list, i), depth + 1, err));
		return PK_OK;
	}
	for (uint32_t form = 0; form < PK_N_NORMAL_FORMS; form++)
		if (is_type(node, forms[form]))
		{
			if (draft->header.n_normalizers == PK_MAX_NORMALIZERS)
				return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: more than %d normalizers",
				                PK_MAX_NORMALIZERS);
			draft->header.normalizers[draft->header.n_normalizers++] = form;
			return PK_OK;
		}
	return refuse(err, "normalizer", node);
}

static PkStatus
read_steps(PkDraft *draft, const PkJson *node, int depth, PkError *err)
{
	PkBlobHeader *header = &draft->header;

	if (pk_json_type(node) <= PK_JSON_NULL && depth == 0)
		return PK_OK;
	if (is_type(node, "Sequence") && depth < MAX_DEPTH)
	{
		const PkJson *list = pk_json_get(node, "pretokenizers");

		if (pk_json_type(list) != PK_JSON_ARRAY)
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: pre_tokenizer Sequence has no pretokenizers");
		for (size_t i = 0; i < pk_json_size(list); i++)
			PK_FORWARD(read_steps(draft, pk_json_at(list, i), depth + 1, err));
		return PK_OK;
	}
	if (header->n_steps == PK_MAX_STEPS)
		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: more than %d pre_tokenizers",
		                PK_MAX_STEPS);

	PkBlobStep *step = &header->steps[header->n_steps];
	PkStatus    status;

	if ((header->flags & PK_BLOB_BYTE_LEVEL) != 0)
		return refuse(err, "after ByteLevel, pre_tokenizer", node);
	if (is_type(node, "ByteLevel"))
	{
		header->flags |= PK_BLOB_BYTE_LEVEL;
		status = read_byte_level(node, step, err);
	}
	else if (is_type(node, "Split"))
		status = read_split(draft, node, step, err);
	else if (is_type(node, "Digits"))
		status = read_digits(node, step, err);
	else
		status = refuse(err, "pre_tokenizer", node);
	header->n_steps++;
	return status;
}

static PkStatus
get_bool(const PkJson *node, const char *part, const char *key, bool fallback, bool is_needed,
         bool *out, PkError *err)
{
	const PkJson *value = pk_json_get(node, key);

	*out = fallback;
	if ((value == NULL && !is_needed) || pk_json_bool(value, out))
		return PK_OK;
	return pk_error(err, PK_BAD_FILE, "tokenizer.json: %s: %s is not true or false", part, key);
}

/* trim_offsets changes offsets only, and ours always cover the input. */
static PkStatus
read_byte_level(const PkJson *node, PkBlobStep *step, PkError *err)
{
	bool has_prefix, uses_regex;

	PK_FORWARD(get_bool(node, "ByteLevel", "add_prefix_space", false, true, &has_prefix, err));
	PK_FORWARD(get_bool(node, "ByteLevel", "use_regex", true, false, &uses_regex, err));
	step->kind = PK_STEP_BYTE_LEVEL;
	step->behavior = PK_BEHAVIOR_ISOLATED;
	step->flags = (has_prefix ? PK_STEP_PREFIX_SPACE : 0) | (uses_regex ? PK_STEP_USE_REGEX : 0);
	return PK_OK;
}

static PkStatus
read_digits(const PkJson *node, PkBlobStep *step, PkError *err)
{
	bool is_individual;

	PK_FORWARD(get_bool(node, "Digits", "individual_digits", false, true, &is_individual, err));
	step->kind = PK_STEP_DIGITS;
	step->behavior = is_individual ? PK_BEHAVIOR_ISOLATED : PK_BEHAVIOR_CONTIGUOUS;
	return PK_OK;
}

static PkStatus
read_split(PkDraft *draft, const PkJson *node, PkBlobStep *step, PkError *err)
{
	const PkJson *pattern = pk_json_get(node, "pattern");
	size_t        len;
	const char   *text = pk_json_string(pk_json_get(pattern, "Regex"), &len);
	bool          is_inverted;

	PK_FORWARD(read_behavior(node, step, err));
	PK_FORWARD(get_bool(node, "Split", "invert", false, true, &is_inverted, err));
	step->flags = is_inverted ? PK_STEP_INVERT : 0;
	if (pk_json_size(pattern) != 1)
		return pk_error(err, PK_BAD_FILE, "tokenizer.json: Split has no pattern");
	if (text != NULL)
	{
		if (pk_pattern_is_gpt2(text, len))
		{
			step->kind = PK_STEP_SPLIT_GPT2;
			return PK_OK;
		}

		step->kind = PK_STEP_SPLIT_REGEX;
		return read_regex(draft, text, len, step, err);
	}
	step->kind = PK_STEP_SPLIT_STRING;
	text = pk_json_string(pk_json_get(pattern, "String"), &len);
	if (text == NULL)
		return pk_error(err, PK_UNSUPPORTED,
		                "tokenizer.json: Split pattern is neither String nor Regex");
	if (len == 0)
		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: Split with an empty pattern");
	return add_pattern(draft, text, len, step, err);
}

/* ICU compiles it again at each opening; what it refuses is to be known now. */
static PkStatus
read_regex(PkDraft *draft, const char *text, size_t len, PkBlobStep *step, PkError *err)
{
	char    *translated;
	size_t   translated_len;
	PkRegex *regex = NULL;

	PK_FORWARD(pk_pattern_translate(text, len, &translated, &translated_len, err));

	PkStatus status = add_pattern(draft, translated, translated_len, step, err);

	if (status == PK_OK)
		status = pk_regex_create(translated, translated_len, &regex, err);
	pk_regex_free(regex);
	free(translated);
	return status;
}

static PkStatus
read_behavior(const PkJson *node, PkBlobStep *step, PkError *err)
{
	static const char *const behaviors[PK_N_BEHAVIORS] = {
		[PK_BEHAVIOR_REMOVED] = "Removed",
		[PK_BEHAVIOR_ISOLATED] = "Isolated",
		[PK_BEHAVIOR_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
		[PK_BEHAVIOR_MERGED_WITH_NEXT] = "MergedWithNext",
		[PK_BEHAVIOR_CONTIGUOUS] = "Contiguous"};

	for (uint32_t i = 0; i < PK_N_BEHAVIORS; i++)
		if (pk_json_string_is(pk_json_get(node, "behavior"), behaviors[i]))
		{
			step->behavior = i;
			return PK_OK;
		}
	return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: Split has an unknown behavior");
}

static PkStatus
add_pattern(PkDraft *draft, const char *text, size_t len, PkBlobStep *step, PkError *err)
{
	void *patterns = draft->patterns;

	if (len > MAX_PATTERN_LEN)
		return pk_error(err, PK_UNSUPPORTED,
		                "tokenizer.json: a Split pattern of %zu bytes, the limit is %d", len,
		                MAX_PATTERN_LEN);

	if (draft->patterns_len + len > MAX_PATTERNS_LEN)
		return pk_error(err, PK_UNSUPPORTED, "tokenizer.json: more than %d bytes of Split patterns",
		                MAX_PATTERNS_LEN);

	PkStatus status = pk_grow(&patterns, &draft->patterns_room, draft->patterns_len + len, 1, err);

	draft->patterns = patterns;
	PK_FORWARD(status);
	memcpy(draft->patterns + draft->patterns_len, text, len);
	step->pattern_offset = (uint32_t) draft->patterns_len;
	step->pattern_len = (uint32_t) len;
	draft->patterns_len += len;
	return PK_OK;
}

static PkStatus
read_post(PkDraft *draft, const PkJson *node, int depth, bool *has_template, PkError *err)
{
	if (pk_json_type(node) <= PK_JSON_NULL && depth == 0)
		return PK_OK;
	if (is_type(node, "ByteLevel"))
		return PK_OK; /* it trims offsets, and adds nothing */
	if (is_type(node, "Sequence") && depth < MAX_DEPTH)
	{
		const PkJson *list = pk_json_get(node, "processors");

		if (pk_json_type(list) != PK_JSON_ARRAY)
			return pk_error(err, PK_BAD_FILE,
			                "tokenizer.json: post_processor Sequence has no processors");
		for (size_t i = 0; i < pk_json_size(list); i++)
			PK_FORWARD(read_post(draft, pk_json_at(list, i), depth + 1, has_template, err));
		return PK_OK;
	}
	if (is_type(node, "TemplateProcessing") && !*has_template)
	{
		*has_template = true;
		return read_template(draft, node, err);
	}
	return refuse(err, "post_processor", node);
}

/* The template for one text: special tokens before and after exactly one $A. */
static PkStatus
read_template(PkDraft *draft, const PkJson *node, PkError *err)
{
	const PkJson *single = pk_json_get(node, "single");
	const PkJson *specials = pk_json_get(node, "special_tokens");
	bool          has_text = false;

	if (pk_json_type(single) != PK_JSON_ARRAY)
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: TemplateProcessing has no single template");
	for (size_t i = 0; i < pk_json_size(single); i++)
	{
		const PkJson *piece = pk_json_at(single, i);
		const PkJson *sequence = pk_json_get(piece, "Sequence");
		const PkJson *special = pk_json_get(piece, "SpecialToken");

		if (pk_json_size(piece) != 1 || (sequence == NULL && special == NULL))
			return pk_error(err, PK_UNSUPPORTED,
			                "tokenizer.json: TemplateProcessing: piece %zu is neither Sequence nor "
			                "SpecialToken",
			                i);
		if (special != NULL)
			PK_FORWARD(add_template_token(draft, specials, pk_json_get(special, "id"), err));
		else if (has_text || !pk_json_string_is(pk_json_get(sequence, "id"), "A"))
			return pk_error(err, PK_UNSUPPORTED,
			                "tokenizer.json: TemplateProcessing: single is not one sequence A");
		if (sequence != NULL)
		{
			has_text = true;
			draft->header.n_before = (uint32_t) draft->n_template;
		}
	}
	if (!has_text)
		return pk_error(err, PK_UNSUPPORTED,
		                "tokenizer.json: TemplateProcessing: single has no sequence A");
	draft->header.n_after = (uint32_t) draft->n_template - draft->header.n_before;
	return PK_OK;
}

static PkStatus
add_template_token(PkDraft *draft, const PkJson *specials, const PkJson *name, PkError *err)
{
	const char   *key = pk_json_string(name, NULL);
	const PkJson *ids = key != NULL ? pk_json_get(pk_json_get(specials, key), "ids") : NULL;

	if (pk_json_type(ids) != PK_JSON_ARRAY)
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json: TemplateProcessing: a special token has no ids");
	for (size_t i = 0; i < pk_json_size(ids); i++)
	{
		void   *list = draft->template_ids;
		int64_t id;

		if (!pk_json_int(pk_json_at(ids, i), &id) || id < 0 || (uint64_t) id >= draft->n_ids)
			return pk_error(
				err, PK_BAD_FILE,
				"tokenizer.json: TemplateProcessing: a special token's id is not one of "
				"the %zu ids",
				draft->n_ids);

		PkStatus status =
			pk_grow(&list, &draft->template_room, draft->n_template + 1, sizeof(int32_t), err);

		draft->template_ids = list;
		PK_FORWARD(status);
		draft->template_ids[draft->n_template++] = (int32_t) id;
		if (draft->n_template > PK_MAX_IDS)
			return pk_error(err, PK_UNSUPPORTED,
			                "tokenizer.json: TemplateProcessing adds more than %u ids", PK_MAX_IDS);
	}
	return PK_OK;
}

static PkStatus
read_decoder(PkDraft *draft, const PkJson *node, PkError *err)
{
	bool is_fused = false;

	if (pk_json_type(node) > PK_JSON_NULL)
		return add_decoder(draft, node, 0, &is_fused, err);
	draft->header.flags |= PK_BLOB_JOIN_SPACES;
	return PK_OK;
}

/* ByteLevel, or ByteFallback; Fuse may follow (it joins what is joined anyway). */
static PkStatus
add_decoder(PkDraft *draft, const PkJson *node, int depth, bool *is_fused, PkError *err)
{
	bool is_taken = draft->is_byte_decoder || draft->is_fallback_decoder || *is_fused;

	if (is_type(node, "Sequence") && depth < MAX_DEPTH)
	{
		const PkJson *list = pk_json_get(node, "decoders");

		if (pk_json_type(list) != PK_JSON_ARRAY)
			return pk_error(err, PK_BAD_FILE, "tokenizer.json: decoder Sequence has no decoders");
		for (size_t i = 0; i < pk_json_size(list); i++)
			PK_FORWARD(add_decoder(draft, pk_json_at(list, i), depth + 1, is_fused, err));
		return PK_OK;
	}
	if (is_type(node, "Fuse"))
		*is_fused = true;
	else if (is_type(node, "ByteLevel") && !is_taken)
		draft->is_byte_decoder = true;
	else if (is_type(node, "ByteFallback") && !is_taken)
		draft->is_fallback_decoder = true;
	else
		return refuse(err, "decoder", node);
	return PK_OK;
}

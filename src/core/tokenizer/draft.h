/*
 * draft.h
 *    A tokenizer.json as it was read, on its way to a blob.
 *
 * vocab.c and parts.c fill a draft and refuse what we don't run; compile.c lays it out. Texts point
 * into the JSON document, which outlives the draft.
 */
#ifndef PK_DRAFT_H
#define PK_DRAFT_H

#include "core/base/cancel.h"
#include "core/base/json.h"
#include "core/tokenizer/blob.h"

typedef struct PkDraftToken
{
	const char *text; /* NULL while no token has this id */
	size_t      len;
	uint8_t     flags;         /* PK_TOKEN_* */
	bool        is_model;      /* in model.vocab */
	bool        is_normalized; /* added: looked for after normalisation */
	char       *normal_text;   /* its text after normalisation, if that changes it; owned */
	size_t      normal_len;
} PkDraftToken;

typedef struct PkDraftMerge
{
	uint32_t left, right, made;
} PkDraftMerge;

typedef struct PkDraft
{
	PkBlobHeader  header; /* all but the sections */
	PkDraftToken *tokens;
	size_t        n_ids, n_model;
	uint32_t     *added; /* ids of added tokens in file order */
	size_t        n_added;
	uint32_t     *spell_offsets;
	char         *spell_text;
	uint64_t     *spell_table;
	uint32_t      spell_bits;
	PkDraftMerge *merges; /* by rank */
	size_t        n_merges;
	char         *patterns;
	size_t        patterns_len, patterns_room;
	int32_t      *template_ids;
	size_t        n_template, template_room;
	bool          is_byte_decoder; /* decoder ByteLevel */
	bool          is_fallback_decoder;
	bool          ignore_merges;
	PkCancel     *cancel; /* of the caller; may be NULL */
} PkDraft;

/* Ask for a cancel at every 256th item of a long loop: well below a millisecond. */
PkStatus pk_draft_poll(const PkDraft *draft, size_t i, PkError *err);

/* added_tokens and model: tokens, spelling table, merges, fallback and unknown tokens. */
PkStatus pk_draft_vocab(PkDraft *draft, const PkJson *root, PkError *err);

/* normalizer, pre_tokenizer, post_processor, decoder, truncation, padding. */
PkStatus pk_draft_parts(PkDraft *draft, const PkJson *root, PkError *err);

/* Id of a spelling, or -1; after pk_draft_vocab(). */
int32_t pk_draft_find(const PkDraft *draft, const char *text, size_t len);

void pk_draft_free(PkDraft *draft);

#endif

/*
 * unicode.h
 *    What the tokenizer needs of ICU: unicode.c (classes), normalize.c and regex.c, the only files
 *    that know it.
 */
#ifndef PK_UNICODE_H
#define PK_UNICODE_H

#include "core/base/cancel.h"
#include "core/base/status.h"

/*
 * Classes of the GPT-2 pattern: \p{L}, \p{N}, \s, and the rest, as of Unicode 16 whatever ICU is
 * installed: the Unicode that Hugging Face tokenizers 0.23 runs with. So ids don't change when a
 * server gets a newer ICU.
 */
typedef enum PkCharClass
{
	PK_CHAR_OTHER,
	PK_CHAR_LETTER,
	PK_CHAR_NUMBER,
	PK_CHAR_SPACE
} PkCharClass;

PkCharClass pk_char_class(uint32_t code);

typedef struct PkCharRange
{
	uint32_t first, last;
} PkCharRange;

/* Letters or numbers that came with Unicode 15 to 16 and that an older ICU doesn't know. */
const PkCharRange *pk_late_chars(PkCharClass class, size_t *n);

/* White_Space. */
bool pk_char_is_space(uint32_t code);

/* Nd, Nl or No, as Rust's char::is_numeric. */
bool pk_char_is_numeric(uint32_t code);

/* Part of a word: Alphabetic, Mark, Decimal_Number, Connector_Punctuation or Join_Control. */
bool pk_char_is_word(uint32_t code);

/* Assigned after this version of Unicode. */
bool pk_char_is_newer(uint32_t code, int version);

typedef enum PkNormalForm
{
	PK_NFC,
	PK_NFD,
	PK_NFKC,
	PK_NFKD,
	PK_N_NORMAL_FORMS
} PkNormalForm;

/*
 * A stretch of normalised text and where it came from. Either both are the same bytes (is_copy), or
 * the stretch as a whole stands for the source bytes. Stretches are in order and without gaps.
 */
typedef struct PkStretch
{
	size_t start, end; /* bytes of the normalised text */
	size_t source_start, source_end;
	bool   is_copy;
} PkStretch;

/* Zero it first; pk_normalized_free() frees. May be used again for other texts. */
typedef struct PkNormalized
{
	char      *text;
	size_t     len, room;
	PkStretch *stretches;
	size_t     n_stretches, n_stretches_room;
} PkNormalized;

void pk_normalized_free(PkNormalized *normalized);

/* Bytes [*start, *end) of the normalised text become the bytes of the source they stand for. */
void pk_normalized_source(const PkNormalized *normalized, size_t *start, size_t *end);

/*
 * Bring text (valid UTF-8) to a normal form, with the characters of Unicode 9: Hugging Face
 * tokenizers normalises with tables of that age, and leaves newer characters alone. *is_same: it
 * has that form already, and out is not written (the usual case, found without copying). Polls
 * cancel.
 */
PkStatus pk_normalize(PkNormalForm form, const char *text, size_t len, PkNormalized *out,
                      bool *is_same, PkCancel *cancel, PkError *err);

typedef struct PkRegex PkRegex;

/*
 * Compile a pattern in ICU's syntax (UTF-8). PK_UNSUPPORTED when ICU refuses it.
 */
PkStatus pk_regex_create(const char *pattern, size_t len, PkRegex **out, PkError *err);
/* A copy for one thread; the original is not touched by searching the copy. */
PkStatus pk_regex_clone(const PkRegex *regex, PkRegex **out, PkError *err);
void     pk_regex_free(PkRegex *regex);

/* Search text (valid UTF-8, must stay); then pk_regex_next() finds match after match. */
PkStatus pk_regex_begin(PkRegex *regex, const char *text, size_t len, PkCancel *cancel,
                        PkError *err);
/* The first match at or after byte from: true in *found, and its bytes [start, end). */
PkStatus pk_regex_next(PkRegex *regex, size_t from, bool *found, size_t *start, size_t *end,
                       PkError *err);

#endif

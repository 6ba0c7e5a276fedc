/*
 * context.h
 *    The words around a number, on its line.
 *
 * Distances count letters and other signs; digits, spaces, dashes, dots, brackets, masks and our
 * own marks don't count and are no part of words. So a text that was redacted gives the numbers
 * that are left the same context as before, and redacting again changes nothing.
 *
 * Where a number or a mark lies between what counts, words are apart, and a label before it has its
 * number: "사업자번호 123-45-67890, 대표 02-345-6789" says nothing of the phone.
 */
#ifndef PK_CONTEXT_H
#define PK_CONTEXT_H

#include "core/pii/words.h"

#define PK_PII_LEFT 48
#define PK_PII_RIGHT 25
#define PK_PII_FAR SIZE_MAX
#define PK_PII_NUMBER 3 /* digits that part words, together */

/* What counts on the line before a place, oldest first. */
typedef struct PkPiiWords
{
	uint16_t chars[PK_PII_LEFT];
	size_t   n;
	size_t   end;      /* the place: bytes */
	size_t   n_digits; /* since the last that counts: PK_PII_NUMBER of them are a number */
	bool     has_labels;
} PkPiiWords;

/* Go on to byte at. Each byte is looked at once, whatever is asked. */
void pk_pii_words_to(PkPiiWords *words, const char *text, size_t at);
/* Go on to byte at, over a span that leaves n_digits when it is replaced. */
void pk_pii_words_over(PkPiiWords *words, size_t at, size_t n_digits);

typedef struct PkPiiHit
{
	uint32_t roles;
	size_t   distance;   /* what counts between the word and the number */
	bool     has_number; /* the word's own: it and a further word lie between */
} PkPiiHit;

typedef struct PkPiiContext
{
	PkPiiHit left[PK_PII_LEFT], right[PK_PII_RIGHT];
	size_t   n_left, n_right;
	bool     is_joined;     /* the first that counts on the right follows at once */
	uint16_t before, after; /* the nearest that count; 0: none */
} PkPiiContext;

/* words: at the start of the number, whose last byte is before end. */
void pk_pii_context(const PkPiiWords *words, const char *text, size_t len, size_t end,
                    PkPiiContext *context);

/* False if words on the right of byte end may still come: the text ends before the context does. */
bool pk_pii_right_is_whole(const char *text, size_t len, size_t end, bool has_labels);

/* Least distance of a word that has one of the roles, or PK_PII_FAR. */
size_t pk_pii_left(const PkPiiContext *context, uint32_t roles);
size_t pk_pii_right(const PkPiiContext *context, uint32_t roles);
/* The same of words on the left that have no number yet. */
size_t pk_pii_waiting(const PkPiiContext *context, uint32_t roles);

/* Bytes of one of our marks that begins at (or, before: ends at) byte i; 0 if none does. */
size_t pk_pii_mark(const char *text, size_t len, size_t i, bool has_labels);
size_t pk_pii_mark_before(const char *text, size_t i, bool has_labels);

#endif

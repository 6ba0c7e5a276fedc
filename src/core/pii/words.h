/*
 * words.h
 *    Words near a number that say what it is. Rows may be added in any order: the matcher takes the
 *    longest word that ends at a place.
 *
 * Texts are compared without spaces, in lower case, ASCII for full-width Latin, Hangul composed.
 */
#ifndef PK_WORDS_H
#define PK_WORDS_H

#include <uchar.h>

#include "core/base/platform.h"

/* What a word says of the number beside it; bits. */
#define PK_PII_W_PHONE 1u     /* of a phone */
#define PK_PII_W_LOCAL 2u     /* so strongly that a number without area code is one */
#define PK_PII_W_RRN 4u       /* of a person's registration */
#define PK_PII_W_CORP 8u      /* of a corporation's registration */
#define PK_PII_W_ACCOUNT 16u  /* of an account */
#define PK_PII_W_TRANSFER 32u /* of money on its way */
#define PK_PII_W_BANK 64u     /* a bank */
#define PK_PII_W_BARE 128u    /* a bank, or an ordinary word: only right beside the number */
#define PK_PII_W_KEEP 256u    /* a label of a number of another kind */
#define PK_PII_W_BUSINESS 512u
#define PK_PII_W_CARD 1024u
#define PK_PII_W_PASSPORT 2048u
#define PK_PII_W_DRIVER 4096u
#define PK_PII_W_UNIT 8192u    /* after a number: it is an amount */
#define PK_PII_W_NUMBER 16384u /* any noun before it makes it PK_PII_W_KEEP */
#define PK_PII_W_THING 32768u  /* as PK_PII_W_KEEP, but only right beside the number */

#define PK_PII_MAX_WORD 13

typedef struct PkPiiWord
{
	const char16_t *text; /* at most PK_PII_MAX_WORD */
	uint32_t        roles;
	const char     *source;
} PkPiiWord;

extern const PkPiiWord pk_pii_words[];
extern const size_t    pk_pii_n_words;

/* The longest word that ends at chars[end - 1] and begins at or after chars[0]; NULL for none. */
const PkPiiWord *pk_pii_word_at(const uint16_t *chars, size_t n, size_t end, size_t *start);

#endif

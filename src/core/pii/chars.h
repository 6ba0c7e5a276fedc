/*
 * chars.h
 *    What a code point is to a number: digit, separator, mask, or none of it.
 *
 * Decimal digits of any script and white space come from ICU, dashes too, but for the wave dash (it
 * means a range) and what Koreans type for a dash or a dot without its being one.
 */
#ifndef PK_CHARS_H
#define PK_CHARS_H

#include "core/base/utf8.h"

typedef enum PkPiiClass
{
	PK_PII_OTHER,
	PK_PII_DIGIT,
	PK_PII_DASH,
	PK_PII_DOT,
	PK_PII_MIDDOT,
	PK_PII_SPACE,
	PK_PII_NEWLINE,
	PK_PII_OPEN, /* round brackets */
	PK_PII_CLOSE,
	PK_PII_PLUS,
	PK_PII_STAR, /* hides a digit: * ● ○ */
	PK_PII_ALPHA /* ASCII letters */
} PkPiiClass;

typedef struct PkPiiChar
{
	uint32_t code;
	PkPiiClass class;
	uint8_t value; /* of a digit */
	uint8_t n;     /* bytes; 0: the text has ended */
} PkPiiChar;

/* The class of a code point beyond ASCII; *value of a digit. */
PkPiiClass pk_pii_class(uint32_t code, uint8_t *value);

extern const uint8_t pk_pii_ascii[128]; /* PkPiiClass */

/* pk_pii_char() for any text. */
PkPiiChar pk_pii_any_char(const char *text, size_t len, size_t i);

/* The character at byte i; at the end, class PK_PII_NEWLINE and n 0. */
PK_INLINE PkPiiChar
pk_pii_char(const char *text, size_t len, size_t i)
{
	uint8_t byte = i < len ? (uint8_t) text[i] : 0x80;

	if (byte >= 0x80)
		return pk_pii_any_char(text, len, i);
	return (PkPiiChar){.code = byte,
	                   .class = (PkPiiClass) pk_pii_ascii[byte],
	                   .value = (uint8_t) (byte - '0'),
	                   .n = 1};
}

/* The character that ends before byte i; at the beginning, as at the end. */
PkPiiChar pk_pii_char_before(const char *text, size_t i);

/* 0 to 9 for a digit spelled in Hangul (공 영 일 이 삼 사 오 육 륙 칠 팔 구), else -1. */
int pk_pii_spelled(uint32_t code);

#endif

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

/* The character at byte i (class PK_PII_NEWLINE and n 0 at the end), and the one that ends there.
 */
PkPiiChar pk_pii_char(const char *text, size_t len, size_t i);
PkPiiChar pk_pii_char_before(const char *text, size_t i);

/* 0 to 9 for a digit spelled in Hangul (공 영 일 이 삼 사 오 육 륙 칠 팔 구), else -1. */
int pk_pii_spelled(uint32_t code);

#endif

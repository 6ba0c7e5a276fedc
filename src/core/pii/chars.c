/*
 * chars.c
 *    Classes of code points.
 */
#include <unicode/uchar.h>

#include "core/pii/chars.h"

#define X PK_PII_OTHER
#define A PK_PII_ALPHA
#define D PK_PII_DIGIT
const uint8_t pk_pii_ascii[128] = {
	[0 ... 8] = X,           ['\t'] = PK_PII_SPACE,   ['\n'] = PK_PII_NEWLINE,
	['\v'] = PK_PII_NEWLINE, ['\f'] = PK_PII_NEWLINE, ['\r'] = PK_PII_NEWLINE,
	[' '] = PK_PII_SPACE,    ['('] = PK_PII_OPEN,     [')'] = PK_PII_CLOSE,
	['*'] = PK_PII_STAR,     ['+'] = PK_PII_PLUS,     ['-'] = PK_PII_DASH,
	['.'] = PK_PII_DOT,      ['0' ... '9'] = D,       ['A' ... 'Z'] = A,
	['a' ... 'z'] = A,
};
#undef X
#undef A
#undef D

/* What ICU's properties don't say, or say otherwise; in order. */
static const struct
{
	uint16_t code;
	uint8_t class;
} by_hand[] = {
	{0x00b7, PK_PII_MIDDOT}, /* · */
	{0x2022, PK_PII_MIDDOT}, /* • */
	{0x2027, PK_PII_MIDDOT}, /* ‧ */
	{0x2028, PK_PII_NEWLINE}, {0x2029, PK_PII_NEWLINE}, {0x2043, PK_PII_DASH},
	{0x2500, PK_PII_DASH},   /* ─ */
	{0x25a0, PK_PII_STAR},   /* ■ */
	{0x25cb, PK_PII_STAR},   /* ○ */
	{0x25cf, PK_PII_STAR},   /* ● */
	{0x25ef, PK_PII_STAR},   /* ◯ */
	{0x301c, PK_PII_OTHER},  /* 〜 is a range */
	{0x30fb, PK_PII_MIDDOT}, /* ・ */
	{0x30fc, PK_PII_DASH},   /* ー */
	{0x3161, PK_PII_DASH},   /* ㅡ */
	{0x318d, PK_PII_MIDDOT}, /* ㆍ */
	{0xff08, PK_PII_OPEN},    {0xff09, PK_PII_CLOSE},   {0xff0a, PK_PII_STAR},
	{0xff0b, PK_PII_PLUS},    {0xff0e, PK_PII_DOT},
};

PkPiiClass
pk_pii_class(uint32_t code, uint8_t *value)
{
	UChar32 c = (UChar32) code;

	*value = 0;
	if ((code >= 0xac00 && code <= 0xd7a3) || (code >= 0x4e00 && code <= 0x9fff))
		return PK_PII_OTHER;
	for (size_t i = 0; i < PK_LENGTH(by_hand); i++)
		if (by_hand[i].code == code)
			return (PkPiiClass) by_hand[i].class;
	if (u_isdigit(c))
	{
		*value = (uint8_t) u_charDigitValue(c);
		return PK_PII_DIGIT;
	}
	if (u_isUWhiteSpace(c))
		return PK_PII_SPACE;
	return u_hasBinaryProperty(c, UCHAR_DASH) ? PK_PII_DASH : PK_PII_OTHER;
}

static PkPiiChar
classify(const char *text, size_t n)
{
	PkPiiChar c = {.code = pk_utf8_decode(text, n), .n = (uint8_t) n};

	if (c.code < 128)
	{
		c.class = (PkPiiClass) pk_pii_ascii[c.code];
		c.value = (uint8_t) (c.code - '0');
	}
	else
		c.class = pk_pii_class(c.code, &c.value);
	return c;
}

PkPiiChar
pk_pii_any_char(const char *text, size_t len, size_t i)
{
	if (i >= len)
		return (PkPiiChar){.class = PK_PII_NEWLINE};

	const uint8_t *s = (const uint8_t *) text + i;

	if (len - i >= 3 && s[0] >= 0xea && s[0] <= 0xec && (s[0] > 0xea || s[1] >= 0xb0) &&
	    (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80) /* most of Hangul */
		return (PkPiiChar){.code = pk_utf8_decode(text + i, 3), .n = 3};

	size_t n = pk_utf8_char_len(text + i, len - i);

	return n > 0 ? classify(text + i, n) : (PkPiiChar){.code = 0xfffd, .n = 1};
}

PkPiiChar
pk_pii_char_before(const char *text, size_t i)
{
	size_t n = 1;

	if (i == 0)
		return (PkPiiChar){.class = PK_PII_NEWLINE};
	while (n < 4 && n < i && ((uint8_t) text[i - n] & 0xc0) == 0x80)
		n++;
	return pk_utf8_char_len(text + i - n, n) == n ? classify(text + i - n, n)
	                                              : (PkPiiChar){.code = 0xfffd, .n = 1};
}

int
pk_pii_spelled(uint32_t code)
{
	switch (code)
	{
		case 0xacf5: /* 공 */
		case 0xc601: /* 영 */
			return 0;
		case 0xc77c: /* 일 */
			return 1;
		case 0xc774: /* 이 */
			return 2;
		case 0xc0bc: /* 삼 */
			return 3;
		case 0xc0ac: /* 사 */
			return 4;
		case 0xc624: /* 오 */
			return 5;
		case 0xc721: /* 육 */
		case 0xb959: /* 륙 */
			return 6;
		case 0xce60: /* 칠 */
			return 7;
		case 0xd314: /* 팔 */
			return 8;
		case 0xad6c: /* 구 */
			return 9;
		default:
			return -1;
	}
}

/*
 * utf8.h
 *    UTF-8 as Unicode defines it: no surrogates, no overlong forms, nothing above U+10FFFF.
 */
#ifndef PK_UTF8_H
#define PK_UTF8_H

#include "core/base/platform.h"

/* Code point of a character that pk_utf8_char_len() gave n bytes for. */
PK_INLINE uint32_t
pk_utf8_decode(const char *text, size_t n)
{
	const uint8_t *s = (const uint8_t *) text;

	switch (n)
	{
		case 1:
			return s[0];
		case 2:
			return (uint32_t) (s[0] & 0x1f) << 6 | (s[1] & 0x3f);
		case 3:
			return (uint32_t) (s[0] & 0x0f) << 12 | (uint32_t) (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
		default:
			return (uint32_t) (s[0] & 0x07) << 18 | (uint32_t) (s[1] & 0x3f) << 12 |
			       (uint32_t) (s[2] & 0x3f) << 6 | (s[3] & 0x3f);
	}
}

/* pk_utf8_char_len() for any text. */
size_t pk_utf8_any_char_len(const char *text, size_t len);

/* Bytes (1 to 4) of the character that text begins with, 0 if it is not one (or len is 0). */
PK_INLINE size_t
pk_utf8_char_len(const char *text, size_t len)
{
	const uint8_t *s = (const uint8_t *) text;

	if (len >= 3 && s[0] >= 0xe1 && s[0] <= 0xec) /* most of Korean */
		return (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80 ? 3 : 0;
	if (len >= 1 && s[0] < 0x80)
		return 1;
	return pk_utf8_any_char_len(text, len);
}

/* Write code (a valid scalar value) to out (4 bytes of room); returns the bytes written. */
size_t pk_utf8_encode(uint32_t code, char *out);

/* True if all of text is UTF-8; otherwise *bad_offset (may be NULL) is the first wrong byte. */
bool pk_utf8_is_valid(const char *text, size_t len, size_t *bad_offset);

/*
 * The bytes of the longest prefix of text that could still become a character (1 to 3), when text
 * ends before it is complete; 0 if text does not begin with such a prefix.
 */
size_t pk_utf8_partial_len(const char *text, size_t len);

#endif

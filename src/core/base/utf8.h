/*
 * utf8.h
 *    UTF-8 as Unicode defines it: no surrogates, no overlong forms, nothing above U+10FFFF.
 */
#ifndef PK_UTF8_H
#define PK_UTF8_H

#include "core/base/platform.h"

/* Bytes (1 to 4) of the character that text begins with, 0 if it is not one (or len is 0). */
size_t pk_utf8_char_len(const char *text, size_t len);

/* Code point of a character that pk_utf8_char_len() gave n bytes for. */
uint32_t pk_utf8_decode(const char *text, size_t n);

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

/*
 * skip.c
 *    A sieve of whole vectors, then an exact look at what it left.
 *
 * The vectors are the compiler's own: every CPU that PostgreSQL runs on has 16 bytes of them.
 */
#include <string.h>

#include "core/pii/chain.h"
#include "core/pii/skip.h"

#define N_LANES 16
#define N_AHEAD 2 /* bytes behind the one that is judged */

typedef uint8_t Bytes __attribute__((vector_size(N_LANES)));

static Bytes
load(const uint8_t *s)
{
	Bytes v;

	memcpy(&v, s, sizeof(v));
	return v;
}

/* 0xff where a number may begin, and maybe where none does. */
static Bytes
sieve(const uint8_t *s)
{
	Bytes a = load(s), b = load(s + 1), c = load(s + 2);
	/* of Hangul, only 공 and 영; most digits beyond ASCII are led by what these ranges hold */
	Bytes gong = (Bytes) (b < 0xb0) | ((Bytes) (b == 0xb3) & (Bytes) (c == 0xb5));
	Bytes yeong = (Bytes) (b == 0x98) & (Bytes) (c == 0x81);

	return (Bytes) (a - '0' < 10) | (Bytes) (a == '@') | ((Bytes) (a == 0xea) & gong) |
	       ((Bytes) (a == 0xec) & yeong) | (Bytes) (a - 0xd9 < 0xe2 - 0xd9) | (Bytes) (a >= 0xef);
}

/* 공 or 영 before Hangul other than 일 is no telephone number. s: what follows, n bytes. */
static bool
is_in_word(const uint8_t *s, size_t n)
{
	return n >= 3 && s[0] >= 0xea && s[0] <= 0xed && (s[0] > 0xea || s[1] >= 0xb0) &&
	       !(s[0] == 0xec && s[1] == 0x9d && s[2] == 0xbc);
}

/* The first of n bytes at s, the last of the text. */
static inline bool
may_begin(const uint8_t *s, size_t n, bool has_email)
{
	if (s[0] < 0x80)
		return (s[0] >= '0' && s[0] <= '9') || (s[0] == '@' && has_email);
	if (s[0] < 0xd9 || n < 3)
		return s[0] >= 0xd9;
	switch (s[0])
	{
		case 0xd9: /* Arabic, and below NKo */
		case 0xdb:
		case 0xdf:
		case 0xe0: /* of India */
		case 0xef: /* full-width */
		case 0xf0:
			return true;
		case 0xe1: /* not conjoining jamo */
			return s[1] < 0x84 || s[1] > 0x87;
		case 0xea:
			if (s[1] == 0xb3 && s[2] == 0xb5) /* 공 */
				return !is_in_word(s + 3, n - 3);
			return s[1] < 0xb0;
		case 0xec:
			return s[1] == 0x98 && s[2] == 0x81 /* 영 */ && !is_in_word(s + 3, n - 3);
		default:
			return false;
	}
}

size_t
pk_pii_skip(const char *text, size_t len, size_t at, size_t end, bool has_email)
{
	const uint8_t *s = (const uint8_t *) text;

	while (at < end && at + N_AHEAD < len && len >= N_LANES + N_AHEAD)
	{
		size_t   last = len - N_LANES - N_AHEAD, first = at < last ? at : last;
		Bytes    left = sieve(s + first);
		uint64_t words[2];

		memcpy(words, &left, sizeof(words));
		for (size_t i = 0; i < PK_LENGTH(words); i++)
			for (uint64_t word = words[i]; word != 0;)
			{
				size_t k = first + 8 * i + (size_t) __builtin_ctzll(word) / 8;

				if (k >= at && may_begin(s + k, len - k, has_email))
					return k;
				word &= ~((uint64_t) 0xff << 8 * (k - first - 8 * i));
			}
		at = first + N_LANES;
	}
	while (at < end && !may_begin(s + at, len - at, has_email))
		at++;
	return at;
}

/* Bytes that are no digit and begin no separator. */
static bool
ends_run(uint8_t byte)
{
	if (byte < 0x80)
		return pk_pii_ascii[byte] == PK_PII_OTHER
		           ? byte > 0
		           : pk_pii_ascii[byte] == PK_PII_ALPHA && (byte | 0x20) != 'x';
	return byte >= 0xeb && byte <= 0xed;
}

size_t
pk_pii_short_run(const char *text, size_t len, size_t at)
{
	const uint8_t *s = (const uint8_t *) text;
	size_t         end = at;

	if (s[end] < '1' || s[end] > '9' || (end > 0 && (s[end - 1] | 32) >= 'a' && s[end - 1] < 0x80))
		return 0;
	while (end < len && s[end] >= '0' && s[end] <= '9')
		end++;
	if (end - at >= PK_PII_LEAST_DIGITS || end + 1 >= len)
		return 0;
	if (ends_run(s[end]))
		return end;
	return (s[end] == ' ' || s[end] == '.') && ends_run(s[end + 1]) ? end : 0;
}

/*
 * test_utf8.c
 *    Every code point, every pair of bytes, and longer sequences at all borders are judged as table
 *    3-7 of the Unicode standard says (written here a second time, as ranges).
 */
#include "../tap.h"
#include "core/base/utf8.h"

typedef struct Form
{
	size_t        n;
	unsigned char low[4], high[4];
} Form;

/* Table 3-7, well-formed UTF-8 byte sequences. */
static const Form forms[] = {
	{1, {0x00}, {0x7f}},
	{2, {0xc2, 0x80}, {0xdf, 0xbf}},
	{3, {0xe0, 0xa0, 0x80}, {0xe0, 0xbf, 0xbf}},
	{3, {0xe1, 0x80, 0x80}, {0xec, 0xbf, 0xbf}},
	{3, {0xed, 0x80, 0x80}, {0xed, 0x9f, 0xbf}},
	{3, {0xee, 0x80, 0x80}, {0xef, 0xbf, 0xbf}},
	{4, {0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}},
	{4, {0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}},
	{4, {0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}},
};

/* Bytes at the borders of some range of the table, and some between. */
static const unsigned char borders[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                        0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                        0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xfe, 0xff};

static bool test_text(const unsigned char *s, size_t len);

/* How many bytes of s agree with a form, and that form's length. */
static size_t
agree(const Form *form, const unsigned char *s, size_t len)
{
	size_t i = 0;

	while (i < len && i < form->n && s[i] >= form->low[i] && s[i] <= form->high[i])
		i++;
	return i;
}

static bool
test_text(const unsigned char *s, size_t len)
{
	size_t want_len = 0, want_partial = 0;

	for (size_t i = 0; i < PK_LENGTH(forms); i++)
	{
		size_t n = agree(&forms[i], s, len);

		if (n == forms[i].n)
			want_len = n;
		else if (n > want_partial)
			want_partial = n;
	}
	if (want_len > 0)
		want_partial = 0;

	size_t bad = 99;
	bool   is_valid = pk_utf8_is_valid((const char *) s, want_len, &bad) && bad == 99;

	return pk_utf8_char_len((const char *) s, len) == want_len &&
	       pk_utf8_partial_len((const char *) s, len) == want_partial && is_valid;
}

static void
test_all_short(void)
{
	size_t n_wrong[4] = {0};

	for (uint32_t two = 0; two < 1u << 16; two++)
	{
		for (size_t i = 0; i < PK_LENGTH(borders); i++)
		{
			unsigned char s[3] = {(unsigned char) (two >> 8), (unsigned char) two, borders[i]};

			for (size_t len = 1; len <= 3; len++)
				n_wrong[len] += !test_text(s, len);
		}
	}
	for (size_t len = 1; len <= 3; len++)
		ok(n_wrong[len] == 0, "%zu bytes are judged as the standard says", len);
}

static void
test_borders_of_four(void)
{
	size_t n = PK_LENGTH(borders), n_wrong = 0;

	for (size_t i = 0; i < n * n * n * n; i++)
	{
		unsigned char s[4] = {borders[i / (n * n * n)], borders[i / (n * n) % n],
		                      borders[i / n % n], borders[i % n]};

		n_wrong += !test_text(s, 4);
	}
	ok(n_wrong == 0, "four bytes are judged as the standard says, at all borders");
}

static void
test_code_points(void)
{
	size_t n_wrong = 0;

	for (uint32_t code = 0; code <= 0x10ffff; code++)
	{
		char   text[4];
		size_t n;

		if (code >= 0xd800 && code <= 0xdfff)
			continue;
		n = pk_utf8_encode(code, text);
		n_wrong += n != (code < 0x80      ? 1u
		                 : code < 0x800   ? 2u
		                 : code < 0x10000 ? 3u
		                                  : 4u) ||
		           pk_utf8_char_len(text, n) != n || pk_utf8_decode(text, n) != code;
		for (size_t part = 1; part < n; part++)
			n_wrong += pk_utf8_char_len(text, part) != 0 || pk_utf8_partial_len(text, part) != part;
	}
	ok(n_wrong == 0, "every scalar value survives, and each part of it is a part");
}

static void
test_named(void)
{
	size_t bad = 0;

	is_int((long long) pk_utf8_char_len("", 0), 0, "no text, no character");
	is_int((long long) pk_utf8_partial_len("", 0), 0, "nor a part of one");
	is_int((long long) pk_utf8_char_len("\xc0\x80", 2), 0, "an overlong NUL is refused");
	is_int((long long) pk_utf8_char_len("\xe0\x9f\xbf", 3), 0, "three bytes for two are refused");
	is_int((long long) pk_utf8_char_len("\xf0\x8f\xbf\xbf", 4), 0,
	       "four bytes for three are refused");
	is_int((long long) pk_utf8_char_len("\xed\xa0\x80", 3), 0, "the first surrogate is refused");
	is_int((long long) pk_utf8_char_len("\xed\xbf\xbf", 3), 0, "the last surrogate is refused");
	is_int((long long) pk_utf8_char_len("\xf4\x8f\xbf\xbf", 4), 4, "U+10FFFF is a character");
	is_int((long long) pk_utf8_char_len("\xf4\x90\x80\x80", 4), 0, "U+110000 is none");
	is_int((long long) pk_utf8_char_len("가나", 6), 3, "only the first character counts");
	ok(pk_utf8_is_valid("", 0, &bad), "no text is valid");
	ok(pk_utf8_is_valid("a\0b", 3, NULL), "NUL is a character");
	ok(!pk_utf8_is_valid("가\xff나", 7, &bad) && bad == 3, "the first wrong byte is told");
	ok(!pk_utf8_is_valid("가\xea\xb0", 5, &bad) && bad == 3,
	   "a cut character is told by its begin");
	ok(!pk_utf8_is_valid("\x80", 1, NULL), "nobody needs to ask where");
}

int
main(void)
{
	test_named();
	test_all_short();
	test_borders_of_four();
	test_code_points();
	return done_testing();
}

/*
 * test_unicode.c
 *    Classes and normalisation: of Unicode 16 and 9 whatever ICU is installed, in bounded time.
 */
#include "../tap.h"

#include <stdlib.h>
#include <time.h>

#include "core/base/utf8.h"
#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/unicode.h"

#define LONG_MARKS ((size_t) 1 << 18) /* pairs: as long as a stretch may be */
#define LIMIT_S 5.0                   /* inserting a million marks one by one takes minutes */

/* Counted with Python 3.13's unicodedata, which has Unicode 16. */
#define N_LETTERS 141028
#define N_NUMBERS 1911
#define N_SPACES 25
#define N_NUMERIC (N_NUMBERS + 13) /* Rust's, of Unicode 17 */

static void
test_classes(void)
{
	long n_letters = 0, n_numbers = 0, n_spaces = 0, n_numeric = 0;

	for (uint32_t code = 0; code < 0x110000; code++)
	{
		PkCharClass class;

		if (code >= 0xd800 && code < 0xe000)
			continue;
		class = pk_char_class(code);
		n_letters += class == PK_CHAR_LETTER;
		n_numbers += class == PK_CHAR_NUMBER;
		n_spaces += class == PK_CHAR_SPACE;
		n_numeric += pk_char_is_numeric(code);
		if ((class == PK_CHAR_SPACE) != pk_char_is_space(code))
			ok(false, "U+%04X is a space in one way only", code);
	}
	is_int(n_letters, N_LETTERS, "as many letters as Unicode 16 has");
	is_int(n_numbers, N_NUMBERS, "as many numbers");
	is_int(n_spaces, N_SPACES, "as many spaces");
	is_int(n_numeric, N_NUMERIC, "numbers for Digits are those of Rust");
	ok(pk_char_class(0x2ebf0) == PK_CHAR_LETTER, "a letter of Unicode 15.1 is one");
	ok(pk_char_class(0x11de0) == PK_CHAR_OTHER, "a digit of Unicode 17 is none yet");
	ok(pk_char_is_word('_') && pk_char_is_word(0xac00) && pk_char_is_word(0x301) &&
	       pk_char_is_word(0x200d) && !pk_char_is_word('-') && !pk_char_is_word(' '),
	   "words are made of letters, marks, digits, connectors and joiners");
	ok(atoi(pk_unicode_version()) >= 14, "ICU has Unicode %s", pk_unicode_version());
}

static void
normalizes(PkNormalForm form, const char *text, const char *expected, const char *name)
{
	PkNormalized out = {0};
	PkError      err;
	bool         is_same = false;
	PkStatus     status = pk_normalize(form, text, strlen(text), &out, &is_same, NULL, &err);
	size_t       len = is_same ? strlen(text) : out.len;

	ok(status == PK_OK && len == strlen(expected) &&
	       memcmp(is_same ? text : out.text, expected, len) == 0 &&
	       is_same == (strcmp(text, expected) == 0),
	   "%s", name);
	for (size_t i = 0; i < out.n_stretches; i++)
		if (out.stretches[i].start != (i > 0 ? out.stretches[i - 1].end : 0) ||
		    out.stretches[i].source_start != (i > 0 ? out.stretches[i - 1].source_end : 0))
			ok(false, "%s: the stretches have a gap", name);
	pk_normalized_free(&out);
}

static void
test_normalize(void)
{
	normalizes(PK_NFC, "a\xcc\x81 x", "\xc3\xa1 x", "a and acute compose");
	normalizes(PK_NFC, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c",
	           "three jamo compose");
	normalizes(PK_NFC, "\xed\x95\x98\xe1\x86\xab", "\xed\x95\x9c", "a syllable takes its final");
	normalizes(PK_NFC, "a\xcc\x81\xcc\x96", "\xc3\xa1\xcc\x96",
	           "marks are put in order, then composed");
	normalizes(PK_NFC, "\xef\xac\x81", "\xef\xac\x81", "NFC keeps a ligature");
	normalizes(PK_NFKC, "\xef\xac\x81", "fi", "NFKC takes it apart");
	normalizes(PK_NFKC, "\xef\xbc\xa1\xe3\x8e\x92", "AMHz", "NFKC widens and narrows");
	normalizes(PK_NFD, "\xed\x95\x9c", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab",
	           "NFD takes Hangul apart");
	normalizes(PK_NFKD, "\xe1\xba\x9b\xcc\xa3", "s\xcc\xa3\xcc\x87", "NFKD of a long s with marks");
	normalizes(PK_NFC, "\xe1\x84\x92", "\xe1\x84\x92", "a lone jamo stays");
	normalizes(PK_NFKC, "\xe3\x8b\xbf", "\xe3\x8b\xbf", "a square of Unicode 12.1 stays");
	normalizes(PK_NFC, "a\xcc\x81\xe1\xab\x81\xcc\x96", "\xc3\xa1\xe1\xab\x81\xcc\x96",
	           "a mark of Unicode 14 stays between others");
	normalizes(PK_NFC, "", "", "nothing stays nothing");
}

/* A long stretch goes another way than a short one: both must agree. */
static void
test_long_stretch(void)
{
	static const char *const units[] = {"\xcc\x81", "\xcc\x96", "\xcc\xb4", "\xd6\xb0"};
	PkNormalForm             forms[] = {PK_NFC, PK_NFD, PK_NFKC, PK_NFKD};

	for (size_t k = 0; k < PK_LENGTH(forms); k++)
	{
		/* what is expected: marks by class, each class in its order; e and acute compose */
		char             text[1 + 60 * 2 * 4 + 1] = "e", expected[2 + 60 * 2 * 4 + 1] = "e";
		static const int order[] = {2, 3, 1, 0}; /* classes 1, 10, 220, 230 */
		PkNormalized     out = {0};
		PkError          err;
		bool             is_same;

		for (int i = 0; i < 60; i++)
			for (size_t u = 0; u < PK_LENGTH(units); u++)
				strcat(text, units[u]);
		if (forms[k] == PK_NFC || forms[k] == PK_NFKC)
			strcpy(expected, "\xc3\xa9");
		for (size_t u = 0; u < PK_LENGTH(order); u++)
			for (int i = forms[k] == PK_NFC || forms[k] == PK_NFKC ? order[u] == 0 : 0; i < 60; i++)
				strcat(expected, units[order[u]]);
		ok(pk_normalize(forms[k], text, strlen(text), &out, &is_same, NULL, &err) == PK_OK &&
		       !is_same && out.len == strlen(expected) && memcmp(out.text, expected, out.len) == 0,
		   "240 marks are sorted for form %zu", k);
		pk_normalized_free(&out);
	}
}

static void
test_time(void)
{
	char        *text = malloc(4 * LONG_MARKS + 2);
	PkNormalized out = {0};
	PkError      err;
	bool         is_same;
	clock_t      start = clock();

	for (size_t i = 0; i < LONG_MARKS; i++)
		memcpy(text + 4 * i, "\xcc\x81\xcc\x96", 4);
	ok(pk_normalize(PK_NFC, text, 4 * LONG_MARKS, &out, &is_same, NULL, &err) == PK_OK &&
	       !is_same && (double) (clock() - start) / CLOCKS_PER_SEC < LIMIT_S,
	   "half a million marks in the wrong order take below %.0f s", LIMIT_S);
	memcpy(text + 4 * LONG_MARKS, "\xcc\x81", 2);
	ok(pk_normalize(PK_NFC, text, 4 * LONG_MARKS + 2, &out, &is_same, NULL, &err) == PK_TOO_LONG,
	   "one more is refused");
	pk_normalized_free(&out);
	free(text);
}

int
main(void)
{
	test_classes();
	test_normalize();
	test_long_stretch();
	test_time();
	return done_testing();
}

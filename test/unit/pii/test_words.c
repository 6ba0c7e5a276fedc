/*
 * test_words.c
 *    The table of words: rows that the matcher can find, each once, with a source.
 */
#include "../tap.h"
#include "core/pii/words.h"

static size_t
length(const char16_t *text)
{
	size_t n = 0;

	while (text[n] != 0)
		n++;
	return n;
}

static bool
is_same(const char16_t *a, const char16_t *b)
{
	size_t i = 0;

	while (a[i] != 0 && a[i] == b[i])
		i++;
	return a[i] == b[i];
}

int
main(void)
{
	size_t n_twice = 0, n_long = 0, n_unsourced = 0, n_lost = 0;

	for (size_t i = 0; i < pk_pii_n_words; i++)
	{
		const PkPiiWord *word = &pk_pii_words[i];
		size_t           n = length(word->text), start;
		uint16_t         chars[PK_PII_MAX_WORD];

		n_long += n > PK_PII_MAX_WORD;
		n_unsourced += word->source == NULL || word->source[0] == '\0';
		for (size_t k = 0; k < i; k++)
			if (is_same(pk_pii_words[k].text, word->text))
			{
				diag("rows %zu and %zu are one word", k, i);
				n_twice++;
			}
		for (size_t k = 0; k < n && k < PK_PII_MAX_WORD; k++)
			chars[k] = (uint16_t) word->text[k];
		n_lost += n > PK_PII_MAX_WORD || pk_pii_word_at(chars, n, n, &start) != word;
	}
	is_int((long long) n_twice, 0, "no word is in the table twice");
	is_int((long long) n_long, 0, "no word is too long");
	is_int((long long) n_unsourced, 0, "each row names its source");
	ok(n_lost == 0, "each of %zu words is found", pk_pii_n_words);
	return done_testing();
}

/*
 * test_pattern.c
 *    Regular expressions of Split: what is translated finds what Oniguruma finds, what has no
 *    equal meaning in ICU is refused.
 */
#include "../tap.h"

#include <stdlib.h>

#include "core/tokenizer/pattern.h"
#include "core/tokenizer/unicode.h"

/* The first match in text, as "start-end", or "none". From Oniguruma through tokenizers' Split. */
static const struct
{
	const char *pattern, *text, *match;
} matches[] = {
	{"a+", "xaab", "1-3"},
	{"a+?", "xaab", "1-2"},
	{"a?+b", "aab", "1-3"},
	{"a{2,3}", "xaaaa", "1-4"},
	{"a{,2}b", "aaab", "1-4"},
	{"(a|b)c", "abc", "1-3"},
	{"\\s", "a\x0b", "1-2"},
	{"\\s", "a\xc2\x85", "1-3"},
	{"\\S+", " \xe3\x80\x80xy", "4-6"},
	{"[^\\S\\n]", "\n\t", "1-2"},
	{".", "\n\xea\xb0\x80", "1-4"},
	{"\\d", "a\xd9\xa3", "1-3"},
	{"(?i:'s)", "x'S", "1-3"},
	{"(?i:'s)", "x'\xc5\xbf", "1-4"},
	{"(?i:k)", "\xe2\x84\xaa", "0-3"},
	{"(?i:[a-c]+)d", "aBCd", "0-4"},
	{"(?<=\\d)x(?!y)", "xy1xy2x", "6-7"},
	{"[\\x{ac00}-\\ud7a3]+", "a\xea\xb0\x80\xeb\x82\x98", "1-7"},
	{"[a\\]\\-]+", "x]a-", "1-4"},
	{"\\p{Han}", "a\xe6\xbc\xa2", "1-4"},
	{"\\P{L}", "a1", "1-2"},
	{"\\p{^L}", "a1", "1-2"},
	{"\\p{L}", "\xf0\xae\xaf\xb0", "0-4"}, /* U+2EBF0, Unicode 15.1 */
	{"[^\\p{L}]", "\xf0\xae\xaf\xb0", "none"},
	{"\\p{N}", "\xf0\x90\xb5\x80", "0-4"}, /* U+10D40, Unicode 16 */
	{"\\.\\\\\\t", "a.\\\t", "1-4"},
};

static const struct
{
	const char *pattern;
	PkStatus    status;
} refusals[] = {
	{"^a", PK_UNSUPPORTED},
	{"a$", PK_UNSUPPORTED},
	{"\\bx", PK_UNSUPPORTED},
	{"\\h", PK_UNSUPPORTED},
	{"(a)\\1", PK_UNSUPPORTED},
	{"\\w", PK_UNSUPPORTED},
	{"(?i)a", PK_UNSUPPORTED},
	{"(?m:.)", PK_UNSUPPORTED},
	{"(?<n>a)", PK_UNSUPPORTED},
	{"[[:alpha:]]", PK_UNSUPPORTED},
	{"[a&&b]", PK_UNSUPPORTED},
	{"(?i:ss)", PK_UNSUPPORTED},
	{"(?i:\\xc3\\xa9)", PK_UNSUPPORTED},
	{"a**", PK_UNSUPPORTED},
	{"a{2}?", PK_UNSUPPORTED},
	{"a{2,3}+", PK_UNSUPPORTED},
	{"{", PK_UNSUPPORTED},
	{"\\p{Tibetan}", PK_UNSUPPORTED},
	{"(?i:\\p{Lu})", PK_UNSUPPORTED},
	{"", PK_UNSUPPORTED},
	{"(a", PK_BAD_FILE},
	{"a)", PK_BAD_FILE},
	{"[a", PK_BAD_FILE},
	{"\\p{L", PK_BAD_FILE},
	{"\\x{110000}", PK_BAD_FILE},
	{"\\pL", PK_BAD_FILE},
	{"*a", PK_UNSUPPORTED},
	{"\\", PK_UNSUPPORTED},
	{"a{3,2}", PK_UNSUPPORTED},
	{"\xff", PK_BAD_FILE},
};

static void
find(const char *pattern, const char *text, char *out, size_t room)
{
	char    *translated;
	size_t   len, start, end;
	PkRegex *regex = NULL, *copy = NULL;
	PkError  err = {0};
	bool     found = false;

	if (pk_pattern_translate(pattern, strlen(pattern), &translated, &len, &err) != PK_OK)
	{
		snprintf(out, room, "%s", err.text);
		return;
	}
	if (pk_regex_create(translated, len, &regex, &err) != PK_OK ||
	    pk_regex_clone(regex, &copy, &err) != PK_OK ||
	    pk_regex_begin(copy, text, strlen(text), NULL, &err) != PK_OK ||
	    pk_regex_next(copy, 0, &found, &start, &end, &err) != PK_OK)
		snprintf(out, room, "%s", err.text);
	else if (found)
		snprintf(out, room, "%zu-%zu", start, end);
	else
		snprintf(out, room, "none");
	free(translated);
	pk_regex_free(copy);
	pk_regex_free(regex);
}

int
main(void)
{
	for (size_t i = 0; i < PK_LENGTH(matches); i++)
	{
		char got[512], name[128];

		find(matches[i].pattern, matches[i].text, got, sizeof(got));
		snprintf(name, sizeof(name), "/%s/ finds %s", matches[i].pattern, matches[i].match);
		is_str(got, matches[i].match, name);
	}
	for (size_t i = 0; i < PK_LENGTH(refusals); i++)
	{
		char    *translated = NULL;
		size_t   len;
		PkError  err = {0};
		PkStatus status = pk_pattern_translate(refusals[i].pattern, strlen(refusals[i].pattern),
		                                       &translated, &len, &err);

		if (!ok(status == refusals[i].status && err.text[0] != '\0', "pattern %zu is refused: %s",
		        i, pk_status_name(refusals[i].status)))
			diag("%s: %s", refusals[i].pattern, err.text);
	}
	return done_testing();
}

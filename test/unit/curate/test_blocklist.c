/*
 * test_blocklist.c
 *    Matches beside those of a plain search, places in texts of any normal form, and what is left.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/curate/apply.h"
#include "core/tokenizer/unicode.h"

#define MAX_TEXT 4096
#define MAX_PATTERNS 40

static uint64_t random_state = 20261124; /* the seed, printed below */

static uint32_t
next_random(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (random_state >> 33) % limit;
}

/* Up to most pieces of the first n_kinds. */
static void
random_text(char *out, uint32_t most, uint32_t n_kinds)
{
	static const char *const pieces[] = {"가", "나", "a", "각", "b"};

	out[0] = '\0';
	for (uint32_t n = 1 + next_random(most); n > 0; n--)
		strcat(out, pieces[next_random(n_kinds)]);
}

static PkBlocklist *
make_list(const PkBlockPattern *patterns, size_t n)
{
	PkBlocklist *list = NULL;
	PkError      err;

	if (pk_blocklist_create(patterns, n, &list, NULL, &err) != PK_OK)
		fprintf(stderr, "# %s\n", err.text);
	return list;
}

/* Matches that a search at every place finds; text and patterns are NFC. */
static size_t
count_plainly(const char *text, const PkBlockPattern *patterns, size_t n, size_t *checksum)
{
	size_t count = 0, len = strlen(text);

	*checksum = 0;
	for (size_t at = 0; at < len; at++)
		for (size_t i = 0; i < n; i++)
			if (patterns[i].len <= len - at &&
			    memcmp(text + at, patterns[i].text, patterns[i].len) == 0)
			{
				count++;
				*checksum += (at + 1) * (at + patterns[i].len + 7) * (i + 3);
			}
	return count;
}

static size_t
count_matches(const PkBlocklist *list, const char *text, size_t *checksum, bool *is_ordered)
{
	PkBlockScan *scan = NULL;
	PkBlockMatch match, last = {0};
	PkError      err;
	bool         found = true;
	size_t       count = 0;

	*checksum = 0;
	*is_ordered = true;
	if (pk_block_scan_create(list, text, strlen(text), &scan, NULL, &err) != PK_OK)
		return SIZE_MAX;
	while (pk_block_next(scan, &match, &found, &err) == PK_OK && found)
	{
		count++;
		*checksum += (match.start + 1) * (match.end + 7) * (match.pattern + 3);
		*is_ordered = *is_ordered && (match.end > last.end ||
		                              (match.end == last.end && match.start >= last.start));
		last = match;
	}
	pk_block_scan_free(scan);
	return count;
}

static void
test_random(void)
{
	static char    texts[MAX_PATTERNS][64], text[MAX_TEXT];
	PkBlockPattern patterns[MAX_PATTERNS];
	size_t         n_wrong = 0, n_unordered = 0, n_matches = 0;

	for (int round = 0; round < 2000; round++)
	{
		size_t n = next_random(MAX_PATTERNS), plain_sum, sum;
		bool   is_ordered;

		for (size_t i = 0; i < n; i++)
		{
			random_text(texts[i], 1 + next_random(6), 5);
			patterns[i] = (PkBlockPattern){texts[i], strlen(texts[i]), PK_BLOCK_FLAG};
		}
		random_text(text, 300, 5);

		PkBlocklist *list = make_list(patterns, n);
		size_t       count = count_matches(list, text, &sum, &is_ordered);

		n_wrong += count != count_plainly(text, patterns, n, &plain_sum) || sum != plain_sum;
		n_unordered += !is_ordered;
		n_matches += count;
		pk_blocklist_free(list);
	}
	ok(n_matches > 100000, "%zu random matches", n_matches);
	is_int((long long) n_wrong, 0, "as a plain search finds them");
	is_int((long long) n_unordered, 0, "in order of their ends, the longest first");
}

/* "-" instead of a text: it was dropped. */
static void
leaves(const PkBlockPattern *patterns, size_t n, const char *text, const char *want)
{
	PkBlocklist *list = make_list(patterns, n);
	PkOutcome    out = {0};
	PkError      err;
	char         got[MAX_TEXT];
	PkStatus     status = pk_blocklist_apply(list, text, strlen(text), &out, NULL, &err);

	if (out.is_dropped)
		snprintf(got, sizeof(got), "-");
	else if (out.is_masked)
		snprintf(got, sizeof(got), "%.*s", (int) out.len, out.text);
	else
		snprintf(got, sizeof(got), "%s", text);
	is_int(status, PK_OK, "applied");
	is_str(got, want, text);
	pk_outcome_free(&out);
	pk_blocklist_free(list);
}

static void
test_apply(void)
{
	static const PkBlockPattern patterns[] = {
		{"바보", 6, PK_BLOCK_MASK},      {"보바", 6, PK_BLOCK_MASK}, {"비밀", 6, PK_BLOCK_DROP},
		{"광고", 6, PK_BLOCK_FLAG},      {"x", 1, PK_BLOCK_MASK},    {"axb", 3, PK_BLOCK_MASK},
		{"e\xcc\x81", 3, PK_BLOCK_MASK}, /* in two parts */
		{"e", 1, PK_BLOCK_FLAG},
	};
	size_t n = PK_LENGTH(patterns);

	leaves(patterns, n, "", "");
	leaves(patterns, n, "좋은 영화", "좋은 영화");
	leaves(patterns, n, "이 바보야", "이 **야");
	leaves(patterns, n, "바보바보", "****");
	leaves(patterns, n, "광고입니다", "광고입니다");
	leaves(patterns, n, "이건 비밀, 바보야", "-");
	leaves(patterns, n, "x axb axx", "* *** a**");
	/* jamo and accents of their own: what is not masked keeps them */
	leaves(
		patterns, n,
		"\xe1\x84\x80\xe1\x85\xa1 이 \xe1\x84\x87\xe1\x85\xa1\xe1\x84\x87\xe1\x85\xa9야 é e\xcc\x81",
		"\xe1\x84\x80\xe1\x85\xa1 이 **야 * *");
	leaves(patterns, 0, "바보", "바보");
}

/* What masks a text masks the same text in parts, and brought together both are the same. */
static void
test_forms(void)
{
	static const PkBlockPattern patterns[] = {{"가나", 6, PK_BLOCK_MASK}, {"각", 3, PK_BLOCK_MASK}};
	PkBlocklist                *list = make_list(patterns, PK_LENGTH(patterns));
	static char                 text[MAX_TEXT];
	size_t                      n_wrong = 0, n_masked = 0;

	for (int round = 0; round < 500; round++)
	{
		PkNormalized parts = {0}, again = {0};
		PkOutcome    whole = {0}, out = {0};
		PkError      err;
		bool         is_same;
		PkStatus     status;

		random_text(text, 60, 5);
		status = pk_normalize(PK_NFD, text, strlen(text), &parts, &is_same, NULL, &err);
		if (status == PK_OK && !is_same)
			status = pk_blocklist_apply(list, parts.text, parts.len, &out, NULL, &err);
		if (status == PK_OK)
			status = pk_blocklist_apply(list, text, strlen(text), &whole, NULL, &err);
		if (status == PK_OK && out.is_masked)
			status = pk_normalize(PK_NFC, out.text, out.len, &again, &is_same, NULL, &err);
		n_masked += out.is_masked;
		if (status != PK_OK || (parts.len > 0 && out.is_masked != whole.is_masked))
			n_wrong++;
		else if (out.is_masked)
			n_wrong +=
				is_same ? whole.len != out.len || memcmp(whole.text, out.text, out.len) != 0
						: whole.len != again.len || memcmp(whole.text, again.text, again.len) != 0;
		pk_normalized_free(&parts);
		pk_normalized_free(&again);
		pk_outcome_free(&whole);
		pk_outcome_free(&out);
	}
	pk_blocklist_free(list);
	ok(n_masked > 200, "%zu random texts in parts are masked", n_masked);
	is_int((long long) n_wrong, 0, "as whole letters are");
}

/* A stop is heard, also when patterns lie in each other. */
static bool
stop(void *arg)
{
	return ++*(int *) arg > 2;
}

static void
test_limits(void)
{
	size_t         len = (size_t) 1 << 20;
	char          *text = malloc(len);
	PkBlockPattern patterns[] = {{text, 500, PK_BLOCK_MASK}, {text, 1, PK_BLOCK_MASK}};
	PkBlockPattern long_pattern = {text, len, PK_BLOCK_FLAG};
	PkBlockPattern many[9];
	PkOutcome      out = {0};
	PkBlocklist   *list;
	PkError        err;
	int            n_polls = 0;
	PkCancel       cancel = {.poll = stop, .poll_arg = &n_polls};

	memset(text, 'a', len);
	list = make_list(patterns, 2);
	is_int(pk_blocklist_apply(list, text, len, &out, NULL, &err), PK_OK, "patterns in each other");
	ok(out.is_masked && out.len == len && memchr(out.text, 'a', len) == NULL, "all is masked");
	pk_outcome_free(&out);
	is_int(pk_blocklist_apply(list, text, len, &out, &cancel, &err), PK_CANCELLED, "cancelled");
	pk_outcome_free(&out);
	pk_blocklist_free(list);
	for (size_t i = 0; i < PK_LENGTH(many); i++)
		many[i] = long_pattern;
	list = NULL;
	is_int(pk_blocklist_create(many, PK_LENGTH(many), &list, NULL, &err), PK_TOO_LONG,
	       "more than 8 MiB of patterns");
	is_int(pk_block_action("mask", 4), PK_BLOCK_MASK, "actions have names");
	is_int(pk_block_action("mas", 3), -1, "and only these");
	free(text);
}

int
main(void)
{
	diag("seed %llu", (unsigned long long) random_state);
	test_random();
	test_apply();
	test_forms();
	test_limits();
	return done_testing();
}

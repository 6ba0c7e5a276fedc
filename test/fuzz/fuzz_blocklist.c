/*
 * fuzz_blocklist.c
 *    Lines of patterns, the last line a text: the matches are those of a plain search over NFC, and
 *    what is left of the text is UTF-8. A pattern's first letter chooses its action.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/curate/apply.h"
#include "core/tokenizer/unicode.h"

#define MAX_INPUT 4096
#define MAX_PATTERNS 32

/* A part of the input, and the same in NFC. */
typedef struct Part
{
	PkNormalized form;
	const char  *text;
	size_t       len;
} Part;

static bool
normalize(const char *text, size_t len, Part *out)
{
	PkError err;
	bool    is_same;

	memset(out, 0, sizeof(*out));
	if (pk_normalize(PK_NFC, text, len, &out->form, &is_same, NULL, &err) != PK_OK)
		return false;
	out->text = is_same ? text : out->form.text;
	out->len = is_same ? len : out->form.len;
	return true;
}

static size_t
count_plainly(const Part *text, const Part *patterns, size_t n)
{
	size_t count = 0;

	for (size_t at = 0; at < text->len; at++)
		for (size_t i = 0; i < n; i++)
			count += patterns[i].len <= text->len - at &&
			         memcmp(text->text + at, patterns[i].text, patterns[i].len) == 0;
	return count;
}

static size_t
count_matches(const PkBlocklist *list, const char *text, size_t len)
{
	PkBlockScan *scan = NULL;
	PkBlockMatch match;
	PkError      err;
	bool         found = true;
	size_t       count = 0;

	if (pk_block_scan_create(list, text, len, &scan, NULL, &err) != PK_OK)
		return SIZE_MAX;
	while (pk_block_next(scan, &match, &found, &err) == PK_OK && found)
	{
		pk_block_source(scan, &match.start, &match.end);
		if (match.end > len || match.start >= match.end ||
		    !pk_utf8_is_valid(text + match.start, match.end - match.start, NULL))
			abort();
		count++;
	}
	pk_block_scan_free(scan);
	return count;
}

static void
apply(const PkBlocklist *list, const char *text, size_t len)
{
	PkOutcome out = {0};
	PkError   err;

	if (pk_blocklist_apply(list, text, len, &out, NULL, &err) == PK_OK && out.is_masked &&
	    !pk_utf8_is_valid(out.text, out.len, NULL))
		abort();
	pk_outcome_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char    *rest = (const char *) data, *line_end;
	size_t         len = size, n = 0;
	PkBlockPattern patterns[MAX_PATTERNS];
	Part           parts[MAX_PATTERNS], text;
	PkBlocklist   *list = NULL;
	PkError        err;

	if (size > MAX_INPUT || !pk_utf8_is_valid(rest, size, NULL))
		return 0;
	while (n < MAX_PATTERNS && len > 0 && (line_end = memchr(rest, '\n', len)) != NULL)
	{
		size_t n_bytes = (size_t) (line_end - rest);

		if (n_bytes > 0 && normalize(rest, n_bytes, &parts[n]))
			patterns[n++] = (PkBlockPattern){
				rest, n_bytes, (PkBlockAction) ((uint8_t) rest[0] % PK_N_BLOCK_ACTIONS)};
		len -= n_bytes + 1;
		rest = line_end + 1;
	}
	if (normalize(rest, len, &text))
	{
		if (pk_blocklist_create(patterns, n, &list, NULL, &err) != PK_OK ||
		    count_matches(list, rest, len) != count_plainly(&text, parts, n))
			abort();
		apply(list, rest, len);
	}
	pk_blocklist_free(list);
	pk_normalized_free(&text.form);
	for (size_t i = 0; i < n; i++)
		pk_normalized_free(&parts[i].form);
	return 0;
}

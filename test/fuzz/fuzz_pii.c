/*
 * fuzz_pii.c
 *    Any bytes as text: spans are whole characters, in order and apart; redacting again changes
 * nothing (but for e-mail addresses and passports that begin inside other numbers). The first byte
 * chooses style and kinds.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/pii/pii.h"

#define MAX_TEXT 65536

static size_t
redact(const char *text, size_t len, uint32_t kinds, PkPiiStyle style, char *out)
{
	PkPiiScan  scan;
	PkPiiMatch match;
	PkError    err;
	size_t     done = 0, n = 0;
	bool       found;

	pk_pii_begin(&scan, text, len, kinds, style, NULL);
	while (pk_pii_next(&scan, &match, &found, &err) == PK_OK && found)
	{
		if (match.start < done || match.end <= match.start || match.end > len)
			abort();
		memcpy(out + n, text + done, match.start - done);
		n += match.start - done;
		n += pk_pii_replace(text, &match, style, out + n);
		done = match.end;
	}
	memcpy(out + n, text + done, len - done);
	return n + len - done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > MAX_TEXT)
		return 0;

	uint32_t    loose = PK_PII_BIT(PK_PII_EMAIL) | PK_PII_BIT(PK_PII_PASSPORT);
	uint32_t    all = (1u << PK_N_PII_KINDS) - 1;
	uint32_t    sets[] = {PK_PII_DEFAULT, all & ~loose, all, PK_PII_DEFAULT};
	uint32_t    kinds = sets[data[0] >> 4 & 3];
	PkPiiStyle  style = (PkPiiStyle) (data[0] % PK_N_PII_STYLES);
	const char *text = (const char *) data + 1;
	size_t      len = size - 1;
	char       *once = malloc((len + 1) * (PK_PII_MAX_MARK + 1));
	bool        is_valid = pk_utf8_is_valid(text, len, NULL);
	size_t      n = redact(text, len, kinds, style, once);
	char       *twice = malloc((n + 1) * (PK_PII_MAX_MARK + 1));
	size_t      again = redact(once, n, kinds, style, twice);

	if (is_valid && !pk_utf8_is_valid(once, n, NULL))
		abort();
	if (is_valid && (kinds & loose) == 0 && (again != n || memcmp(once, twice, n) != 0))
		abort();
	free(once);
	free(twice);
	return 0;
}

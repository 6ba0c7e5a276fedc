/*
 * rules.c
 *    What the rules share.
 */
#include <string.h>

#include "core/pii/rules.h"

#define LOOK_BACK 128 /* bytes of a word before a number that are read, up to a mark */

/* True if one of the texts begins at text (len bytes). */
static bool
begins(const char *text, size_t len, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		size_t n_bytes = strlen(texts[i]);

		if (n_bytes <= len && memcmp(text, texts[i], n_bytes) == 0)
			return true;
	}
	return false;
}

const PkPiiContext *
pk_pii_around(PkPiiCase *c, size_t end)
{
	if (c->context_end != end)
		pk_pii_context(&c->scan->words, c->scan->text, c->scan->len, end, &c->context);
	c->context_end = end;
	return &c->context;
}

PkPiiChar
pk_pii_before(const PkPiiScan *scan, size_t i)
{
	if (i == 0 || i != scan->mark_end || scan->style == PK_PII_MASK)
		return pk_pii_char_before(scan->text, i);
	return pk_pii_char(scan->style == PK_PII_LABEL ? "]" : ">", 1, 0);
}

size_t
pk_pii_seen_from(const PkPiiScan *scan)
{
	return scan->style == PK_PII_MASK ? 0 : scan->mark_end;
}

bool
pk_pii_is_letter(const PkPiiScan *scan, size_t i)
{
	static const char *const marks[] = {"<|passport|>", "<|email|>", "[여권번호]", "[이메일]"};

	return pk_pii_char(scan->text, scan->len, i).class == PK_PII_ALPHA ||
	       begins(scan->text + i, scan->len - i, marks, PK_LENGTH(marks));
}

bool
pk_pii_has_shape(const PkPiiChain *chain, const uint8_t *lengths, size_t n)
{
	if (chain->n_groups < n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (chain->groups[i].n != lengths[i])
			return false;
	return true;
}

bool
pk_pii_may_end(const PkPiiChain *chain, size_t n)
{
	return n <= chain->n_groups && !pk_pii_is_tight(chain, n - 1);
}

void
pk_pii_set(const PkPiiCase *c, size_t n, PkPiiKind kind, float confidence, PkPiiMatch *match)
{
	*match = (PkPiiMatch){.kind = kind,
	                      .start = c->chain->groups[0].start,
	                      .end = c->chain->groups[n - 1].end,
	                      .confidence = confidence};
}

uint32_t
pk_pii_value(const uint8_t *digits, size_t n)
{
	uint32_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value * 10 + digits[i];
	return value;
}

bool
pk_pii_is_date(uint32_t year, uint32_t month, uint32_t day)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool                 is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (month < 1 || month > 12 || day < 1)
		return false;
	return day <= days[month - 1] + (uint32_t) (is_leap && month == 2);
}

static bool
is_url(const char *text, size_t start, size_t end)
{
	static const char *const signs[] = {"://", "www.", ".com", ".co.kr", ".kr/", ".net", ".org"};

	for (size_t i = start; i < end; i++)
		if (begins(text + i, end - i, signs, PK_LENGTH(signs)))
			return true;
	return false;
}

bool
pk_pii_is_embedded(const PkPiiScan *scan, size_t start, size_t end)
{
	static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".gif", ".pdf", ".txt",
	                                       ".hwp", ".zip",  ".mp4", ".csv", ".log", ".doc",
	                                       ".xls", ".htm",  ".JPG", ".PNG", ".PDF", "_"};
	const char              *text = scan->text;
	size_t                   first = start;

	if (begins(text + end, scan->len - end, suffixes, PK_LENGTH(suffixes)))
		return true;
	if (start == 0 || strchr("/=_#&@%?-", text[start - 1]) == NULL)
		return false;
	if (text[start - 1] == '_' || text[start - 1] == '#')
		return true;
	while (first > pk_pii_seen_from(scan) && start - first < LOOK_BACK &&
	       (uint8_t) text[first - 1] > ' ' &&
	       pk_pii_mark_before(text, first, scan->words.has_labels) == 0)
		first--;
	return is_url(text, first, start);
}

bool
pk_pii_is_numbered(const PkPiiContext *context)
{
	return context->before == 0xc81c /* 제 */ && context->after == 0xd638 /* 호 */;
}

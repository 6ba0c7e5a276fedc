/*
 * scan.c
 *    One pass: skip what can't be a number, read a chain, ask the rules.
 */
#include <string.h>

#include "core/pii/rules.h"

#define LEAST_DIGITS 7 /* of a number */
#define POLL_BYTES ((size_t) 1 << 18)

/* Bytes that a number may begin with; bit 2: only if e-mail is asked for. */
static const uint8_t begins_number[256] = {
	['0' ... '9'] = 1, ['@'] = 2,  [0xd9] = 1, [0xdb] = 1, [0xdf] = 1, [0xe0] = 1,
	[0xe1] = 1,        [0xea] = 1, [0xec] = 1, [0xef] = 1, [0xf0] = 1,
};

static size_t skip_text(const PkPiiScan *scan, size_t at, size_t end);
static size_t end_of_short_run(const PkPiiScan *scan);
static bool   is_settled(const PkPiiScan *scan);
static bool   at_chain(PkPiiScan *scan, PkPiiMatch *match);
static bool   is_inside(const PkPiiScan *scan, PkPiiChar before);
static bool   ask_rules(PkPiiScan *scan, const PkPiiChain *chain, PkPiiMatch *match);
static bool   take(PkPiiScan *scan, PkPiiMatch *match);
static void   keep_words(PkPiiScan *scan, const PkPiiMatch *match);

void
pk_pii_begin(PkPiiScan *scan, const char *text, size_t len, uint32_t kinds, PkPiiStyle style,
             PkCancel *cancel)
{
	memset(scan, 0, sizeof(*scan));
	scan->text = text;
	scan->len = len;
	scan->kinds = kinds;
	scan->cancel = cancel;
	scan->style = style;
	scan->words.has_labels = style == PK_PII_LABEL;
}

PkStatus
pk_pii_next(PkPiiScan *scan, PkPiiMatch *match, bool *found, PkError *err)
{
	*found = false;
	while (scan->at < scan->len && !*found)
	{
		size_t end = scan->len - scan->at > POLL_BYTES ? scan->at + POLL_BYTES : scan->len;

		if (scan->at - scan->polled >= POLL_BYTES)
		{
			scan->polled = scan->at;
			if (pk_cancel_poll(scan->cancel))
				return pk_error(err, PK_CANCELLED, "looking for personal data was cancelled");
		}
		scan->at = skip_text(scan, scan->at, end);
		if (scan->at >= end)
			continue;

		PkPiiChar c = pk_pii_char(scan->text, scan->len, scan->at);
		size_t    short_end = end_of_short_run(scan);

		if (short_end > 0)
			scan->at = short_end;
		else if (scan->is_open && !is_settled(scan))
			return PK_OK;
		else if (c.class == PK_PII_DIGIT)
			*found = at_chain(scan, match);
		else
		{
			if (c.code == '@')
				*found = (scan->kinds & PK_PII_BIT(PK_PII_EMAIL)) != 0 &&
				         pk_pii_email(scan, scan->at, match);
			else if (pk_pii_spelled(c.code) == 0)
				*found = pk_pii_spelled_phone(scan, scan->at, match);
			if (!*found)
				scan->at += c.n;
		}
		*found = *found && take(scan, match);
	}
	return PK_OK;
}

/* The next byte below end that may begin a number. */
static size_t
skip_text(const PkPiiScan *scan, size_t at, size_t end)
{
	const uint8_t *s = (const uint8_t *) scan->text;

	for (; at < end; at++)
	{
		if (begins_number[s[at]] == 0)
			continue;
		if (at + 2 >= scan->len || s[at] < 0x80)
			return at;
		/* of Hangul only 공 and 영; conjoining jamo and full-width letters are no digits */
		if (s[at] == 0xea && s[at + 1] >= 0xb0 && !(s[at + 1] == 0xb3 && s[at + 2] == 0xb5))
			continue;
		if (s[at] == 0xec && !(s[at + 1] == 0x98 && s[at + 2] == 0x81))
			continue;
		if (s[at] == 0xe1 && s[at + 1] >= 0x84 && s[at + 1] <= 0x87)
			continue;
		return at;
	}
	return at;
}

/* True for bytes that are no digit and begin no separator. */
static bool
ends_run(uint8_t byte)
{
	return (byte > 0 && byte < 0x80 && strchr(" \t-.()*+xX0123456789", byte) == NULL) ||
	       (byte >= 0xeb && byte <= 0xed);
}

/* Most digits of ordinary text: a short run that begins no chain. 0: it may be more. */
static size_t
end_of_short_run(const PkPiiScan *scan)
{
	const uint8_t *s = (const uint8_t *) scan->text;
	size_t         end = scan->at, len = scan->len;

	if (s[end] < '1' || s[end] > '9' || (end > 0 && (s[end - 1] | 32) >= 'a' && s[end - 1] < 0x80))
		return 0;
	while (end < len && s[end] >= '0' && s[end] <= '9')
		end++;
	if (end - scan->at >= LEAST_DIGITS || end + 1 >= len)
		return 0;
	if (ends_run(s[end]))
		return end;
	return (s[end] == ' ' || s[end] == '.') && ends_run(s[end + 1]) ? end : 0;
}

/* What begins at scan->at, and the words that it is judged by, end before the text does. */
static bool
is_settled(const PkPiiScan *scan)
{
	size_t    at = scan->at, n_digits = 0;
	PkPiiChar c = pk_pii_char(scan->text, scan->len, at);

	for (; at < scan->len && (c.class > PK_PII_OTHER || pk_pii_spelled(c.code) >= 0) &&
	       c.class != PK_PII_NEWLINE &&
	       (c.class != PK_PII_ALPHA || strchr("oOxX", (int) c.code) != NULL);
	     c = pk_pii_char(scan->text, scan->len, at))
	{
		n_digits += c.class == PK_PII_DIGIT || pk_pii_spelled(c.code) >= 0;
		at += c.n;
	}
	if (at >= scan->len)
		return false;
	return n_digits < LEAST_DIGITS ||
	       pk_pii_right_is_whole(scan->text, scan->len, at, scan->words.has_labels);
}

/* scan->at is at a digit. Go on behind what was read, or to the span that was found. */
static bool
at_chain(PkPiiScan *scan, PkPiiMatch *match)
{
	PkPiiChar  before = pk_pii_before(scan, scan->at);
	PkPiiChain chain;

	if (before.class == PK_PII_ALPHA)
	{
		if ((scan->kinds & PK_PII_BIT(PK_PII_PASSPORT)) != 0 &&
		    pk_pii_passport(scan, scan->at - 1, match))
			return true;
		if ((before.code | 32) == 'o' && pk_pii_spelled_phone(scan, scan->at - 1, match))
			return true;
	}
	pk_pii_chain(scan->text, scan->len, scan->at, &chain);
	if (!is_inside(scan, before))
	{
		if (chain.n_digits >= LEAST_DIGITS && ask_rules(scan, &chain, match))
			return true;
		if (chain.digits[0] == 0 && pk_pii_spelled_phone(scan, scan->at, match))
			return true;
	}
	scan->at = pk_pii_chain_end(scan->text, scan->len, scan->at);
	return false;
}

/* The chain goes on to the left: behind digits that are hidden. */
static bool
is_inside(const PkPiiScan *scan, PkPiiChar before)
{
	if (before.class == PK_PII_STAR)
		return pk_pii_hidden_before(scan, scan->at);
	if (before.class != PK_PII_DASH && before.class != PK_PII_DOT && before.class != PK_PII_MIDDOT)
		return false;

	PkPiiClass further = pk_pii_before(scan, scan->at - before.n).class;

	return further == PK_PII_STAR || further == PK_PII_DIGIT;
}

static bool
ask_rules(PkPiiScan *scan, const PkPiiChain *chain, PkPiiMatch *match)
{
	static const struct
	{
		PkPiiRule rule;
		uint32_t  kinds; /* 0: always, so that the next rules don't take it for theirs */
	} rules[] = {
		{pk_pii_corporate, PK_PII_BIT(PK_PII_CRN)},
		{pk_pii_resident, 0},
		{pk_pii_business, PK_PII_BIT(PK_PII_BRN)},
		{pk_pii_driver, PK_PII_BIT(PK_PII_DRIVER)},
		{pk_pii_card, PK_PII_BIT(PK_PII_CARD)},
		{pk_pii_phone, 0},
		{pk_pii_account, 0},
	};
	PkPiiCase c = {.scan = scan, .chain = chain, .before = pk_pii_before(scan, scan->at)};

	pk_pii_words_to(&scan->words, scan->text, scan->at);
	for (size_t i = 0; i < PK_LENGTH(rules); i++)
		if ((rules[i].kinds == 0 || (scan->kinds & rules[i].kinds) != 0) &&
		    rules[i].rule(&c, match))
			return true;
	return false;
}

/* Go on behind a span; false if its kind was not asked for. */
static bool
take(PkPiiScan *scan, PkPiiMatch *match)
{
	pk_pii_words_to(&scan->words, scan->text,
	                match->start > scan->words.end ? match->start : scan->words.end);
	if (scan->style == PK_PII_MASK)
		keep_words(scan, match);
	pk_pii_words_over(&scan->words, match->end);
	scan->at = match->end;
	scan->last_end = match->end;
	scan->last_is_phone = match->kind == PK_PII_TELL;
	if ((scan->kinds & PK_PII_BIT(match->kind)) == 0)
		return false;
	scan->mark_end = match->end;
	return true;
}

/* What a mask leaves of letters counts when the text is read again. */
static void
keep_words(PkPiiScan *scan, const PkPiiMatch *match)
{
	const char *text = scan->text;

	if (match->kind != PK_PII_EMAIL && match->kind != PK_PII_PASSPORT)
		return;
	pk_pii_words_to(&scan->words, text, match->start + 1);
	if (match->kind == PK_PII_PASSPORT)
		return;

	const char *domain = memchr(text + match->start, '@', match->end - match->start);

	pk_pii_words_over(&scan->words, (size_t) (domain - text));
	pk_pii_words_to(&scan->words, text, match->end);
}

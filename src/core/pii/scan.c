/*
 * scan.c
 *    One pass: skip what can't be a number, read a chain, ask the rules.
 */
#include <string.h>

#include "core/pii/rules.h"
#include "core/pii/skip.h"

#define POLL_BYTES ((size_t) 1 << 18)

static bool   is_settled(const PkPiiScan *scan);
static bool   at_chain(PkPiiScan *scan, PkPiiMatch *match);
static bool   is_inside(const PkPiiScan *scan, PkPiiChar before);
static bool   ask_rules(PkPiiScan *scan, const PkPiiChain *chain, PkPiiMatch *match);
static bool   take(PkPiiScan *scan, PkPiiMatch *match);
static void   keep_words(PkPiiScan *scan, const PkPiiMatch *match);
static size_t n_kept_digits(const PkPiiScan *scan, const PkPiiMatch *match);

void
pk_pii_begin(PkPiiScan *scan, const char *text, size_t len, uint32_t kinds, PkPiiStyle style,
             PkCancel *cancel)
{
	scan->text = text;
	scan->len = len;
	scan->kinds = kinds;
	scan->cancel = cancel;
	scan->style = style;
	scan->at = scan->polled = scan->last_end = scan->mark_end = 0;
	scan->last_is_phone = false;
	scan->is_open = false;
	scan->words.n = scan->words.end = scan->words.n_digits = 0;
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
		scan->at = pk_pii_skip(scan->text, scan->len, scan->at, end,
		                       (scan->kinds & PK_PII_BIT(PK_PII_EMAIL)) != 0);
		if (scan->at >= end)
			continue;

		PkPiiChar c = pk_pii_char(scan->text, scan->len, scan->at);
		size_t    short_end = pk_pii_short_run(scan->text, scan->len, scan->at);

		if (short_end > 0)
			scan->at = short_end;
		else if (scan->is_open && !is_settled(scan))
			return PK_OK;
		else if (c.class == PK_PII_DIGIT)
			*found = at_chain(scan, match);
		else
		{
			if (c.code == '@')
				*found = pk_pii_email(scan, scan->at, match);
			else if (pk_pii_spelled(c.code) == 0)
				*found = pk_pii_spelled_phone(scan, scan->at, match);
			if (!*found)
				scan->at += c.n;
		}
		*found = *found && take(scan, match);
	}
	return PK_OK;
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
	return n_digits < PK_PII_LEAST_DIGITS ||
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
		if (chain.n_digits >= PK_PII_LEAST_DIGITS && ask_rules(scan, &chain, match))
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
		return pk_pii_hides_before(scan->text, pk_pii_seen_from(scan), scan->at);
	if (before.class != PK_PII_DASH && before.class != PK_PII_DOT && before.class != PK_PII_MIDDOT)
		return false;
	return pk_pii_part_before(scan->text, pk_pii_seen_from(scan), scan->at - before.n);
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
	PkPiiCase c;

	c.scan = scan;
	c.chain = chain;
	c.before = pk_pii_before(scan, scan->at);
	c.context_end = 0; /* c.context is large, and most chains are judged without */
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
	pk_pii_words_over(&scan->words, match->end, n_kept_digits(scan, match));
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

	pk_pii_words_over(&scan->words, (size_t) (domain - text), 0);
	pk_pii_words_to(&scan->words, text, match->end);
}

/* A mark counts as a number, and so does what a mask shows of one. */
static size_t
n_kept_digits(const PkPiiScan *scan, const PkPiiMatch *match)
{
	bool is_hidden = match->kind == PK_PII_EMAIL || pk_pii_is_hidden_whole(scan->text, match);

	return scan->style == PK_PII_MASK && is_hidden ? 0 : PK_PII_NUMBER;
}

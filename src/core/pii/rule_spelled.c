/*
 * rule_spelled.c
 *    Mobile numbers with digits spelled in Hangul: 공일공 일이삼사 오육칠팔.
 *
 * The head 010 and eight more digits are asked for, so that no ordinary word is one: most digit
 * syllables are also particles or parts of words.
 */
#include "core/pii/rules.h"

#define N_DIGITS 11

/* The digit at i, spelled or not; a letter O is a zero. */
static int
digit_at(const PkPiiScan *scan, size_t i, PkPiiChar *c)
{
	*c = pk_pii_char(scan->text, scan->len, i);
	if (c->class == PK_PII_DIGIT)
		return c->value;
	return c->code == 'O' || c->code == 'o' ? 0 : pk_pii_spelled(c->code);
}

/* Past one separator, if a digit follows it. */
static size_t
skip_separator(const PkPiiScan *scan, size_t i)
{
	PkPiiChar c = pk_pii_char(scan->text, scan->len, i), next;
	size_t    at = i;

	while (at - i < 8 && (c.class == PK_PII_SPACE || c.class == PK_PII_DASH ||
	                      c.class == PK_PII_DOT || c.class == PK_PII_MIDDOT))
	{
		at += c.n;
		c = pk_pii_char(scan->text, scan->len, at);
	}
	return digit_at(scan, at, &next) >= 0 ? at : i;
}

/* No digit at i, whether it can be read, is hidden, or is behind one of our marks. */
static bool
no_digit(const PkPiiScan *scan, size_t i)
{
	PkPiiChar c;

	return digit_at(scan, i, &c) < 0 && !pk_pii_hides_after(scan->text, scan->len, i) &&
	       (i == scan->len || pk_pii_mark(scan->text, scan->len, i, true) == 0);
}

/* After the last digit: the number is over, maybe with a particle that is also a digit. */
static bool
is_over(const PkPiiScan *scan, size_t end)
{
	PkPiiChar c;
	int       digit = digit_at(scan, end, &c);

	if (c.class == PK_PII_ALPHA)
		return false;
	if (digit < 0)
		return no_digit(scan, end);
	return digit == pk_pii_spelled(0xc774 /* 이 */) && c.class != PK_PII_DIGIT &&
	       no_digit(scan, end + c.n);
}

bool
pk_pii_spelled_phone(const PkPiiScan *scan, size_t i, PkPiiMatch *match)
{
	static const int head[] = {0, 1, 0};
	size_t           end = i, n_spelled = 0;
	bool             is_parted = false;
	PkPiiChar        c, before = pk_pii_before(scan, i);

	if (before.class == PK_PII_DIGIT || before.class == PK_PII_ALPHA ||
	    pk_pii_hides_before(scan->text, pk_pii_seen_from(scan), i) ||
	    (before.class == PK_PII_DASH &&
	     pk_pii_part_before(scan->text, pk_pii_seen_from(scan), i - before.n)))
		return false;
	for (size_t k = 0; k < N_DIGITS; k++)
	{
		size_t part = k == 3 || k == 7 ? skip_separator(scan, end) : end;

		is_parted |= part > end;
		end = part;

		int digit = digit_at(scan, end, &c);

		if (digit < 0 || (k < PK_LENGTH(head) && digit != head[k]))
			return false;
		n_spelled += c.class != PK_PII_DIGIT;
		end += c.n;
	}
	if (n_spelled < (is_parted ? 1 : 2) || !is_over(scan, end)) /* 공1000000000 is an amount */
		return false;
	*match = (PkPiiMatch){.kind = PK_PII_TELL, .start = i, .end = end, .confidence = 0.9f};
	return true;
}

/*
 * rule_other.c
 *    Kinds that are looked for on request only: each has a check digit, a fixed first part or a
 *    label.
 */
#include <string.h>

#include "core/pii/rules.h"

#define NEAR 10
#define MAX_EMAIL 254

static bool
has_label(PkPiiCase *c, size_t end, uint32_t role)
{
	const PkPiiContext *context = pk_pii_around(c, end);

	return pk_pii_left(context, role) <= NEAR || pk_pii_right(context, role) <= NEAR;
}

/* Weights 1 3 7 1 3 7 1 3 5, and the tens of the last product (Presidio, python-stdnum). */
static bool
is_business(const uint8_t *d)
{
	static const uint8_t weights[] = {1, 3, 7, 1, 3, 7, 1, 3, 5};
	uint32_t             sum = d[8] * 5u / 10;

	for (size_t i = 0; i < PK_LENGTH(weights); i++)
		sum += weights[i] * d[i];
	return pk_pii_value(d, 3) >= 101 && d[9] == (10 - sum % 10) % 10;
}

bool
pk_pii_business(PkPiiCase *c, PkPiiMatch *match)
{
	bool is_grouped = pk_pii_has_shape(c->chain, (const uint8_t[]){3, 2, 5}, 3) &&
	                  pk_pii_is_tight(c->chain, 0) && pk_pii_may_end(c->chain, 3);
	bool   is_run = c->chain->groups[0].n == 10 && pk_pii_may_end(c->chain, 1);
	size_t n = is_grouped ? 3 : 1;

	if ((!is_grouped && !is_run) || !is_business(c->chain->digits))
		return false;

	bool is_named = has_label(c, c->chain->groups[n - 1].end, PK_PII_W_BUSINESS);

	if (is_run && !is_named)
		return false;
	pk_pii_set(c, n, PK_PII_BRN, is_named ? 1.0f : 0.9f, match);
	return true;
}

/* Weights 1 2 1 2 ... (Presidio). */
bool
pk_pii_corporate(PkPiiCase *c, PkPiiMatch *match)
{
	const PkPiiChain *chain = c->chain;
	bool              is_grouped = pk_pii_has_shape(chain, (const uint8_t[]){6, 7}, 2) &&
	                  pk_pii_is_tight(chain, 0) && pk_pii_may_end(chain, 2);
	bool     is_run = chain->groups[0].n == 13 && pk_pii_may_end(chain, 1);
	size_t   n = is_grouped ? 2 : 1;
	uint32_t sum = 0;

	if (!is_grouped && !is_run)
		return false;
	for (size_t i = 0; i < 12; i++)
		sum += chain->digits[i] * (i % 2 == 0 ? 1u : 2u);
	if (chain->digits[12] != (10 - sum % 10) % 10 ||
	    !has_label(c, chain->groups[n - 1].end, PK_PII_W_CORP))
		return false;
	pk_pii_set(c, n, PK_PII_CRN, 1.0f, match);
	return true;
}

/* Luhn's formula (ISO/IEC 7812). */
static bool
is_luhn(const uint8_t *digits, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint32_t digit = digits[n - 1 - i] * (i % 2 == 0 ? 1u : 2u);

		sum += digit > 9 ? digit - 9 : digit;
	}
	return sum % 10 == 0;
}

bool
pk_pii_card(PkPiiCase *c, PkPiiMatch *match)
{
	const PkPiiChain *chain = c->chain;
	size_t            n = 0;

	if (pk_pii_has_shape(chain, (const uint8_t[]){4, 4, 4, 4}, 4) && pk_pii_may_end(chain, 4))
		n = 4;
	else if (pk_pii_has_shape(chain, (const uint8_t[]){4, 6, 5}, 3) && pk_pii_may_end(chain, 3))
		n = 3;
	else if ((chain->groups[0].n == 15 || chain->groups[0].n == 16) && pk_pii_may_end(chain, 1))
		n = 1;
	if (n == 0 || chain->digits[0] < 2 || !is_luhn(chain->digits, pk_pii_n_digits(chain, n)))
		return false;
	if (n == 1 && !has_label(c, chain->groups[0].end, PK_PII_W_CARD))
		return false;
	pk_pii_set(c, n, PK_PII_CARD, 0.95f, match);
	return true;
}

/* Region 11 to 26 or 28, year, serial number, check (Korean National Police). */
bool
pk_pii_driver(PkPiiCase *c, PkPiiMatch *match)
{
	const PkPiiChain *chain = c->chain;
	bool              is_grouped =
		pk_pii_has_shape(chain, (const uint8_t[]){2, 2, 6, 2}, 4) && pk_pii_may_end(chain, 4);
	bool     is_run = chain->groups[0].n == 12 && pk_pii_may_end(chain, 1);
	uint32_t region = pk_pii_value(chain->digits, chain->n_digits < 2 ? 0 : 2);

	if ((!is_grouped && !is_run) || region < 11 || region > 28 || region == 27)
		return false;

	size_t n = is_grouped ? 4 : 1;

	if (is_run && !has_label(c, chain->groups[0].end, PK_PII_W_DRIVER))
		return false;
	pk_pii_set(c, n, PK_PII_DRIVER, 0.9f, match);
	return true;
}

/* A letter and eight digits, or since 2021 three digits, a letter and four. i: the letter. */
bool
pk_pii_passport(const PkPiiScan *scan, size_t i, PkPiiMatch *match)
{
	const char *text = scan->text + i;
	PkPiiChar   before = pk_pii_before(scan, i);

	if (scan->len - i < 9 || strchr("MSRODGT", text[0]) == NULL || before.class == PK_PII_ALPHA ||
	    before.class == PK_PII_DIGIT || before.class == PK_PII_DASH ||
	    pk_pii_hides_before(scan->text, pk_pii_seen_from(scan), i))
		return false;
	for (size_t k = 1; k < 9; k++)
	{
		bool is_digit = text[k] >= '0' && text[k] <= '9';
		bool is_letter = text[k] >= 'A' && text[k] <= 'Z';

		if (!is_digit && !(k == 4 && is_letter))
			return false;
	}

	PkPiiChar after = pk_pii_char(scan->text, scan->len, i + 9);

	if (after.class == PK_PII_ALPHA || after.class == PK_PII_DIGIT || after.class == PK_PII_DASH)
		return false;
	*match = (PkPiiMatch){.kind = PK_PII_PASSPORT, .start = i, .end = i + 9, .confidence = 0.8f};
	return true;
}

static bool
is_email_char(char c, bool is_domain)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '.' || (!is_domain && (c == '_' || c == '+' || c == '%'));
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The end of the domain that begins at start: behind the last label of letters; 0 if there is none.
 */
static size_t
domain_end(const PkPiiScan *scan, size_t start)
{
	const char *text = scan->text;
	size_t      end = 0;

	if (start < scan->len && (text[start] == '.' || text[start] == '-'))
		return 0;
	for (size_t i = start;
	     i < scan->len && i - start < MAX_EMAIL - 64 && is_email_char(text[i], true); i++)
	{
		size_t n = 0;

		while (text[i] == '.' && i > start && i + 1 + n < scan->len && is_letter(text[i + 1 + n]))
			n++;
		end = n >= 2 ? i + 1 + n : end;
	}
	return end;
}

/* RFC 5321 without quoted parts. */
bool
pk_pii_email(const PkPiiScan *scan, size_t at_sign, PkPiiMatch *match)
{
	const char *text = scan->text;
	size_t      start = at_sign, end = domain_end(scan, at_sign + 1);

	while (start > scan->last_end && at_sign - start < 64 && is_email_char(text[start - 1], false))
		start--;
	if (start > 0 && (start == scan->last_end || strchr("*@>]", text[start - 1]) != NULL))
		return false; /* the rest of another span */
	while (start < at_sign && (text[start] == '.' || text[start] == '-'))
		start++;
	if (start == at_sign || end == 0)
		return false;
	*match = (PkPiiMatch){.kind = PK_PII_EMAIL, .start = start, .end = end, .confidence = 0.95f};
	return true;
}

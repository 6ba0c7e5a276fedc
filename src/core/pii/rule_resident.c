/*
 * rule_resident.c
 *    Resident registration numbers, YYMMDD-SBBBBNC.
 *
 * S tells sex, century and citizenship. The check digit (Presidio, python-stdnum) confirms, it
 * never rejects: since 5 October 2020 the last six digits are random.
 */
#include "core/pii/rules.h"

#define N_DIGITS 13
#define NEAR 4   /* a label this near is the number's own */
#define BESIDE 1 /* a noun that may be a label: "은" between */
#define LABEL 15 /* a label of a person's number, with "는" or a name between */
#define WORD 40

static size_t   shape(const PkPiiCase *c, bool *is_whole);
static size_t   masked_end(const PkPiiCase *c);
static bool     is_birthday(const uint8_t *digits);
static bool     has_check_digit(const uint8_t *digits);
static bool     is_bar_code(const uint8_t *digits);
static float    judge(PkPiiCase *c, size_t end, bool is_whole, bool is_masked);
static uint32_t weighted(const uint8_t *digits);

bool
pk_pii_resident(PkPiiCase *c, PkPiiMatch *match)
{
	bool   is_whole;
	size_t n = shape(c, &is_whole), end = n > 0 ? c->chain->groups[n - 1].end : masked_end(c);
	float  confidence = end > 0 ? judge(c, end, is_whole, n == 0) : 0;
	bool   is_alien = c->chain->digits[6] >= 5 && c->chain->digits[6] <= 8;

	if (confidence <= 0)
		return false;
	*match = (PkPiiMatch){.kind = PK_PII_RRN,
	                      .start = c->chain->groups[0].start,
	                      .end = end,
	                      .confidence = confidence};
	if (is_alien && (c->scan->kinds & PK_PII_BIT(PK_PII_FRN)) != 0)
		match->kind = PK_PII_FRN;
	return true;
}

/* The groups of 6-7 or 13 digits that the chain begins with; 0 if it doesn't. */
static size_t
shape(const PkPiiCase *c, bool *is_whole)
{
	const PkPiiChain *chain = c->chain;
	uint8_t           join = chain->groups[0].join;

	*is_whole = chain->groups[0].n == N_DIGITS;
	if (*is_whole)
		return pk_pii_may_end(chain, 1) ? 1 : 0;
	if (!pk_pii_has_shape(chain, (const uint8_t[]){6, 7}, 2) || !pk_pii_may_end(chain, 2))
		return 0;
	return join == PK_PII_BY_DASH || join == PK_PII_BY_MIDDOT || join == PK_PII_BY_SPACE ? 2 : 0;
}

/* End of YYMMDD-S******, or 0. */
static size_t
masked_end(const PkPiiCase *c)
{
	const PkPiiChain *chain = c->chain;
	size_t            n_masks = 0;

	if (!pk_pii_has_shape(chain, (const uint8_t[]){6, 1}, 2) || chain->n_groups != 2 ||
	    chain->groups[0].join == PK_PII_BY_DOT || chain->groups[0].join == PK_PII_BY_CLOSE)
		return 0;

	size_t    end = chain->groups[1].end;
	PkPiiChar sign = pk_pii_char(c->scan->text, c->scan->len, end);

	for (; sign.class == PK_PII_STAR || sign.code == 'x' || sign.code == 'X'; n_masks++)
	{
		end += sign.n;
		sign = pk_pii_char(c->scan->text, c->scan->len, end);
	}
	return n_masks == 6 && sign.class != PK_PII_DIGIT && !pk_pii_is_letter(c->scan, end) ? end : 0;
}

/* How sure it is; 0: it is something else. */
static float
judge(PkPiiCase *c, size_t end, bool is_whole, bool is_masked)
{
	const PkPiiContext *context = pk_pii_around(c, end);
	const uint8_t      *digits = c->chain->digits;
	uint8_t             sex = digits[6];
	size_t              own = pk_pii_left(context, PK_PII_W_RRN);
	size_t              label = pk_pii_waiting(context, PK_PII_W_KEEP);
	size_t              thing = pk_pii_waiting(context, PK_PII_W_THING);
	bool                is_checked = !is_masked && has_check_digit(digits);
	bool                is_known = is_birthday(digits) && sex >= 1 && sex <= 8;

	if (own <= LABEL && own < label && own < thing)
		return 1.0f;
	if (label <= NEAR || thing <= BESIDE || pk_pii_is_numbered(context) || !is_known)
		return 0;
	if (is_masked)
		return 0.95f;
	if (c->before.class == PK_PII_ALPHA ||
	    pk_pii_is_embedded(c->scan, c->chain->groups[0].start, end))
		return 0;
	if (!is_whole)
		return is_checked ? 0.99f : 0.9f;
	if (own <= WORD || pk_pii_right(context, PK_PII_W_RRN) <= LABEL)
		return 0.95f;
	if (pk_pii_left(context, PK_PII_W_ACCOUNT | PK_PII_W_BANK) <= LABEL)
		return 0;
	return is_checked && !is_bar_code(digits) ? 0.8f : 0;
}

static bool
is_birthday(const uint8_t *digits)
{
	static const uint16_t centuries[] = {1800, 1900, 1900, 2000, 2000,
	                                     1900, 1900, 2000, 2000, 1800};

	return pk_pii_is_date(centuries[digits[6]] + pk_pii_value(digits, 2),
	                      pk_pii_value(digits + 2, 2), pk_pii_value(digits + 4, 2));
}

static uint32_t
weighted(const uint8_t *digits)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < N_DIGITS - 1; i++)
		sum += (i % 8 + 2) * digits[i];
	return sum % 11;
}

/* Aliens' numbers follow one of two formulas. */
static bool
has_check_digit(const uint8_t *digits)
{
	uint32_t rest = weighted(digits), last = digits[N_DIGITS - 1];
	bool     is_alien = digits[6] >= 5 && digits[6] <= 8;

	return last == (11 - rest) % 10 || (is_alien && last == (13 - rest) % 10);
}

/* Korean bar codes (EAN-13, 880...) look like dates of birth in 1988. */
static bool
is_bar_code(const uint8_t *digits)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < N_DIGITS; i++)
		sum += digits[i] * (i % 2 == 0 ? 1u : 3u);
	return pk_pii_value(digits, 3) == 880 && sum % 10 == 0;
}

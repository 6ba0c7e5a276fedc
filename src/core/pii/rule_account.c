/*
 * rule_account.c
 *    Bank accounts. Banks take any grouping, so words decide: a label, a bank, money on its way;
 *    and labels of other numbers decide against.
 */
#include <string.h>

#include "core/pii/plan.h"
#include "core/pii/rules.h"

#define LEAST 10
#define MOST 14
#define LEFT 40     /* of a number in groups */
#define RUN_LEFT 16 /* of one without */
#define RUN_RIGHT 8
#define BARE 8 /* a bank's name that is also a word */
#define OWN 10 /* a label this near is the number's own */
#define NEAR 5 /* and so is one of another number */

static size_t find_groups(const PkPiiCase *c);
static bool   is_shape(const PkPiiChain *chain, size_t n);
static bool   is_unmistakable(const PkPiiChain *chain, size_t n);
static bool   is_other_shape(const PkPiiChain *chain, size_t n);
static bool   is_years(const PkPiiChain *chain, size_t n);
static bool   is_timestamp(const uint8_t *digits, size_t n);
static float  judge(PkPiiCase *c, size_t n);
static bool   is_after_key(const PkPiiCase *c);
static float  judge_run(const PkPiiCase *c, const PkPiiContext *context);
static size_t bank(const PkPiiContext *context, bool is_left, size_t bare_within);

bool
pk_pii_account(PkPiiCase *c, PkPiiMatch *match)
{
	size_t n = find_groups(c);
	float  confidence = n > 0 ? judge(c, n) : 0;

	if (confidence > 0)
		pk_pii_set(c, n, PK_PII_ACC, confidence, match);
	return confidence > 0;
}

/* Groups joined one way with 10 to 14 digits; of the numbers that the chain may begin with, the
 * longest whose shape is known, else the longest. */
static size_t
find_groups(const PkPiiCase *c)
{
	const PkPiiChain *chain = c->chain;
	size_t            longest = 0;

	for (size_t n = 1; n <= chain->n_groups && n <= PK_PII_MAX_PARTS; n++)
	{
		size_t n_digits = pk_pii_n_digits(chain, n);

		if (n > 1 && (chain->groups[n - 2].join != chain->groups[0].join ||
		              chain->groups[n - 2].join == PK_PII_BY_CLOSE))
			break;
		if (n_digits < LEAST || n_digits > MOST || !pk_pii_may_end(chain, n))
			continue;
		if (n == 1 || chain->groups[0].join != PK_PII_BY_SPACE || is_shape(chain, n))
			longest = n;
		if (n == 1)
			break; /* a run is no part of something that is spaced out */
	}
	return longest;
}

static size_t
n_parts(const uint8_t *parts)
{
	size_t n = 0;

	while (n < PK_PII_MAX_PARTS && parts[n] != 0)
		n++;
	return n;
}

static bool
is_shape(const PkPiiChain *chain, size_t n)
{
	for (size_t i = 0; i < pk_pii_n_shapes; i++)
		if (pk_pii_has_shape(chain, pk_pii_shapes[i].parts, n) &&
		    n_parts(pk_pii_shapes[i].parts) == n)
			return true;
	return false;
}

static bool
is_unmistakable(const PkPiiChain *chain, size_t n)
{
	for (size_t i = 0; i < pk_pii_n_accounts; i++)
	{
		const PkPiiAccount *account = &pk_pii_accounts[i];
		size_t              k = 0;

		if (n_parts(account->parts) != n || !pk_pii_has_shape(chain, account->parts, n))
			continue;
		while (account->digits[k] != '\0' &&
		       chain->digits[k] == (uint8_t) (account->digits[k] - '0'))
			k++;
		if (account->digits[k] == '\0')
			return chain->groups[0].join == PK_PII_BY_DASH;
	}
	return false;
}

/* Begins with YYYY-MM-DD. */
static bool
is_dated(const PkPiiChain *chain, size_t n)
{
	const uint8_t *d = chain->digits;

	return n >= 3 && pk_pii_has_shape(chain, (const uint8_t[]){4, 2, 2}, 3) &&
	       pk_pii_is_date(pk_pii_value(d, 4), pk_pii_value(d + 4, 2), pk_pii_value(d + 6, 2));
}

/* Shapes of other numbers, which no bank uses. */
static bool
is_other_shape(const PkPiiChain *chain, size_t n)
{
	static const uint8_t others[][4] = {{3, 2, 5}, {2, 2, 6, 2}, {6, 7},
	                                    {4, 2, 2}, {8, 6},       {2, 4, 7}};

	for (size_t i = 0; i < PK_LENGTH(others); i++)
	{
		size_t n_groups = 0;

		while (n_groups < 4 && others[i][n_groups] != 0)
			n_groups++;
		if (n_groups == n && pk_pii_has_shape(chain, others[i], n))
			return true;
	}
	return false;
}

/* 2019-2020-2021 */
static bool
is_years(const PkPiiChain *chain, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		uint32_t year = pk_pii_value(chain->digits + chain->groups[i].first, 4);

		if (chain->groups[i].n != 4 || year < 1900 || year > 2100)
			return false;
	}
	return true;
}

/* YYYYMMDDhhmm[ss] */
static bool
is_timestamp(const uint8_t *digits, size_t n)
{
	uint32_t year = pk_pii_value(digits, 4);

	return (n == 12 || n == 14) && year >= 1900 && year < 2100 &&
	       pk_pii_is_date(year, pk_pii_value(digits + 4, 2), pk_pii_value(digits + 6, 2)) &&
	       pk_pii_value(digits + 8, 2) < 24 && pk_pii_value(digits + 10, 2) < 60;
}

static float
judge(PkPiiCase *c, size_t n)
{
	const PkPiiChain   *chain = c->chain;
	size_t              end = chain->groups[n - 1].end;
	const PkPiiContext *context = pk_pii_around(c, end);
	size_t              own = pk_pii_left(context, PK_PII_W_ACCOUNT);
	size_t              named = bank(context, true, BARE);
	size_t              other =
		pk_pii_waiting(context, PK_PII_W_KEEP | PK_PII_W_THING | PK_PII_W_RRN | PK_PII_W_LOCAL);
	bool is_beside = c->before.class == PK_PII_ALPHA && named > 0 && own > 0;

	if (is_beside || pk_pii_is_numbered(context) || is_other_shape(chain, n) ||
	    is_dated(chain, n) || pk_pii_is_embedded(c->scan, chain->groups[0].start, end))
		return 0;
	if (other <= NEAR && other < own && other < named)
		return 0;
	if (n == 1)
		return judge_run(c, context);
	if (own <= OWN)
		return 0.98f;
	if (is_unmistakable(chain, n))
		return 0.9f;
	if (!is_shape(chain, n) || is_years(chain, n))
		return 0;
	if (own <= LEFT || named <= LEFT || pk_pii_left(context, PK_PII_W_TRANSFER) <= LEFT)
		return 0.9f;
	if (context->is_joined && pk_pii_right(context, PK_PII_W_UNIT) == 0)
		return 0;
	if (pk_pii_right(context, PK_PII_W_ACCOUNT | PK_PII_W_TRANSFER) <= PK_PII_RIGHT ||
	    bank(context, false, BARE) <= PK_PII_RIGHT)
		return 0.9f;
	return 0;
}

/* In ...&key=NUMBER, what is on the right belongs to the next key. */
static bool
is_after_key(const PkPiiCase *c)
{
	return pk_pii_before(c->scan, c->chain->groups[0].start - 1).class == PK_PII_ALPHA;
}

static float
judge_run(const PkPiiCase *c, const PkPiiContext *context)
{
	const PkPiiChain *chain = c->chain;
	size_t            end = chain->groups[0].end;

	bool is_parameter = c->before.code == '=' && is_after_key(c);

	if (is_timestamp(chain->digits, chain->groups[0].n) || pk_pii_is_letter(c->scan, end) ||
	    (is_parameter && pk_pii_left(context, PK_PII_W_ACCOUNT) > OWN) ||
	    (context->is_joined && pk_pii_right(context, PK_PII_W_UNIT) == 0))
		return 0;
	if (pk_pii_left(context, PK_PII_W_ACCOUNT | PK_PII_W_TRANSFER) <= RUN_LEFT ||
	    bank(context, true, BARE) <= RUN_LEFT)
		return 0.9f;
	return pk_pii_right(context, PK_PII_W_ACCOUNT) <= RUN_RIGHT ||
	               bank(context, false, 2) <= RUN_RIGHT
	           ? 0.8f
	           : 0;
}

/* Distance of a bank; one whose name is also a word must be within bare_within. */
static size_t
bank(const PkPiiContext *context, bool is_left, size_t bare_within)
{
	size_t (*distance)(const PkPiiContext *, uint32_t) = is_left ? pk_pii_left : pk_pii_right;
	size_t sure = distance(context, PK_PII_W_BANK), bare = distance(context, PK_PII_W_BARE);

	return bare <= bare_within && bare < sure ? bare : sure;
}

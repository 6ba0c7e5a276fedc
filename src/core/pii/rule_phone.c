/*
 * rule_phone.c
 *    Phone numbers: national, with +82, of firms (1588-1234), local, and spelled.
 */
#include <string.h>

#include "core/pii/plan.h"
#include "core/pii/rules.h"

#define OWN 6     /* a label this near is the number's own */
#define ACCOUNT 2 /* one of an account must be nearer: money is sent, then one calls */
#define DIRECT 3  /* a label right before, with a colon or a particle */
#define WORD 20
/* "접수 02-345-6789" is a phone all the same, "접수번호 02-2024-0312" is none */
#define LABELS (PK_PII_W_KEEP | PK_PII_W_RRN)
#define MAX_NATIONAL 12

/* A number in national form, and where its parts lie in the chain. */
typedef struct National
{
	uint8_t            digits[MAX_NATIONAL];
	size_t             n;
	size_t             first;      /* group that it begins in */
	size_t             first_skip; /* digits of that group before it */
	bool               is_abroad;  /* written with the country's code */
	const PkPiiPrefix *prefix;
} National;

static size_t country_digits(const PkPiiCase *c);
static size_t find_national(PkPiiCase *c, National *national);
static bool   read_national(const PkPiiCase *c, size_t n_groups, size_t n_country, National *out);
static const PkPiiPrefix *find_prefix(const National *national);
static bool               is_grouped(const PkPiiCase *c, size_t n_groups, const National *national);
static float              judge_national(PkPiiCase *c, size_t n_groups, const National *national);
static size_t             span_start(const PkPiiCase *c, size_t n_groups);
static bool               nationwide(PkPiiCase *c, PkPiiMatch *match);
static bool               local(PkPiiCase *c, PkPiiMatch *match);
static bool               unplanned(PkPiiCase *c, PkPiiMatch *match);
static size_t             pair(const PkPiiCase *c, size_t n_first);
static bool               is_years(const PkPiiCase *c);
static bool has_other_label(const PkPiiContext *context, uint32_t labels, size_t distance);

bool
pk_pii_phone(PkPiiCase *c, PkPiiMatch *match)
{
	National national;
	size_t   n = find_national(c, &national);

	if (n > 0)
	{
		float confidence = judge_national(c, n, &national);

		if (confidence <= 0)
			return false;
		pk_pii_set(c, n, PK_PII_TELL, confidence, match);
		match->start = span_start(c, n);
		return true;
	}
	return nationwide(c, match) || local(c, match) || unplanned(c, match);
}

/* Digits of 82 or 0082 that the chain begins with, 0 if it doesn't. */
static size_t
country_digits(const PkPiiCase *c)
{
	const PkPiiChain *chain = c->chain;

	if (chain->n_digits >= 4 && pk_pii_value(chain->digits, 4) == PK_PII_COUNTRY &&
	    chain->groups[0].n >= 4)
		return 4;
	if (chain->n_digits < 2 || pk_pii_value(chain->digits, 2) != PK_PII_COUNTRY)
		return 0;
	return c->before.class == PK_PII_PLUS || chain->groups[0].n == 2 ? 2 : 0;
}

/* Groups of the number that the chain begins with; 0: none. The longest that is one. */
static size_t
find_national(PkPiiCase *c, National *national)
{
	size_t most = c->chain->n_groups < 5 ? c->chain->n_groups : 5, n_country = country_digits(c);

	for (size_t n = most; n > 0; n--)
		if (pk_pii_may_end(c->chain, n) && read_national(c, n, n_country, national) &&
		    is_grouped(c, n, national))
			return n;
	return 0;
}

static bool
read_national(const PkPiiCase *c, size_t n_groups, size_t n_country, National *out)
{
	const PkPiiChain *chain = c->chain;
	size_t            n_digits = pk_pii_n_digits(chain, n_groups), at = n_country;

	*out = (National){.is_abroad = n_country > 0};
	if (n_country > 0)
	{
		if (at < n_digits && chain->digits[at] == 0)
			at++;
		out->digits[out->n++] = 0;
		while (out->first < n_groups &&
		       chain->groups[out->first].first + chain->groups[out->first].n <= at)
			out->first++;
		if (out->first == n_groups)
			return false;
		out->first_skip =
			at > chain->groups[out->first].first ? at - chain->groups[out->first].first : 0;
	}
	if (n_digits <= at || n_digits - at > MAX_NATIONAL - out->n)
		return false;
	memcpy(out->digits + out->n, chain->digits + at, n_digits - at);
	out->n += n_digits - at;
	out->prefix = find_prefix(out);
	return out->prefix != NULL;
}

static const PkPiiPrefix *
find_prefix(const National *national)
{
	for (size_t i = 0; i < pk_pii_n_prefixes; i++)
	{
		const PkPiiPrefix *prefix = &pk_pii_prefixes[i];
		size_t             len = 0;

		while (prefix->digits[len] != '\0' && len < national->n &&
		       national->digits[len] == (uint8_t) (prefix->digits[len] - '0'))
			len++;
		if (prefix->digits[len] == '\0' && national->n >= len + prefix->least &&
		    national->n <= len + prefix->most &&
		    !(prefix->is_geographic && national->digits[len] == 0))
			return prefix;
	}
	return NULL;
}

/*
 * The prefix stands alone or joined to what follows, the rest is whole or parted before the last
 * four. A bracket closes after the prefix or the country's code only.
 */
static bool
is_grouped(const PkPiiCase *c, size_t n_groups, const National *national)
{
	const PkPiiChain *chain = c->chain;
	size_t            n_prefix = strlen(national->prefix->digits), at = 0;

	for (size_t i = national->first; i < n_groups; i++)
	{
		size_t n = chain->groups[i].n;

		if (i == national->first)
			n = n - national->first_skip + (national->is_abroad ? 1 : 0);
		at += n;

		bool is_last = i + 1 == n_groups;
		bool is_part = at == n_prefix || at == national->n - 4 || at == national->n ||
		               (n_prefix == 4 && at == 3); /* 050-5123-4567 */

		if (!is_part)
			return false;
		if (!is_last && chain->groups[i].join == PK_PII_BY_CLOSE && at != n_prefix)
			return false;
	}
	return at == national->n;
}

static float
judge_national(PkPiiCase *c, size_t n_groups, const National *national)
{
	const PkPiiChain   *chain = c->chain;
	size_t              end = chain->groups[n_groups - 1].end;
	const PkPiiContext *context = pk_pii_around(c, end);
	bool                is_run = n_groups == 1 && !national->is_abroad;
	bool                is_mobile = memcmp(national->prefix->digits, "010", 3) == 0;
	size_t              word = pk_pii_left(context, PK_PII_W_PHONE);
	size_t              account = pk_pii_left(context, PK_PII_W_ACCOUNT);

	if (account <= ACCOUNT && account < word)
		return 0;
	if (pk_pii_is_numbered(context))
		return 0;
	if (national->prefix->is_geographic && !national->is_abroad &&
	    has_other_label(context, LABELS, DIRECT))
		return 0;
	if (!is_run)
		return 0.95f;
	if (pk_pii_is_embedded(c->scan, chain->groups[0].start, end) ||
	    has_other_label(context, LABELS | PK_PII_W_THING, DIRECT))
		return 0;
	if (c->before.class == PK_PII_ALPHA && word > 0)
		return 0;
	if (pk_pii_is_letter(c->scan, end))
		return 0;
	if (context->is_joined && pk_pii_right(context, PK_PII_W_UNIT) == 0)
		return 0;
	if (is_mobile)
		return 0.9f;
	return word <= WORD || pk_pii_right(context, PK_PII_W_PHONE) <= OWN ? 0.8f : 0;
}

/* A plus sign, and a bracket that was opened before a prefix or country's code and closed after it.
 */
static size_t
span_start(const PkPiiCase *c, size_t n_groups)
{
	size_t    start = c->chain->groups[0].start;
	PkPiiChar before = c->before;
	bool      is_closed = n_groups > 1 && c->chain->groups[0].join == PK_PII_BY_CLOSE &&
	                 !c->chain->groups[0].zero_after;

	if (before.class == PK_PII_PLUS)
	{
		start -= before.n;
		before = pk_pii_before(c->scan, start);
	}
	return is_closed && before.class == PK_PII_OPEN ? start - before.n : start;
}

/* Groups of n_first and 4 digits that the chain begins with, joined or not; 0 if it doesn't. */
static size_t
pair(const PkPiiCase *c, size_t n_first)
{
	const PkPiiChain *chain = c->chain;

	if (chain->groups[0].n == n_first + 4 && pk_pii_may_end(chain, 1))
		return 1;
	if (chain->n_groups < 2 || chain->groups[0].n != n_first || chain->groups[1].n != 4 ||
	    chain->groups[0].join == PK_PII_BY_CLOSE || !pk_pii_may_end(chain, 2))
		return 0;
	return 2;
}

static bool
nationwide(PkPiiCase *c, PkPiiMatch *match)
{
	const PkPiiChain *chain = c->chain;
	size_t            n = pair(c, 4);
	bool              is_one = false;

	for (size_t i = 0; n > 0 && i < pk_pii_n_nationwide; i++)
		is_one |= pk_pii_value(chain->digits, 4) == pk_pii_nationwide[i];
	if (!is_one)
		return false;

	size_t              end = chain->groups[n - 1].end;
	const PkPiiContext *context = pk_pii_around(c, end);
	size_t              word = pk_pii_left(context, PK_PII_W_PHONE);
	bool                is_loose = n == 1 || chain->groups[0].join == PK_PII_BY_SPACE ||
	                chain->groups[0].join == PK_PII_BY_DOT || pk_pii_is_letter(c->scan, end);
	bool is_named = word <= WORD || pk_pii_right(context, PK_PII_W_PHONE) <= DIRECT;

	uint32_t labels = is_loose ? LABELS | PK_PII_W_THING : LABELS;

	if (pk_pii_is_numbered(context) || has_other_label(context, labels, OWN) ||
	    pk_pii_is_embedded(c->scan, chain->groups[0].start, end))
		return false;
	if (is_loose && (!is_named || c->before.class == PK_PII_ALPHA))
		return false;
	if ((is_years(c) && word > OWN) ||
	    (context->is_joined && pk_pii_right(context, PK_PII_W_UNIT) == 0))
		return false;
	pk_pii_set(c, n, PK_PII_TELL, is_named ? 0.95f : 0.8f, match);
	return true;
}

/* Right after ☎, 전화 or the like, or after another phone in a list. */
static bool
local(PkPiiCase *c, PkPiiMatch *match)
{
	const PkPiiChain *chain = c->chain;
	const PkPiiScan  *scan = c->scan;
	size_t            n = pair(c, 3) > 0 ? pair(c, 3) : pair(c, 4), start = chain->groups[0].start;

	if (n == 0 || chain->digits[0] < 2 || (n == 2 && chain->groups[0].join == PK_PII_BY_SPACE))
		return false;

	const PkPiiContext *context = pk_pii_around(c, chain->groups[n - 1].end);
	bool                in_list =
		scan->last_is_phone && n == 2 && start > scan->last_end && start - scan->last_end <= 3;

	for (size_t i = scan->last_end; in_list && i < start; i++)
		in_list = strchr(" ,/", scan->text[i]) != NULL;
	if (!in_list && pk_pii_left(context, PK_PII_W_LOCAL) > DIRECT)
		return false;
	if (is_years(c) || has_other_label(context, LABELS | PK_PII_W_THING, DIRECT) ||
	    (context->is_joined && pk_pii_right(context, PK_PII_W_UNIT) == 0))
		return false;
	pk_pii_set(c, n, PK_PII_TELL, 0.8f, match);
	return true;
}

/* The plan knows no such prefix, but a label right before says that it is a phone: 022-9298-1213.
 */
static bool
unplanned(PkPiiCase *c, PkPiiMatch *match)
{
	const PkPiiGroup *groups = c->chain->groups;

	if (c->chain->n_groups < 3 || c->chain->digits[0] != 0 || groups[0].n < 3 || groups[0].n > 4 ||
	    groups[1].n < 3 || groups[1].n > 4 || groups[2].n != 4 ||
	    groups[1].join == PK_PII_BY_CLOSE || !pk_pii_may_end(c->chain, 3))
		return false;

	const PkPiiContext *context = pk_pii_around(c, groups[2].end);

	if (pk_pii_left(context, PK_PII_W_PHONE) > DIRECT ||
	    has_other_label(context, LABELS | PK_PII_W_THING, DIRECT) ||
	    pk_pii_left(context, PK_PII_W_ACCOUNT) <= ACCOUNT)
		return false;
	pk_pii_set(c, 3, PK_PII_TELL, 0.7f, match);
	match->start = span_start(c, 3);
	return true;
}

/* 1577-1599 and the like: from a year to a later one. */
static bool
is_years(const PkPiiCase *c)
{
	if (c->chain->n_groups < 2 || c->chain->groups[0].n != 4 || c->chain->groups[1].n != 4)
		return false;

	uint32_t from = pk_pii_value(c->chain->digits, 4), to = pk_pii_value(c->chain->digits + 4, 4);

	return to > from && to <= 2100 && to - from <= 300;
}

/* A label of another number stands nearer than one of a phone. */
static bool
has_other_label(const PkPiiContext *context, uint32_t labels, size_t distance)
{
	size_t other = pk_pii_waiting(context, labels);

	return other <= distance && other < pk_pii_left(context, PK_PII_W_PHONE);
}

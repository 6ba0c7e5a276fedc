/*
 * chain.c
 *    Reading groups and joins, with bounded look-ahead.
 */
#include <string.h>

#include "core/pii/chain.h"

#define LEAST_HIDDEN 4 /* stars */
#define LEAST_PART 3   /* with a joint or digit beside them: two end emphasis */

static size_t read_group(const char *text, size_t len, size_t at, PkPiiChain *chain);
static bool   is_country(const char *text, size_t len, size_t at);
static size_t read_join(const char *text, size_t len, size_t at, bool may_have_zero,
                        PkPiiJoin *join, bool *has_zero);
static size_t skip_spaces(const char *text, size_t len, size_t at, size_t most);
static size_t skip_bracketed_zero(const char *text, size_t len, size_t at);
static bool   is_digit(const char *text, size_t len, size_t at);
static size_t stars_before(const char *text, size_t from, size_t *at);
static bool   is_more(PkPiiChar joint, PkPiiChar beyond);

void
pk_pii_chain(const char *text, size_t len, size_t at, PkPiiChain *chain)
{
	bool may_have_zero = is_country(text, len, at);

	chain->n_groups = 0;
	chain->n_digits = 0;
	while (chain->n_groups < PK_PII_MAX_GROUPS)
	{
		PkPiiGroup *group = &chain->groups[chain->n_groups];
		PkPiiJoin   join;

		at = read_group(text, len, at, chain);
		if (group->n > PK_PII_MAX_DIGITS)
		{
			group->join = PK_PII_NO_JOIN;
			return;
		}
		at = read_join(text, len, at, may_have_zero, &join, &group->zero_after);
		may_have_zero = false;
		group->join = (uint8_t) join;
		if (join == PK_PII_NO_JOIN || join == PK_PII_BY_STARS)
			return;
	}
}

/* Byte after the group; of a run that is too long, somewhere inside. */
static size_t
read_group(const char *text, size_t len, size_t at, PkPiiChain *chain)
{
	PkPiiGroup *group = &chain->groups[chain->n_groups++];
	PkPiiChar   c = pk_pii_char(text, len, at);

	*group = (PkPiiGroup){.start = at, .first = (uint8_t) chain->n_digits};
	for (; c.class == PK_PII_DIGIT && group->n <= PK_PII_MAX_DIGITS; group->n++)
	{
		if (group->n < PK_PII_MAX_DIGITS)
			chain->digits[chain->n_digits++] = c.value;
		at += c.n;
		c = pk_pii_char(text, len, at);
	}
	group->end = at;
	return at;
}

/* The group at byte at is the country's code, after which a trunk digit may stand in brackets. */
static bool
is_country(const char *text, size_t len, size_t at)
{
	uint32_t value = 0, n = 0;

	for (PkPiiChar c = pk_pii_char(text, len, at); c.class == PK_PII_DIGIT && n < 5; n++)
	{
		value = value * 10 + c.value;
		at += c.n;
		c = pk_pii_char(text, len, at);
	}
	return value == PK_PII_COUNTRY && (n == 2 || n == 4);
}

/* Byte of the next group's first digit; or at, with no join. */
static size_t
read_join(const char *text, size_t len, size_t at, bool may_have_zero, PkPiiJoin *join,
          bool *has_zero)
{
	size_t    next = skip_spaces(text, len, at, 2);
	PkPiiChar c = pk_pii_char(text, len, next);

	*join = next > at ? PK_PII_BY_SPACE : PK_PII_NO_JOIN;
	*has_zero = false;
	if (c.class == PK_PII_DASH)
	{
		*join = PK_PII_BY_DASH;
		next = skip_spaces(text, len, next + c.n, 1);
	}
	else if (next == at && (c.class == PK_PII_DOT || c.class == PK_PII_MIDDOT))
	{
		*join = c.class == PK_PII_DOT ? PK_PII_BY_DOT : PK_PII_BY_MIDDOT;
		next += c.n;
	}
	else if (next == at && c.class == PK_PII_CLOSE)
	{
		*join = PK_PII_BY_CLOSE;
		next = skip_spaces(text, len, next + c.n, 1);
		c = pk_pii_char(text, len, next);
		next += c.class == PK_PII_DASH ? c.n : 0;
	}

	size_t after_zero = may_have_zero ? skip_bracketed_zero(text, len, next) : next;

	if (after_zero > next)
	{
		*has_zero = true;
		*join = *join == PK_PII_NO_JOIN ? PK_PII_BY_CLOSE : *join;
		next = after_zero;
	}
	if (*join != PK_PII_NO_JOIN && is_digit(text, len, next))
		return next;
	*join = (next == at || *join >= PK_PII_BY_DASH) && pk_pii_hides_after(text, len, next)
	            ? PK_PII_BY_STARS
	            : PK_PII_NO_JOIN;
	*has_zero = false;
	return at;
}

static size_t
skip_spaces(const char *text, size_t len, size_t at, size_t most)
{
	PkPiiChar c = pk_pii_char(text, len, at);

	for (size_t i = 0; i < most && c.class == PK_PII_SPACE; i++)
	{
		at += c.n;
		c = pk_pii_char(text, len, at);
	}
	return at;
}

/* Past "(0)" and a space or dash after it. */
static size_t
skip_bracketed_zero(const char *text, size_t len, size_t at)
{
	PkPiiChar open = pk_pii_char(text, len, at);
	PkPiiChar zero = pk_pii_char(text, len, at + open.n);
	PkPiiChar close = pk_pii_char(text, len, at + open.n + zero.n);

	if (open.class != PK_PII_OPEN || zero.class != PK_PII_DIGIT || zero.value != 0 ||
	    close.class != PK_PII_CLOSE)
		return at;
	at += (size_t) open.n + zero.n + close.n;

	PkPiiChar c = pk_pii_char(text, len, at);

	return c.class == PK_PII_DASH || c.class == PK_PII_SPACE ? at + c.n : at;
}

static bool
is_digit(const char *text, size_t len, size_t at)
{
	return pk_pii_char(text, len, at).class == PK_PII_DIGIT;
}

bool
pk_pii_hides_after(const char *text, size_t len, size_t at)
{
	PkPiiChar c = pk_pii_char(text, len, at);
	size_t    n = 0;

	for (; c.class == PK_PII_STAR && n < LEAST_HIDDEN; n++)
	{
		at += c.n;
		c = pk_pii_char(text, len, at);
	}
	if (c.class == PK_PII_DIGIT) /* 123***5678 */
		return n >= LEAST_PART && pk_pii_hides_before(text, 0, at);
	if (n >= LEAST_HIDDEN)
		return true;
	return n > 0 && is_more(c, pk_pii_char(text, len, at + c.n)) &&
	       (n == LEAST_PART || pk_pii_hides_before(text, 0, at));
}

/* Stars that end before byte *at, which goes to the first of them; no more than are asked for. */
static size_t
stars_before(const char *text, size_t from, size_t *at)
{
	PkPiiChar c = pk_pii_char_before(text + from, *at - from);
	size_t    n = 0;

	for (; c.class == PK_PII_STAR && n < LEAST_HIDDEN; n++)
	{
		*at -= c.n;
		c = pk_pii_char_before(text + from, *at - from);
	}
	return n;
}

bool
pk_pii_hides_before(const char *text, size_t from, size_t at)
{
	size_t    n = stars_before(text, from, &at);
	PkPiiChar c = pk_pii_char_before(text + from, at - from);

	return n >= LEAST_HIDDEN ||
	       (n > 0 && is_more(c, pk_pii_char_before(text + from, at - from - c.n)));
}

bool
pk_pii_part_before(const char *text, size_t from, size_t at)
{
	size_t first = at;

	if (pk_pii_char_before(text + from, at - from).class == PK_PII_DIGIT)
		return true;
	return stars_before(text, from, &first) >= LEAST_PART || pk_pii_hides_before(text, from, at);
}

/* What is beyond the stars is a part of the same number. */
static bool
is_more(PkPiiChar joint, PkPiiChar beyond)
{
	return joint.class == PK_PII_DIGIT ||
	       (joint.class == PK_PII_DASH &&
	        (beyond.class == PK_PII_DIGIT || beyond.class == PK_PII_STAR));
}

size_t
pk_pii_chain_end(const char *text, size_t len, size_t at)
{
	bool may_have_zero = is_country(text, len, at);

	for (;;)
	{
		PkPiiJoin join;
		bool      has_zero;

		while (is_digit(text, len, at))
			at += pk_pii_char(text, len, at).n;

		size_t next = read_join(text, len, at, may_have_zero, &join, &has_zero);

		if (join < PK_PII_BY_DASH || join == PK_PII_BY_STARS)
			return at;
		at = next;
		may_have_zero = false;
	}
}

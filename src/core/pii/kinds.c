/*
 * kinds.c
 *    Names, marks and labels of the kinds; replacing a span.
 */
#include <string.h>

#include "core/pii/chars.h"
#include "core/pii/kinds.h"
#include "core/pii/pii.h"

#define TOKEN(text)                   \
	{                                 \
		text, sizeof(text) - 1, false \
	}
#define LABEL(text)                  \
	{                                \
		text, sizeof(text) - 1, true \
	}

/* Tokens in the order of PkPiiKind, then labels in that order, then other spellings. */
const PkPiiMark pk_pii_marks[] = {
	TOKEN("<|acc|>"),        TOKEN("<|rrn|>"),          TOKEN("<|tell|>"),
	TOKEN("<|frn|>"),        TOKEN("<|brn|>"),          TOKEN("<|crn|>"),
	TOKEN("<|card|>"),       TOKEN("<|passport|>"),     TOKEN("<|driver|>"),
	TOKEN("<|email|>"),      LABEL("[계좌번호]"),       LABEL("[주민등록번호]"),
	LABEL("[전화번호]"),     LABEL("[외국인등록번호]"), LABEL("[사업자등록번호]"),
	LABEL("[법인등록번호]"), LABEL("[카드번호]"),       LABEL("[여권번호]"),
	LABEL("[운전면허번호]"), LABEL("[이메일]"),         TOKEN("<|tel|>"),
};
const size_t pk_pii_n_marks = PK_LENGTH(pk_pii_marks);

static const char *const names[PK_N_PII_KINDS] = {"acc", "rrn",  "tell",     "frn",    "brn",
                                                  "crn", "card", "passport", "driver", "email"};
static const char *const styles[PK_N_PII_STYLES] = {"token", "mask", "label"};

/* The characters of a span that stand for a digit or letter. */
typedef struct Signs
{
	size_t n, n_first, n_last; /* before the first separator, after the last */
	bool   is_spelled;
} Signs;

static size_t mask(const char *text, const PkPiiMatch *match, char *out);
static bool   is_kept(PkPiiKind kind, const Signs *signs, size_t i);

const char *
pk_pii_name(PkPiiKind kind)
{
	return names[kind];
}

static int
find_name(const char *const *list, int n, const char *name, size_t len)
{
	for (int i = 0; i < n; i++)
		if (strlen(list[i]) == len && memcmp(list[i], name, len) == 0)
			return i;
	return -1;
}

int
pk_pii_kind(const char *name, size_t len)
{
	return find_name(names, PK_N_PII_KINDS, name, len);
}

int
pk_pii_style(const char *name, size_t len)
{
	return find_name(styles, PK_N_PII_STYLES, name, len);
}

size_t
pk_pii_replace(const char *text, const PkPiiMatch *match, PkPiiStyle style, char *out)
{
	if (style == PK_PII_MASK)
		return mask(text, match, out);

	const PkPiiMark *mark =
		&pk_pii_marks[match->kind + (style == PK_PII_LABEL ? PK_N_PII_KINDS : 0)];

	memcpy(out, mark->text, mark->len);
	return mark->len;
}

/* A character that stands for a digit or letter of the number. */
static bool
is_sign(PkPiiKind kind, PkPiiChar c)
{
	if (c.class == PK_PII_DIGIT)
		return true;
	switch (kind)
	{
		case PK_PII_TELL: /* spelled, with a letter O for a zero */
			return c.class == PK_PII_ALPHA || pk_pii_spelled(c.code) >= 0;
		case PK_PII_PASSPORT:
			return c.class == PK_PII_ALPHA;
		case PK_PII_EMAIL:
			return c.code != '@';
		default:
			return false;
	}
}

static Signs
count_signs(const char *text, const PkPiiMatch *match)
{
	Signs signs = {0, 0, 0, false};
	bool  is_first = true;

	for (size_t at = match->start; at < match->end;)
	{
		PkPiiChar c = pk_pii_char(text, match->end, at);
		bool      is_one = is_sign(match->kind, c);

		is_first = is_first && (is_one || signs.n == 0);
		signs.n += is_one;
		signs.n_first += is_one && is_first;
		signs.n_last = is_one ? signs.n_last + 1 : 0;
		signs.is_spelled |= match->kind == PK_PII_TELL && is_one && c.class != PK_PII_DIGIT;
		at += c.n;
	}
	return signs;
}

/*
 * Past what a hyphen stands for in a mask, from byte at on between two signs; else at. That is
 * spaces, maybe with a dash, and dots, of which only phones keep theirs: their last part is whole.
 */
static size_t
skip_gap(const char *text, const PkPiiMatch *match, size_t at)
{
	size_t    next = at;
	PkPiiChar c = pk_pii_char(text, match->end, at);
	bool      is_between = at > match->start && !is_sign(match->kind, c) &&
	                  is_sign(match->kind, pk_pii_char_before(text, at));
	bool is_gap = false;

	for (; c.class >= PK_PII_DASH && c.class <= PK_PII_SPACE;
	     c = pk_pii_char(text, match->end, next))
	{
		is_gap |= c.class == PK_PII_SPACE || (c.class != PK_PII_DASH && match->kind != PK_PII_TELL);
		next += c.n;
	}
	return is_between && is_gap && is_sign(match->kind, c) ? next : at;
}

/*
 * Those signs stay that people use to tell numbers apart, and separators, but for what skip_gap()
 * makes a hyphen: else the last part and what follows would look like another number.
 */
static size_t
mask(const char *text, const PkPiiMatch *match, char *out)
{
	Signs  signs = count_signs(text, match);
	size_t i = 0, len = 0;

	for (size_t at = match->start; at < match->end;)
	{
		size_t    next = skip_gap(text, match, at);
		PkPiiChar c = pk_pii_char(text, match->end, at);
		bool      is_one = is_sign(match->kind, c);

		if (next > at)
		{
			out[len++] = '-';
			at = next;
			continue;
		}
		if (is_one && !is_kept(match->kind, &signs, i))
			out[len++] = '*';
		else
		{
			memcpy(out + len, text + at, c.n);
			len += c.n;
		}
		i += is_one;
		at += c.n;
	}
	return len;
}

bool
pk_pii_is_hidden_whole(const char *text, const PkPiiMatch *match)
{
	return count_signs(text, match).is_spelled;
}

/* A spelled number is hidden whole: its letters would be words for the next one. */
static bool
is_kept(PkPiiKind kind, const Signs *signs, size_t i)
{
	/* Neither three stars before digits nor two between them: they don't look hidden (chain.h). */
	size_t n_last = signs->n_last == 7 ? 3 : 4;

	switch (kind)
	{
		case PK_PII_TELL:
			return !signs->is_spelled && (i + n_last >= signs->n ||
			                              (signs->n_first + 4 < signs->n && i < signs->n_first) ||
			                              (signs->n_first == signs->n && signs->n > 9 && i < 3));
		case PK_PII_RRN:
		case PK_PII_FRN:
			return i < 7;
		case PK_PII_ACC:
		case PK_PII_CARD:
			return i + 4 >= signs->n;
		case PK_PII_PASSPORT: /* the letter is no secret */
			return i < 1 || i + 3 >= signs->n;
		case PK_PII_EMAIL:
			return i < 1 || i >= signs->n_first;
		default:
			return i + 3 >= signs->n;
	}
}

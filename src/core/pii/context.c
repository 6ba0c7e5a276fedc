/*
 * context.c
 *    Collecting what counts around a number, and the words in it.
 */
#include <string.h>

#include "core/pii/chars.h"
#include "core/pii/context.h"
#include "core/pii/kinds.h"

#define FIRST_LEAD 0x1100u /* conjoining jamo, for Hangul as macOS stores it */
#define FIRST_VOWEL 0x1161u
#define FIRST_TAIL 0x11a7u
#define N_LEADS 19u
#define N_VOWELS 21u
#define N_TAILS 28u
#define RAW (3 * PK_PII_LEFT) /* jamo of as many syllables */
#define NUMBER 1              /* stands for a number between what counts */
#define LEAST_WORD 2          /* after a number: the next is not of the same list */

static bool
counts(PkPiiChar c)
{
	return c.class == PK_PII_OTHER || c.class == PK_PII_ALPHA;
}

static bool
is_vowel_or_tail(uint16_t code)
{
	return code - FIRST_VOWEL < N_VOWELS || (code > FIRST_TAIL && code - FIRST_TAIL < N_TAILS);
}

/* As words are compared: lower case, ASCII for full-width, one sign for all telephones. */
static uint16_t
fold(uint32_t code)
{
	if (code >= 0xff01 && code <= 0xff5e)
		code -= 0xfee0;
	if (code >= 'A' && code <= 'Z')
		return (uint16_t) (code + 32);
	if (code == 0x260f || code == 0x1f4de || code == 0x1f4f1)
		return 0x260e;
	return code <= 0xffff ? (uint16_t) code : 0xfffd;
}

static bool
is_latin(uint16_t code)
{
	return code >= 'a' && code <= 'z';
}

/* Hangul composed, in place. */
static size_t
compose(uint16_t *chars, size_t n)
{
	size_t n_out = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint16_t last = n_out > 0 ? chars[n_out - 1] : 0;
		uint32_t syllable = last - 0xac00u;

		if (last - FIRST_LEAD < N_LEADS && chars[i] - FIRST_VOWEL < N_VOWELS)
			chars[n_out - 1] =
				(uint16_t) (0xac00 +
			                ((last - FIRST_LEAD) * N_VOWELS + (chars[i] - FIRST_VOWEL)) * N_TAILS);
		else if (syllable < N_LEADS * N_VOWELS * N_TAILS && syllable % N_TAILS == 0 &&
		         chars[i] > FIRST_TAIL && chars[i] - FIRST_TAIL < N_TAILS)
			chars[n_out - 1] = (uint16_t) (last + (chars[i] - FIRST_TAIL));
		else
			chars[n_out++] = chars[i];
	}
	return n_out;
}

/* Add n chars (oldest first) to the end; the oldest go when there is no room. */
static void
append(PkPiiWords *words, const uint16_t *chars, size_t n)
{
	if (n > PK_PII_LEFT)
	{
		chars += n - PK_PII_LEFT;
		n = PK_PII_LEFT;
	}

	size_t kept = words->n + n > PK_PII_LEFT ? PK_PII_LEFT - n : words->n;

	memmove(words->chars, words->chars + words->n - kept, kept * sizeof(*chars));
	memcpy(words->chars + kept, chars, n * sizeof(*chars));
	words->n = kept + n;
}

void
pk_pii_words_to(PkPiiWords *words, const char *text, size_t at)
{
	uint16_t chars[RAW + 2];
	size_t   first = RAW + 2, n_units = 0, i = at, n_digits = 0, n_last = 0;
	bool     is_apart = true, is_line = false;

	while (i > words->end && n_units < PK_PII_LEFT && first > 2)
	{
		PkPiiChar c = pk_pii_char_before(text, i);
		size_t    mark = counts(c) ? pk_pii_mark_before(text, i, words->has_labels) : 0;

		is_line = c.class == PK_PII_NEWLINE;
		if (is_line)
			break;
		i -= mark > 0 && mark <= i - words->end ? mark : c.n;
		if (!counts(c) || mark > 0)
		{
			is_apart = true;
			n_digits += mark > 0 ? PK_PII_NUMBER : c.class == PK_PII_DIGIT;
			continue;
		}

		uint16_t code = fold(c.code);
		bool     is_last = first == PK_LENGTH(chars);

		/* Latin words stay apart, and jamo that what doesn't count lies between */
		if (is_apart && !is_last && is_vowel_or_tail(chars[first]))
			chars[first] = 0xfffd;
		if (is_last)
			n_last = n_digits;
		else if (n_digits >= PK_PII_NUMBER)
			chars[--first] = NUMBER;
		else if (is_apart && is_latin(code) && is_latin(chars[first]))
			chars[--first] = ' ';
		chars[--first] = code;
		n_units += !is_vowel_or_tail(code);
		n_digits = 0;
		is_apart = false;
	}
	if (is_line || n_units >= PK_PII_LEFT || first <= 2)
		words->n = words->n_digits = 0;
	n_digits += words->n_digits;
	words->n_digits = first < PK_LENGTH(chars) ? n_last : n_digits;
	words->end = at;
	if (first == PK_LENGTH(chars))
		return;
	if (words->n > 0 && n_digits >= PK_PII_NUMBER)
		append(words, &(uint16_t){NUMBER}, 1);
	else if (words->n > 0 && is_latin(words->chars[words->n - 1]) && is_latin(chars[first]))
		append(words, &(uint16_t){' '}, 1);
	append(words, chars + first, compose(chars + first, PK_LENGTH(chars) - first));
}

void
pk_pii_words_over(PkPiiWords *words, size_t at, size_t n_digits)
{
	words->end = at;
	words->n_digits += n_digits;
}

/* What counts on the right, up to the next number, mark or line. */
static size_t
collect_right(const char *text, size_t len, size_t end, bool has_labels, uint16_t *chars,
              bool *is_joined, bool *is_whole)
{
	size_t n = 0, i = end;
	bool   is_apart = false, is_over = false;

	*is_joined = false;
	for (size_t n_raw = 0; n < PK_PII_RIGHT && n_raw < RAW; n_raw++)
	{
		PkPiiChar c = pk_pii_char(text, len, i);

		is_over = c.class == PK_PII_NEWLINE || c.class == PK_PII_DIGIT || c.class == PK_PII_STAR ||
		          (counts(c) && pk_pii_mark(text, len, i, has_labels) > 0);
		if (is_over)
			break;
		i += c.n;
		if (!counts(c))
		{
			is_apart = true;
			continue;
		}
		if (n == 0)
			*is_joined = !is_apart;

		uint16_t code = fold(c.code);

		if (is_apart && n > 0 && is_latin(code) && is_latin(chars[n - 1]) && n + 1 < PK_PII_RIGHT)
			chars[n++] = ' ';
		chars[n++] = code;
		if (is_vowel_or_tail(code))
			n = compose(chars, n);
		is_apart = false;
	}
	*is_whole = i < len || (!is_over && n >= PK_PII_RIGHT);
	return n;
}

bool
pk_pii_right_is_whole(const char *text, size_t len, size_t end, bool has_labels)
{
	uint16_t chars[PK_PII_RIGHT + 2];
	bool     is_joined, is_whole;

	(void) collect_right(text, len, end, has_labels, chars, &is_joined, &is_whole);
	return is_whole;
}

/* A noun before "번호" makes it the number of something else. */
static uint32_t
roles_of(const PkPiiWord *word, const uint16_t *chars, size_t start)
{
	if ((word->roles & PK_PII_W_NUMBER) == 0)
		return word->roles;
	if (start == 0)
		return 0;
	return (chars[start - 1] >= 0xac00 && chars[start - 1] <= 0xd7a3) || is_latin(chars[start - 1])
	           ? PK_PII_W_KEEP
	           : 0;
}

/* Words that are no part of a longer one, from the last to the first. */
static size_t
find_words(const uint16_t *chars, size_t n, bool is_left, PkPiiHit *hits)
{
	size_t n_hits = 0, covered = n + 1, n_numbers = 0;
	bool   has_number = false;

	for (size_t end = n; end > 0; end--)
	{
		if (chars[end - 1] == NUMBER)
		{
			has_number |= n - end - n_numbers >= LEAST_WORD;
			n_numbers++;
			continue;
		}

		size_t           start;
		const PkPiiWord *word = pk_pii_word_at(chars, n, end, &start);

		if (word == NULL || start >= covered)
			continue;
		covered = start;
		hits[n_hits++] = (PkPiiHit){roles_of(word, chars, start),
		                            is_left ? n - end - n_numbers : start, has_number};
	}
	return n_hits;
}

void
pk_pii_context(const PkPiiWords *words, const char *text, size_t len, size_t end,
               PkPiiContext *context)
{
	uint16_t right[PK_PII_RIGHT + 2];
	bool     is_whole;
	size_t   n_right =
		collect_right(text, len, end, words->has_labels, right, &context->is_joined, &is_whole);

	context->n_left = find_words(words->chars, words->n, true, context->left);
	context->n_right = find_words(right, n_right, false, context->right);
	context->before = words->n > 0 ? words->chars[words->n - 1] : 0;
	context->after = n_right > 0 ? right[0] : 0;
}

static size_t
nearest(const PkPiiHit *hits, size_t n, uint32_t roles, bool is_waiting)
{
	size_t least = PK_PII_FAR;

	for (size_t i = 0; i < n; i++)
		if ((hits[i].roles & roles) != 0 && hits[i].distance < least &&
		    !(is_waiting && hits[i].has_number))
			least = hits[i].distance;
	return least;
}

size_t
pk_pii_left(const PkPiiContext *context, uint32_t roles)
{
	return nearest(context->left, context->n_left, roles, false);
}

size_t
pk_pii_waiting(const PkPiiContext *context, uint32_t roles)
{
	return nearest(context->left, context->n_left, roles, true);
}

size_t
pk_pii_right(const PkPiiContext *context, uint32_t roles)
{
	return nearest(context->right, context->n_right, roles, false);
}

size_t
pk_pii_mark(const char *text, size_t len, size_t i, bool has_labels)
{
	for (size_t k = 0; k < pk_pii_n_marks && (text[i] == '<' || text[i] == '['); k++)
	{
		const PkPiiMark *mark = &pk_pii_marks[k];

		if ((!mark->is_label || has_labels) && mark->len <= len - i &&
		    memcmp(text + i, mark->text, mark->len) == 0)
			return mark->len;
	}
	return 0;
}

size_t
pk_pii_mark_before(const char *text, size_t i, bool has_labels)
{
	for (size_t k = 0; k < pk_pii_n_marks && (text[i - 1] == '>' || text[i - 1] == ']'); k++)
	{
		const PkPiiMark *mark = &pk_pii_marks[k];

		if ((!mark->is_label || has_labels) && mark->len <= i &&
		    memcmp(text + i - mark->len, mark->text, mark->len) == 0)
			return mark->len;
	}
	return 0;
}

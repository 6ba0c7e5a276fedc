/*
 * pretokenize.c
 *    Steps run one inside the other: each piece of a step goes to the next at once, nothing is
 *    stored.
 *
 * A Split step sees its text as matches and what lies between them; its behavior says which of
 * those stand alone, join a neighbour or vanish (as Hugging Face's NormalizedString::split).
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/pretokenize.h"

#define BLOCK 65536 /* bytes between two looks at cancel */

/* A step at work on one piece of text. */
typedef struct Step
{
	PkSplitter       *splitter;
	const PkBlobStep *rules;
	size_t            index;
	const char       *text;
	size_t            held_start, held_end; /* a piece that may still grow */
	bool              has_held, held_is_match;
} Step;

static PkStatus run_step(PkSplitter *splitter, size_t index, const char *text, size_t start,
                         size_t end);
static PkStatus give_word(PkSplitter *splitter, const char *text, size_t start, size_t end);
static PkStatus run_byte_level(PkSplitter *splitter, const PkBlobStep *rules, const char *text,
                               size_t start, size_t end);
static PkStatus give_words(PkSplitter *splitter, const PkBlobStep *rules, const char *text,
                           size_t len, size_t start, size_t n_prefix);
static PkStatus split_gpt2(Step *step, size_t start, size_t end);
static PkStatus split_string(Step *step, size_t start, size_t end);
static PkStatus split_digits(Step *step, size_t start, size_t end);
static PkStatus split_regex(Step *step, size_t start, size_t end);
static PkStatus look_at_cancel(PkSplitter *splitter, size_t n_bytes);
static PkStatus feed(Step *step, size_t start, size_t end, bool is_match);
static bool     joins_held(const Step *step, bool is_match);
static PkStatus flush(Step *step);
static PkStatus gpt2_next(const PkSplitter *splitter, const char *text, size_t len, size_t from,
                          size_t *end);
static size_t   contraction_len(const char *text, size_t len);
static PkStatus run_end(const PkSplitter *splitter, const char *text, size_t len, size_t from,
                        PkCharClass class, size_t *end);

/* Classes of ASCII. */
#define O PK_CHAR_OTHER
#define L PK_CHAR_LETTER
#define N PK_CHAR_NUMBER
#define S PK_CHAR_SPACE
static const uint8_t ascii_class[128] = {
	O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
	S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O,
	O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
	O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
};
#undef O
#undef L
#undef N
#undef S

/* Class and length of the character at text (checked UTF-8, at least one byte). */
PK_INLINE PkCharClass
class_at(const char *text, size_t *n)
{
	const uint8_t *s = (const uint8_t *) text;

	if (s[0] < 0x80)
	{
		*n = 1;
		return (PkCharClass) ascii_class[s[0]];
	}
	*n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	uint32_t code = pk_utf8_decode(text, *n);

	if (code >= 0xac00 && code <= 0xd7a3) /* Hangul syllables */
		return PK_CHAR_LETTER;
	return pk_char_class(code);
}

PkStatus
pk_splitter_run(PkSplitter *splitter, const char *text, size_t start, size_t end)
{
	return run_step(splitter, 0, text, start, end);
}

void
pk_splitter_free(PkSplitter *splitter)
{
	for (size_t i = 0; i < PK_MAX_STEPS; i++)
	{
		pk_regex_free(splitter->regexes[i]);
		splitter->regexes[i] = NULL;
	}
	free(splitter->prefixed);
	splitter->prefixed = NULL;
	splitter->prefixed_room = 0;
}

static PkStatus
run_step(PkSplitter *splitter, size_t index, const char *text, size_t start, size_t end)
{
	const PkBlobHeader *header = splitter->tokenizer->header;

	if (start == end)
		return PK_OK;
	if (index == header->n_steps)
		return give_word(splitter, text, start, end);

	Step step = {
		.splitter = splitter, .rules = &header->steps[index], .index = index, .text = text};

	switch (step.rules->kind)
	{
		case PK_STEP_BYTE_LEVEL:
			return run_byte_level(splitter, step.rules, text, start, end);
		case PK_STEP_SPLIT_GPT2:
			PK_FORWARD(split_gpt2(&step, start, end));
			break;
		case PK_STEP_SPLIT_STRING:
			PK_FORWARD(split_string(&step, start, end));
			break;
		case PK_STEP_DIGITS:
			PK_FORWARD(split_digits(&step, start, end));
			break;
		case PK_STEP_SPLIT_REGEX:
			PK_FORWARD(split_regex(&step, start, end));
			break;
		default:
			return pk_error(splitter->err, PK_INTERNAL, "unknown step %u", step.rules->kind);
	}
	return flush(&step);
}

static PkStatus
give_word(PkSplitter *splitter, const char *text, size_t start, size_t end)
{
	PkWord word = {text + start, end - start, start, 0};

	return splitter->take(splitter->arg, &word);
}

/* Each piece gets its own space before it, also the ones that earlier steps cut. */
static PkStatus
run_byte_level(PkSplitter *splitter, const PkBlobStep *rules, const char *text, size_t start,
               size_t end)
{
	size_t len = end - start;

	if ((rules->flags & PK_STEP_PREFIX_SPACE) == 0 || text[start] == ' ')
		return give_words(splitter, rules, text + start, len, start, 0);

	void    *room = splitter->prefixed;
	PkStatus status = pk_grow(&room, &splitter->prefixed_room, len + 1, 1, splitter->err);

	splitter->prefixed = room;
	PK_FORWARD(status);
	splitter->prefixed[0] = ' ';
	memcpy(splitter->prefixed + 1, text + start, len);
	return give_words(splitter, rules, splitter->prefixed, len + 1, start, 1);
}

/* text: n_prefix spaces of our own, then what lies at start in the text that is split. */
static PkStatus
give_words(PkSplitter *splitter, const PkBlobStep *rules, const char *text, size_t len,
           size_t start, size_t n_prefix)
{
	for (size_t i = 0, end = len; i < len; i = end)
	{
		end = len;
		if ((rules->flags & PK_STEP_USE_REGEX) != 0)
			PK_FORWARD(gpt2_next(splitter, text, len, i, &end));

		size_t n_own = i == 0 ? n_prefix : 0;
		PkWord word = {text + i, end - i, start + i - (n_prefix - n_own), n_own};

		PK_FORWARD(splitter->take(splitter->arg, &word));
	}
	return PK_OK;
}

/* GPT-2's pattern leaves nothing between its matches. */
static PkStatus
split_gpt2(Step *step, size_t start, size_t end)
{
	for (size_t i = start, next; i < end; i = next)
	{
		PK_FORWARD(gpt2_next(step->splitter, step->text, end, i, &next));
		PK_FORWARD(feed(step, i, next, true));
	}
	return PK_OK;
}

/* True between two bytes of one character. */
static bool
is_inside(const char *text, size_t start, size_t end, size_t at)
{
	return at > start && at < end && ((uint8_t) text[at] & 0xc0) == 0x80;
}

static PkStatus
split_string(Step *step, size_t start, size_t end)
{
	const char *needle = step->splitter->tokenizer->patterns + step->rules->pattern_offset;
	size_t      len = step->rules->pattern_len, done = start;

	for (size_t i = start; i + len <= end;)
	{
		size_t      last = end - len + 1, block = last - i > BLOCK ? BLOCK : last - i;
		const char *hit = memchr(step->text + i, needle[0], block);

		PK_FORWARD(look_at_cancel(step->splitter, hit == NULL ? block : 1));
		if (hit == NULL)
		{
			i += block;
			continue;
		}
		i = (size_t) (hit - step->text);
		/* a needle of an altered blob may lie across characters: words are whole ones */
		if (memcmp(hit, needle, len) != 0 || is_inside(step->text, start, end, i) ||
		    is_inside(step->text, start, end, i + len))
		{
			i++;
			continue;
		}
		if (done < i)
			PK_FORWARD(feed(step, done, i, false));
		PK_FORWARD(feed(step, i, i + len, true));
		i = done = i + len;
	}
	return done < end ? feed(step, done, end, false) : PK_OK;
}

static PkStatus
split_digits(Step *step, size_t start, size_t end)
{
	size_t done = start;

	for (size_t i = start, n; i < end; i += n)
	{
		n = pk_utf8_char_len(step->text + i, end - i);
		PK_FORWARD(look_at_cancel(step->splitter, n));
		if (n == 0 || !pk_char_is_numeric(pk_utf8_decode(step->text + i, n)))
		{
			n = n > 0 ? n : 1;
			continue;
		}
		if (done < i)
			PK_FORWARD(feed(step, done, i, false));
		PK_FORWARD(feed(step, i, i + n, true));
		done = i + n;
	}
	return done < end ? feed(step, done, end, false) : PK_OK;
}

/*
 * Matches as the onig crate's find_iter gives them: an empty match right after a match is passed
 * over, and the search goes on one character later.
 */
static PkStatus
split_regex(Step *step, size_t start, size_t end)
{
	PkSplitter *splitter = step->splitter;
	PkRegex   **regex = &splitter->regexes[step->index];
	size_t      len = end - start, from = 0, done = 0;
	const char *text = step->text + start;
	bool        is_first = true;

	if (*regex == NULL)
		PK_FORWARD(pk_regex_clone(splitter->tokenizer->regexes[step->index], regex, splitter->err));
	PK_FORWARD(pk_regex_begin(*regex, text, len, splitter->cancel, splitter->err));
	while (from <= len)
	{
		size_t match_start, match_end;
		bool   found;

		PK_FORWARD(pk_regex_next(*regex, from, &found, &match_start, &match_end, splitter->err));
		if (!found)
			break;
		if (match_start == match_end && !is_first && match_end == done)
		{
			size_t n = pk_utf8_char_len(text + from, len - from);

			from += n > 0 ? n : 1;
			continue;
		}
		if (done < match_start)
			PK_FORWARD(feed(step, start + done, start + match_start, false));
		PK_FORWARD(feed(step, start + match_start, start + match_end, true));
		from = done = match_end;
		is_first = false;
	}
	return done < len ? feed(step, start + done, end, false) : PK_OK;
}

/* Ask once for about BLOCK bytes of work. */
static PkStatus
look_at_cancel(PkSplitter *splitter, size_t n_bytes)
{
	splitter->work_bytes += n_bytes;
	if (splitter->work_bytes < BLOCK)
		return PK_OK;
	splitter->work_bytes = 0;
	if (pk_cancel_poll(splitter->cancel))
		return pk_error(splitter->err, PK_CANCELLED, "tokenizing was cancelled");
	return PK_OK;
}

/* The next match or gap of a Split, in order. */
static PkStatus
feed(Step *step, size_t start, size_t end, bool is_match)
{
	/* what is removed or held for long never comes to a word, where the encoder looks */
	PK_FORWARD(look_at_cancel(step->splitter, end - start));
	if ((step->rules->flags & PK_STEP_INVERT) != 0)
		is_match = !is_match;
	if (step->has_held && joins_held(step, is_match))
	{
		step->held_end = end;
		step->held_is_match = is_match;
		return PK_OK;
	}
	PK_FORWARD(flush(step));
	if (step->rules->behavior == PK_BEHAVIOR_REMOVED && is_match)
		return PK_OK;
	step->held_start = start;
	step->held_end = end;
	step->held_is_match = is_match;
	step->has_held = true;
	return PK_OK;
}

static bool
joins_held(const Step *step, bool is_match)
{
	switch (step->rules->behavior)
	{
		case PK_BEHAVIOR_CONTIGUOUS:
			return is_match == step->held_is_match;
		case PK_BEHAVIOR_MERGED_WITH_PREVIOUS:
			return is_match && !step->held_is_match;
		case PK_BEHAVIOR_MERGED_WITH_NEXT:
			return !is_match && step->held_is_match;
		default:
			return false;
	}
}

static PkStatus
flush(Step *step)
{
	if (!step->has_held)
		return PK_OK;
	step->has_held = false;

	/* The next step may use the same room for text, but never this step's own state. */
	return run_step(step->splitter, step->index + 1, step->text, step->held_start, step->held_end);
}

/*
 * End of the word that begins at from (< len), after GPT-2's pattern:
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 */
static PkStatus
gpt2_next(const PkSplitter *splitter, const char *text, size_t len, size_t from, size_t *end)
{
	size_t n, first, last;
	PkCharClass class = class_at(text + from, &n);

	if (class != PK_CHAR_SPACE)
	{
		*end = from + (text[from] == '\'' ? contraction_len(text + from, len - from) : 0);
		return *end > from ? PK_OK : run_end(splitter, text, len, from, class, end);
	}
	first = from + n;
	if (text[from] == ' ' && first < len)
	{
		class = class_at(text + first, &n);
		if (class != PK_CHAR_SPACE)
			return run_end(splitter, text, len, first, class, end);
	}
	PK_FORWARD(run_end(splitter, text, len, from, PK_CHAR_SPACE, end));
	if (*end == len || *end == first)
		return PK_OK;

	/* Before other text, the last space of several is left to the word that follows. */
	for (last = *end - 1; ((uint8_t) text[last] & 0xc0) == 0x80; last--)
		;
	*end = last;
	return PK_OK;
}

/* Bytes of 's 't 'm 'd 're 've 'll at text, or 0. */
static size_t
contraction_len(const char *text, size_t len)
{
	if (len >= 2 && (text[1] == 's' || text[1] == 't' || text[1] == 'm' || text[1] == 'd'))
		return 2;
	if (len >= 3 && ((text[1] == 'r' && text[2] == 'e') || (text[1] == 'v' && text[2] == 'e') ||
	                 (text[1] == 'l' && text[2] == 'l')))
		return 3;
	return 0;
}

/* End of the run of one class that begins at from. */
static PkStatus
run_end(const PkSplitter *splitter, const char *text, size_t len, size_t from, PkCharClass class,
        size_t *end)
{
	size_t i = from;

	while (i < len)
	{
		size_t block_end = len - i > BLOCK ? i + BLOCK : len;

		while (i < block_end)
		{
			size_t n;

			if (class_at(text + i, &n) != class)
			{
				*end = i;
				return PK_OK;
			}
			i += n;
		}
		if (i < len && pk_cancel_poll(splitter->cancel))
			return pk_error(splitter->err, PK_CANCELLED, "tokenizing was cancelled");
	}
	*end = i;
	return PK_OK;
}

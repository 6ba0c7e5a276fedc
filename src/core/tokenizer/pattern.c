/*
 * pattern.c
 *    From Oniguruma's regular expressions (Ruby syntax, UTF-8) to ICU's.
 *
 * Both backtrack and take the first alternative that fits, so what has the same meaning in both is
 * copied: literals, alternatives, sets, groups, look-around, greedy, lazy and possessive
 * quantifiers. \s and case-insensitive letters mean different sets in the two and are written out.
 * Everything else (anchors, \b, back references, options, ...) is refused by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/pattern.h"
#include "core/tokenizer/unicode.h"

#define MAX_DEPTH 32
#define SPACES "\\x09-\\x0D\\x20\\x85\\xA0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000"
#define END UINT32_MAX

typedef struct Translator
{
	const char *text;
	size_t      len, at;
	char       *out;
	size_t      out_len, out_room;
	bool        ignores_case;
	uint32_t    last_folded; /* the letter before, in a case-insensitive group */
	PkError    *err;
} Translator;

static PkStatus translate_alternatives(Translator *t, int depth);
static PkStatus translate_atom(Translator *t, int depth, bool *can_repeat);
static PkStatus translate_group(Translator *t, int depth, bool *can_repeat);
static PkStatus translate_quantifier(Translator *t);
static PkStatus translate_counts(Translator *t);
static PkStatus translate_escape(Translator *t);
static PkStatus translate_property(Translator *t, bool is_negated);
static PkStatus put_class(Translator *t, PkCharClass class, bool is_negated);
static PkStatus translate_set(Translator *t, int depth);
static PkStatus translate_set_item(Translator *t);
static PkStatus set_member(Translator *t, uint32_t *code, bool *is_class);
static PkStatus read_escaped_char(Translator *t, uint32_t *code, bool *is_char);
static PkStatus read_hex(Translator *t, uint32_t *code);
static PkStatus put_literal(Translator *t, uint32_t code, bool in_set);
static PkStatus put_folded(Translator *t, uint32_t code, bool in_set);
static PkStatus put_char(Translator *t, uint32_t code);
static PkStatus put(Translator *t, const char *text);
static uint32_t peek(const Translator *t, size_t ahead);
static uint32_t next_char(Translator *t);
static bool     take(Translator *t, const char *text);
static bool     is_ascii_letter(uint32_t code);
static PkStatus refuse(Translator *t, const char *what);
static PkStatus broken(Translator *t, const char *what);

bool
pk_pattern_is_gpt2(const char *text, size_t len)
{
	static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
							   "\\s+(?!\\S)|\\s+";

	return len == sizeof(gpt2) - 1 && memcmp(text, gpt2, len) == 0;
}

PkStatus
pk_pattern_translate(const char *text, size_t len, char **out, size_t *out_len, PkError *err)
{
	Translator t = {.text = text, .len = len, .err = err};
	PkStatus   status = translate_alternatives(&t, 0);

	if (status == PK_OK && t.at < len)
		status = broken(&t, "a ')' too many");
	if (status == PK_OK && t.out_len == 0)
		status = refuse(&t, "an empty pattern");
	if (status != PK_OK)
	{
		free(t.out);
		return status;
	}
	*out = t.out;
	*out_len = t.out_len;
	return PK_OK;
}

/* Up to the end or a ')' that is not ours. */
static PkStatus
translate_alternatives(Translator *t, int depth)
{
	bool can_repeat = false;

	if (depth > MAX_DEPTH)
		return refuse(t, "groups nested so deep");
	t->last_folded = 0;
	while (t->at < t->len && peek(t, 0) != ')')
	{
		uint32_t c = peek(t, 0);

		if (c == '|')
		{
			t->at++;
			t->last_folded = 0;
			can_repeat = false;
			PK_FORWARD(put(t, "|"));
		}
		else if (c == '?' || c == '*' || c == '+' || c == '{')
		{
			if (!can_repeat)
				return refuse(t, "a quantifier here");
			PK_FORWARD(translate_quantifier(t));
			t->last_folded = 0;
			can_repeat = false;
		}
		else
			PK_FORWARD(translate_atom(t, depth, &can_repeat));
	}
	t->last_folded = 0;
	return PK_OK;
}

static PkStatus
translate_atom(Translator *t, int depth, bool *can_repeat)
{
	uint32_t c = peek(t, 0);

	*can_repeat = true;
	if (c == '(')
		return translate_group(t, depth, can_repeat);
	if (c == '[' || c == '\\' || c == '.')
		t->last_folded = 0;
	if (c == '[')
		return translate_set(t, depth);
	if (c == '\\')
		return translate_escape(t);
	if (c == '.')
	{
		t->at++;
		return put(t, "[^\\n]");
	}
	if (c == '^' || c == '$')
		return refuse(t, "the anchors ^ and $");
	c = next_char(t);
	if (c == END)
		return broken(t, "a byte that is no UTF-8");
	return put_literal(t, c, false);
}

static PkStatus
translate_group(Translator *t, int depth, bool *can_repeat)
{
	static const char *const openings[] = {"(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!"};
	bool                     outer = t->ignores_case;
	size_t                   kind = 0;

	if (take(t, "(?i:"))
		t->ignores_case = true;
	else if (peek(t, 1) == '?')
	{
		while (kind < PK_LENGTH(openings) && !take(t, openings[kind]))
			kind++;
		if (kind == PK_LENGTH(openings))
			return refuse(t, "this kind of group");
	}
	else
		t->at++; /* captures are never read: back references are refused */
	*can_repeat = kind < 2;
	PK_FORWARD(put(t, openings[kind]));
	PK_FORWARD(translate_alternatives(t, depth + 1));
	if (!take(t, ")"))
		return broken(t, "a '(' without its ')'");
	t->ignores_case = outer;
	return put(t, ")");
}

static PkStatus
translate_quantifier(Translator *t)
{
	uint32_t c = peek(t, 0);
	char     sign[2] = {(char) c, 0};

	if (c == '{')
		return translate_counts(t);
	t->at++;
	PK_FORWARD(put(t, sign));
	if (take(t, "?"))
		return put(t, "?");
	if (take(t, "+"))
		return put(t, "+");
	return PK_OK;
}

/* {n}, {n,}, {,m}, {n,m}; lazy only with a range ("{n}?" means something else in Ruby). */
static PkStatus
translate_counts(Translator *t)
{
	unsigned long counts[2] = {0, 0};
	size_t        n_digits[2] = {0, 0};
	int           n_counts = 1;
	char          text[64];

	t->at++;
	for (; peek(t, 0) != '}'; t->at++)
	{
		uint32_t c = peek(t, 0);
		int      k = n_counts - 1;

		if (c == ',' && n_counts == 1)
			n_counts = 2;
		else if (c >= '0' && c <= '9' && n_digits[k] < 4)
		{
			counts[k] = counts[k] * 10 + (c - '0');
			n_digits[k]++;
		}
		else
			return refuse(t, "a '{' that is no count below 10,000");
	}
	t->at++;
	if (n_digits[0] + n_digits[1] == 0 || (n_digits[1] > 0 && counts[1] < counts[0]))
		return refuse(t, "such counts");
	if (n_counts == 1)
		snprintf(text, sizeof(text), "{%lu}", counts[0]);
	else if (n_digits[1] == 0)
		snprintf(text, sizeof(text), "{%lu,}", counts[0]);
	else
		snprintf(text, sizeof(text), "{%lu,%lu}", counts[0], counts[1]);
	PK_FORWARD(put(t, text));
	if (peek(t, 0) == '+' || (peek(t, 0) == '?' && n_counts == 1))
		return refuse(t, "a sign after a count");
	return take(t, "?") ? put(t, "?") : PK_OK;
}

/* Outside a set. */
static PkStatus
translate_escape(Translator *t)
{
	uint32_t c = peek(t, 1), code;
	bool     is_char;

	switch (c)
	{
		case 's':
			t->at += 2;
			return put(t, "[" SPACES "]");
		case 'S':
			t->at += 2;
			return put(t, "[^" SPACES "]");
		case 'd':
		case 'D':
			t->at += 2;
			return put(t, c == 'd' ? "\\p{Nd}" : "\\P{Nd}");
		case 'p':
		case 'P':
			t->at += 2;
			return translate_property(t, c == 'P');
		default:
			PK_FORWARD(read_escaped_char(t, &code, &is_char));
			return is_char ? put_literal(t, code, false) : refuse(t, "this escape");
	}
}

/* The part after \p or \P. */
static PkStatus
translate_property(Translator *t, bool is_negated)
{
	static const char *const categories[] = {
		"Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "Nd", "Nl", "No", "P",  "Pc", "Pd",
		"Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Cc"};
	static const char *const scripts[] = {"Han",    "Hangul", "Hiragana",  "Katakana",
	                                      "Latin",  "Greek",  "Cyrillic",  "Arabic",
	                                      "Hebrew", "Thai",   "Devanagari"};
	char                     name[24], text[48];
	size_t                   n = 0;

	if (!take(t, "{"))
		return broken(t, "\\p without {");
	is_negated ^= take(t, "^");
	for (; peek(t, 0) != '}'; t->at++)
	{
		if (t->at >= t->len || n + 1 == sizeof(name))
			return broken(t, "a property name without its end");
		name[n++] = t->text[t->at];
	}
	t->at++;
	name[n] = '\0';
	if (strcmp(name, "L") == 0 || strcmp(name, "N") == 0)
		return put_class(t, name[0] == 'L' ? PK_CHAR_LETTER : PK_CHAR_NUMBER, is_negated);
	for (size_t i = 0; i < PK_LENGTH(categories); i++)
		if (strcmp(name, categories[i]) == 0)
		{
			if (t->ignores_case && n == 2 && name[0] == 'L')
				return refuse(t, "a case of letters in a case-insensitive group");
			snprintf(text, sizeof(text), "\\%c{%s}", is_negated ? 'P' : 'p', name);
			return put(t, text);
		}
	for (size_t i = 0; i < PK_LENGTH(scripts); i++)
		if (strcmp(name, scripts[i]) == 0)
		{
			snprintf(text, sizeof(text), "\\%c{Script=%s}", is_negated ? 'P' : 'p', name);
			return put(t, text);
		}
	return refuse(t, "this property");
}

/* \p{L} and \p{N} of Unicode 16, whatever ICU is there: see unicode.h. */
static PkStatus
put_class(Translator *t, PkCharClass class, bool is_negated)
{
	size_t             n;
	const PkCharRange *late = pk_late_chars(class, &n);

	PK_FORWARD(put(t, is_negated ? "[^" : "["));
	PK_FORWARD(
		put(t, class == PK_CHAR_LETTER ? "[\\p{L}&&\\p{Age=16.0}]" : "[\\p{N}&&\\p{Age=16.0}]"));
	for (size_t i = 0; i < n; i++)
	{
		PK_FORWARD(put_char(t, late[i].first));
		PK_FORWARD(put(t, "-"));
		PK_FORWARD(put_char(t, late[i].last));
	}
	return put(t, "]");
}

static PkStatus
translate_set(Translator *t, int depth)
{
	bool is_empty = true;

	if (depth > MAX_DEPTH)
		return refuse(t, "sets nested so deep");
	if (peek(t, 1) == ':')
		return refuse(t, "POSIX brackets");
	t->at++;
	PK_FORWARD(put(t, take(t, "^") ? "[^" : "["));
	while (is_empty || peek(t, 0) != ']')
	{
		if (t->at >= t->len)
			return broken(t, "a '[' without its ']'");
		if (peek(t, 0) == ']')
			return refuse(t, "an unescaped ']' at the start of a set");
		if (peek(t, 0) == '[')
			PK_FORWARD(translate_set(t, depth + 1));
		else
			PK_FORWARD(translate_set_item(t));
		is_empty = false;
	}
	t->at++;
	return put(t, "]");
}

/* A character, a range or a class inside a set. */
static PkStatus
translate_set_item(Translator *t)
{
	uint32_t first, last;
	bool     is_class;

	if (peek(t, 0) == '&' && peek(t, 1) == '&')
		return refuse(t, "an intersection of sets");
	PK_FORWARD(set_member(t, &first, &is_class));
	if (is_class)
		return PK_OK;
	if (peek(t, 0) != '-' || peek(t, 1) == ']')
		return put_literal(t, first, true);
	t->at++;
	if (peek(t, 0) == '[')
		return refuse(t, "a range that ends in a set");
	PK_FORWARD(set_member(t, &last, &is_class));
	if (is_class || last < first)
		return refuse(t, "such a range");
	if (!t->ignores_case)
	{
		PK_FORWARD(put_char(t, first));
		PK_FORWARD(put(t, "-"));
		return put_char(t, last);
	}
	if (last >= 0x80)
		return refuse(t, "a range beyond ASCII in a case-insensitive group");
	for (uint32_t code = first; code <= last; code++)
		PK_FORWARD(put_literal(t, code, true));
	return PK_OK;
}

/* A class is written at once; a character is returned. */
static PkStatus
set_member(Translator *t, uint32_t *code, bool *is_class)
{
	bool is_char;

	*is_class = false;
	if (peek(t, 0) != '\\')
	{
		*code = next_char(t);
		return *code == END ? broken(t, "a set without its end") : PK_OK;
	}
	*is_class = true;
	switch (peek(t, 1))
	{
		case 's':
		case 'S':
		case 'd':
		case 'D':
		case 'p':
		case 'P':
			return translate_escape(t);
		default:
			*is_class = false;
			PK_FORWARD(read_escaped_char(t, code, &is_char));
			return is_char ? PK_OK : refuse(t, "this escape");
	}
}

/* A backslash and what follows, if it stands for one character. */
static PkStatus
read_escaped_char(Translator *t, uint32_t *code, bool *is_char)
{
	static const char names[] = "tnrfvae", values[] = "\t\n\r\f\v\a\x1b";
	uint32_t          c = peek(t, 1);
	const char       *name = c < 0x80 && c != 0 ? strchr(names, (int) c) : NULL;

	*is_char = true;
	if (c == 'x' || c == 'u')
		return read_hex(t, code);
	t->at += 2;
	if (name != NULL)
		*code = (uint32_t) values[name - names];
	else if (c < 0x80 && c > ' ' && !is_ascii_letter(c) && !(c >= '0' && c <= '9'))
		*code = c;
	else if (c == ' ')
		*code = ' ';
	else
	{
		t->at -= 2;
		*is_char = false;
	}
	return PK_OK;
}

/* \x41, \x{1f600}, \uac00 */
static PkStatus
read_hex(Translator *t, uint32_t *code)
{
	bool   is_u = peek(t, 1) == 'u';
	size_t n_most = is_u ? 4 : 2, n = 0;

	t->at += 2;
	bool is_braced = !is_u && take(t, "{");

	n_most = is_braced ? 8 : n_most;
	for (*code = 0; n < n_most; n++, t->at++)
	{
		uint32_t c = peek(t, 0);

		if (c >= '0' && c <= '9')
			*code = *code << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f' && c < 0x80)
			*code = *code << 4 | ((c | 0x20) - 'a' + 10);
		else
			break;
	}
	if (n == 0 || (is_u && n != 4) || (is_braced && !take(t, "}")))
		return broken(t, "a wrong hexadecimal number");
	if (!is_u && !is_braced && *code >= 0x80)
		return refuse(t, "a byte above \\x7F");
	if (*code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return broken(t, "a number that is no character");
	return PK_OK;
}

/*
 * A character that stands for itself. In a case-insensitive group Oniguruma also matches ligatures
 * and sharp s for some pairs of letters; those pairs are refused.
 */
static PkStatus
put_literal(Translator *t, uint32_t code, bool in_set)
{
	uint32_t before = t->last_folded;

	t->last_folded = 0;
	if (!t->ignores_case)
		return put_char(t, code);
	if (code >= 0x80)
		return refuse(t, "a letter beyond ASCII in a case-insensitive group");
	if (!is_ascii_letter(code))
		return put_char(t, code);
	if (!in_set)
	{
		uint32_t lower = code | 0x20;

		if ((before == 's' && (lower == 's' || lower == 't')) ||
		    (before == 'f' && (lower == 'f' || lower == 'i' || lower == 'l')))
			return refuse(t, "ss, st, ff, fi or fl in a case-insensitive group");
		t->last_folded = lower;
	}
	return put_folded(t, code, in_set);
}

/* An ASCII letter in both cases, with what folds to it. */
static PkStatus
put_folded(Translator *t, uint32_t code, bool in_set)
{
	uint32_t lower = code | 0x20;

	if (!in_set)
		PK_FORWARD(put(t, "["));
	PK_FORWARD(put_char(t, lower));
	PK_FORWARD(put_char(t, lower - 0x20));
	if (lower == 's')
		PK_FORWARD(put_char(t, 0x17f)); /* long s */
	if (lower == 'k')
		PK_FORWARD(put_char(t, 0x212a)); /* Kelvin sign */
	return in_set ? PK_OK : put(t, "]");
}

/* Letters, digits and what lies beyond ASCII as they are, all else as a number. */
static PkStatus
put_char(Translator *t, uint32_t code)
{
	char text[16];

	if (is_ascii_letter(code) || (code >= '0' && code <= '9'))
		snprintf(text, sizeof(text), "%c", (char) code);
	else
		snprintf(text, sizeof(text), "\\x{%X}", (unsigned int) code);
	return put(t, text);
}

static PkStatus
put(Translator *t, const char *text)
{
	size_t   len = strlen(text);
	void    *out = t->out;
	PkStatus status = pk_grow(&out, &t->out_room, t->out_len + len, 1, t->err);

	t->out = out;
	PK_FORWARD(status);
	memcpy(t->out + t->out_len, text, len);
	t->out_len += len;
	return PK_OK;
}

/* The byte ahead, or END. */
static uint32_t
peek(const Translator *t, size_t ahead)
{
	return t->at + ahead < t->len ? (uint8_t) t->text[t->at + ahead] : END;
}

static uint32_t
next_char(Translator *t)
{
	size_t n = pk_utf8_char_len(t->text + t->at, t->len - t->at);

	if (n == 0)
		return END;
	t->at += n;
	return pk_utf8_decode(t->text + t->at - n, n);
}

static bool
take(Translator *t, const char *text)
{
	size_t len = strlen(text);

	if (t->len - t->at < len || memcmp(t->text + t->at, text, len) != 0)
		return false;
	t->at += len;
	return true;
}

static bool
is_ascii_letter(uint32_t code)
{
	return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
}

static PkStatus
refuse(Translator *t, const char *what)
{
	return pk_error(t->err, PK_UNSUPPORTED,
	                "tokenizer.json: Split regular expression: %s (byte %zu) is not supported",
	                what, t->at);
}

static PkStatus
broken(Translator *t, const char *what)
{
	return pk_error(t->err, PK_BAD_FILE,
	                "tokenizer.json: Split regular expression is broken: %s (byte %zu)", what,
	                t->at);
}

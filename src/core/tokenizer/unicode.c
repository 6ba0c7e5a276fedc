/*
 * unicode.c
 *    Character classes, normalisation and regular expressions from ICU; nobody else includes it.
 *
 * Normalisation works on stretches: text that has the form already is only looked at. A stretch
 * runs from one character that nothing before can change to the next, and is given to ICU alone.
 */
#include <stdlib.h>
#include <string.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uregex.h>
#include <unicode/ustring.h>
#include <unicode/utext.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/unicode.h"

#define CLASS_UNICODE 16 /* Unicode of the classes */
#define NORMAL_UNICODE 9 /* Unicode of normalisation */
#define BLOCK 65536      /* bytes or units between two looks at cancel */
#define LONG_STRETCH 64  /* UTF-16 units; longer ones are sorted here, see sort_marks() */
#define REGEX_STACK_BYTES (64 << 20)

static const PkCharRange new_letters[] = {
	{0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3},
	{0x10d4a, 0x10d65}, {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x1123f, 0x11240},
	{0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5},
	{0x113b7, 0x113b7}, {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0},
	{0x11f02, 0x11f02}, {0x11f04, 0x11f10}, {0x11f12, 0x11f33}, {0x1342f, 0x1342f},
	{0x13441, 0x13446}, {0x13460, 0x143fa}, {0x16100, 0x1611d}, {0x16d40, 0x16d6c},
	{0x18cff, 0x18cff}, {0x1b132, 0x1b132}, {0x1b155, 0x1b155}, {0x1df25, 0x1df2a},
	{0x1e030, 0x1e06d}, {0x1e4d0, 0x1e4eb}, {0x1e5d0, 0x1e5ed}, {0x1e5f0, 0x1e5f0},
	{0x2b739, 0x2b739}, {0x2ebf0, 0x2ee5d}, {0x31350, 0x323af},
};

static const PkCharRange new_numbers[] = {
	{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x11f50, 0x11f59},
	{0x16130, 0x16139}, {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1d2c0, 0x1d2d3},
	{0x1e4f0, 0x1e4f9}, {0x1e5f1, 0x1e5fa},
};

/* Numbers of Unicode 17, which Rust's char::is_numeric knows and the classes don't. */
static const PkCharRange newer_numbers[] = {{0x11de0, 0x11de9}, {0x16ff4, 0x16ff6}};

/* A normalisation at work. */
typedef struct Normalizer
{
	PkNormalForm        form;
	const UNormalizer2 *icu, *decompose, *compose; /* decompose: D or KD; compose: C or NULL */
	const char         *text;
	size_t              len;
	PkNormalized       *out;
	size_t              copied; /* bytes of text that are in out, when is_changed */
	bool                is_changed;
	UChar              *units, *result; /* a stretch before and after */
	size_t              units_room, result_room;
	PkCancel           *cancel;
	PkError            *err;
} Normalizer;

/* A code point and its combining class, for sorting. */
typedef struct Mark
{
	UChar32 code;
	uint8_t class;
} Mark;

static bool     is_in(const PkCharRange *ranges, size_t n, uint32_t code);
static bool     is_newer_than(UChar32 code, int version);
static PkStatus get_instances(Normalizer *work);
static bool     is_plain(const Normalizer *work, uint32_t code);
static bool     starts_stretch(const Normalizer *work, uint32_t code);
static PkStatus do_stretch(Normalizer *work, size_t start, size_t end);
static PkStatus to_units(Normalizer *work, size_t start, size_t end, size_t *n_units);
static PkStatus run_icu(Normalizer *work, const UNormalizer2 *icu, const UChar *units, size_t n,
                        size_t *n_result);
static PkStatus sort_marks(Normalizer *work, size_t *n_units);
static PkStatus decompose(Normalizer *work, size_t n_units, Mark **marks, size_t *n_marks);
static void     sort_run(Mark *marks, size_t n, Mark *room);
static PkStatus put_copy(Normalizer *work, size_t end);
static PkStatus put_text(Normalizer *work, const char *text, size_t len);
static PkStatus put_stretch(Normalizer *work, PkStretch stretch);

PkCharClass
pk_char_class(uint32_t code)
{
	PkCharClass class = PK_CHAR_OTHER;

	switch (u_charType((UChar32) code))
	{
		case U_UNASSIGNED:
			if (is_in(new_letters, PK_LENGTH(new_letters), code))
				return PK_CHAR_LETTER;
			return is_in(new_numbers, PK_LENGTH(new_numbers), code) ? PK_CHAR_NUMBER
			                                                        : PK_CHAR_OTHER;
		case U_UPPERCASE_LETTER:
		case U_LOWERCASE_LETTER:
		case U_TITLECASE_LETTER:
		case U_MODIFIER_LETTER:
		case U_OTHER_LETTER:
			class = PK_CHAR_LETTER;
			break;
		case U_DECIMAL_DIGIT_NUMBER:
		case U_LETTER_NUMBER:
		case U_OTHER_NUMBER:
			class = PK_CHAR_NUMBER;
			break;
		case U_SPACE_SEPARATOR:
		case U_LINE_SEPARATOR:
		case U_PARAGRAPH_SEPARATOR:
			return PK_CHAR_SPACE;
		case U_CONTROL_CHAR:
			return pk_char_is_space(code) ? PK_CHAR_SPACE : PK_CHAR_OTHER;
		default:
			return PK_CHAR_OTHER;
	}
	if (atoi(U_UNICODE_VERSION) > CLASS_UNICODE && is_newer_than((UChar32) code, CLASS_UNICODE))
		return PK_CHAR_OTHER;
	return class;
}

const PkCharRange *
pk_late_chars(PkCharClass class, size_t *n)
{
	*n = class == PK_CHAR_LETTER ? PK_LENGTH(new_letters) : PK_LENGTH(new_numbers);
	return class == PK_CHAR_LETTER ? new_letters : new_numbers;
}

static bool
is_in(const PkCharRange *ranges, size_t n, uint32_t code)
{
	for (size_t i = 0; i < n; i++)
		if (code <= ranges[i].last)
			return code >= ranges[i].first;
	return false;
}

static bool
is_newer_than(UChar32 code, int version)
{
	UVersionInfo age;

	u_charAge(code, age);
	return age[0] > version;
}

bool
pk_char_is_space(uint32_t code)
{
	return u_isUWhiteSpace((UChar32) code);
}

bool
pk_char_is_numeric(uint32_t code)
{
	if (code < 0x80)
		return code >= '0' && code <= '9';
	if (code >= 0xac00 && code <= 0xd7a3)
		return false;
	return pk_char_class(code) == PK_CHAR_NUMBER ||
	       is_in(newer_numbers, PK_LENGTH(newer_numbers), code);
}

bool
pk_char_is_word(uint32_t code)
{
	UChar32 c = (UChar32) code;

	if (u_isUAlphabetic(c) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
	    is_in(new_letters, PK_LENGTH(new_letters), code))
		return true;
	return (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

const char *
pk_unicode_version(void)
{
	return U_UNICODE_VERSION;
}

void
pk_normalized_free(PkNormalized *normalized)
{
	free(normalized->text);
	free(normalized->stretches);
	memset(normalized, 0, sizeof(*normalized));
}

PkStatus
pk_normalize(PkNormalForm form, const char *text, size_t len, PkNormalized *out, bool *is_same,
             PkCancel *cancel, PkError *err)
{
	Normalizer work = {
		.form = form, .text = text, .len = len, .out = out, .cancel = cancel, .err = err};
	size_t   plain = 0; /* where a stretch may begin: the last starter that the form keeps */
	size_t   polled = 0;
	PkStatus status = PK_OK;

	for (size_t i = 0, n; i < len; i += n)
	{
		if ((uint8_t) text[i] < 0x80)
		{
			n = 1;
			plain = i;
			continue;
		}
		if (i - polled >= BLOCK)
		{
			polled = i;
			if (pk_cancel_poll(cancel))
			{
				status = pk_error(err, PK_CANCELLED, "tokenizing was cancelled");
				goto done;
			}
		}
		n = pk_utf8_char_len(text + i, len - i);
		n = n > 0 ? n : 1;

		uint32_t code = pk_utf8_decode(text + i, n);

		if (is_plain(&work, code))
		{
			plain = i;
			continue;
		}
		if (is_newer_than((UChar32) code, NORMAL_UNICODE))
		{
			plain = i + n; /* left alone, also by the marks that follow */
			continue;
		}
		if (work.icu == NULL)
			PK_FORWARD_TO(done, get_instances(&work));

		size_t start = starts_stretch(&work, code) ? i : plain;
		size_t end = i + n;

		while (end < len)
		{
			n = pk_utf8_char_len(text + end, len - end);
			n = n > 0 ? n : 1;
			if (starts_stretch(&work, pk_utf8_decode(text + end, n)))
				break;
			end += n;
		}
		PK_FORWARD_TO(done, do_stretch(&work, start, end));
		i = plain = end;
		n = 0;
	}
	*is_same = !work.is_changed;
	if (work.is_changed)
		status = put_copy(&work, len);

done:
	free(work.units);
	free(work.result);
	return status;
}

static PkStatus
get_instances(Normalizer *work)
{
	UErrorCode          code = U_ZERO_ERROR;
	const UNormalizer2 *nfc = unorm2_getNFCInstance(&code);
	const UNormalizer2 *nfd = unorm2_getNFDInstance(&code);
	bool                is_compatible = work->form == PK_NFKC || work->form == PK_NFKD;
	const UNormalizer2 *nfkc = is_compatible ? unorm2_getNFKCInstance(&code) : NULL;
	const UNormalizer2 *nfkd = is_compatible ? unorm2_getNFKDInstance(&code) : NULL;

	if (U_FAILURE(code))
		return pk_error(work->err, PK_INTERNAL, "ICU has no normalisation data: %s",
		                u_errorName(code));
	work->compose = work->form == PK_NFC || work->form == PK_NFKC ? nfc : NULL;
	work->decompose = is_compatible ? nfkd : nfd;
	switch (work->form)
	{
		case PK_NFC:
			work->icu = nfc;
			break;
		case PK_NFD:
			work->icu = nfd;
			break;
		case PK_NFKC:
			work->icu = nfkc;
			break;
		default:
			work->icu = nfkd;
			break;
	}
	return PK_OK;
}

/* True for a starter that the form keeps, unless what follows changes it. */
static bool
is_plain(const Normalizer *work, uint32_t code)
{
	static const UProperty checks[PK_N_NORMAL_FORMS] = {[PK_NFC] = UCHAR_NFC_QUICK_CHECK,
	                                                    [PK_NFD] = UCHAR_NFD_QUICK_CHECK,
	                                                    [PK_NFKC] = UCHAR_NFKC_QUICK_CHECK,
	                                                    [PK_NFKD] = UCHAR_NFKD_QUICK_CHECK};
	UChar32                c = (UChar32) code;

	if (code >= 0xac00 && code <= 0xd7a3)
		return work->form == PK_NFC || work->form == PK_NFKC;
	if (code >= 0x4e00 && code <= 0x9fff)
		return true;
	return u_getIntPropertyValue(c, checks[work->form]) == UNORM_YES && u_getCombiningClass(c) == 0;
}

/* True when nothing before the character can change it, or be changed by it. */
static bool
starts_stretch(const Normalizer *work, uint32_t code)
{
	return code < 0x80 || unorm2_hasBoundaryBefore(work->icu, (UChar32) code) ||
	       is_newer_than((UChar32) code, NORMAL_UNICODE);
}

/* Normalise bytes [start, end) and put them to out if that changes them. */
static PkStatus
do_stretch(Normalizer *work, size_t start, size_t end)
{
	size_t     n_units = 0, n_result = 0;
	int32_t    len = 0;
	UErrorCode code = U_ZERO_ERROR;

	PK_FORWARD(to_units(work, start, end, &n_units));
	if (n_units <= LONG_STRETCH)
		PK_FORWARD(run_icu(work, work->icu, work->units, n_units, &n_result));
	else
	{
		PK_FORWARD(sort_marks(work, &n_units));
		PK_FORWARD(run_icu(work, work->compose != NULL ? work->compose : work->decompose,
		                   work->units, n_units, &n_result));
	}

	size_t most = n_result * 3; /* UTF-8 bytes of a UTF-16 unit */
	char   small[LONG_STRETCH * 3];
	char  *bytes = most <= sizeof(small) ? small : malloc(most);

	if (bytes == NULL)
		return pk_error(work->err, PK_NO_MEMORY, "out of memory: %zu bytes", most);
	u_strToUTF8(bytes, (int32_t) most, &len, work->result, (int32_t) n_result, &code);

	bool is_same =
		(size_t) len == end - start && memcmp(bytes, work->text + start, end - start) == 0;
	PkStatus status = PK_OK;

	if (code > U_ZERO_ERROR)
		status = pk_error(work->err, PK_INTERNAL, "ICU could not normalise: %s", u_errorName(code));
	else if (!is_same)
	{
		size_t out_start;

		status = put_copy(work, start);
		out_start = work->out->len;
		if (status == PK_OK)
			status = put_text(work, bytes, (size_t) len);
		if (status == PK_OK)
			status = put_stretch(work, (PkStretch){out_start, work->out->len, start, end, false});
		work->copied = end;
	}
	if (bytes != small)
		free(bytes);
	return status;
}

static PkStatus
to_units(Normalizer *work, size_t start, size_t end, size_t *n_units)
{
	void      *units = work->units;
	int32_t    n = 0;
	UErrorCode code = U_ZERO_ERROR;

	if (end - start > INT32_MAX / 8)
		return pk_error(work->err, PK_TOO_LONG, "%zu bytes of combining characters in a row",
		                end - start);

	PkStatus status = pk_grow(&units, &work->units_room, end - start, sizeof(UChar), work->err);

	work->units = units;
	PK_FORWARD(status);
	u_strFromUTF8(work->units, (int32_t) work->units_room, &n, work->text + start,
	              (int32_t) (end - start), &code);
	if (code > U_ZERO_ERROR)
		return pk_error(work->err, PK_INTERNAL, "ICU could not read text: %s", u_errorName(code));
	*n_units = (size_t) n;
	return PK_OK;
}

/* To work->result. */
static PkStatus
run_icu(Normalizer *work, const UNormalizer2 *icu, const UChar *units, size_t n, size_t *n_result)
{
	for (;;)
	{
		UErrorCode code = U_ZERO_ERROR;
		int32_t    needed = unorm2_normalize(icu, units, (int32_t) n, work->result,
		                                     (int32_t) work->result_room, &code);
		void      *result = work->result;
		PkStatus   status;

		*n_result = (size_t) needed;
		if (code <= U_ZERO_ERROR)
			return PK_OK;
		if (code != U_BUFFER_OVERFLOW_ERROR)
			return pk_error(work->err, PK_INTERNAL, "ICU could not normalise: %s",
			                u_errorName(code));
		status = pk_grow(&result, &work->result_room, (size_t) needed, sizeof(UChar), work->err);
		work->result = result;
		PK_FORWARD(status);
	}
}

/*
 * ICU inserts each mark into its place one by one, which is quadratic for a long run of marks that
 * lie in the wrong order. So decompose and sort long stretches here (stable, by counting), and
 * leave ICU what is in order. work->units are replaced.
 */
static PkStatus
sort_marks(Normalizer *work, size_t *n_units)
{
	Mark    *marks;
	size_t   n_marks;
	PkStatus status = decompose(work, *n_units, &marks, &n_marks);

	PK_FORWARD(status);

	Mark *room = malloc(n_marks * sizeof(*room) + 1);
	void *units = work->units;

	if (room == NULL)
		status = pk_error(work->err, PK_NO_MEMORY, "out of memory for %zu marks", n_marks);
	else
		status = pk_grow(&units, &work->units_room, 2 * n_marks, sizeof(UChar), work->err);
	work->units = units;
	for (size_t i = 0, end; status == PK_OK && i < n_marks; i = end)
	{
		for (end = i + 1; marks[i].class != 0 && end < n_marks && marks[end].class != 0; end++)
			;
		sort_run(marks + i, end - i, room);
	}
	*n_units = 0;
	for (size_t i = 0; status == PK_OK && i < n_marks; i++)
		U16_APPEND_UNSAFE(work->units, *n_units, marks[i].code);
	free(room);
	free(marks);
	return status;
}

/* The decompositions of the characters of work->units, in their order: malloc'ed. */
static PkStatus
decompose(Normalizer *work, size_t n_units, Mark **marks, size_t *n_marks)
{
	void  *list = NULL;
	size_t room = 0, n = 0;

	for (size_t i = 0; i < n_units;)
	{
		size_t   start = i, n_result;
		PkStatus status = PK_OK;
		UChar32  c;

		U16_NEXT(work->units, i, n_units, c);
		(void) c;
		if (start % BLOCK == 0 && pk_cancel_poll(work->cancel))
			status = pk_error(work->err, PK_CANCELLED, "tokenizing was cancelled");
		if (status == PK_OK)
			status = run_icu(work, work->decompose, work->units + start, i - start, &n_result);
		if (status == PK_OK)
			status = pk_grow(&list, &room, n + n_result, sizeof(Mark), work->err);
		if (status != PK_OK)
		{
			free(list);
			return status;
		}
		for (size_t k = 0; k < n_result;)
		{
			U16_NEXT(work->result, k, n_result, c);
			((Mark *) list)[n++] = (Mark){c, u_getCombiningClass(c)};
		}
	}
	*marks = list;
	*n_marks = n;
	return PK_OK;
}

static void
sort_run(Mark *marks, size_t n, Mark *room)
{
	size_t places[257] = {0};

	if (n < 2)
		return;
	for (size_t i = 0; i < n; i++)
		places[marks[i].class + 1]++;
	for (size_t class = 1; class < 257; class ++)
		places[class] += places[class - 1];
	for (size_t i = 0; i < n; i++)
		room[places[marks[i].class]++] = marks[i];
	memcpy(marks, room, n * sizeof(*marks));
}

/* The bytes up to end that need no change. The first call empties out. */
static PkStatus
put_copy(Normalizer *work, size_t end)
{
	size_t start = work->copied, out_start;

	if (!work->is_changed)
	{
		work->is_changed = true;
		work->out->len = 0;
		work->out->n_stretches = 0;
	}
	if (start >= end)
		return PK_OK;
	out_start = work->out->len;
	PK_FORWARD(put_text(work, work->text + start, end - start));
	work->copied = end;
	return put_stretch(work, (PkStretch){out_start, work->out->len, start, end, true});
}

static PkStatus
put_text(Normalizer *work, const char *text, size_t len)
{
	void    *bytes = work->out->text;
	PkStatus status = pk_grow(&bytes, &work->out->room, work->out->len + len, 1, work->err);

	work->out->text = bytes;
	PK_FORWARD(status);
	memcpy(work->out->text + work->out->len, text, len);
	work->out->len += len;
	return PK_OK;
}

static PkStatus
put_stretch(Normalizer *work, PkStretch stretch)
{
	PkNormalized *out = work->out;
	void         *list = out->stretches;
	PkStatus      status =
		pk_grow(&list, &out->n_stretches_room, out->n_stretches + 1, sizeof(stretch), work->err);

	out->stretches = list;
	PK_FORWARD(status);
	out->stretches[out->n_stretches++] = stretch;
	return PK_OK;
}

struct PkRegex
{
	URegularExpression *icu;
	UText               text;
	PkCancel           *cancel;
};

static UBool U_CALLCONV
regex_goes_on(const void *context, int32_t steps)
{
	const PkRegex *regex = context;

	(void) steps;
	return !pk_cancel_poll(regex->cancel);
}

PkStatus
pk_regex_create(const char *pattern, size_t len, PkRegex **out, PkError *err)
{
	void       *memory;
	UChar      *units;
	int32_t     n = 0;
	UErrorCode  code = U_ZERO_ERROR;
	UParseError where;

	if (len > INT32_MAX / 4)
		return pk_error(err, PK_UNSUPPORTED, "a regular expression of %zu bytes", len);
	PK_FORWARD(pk_calloc(len + 1, sizeof(UChar), &memory, err));
	units = memory;
	u_strFromUTF8(units, (int32_t) len + 1, &n, pattern, (int32_t) len, &code);

	URegularExpression *icu =
		U_SUCCESS(code) ? uregex_open(units, n, UREGEX_UNIX_LINES, &where, &code) : NULL;

	free(units);
	if (U_FAILURE(code))
		return pk_error(err, code == U_MEMORY_ALLOCATION_ERROR ? PK_NO_MEMORY : PK_UNSUPPORTED,
		                "ICU can't compile a Split pattern: %s", u_errorName(code));

	PkStatus status = pk_calloc(1, sizeof(PkRegex), &memory, err);

	if (status != PK_OK)
	{
		uregex_close(icu);
		return status;
	}
	*out = memory;
	(*out)->icu = icu;
	(*out)->text = (UText) UTEXT_INITIALIZER;
	return PK_OK;
}

PkStatus
pk_regex_clone(const PkRegex *regex, PkRegex **out, PkError *err)
{
	UErrorCode          code = U_ZERO_ERROR;
	URegularExpression *icu = uregex_clone(regex->icu, &code);
	void               *memory;

	if (U_FAILURE(code))
		return pk_error(err, PK_NO_MEMORY, "ICU can't copy a Split pattern: %s", u_errorName(code));

	PkStatus status = pk_calloc(1, sizeof(PkRegex), &memory, err);

	if (status != PK_OK)
	{
		uregex_close(icu);
		return status;
	}
	*out = memory;
	(*out)->icu = icu;
	(*out)->text = (UText) UTEXT_INITIALIZER;
	uregex_setStackLimit(icu, REGEX_STACK_BYTES, &code);
	uregex_setMatchCallback(icu, regex_goes_on, *out, &code);
	return PK_OK;
}

void
pk_regex_free(PkRegex *regex)
{
	if (regex == NULL)
		return;
	uregex_close(regex->icu);
	utext_close(&regex->text);
	free(regex);
}

PkStatus
pk_regex_begin(PkRegex *regex, const char *text, size_t len, PkCancel *cancel, PkError *err)
{
	UErrorCode code = U_ZERO_ERROR;

	regex->cancel = cancel;
	utext_openUTF8(&regex->text, text, (int64_t) len, &code);
	uregex_setUText(regex->icu, &regex->text, &code);
	if (U_FAILURE(code))
		return pk_error(err, PK_INTERNAL, "ICU can't search: %s", u_errorName(code));
	return PK_OK;
}

PkStatus
pk_regex_next(PkRegex *regex, size_t from, bool *found, size_t *start, size_t *end, PkError *err)
{
	UErrorCode code = U_ZERO_ERROR;

	*found = uregex_find64(regex->icu, (int64_t) from, &code);
	if (*found)
	{
		*start = (size_t) uregex_start64(regex->icu, 0, &code);
		*end = (size_t) uregex_end64(regex->icu, 0, &code);
	}
	if (code == U_REGEX_STOPPED_BY_CALLER)
		return pk_error(err, PK_CANCELLED, "tokenizing was cancelled");
	if (code == U_REGEX_STACK_OVERFLOW)
		return pk_error(err, PK_TOO_LONG, "a Split pattern needs too much memory for this text");
	if (U_FAILURE(code))
		return pk_error(err, PK_INTERNAL, "ICU can't search: %s", u_errorName(code));
	return PK_OK;
}

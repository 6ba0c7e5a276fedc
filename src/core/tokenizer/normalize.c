/*
 * normalize.c
 *    Normal forms through ICU.
 *
 * Normalisation works on stretches: text that has the form already is only looked at. A stretch
 * runs from one character that nothing before can change to the next, and is given to ICU alone.
 */
#include <stdlib.h>
#include <string.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/unicode.h"

#define NORMAL_UNICODE 9               /* Unicode of normalisation */
#define BLOCK 65536                    /* bytes or units between two looks at cancel */
#define MAX_STRETCH ((size_t) 1 << 20) /* bytes: no text of a language comes near */
#define LONG_STRETCH 64 /* UTF-16 units; longer ones are sorted here, see sort_marks() */

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

static size_t   stretch_at(const PkNormalized *form, size_t byte);
static PkStatus look_at_cancel(const Normalizer *work);
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

void
pk_normalized_free(PkNormalized *normalized)
{
	free(normalized->text);
	free(normalized->stretches);
	memset(normalized, 0, sizeof(*normalized));
}

void
pk_normalized_source(const PkNormalized *form, size_t *start, size_t *end)
{
	size_t           last_byte = *end > *start ? *end - 1 : *start;
	const PkStretch *first = &form->stretches[stretch_at(form, *start)];
	const PkStretch *last = &form->stretches[stretch_at(form, last_byte)];
	bool             is_empty = *end == *start;

	*end = last->is_copy ? last->source_start + (*end - last->start) : last->source_end;
	*start = first->is_copy ? first->source_start + (*start - first->start) : first->source_start;
	if (is_empty)
		*end = *start;
}

/* The stretch that holds byte, by halving; the last one if byte is the end. */
static size_t
stretch_at(const PkNormalized *form, size_t byte)
{
	size_t low = 0, high = form->n_stretches - 1;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (form->stretches[middle].end <= byte)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
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
		if (i - polled >= BLOCK)
		{
			polled = i;
			PK_FORWARD_TO(done, look_at_cancel(&work));
		}
		if ((uint8_t) text[i] < 0x80)
		{
			n = 1;
			plain = i;
			continue;
		}
		n = pk_utf8_char_len(text + i, len - i);
		n = n > 0 ? n : 1;

		uint32_t code = pk_utf8_decode(text + i, n);

		if (is_plain(&work, code))
		{
			plain = i;
			continue;
		}
		if (pk_char_is_newer(code, NORMAL_UNICODE))
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
			if (end - start > MAX_STRETCH)
			{
				status =
					pk_error(err, PK_TOO_LONG,
				             "more than %zu bytes of combining characters in a row", MAX_STRETCH);
				goto done;
			}
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
look_at_cancel(const Normalizer *work)
{
	if (pk_cancel_poll(work->cancel))
		return pk_error(work->err, PK_CANCELLED, "tokenizing was cancelled");
	return PK_OK;
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
	       pk_char_is_newer(code, NORMAL_UNICODE);
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
		PK_FORWARD(look_at_cancel(work));
		PK_FORWARD(sort_marks(work, &n_units));
		PK_FORWARD(look_at_cancel(work));
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
	size_t room = 0, n = 0, polled = 0;

	for (size_t i = 0; i < n_units;)
	{
		size_t   start = i, n_result;
		PkStatus status = PK_OK;
		UChar32  c;

		U16_NEXT(work->units, i, n_units, c);
		(void) c;
		if (start - polled >= BLOCK)
		{
			polled = start; /* pairs of units may step over any one number */
			status = look_at_cancel(work);
		}
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

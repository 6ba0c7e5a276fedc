/*
 * redactor.c
 *    An open scan over prompt and output, and the spans that it found in the output.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/pii/chars.h"
#include "core/pii/redactor.h"

struct PkRedactor
{
	char       *text; /* the end of the prompt, then the output */
	size_t      len, room;
	size_t      n_context; /* bytes of the prompt */
	PkPiiScan   scan;
	PkPiiMatch *spans; /* of the output, in order; bytes of the output */
	size_t      n_spans, span_room;
	size_t      settled; /* bytes of text */
};

static PkStatus append(PkRedactor *redactor, const char *text, size_t len, PkError *err);
static PkStatus find_spans(PkRedactor *redactor, PkError *err);
static size_t   open_end(const PkRedactor *redactor);

PkStatus
pk_redactor_create(const char *prompt, size_t len, PkRedactor **out, PkError *err)
{
	size_t   from = len;
	void    *memory;
	PkStatus status;

	for (int i = 0; i < PK_REDACTOR_CONTEXT && from > 0; i++)
		from -= pk_pii_char_before(prompt, from).n;
	PK_FORWARD(pk_calloc(1, sizeof(PkRedactor), &memory, err));

	PkRedactor *redactor = memory;

	PK_FORWARD_TO(failed, append(redactor, prompt + from, len - from, err));
	redactor->n_context = len - from;
	pk_pii_begin(&redactor->scan, redactor->text, redactor->len, PK_PII_DEFAULT, PK_PII_TOKEN,
	             NULL);
	*out = redactor;
	return PK_OK;

failed:
	pk_redactor_free(redactor);
	return status;
}

void
pk_redactor_free(PkRedactor *redactor)
{
	if (redactor == NULL)
		return;
	free(redactor->text);
	free(redactor->spans);
	free(redactor);
}

static PkStatus
append(PkRedactor *redactor, const char *text, size_t len, PkError *err)
{
	void    *grown = redactor->text;
	PkStatus status = pk_grow(&grown, &redactor->room, redactor->len + len + 1, 1, err);

	redactor->text = grown;
	PK_FORWARD(status);
	memcpy(redactor->text + redactor->len, text, len);
	redactor->len += len;
	return PK_OK;
}

PkStatus
pk_redactor_push(PkRedactor *redactor, const char *text, size_t len, bool is_end, PkError *err)
{
	PK_FORWARD(append(redactor, text, len, err));
	redactor->scan.text = redactor->text;
	redactor->scan.len = redactor->len;
	redactor->scan.is_open = !is_end;
	PK_FORWARD(find_spans(redactor, err));

	size_t settled = is_end ? redactor->len : open_end(redactor);

	redactor->settled = settled > redactor->settled ? settled : redactor->settled;
	return PK_OK;
}

static PkStatus
find_spans(PkRedactor *redactor, PkError *err)
{
	for (;;)
	{
		PkPiiMatch match;
		bool       found;

		PK_FORWARD(pk_pii_next(&redactor->scan, &match, &found, err));
		if (!found)
			return PK_OK;
		if (match.end <= redactor->n_context)
			continue;

		void    *grown = redactor->spans;
		PkStatus status =
			pk_grow(&grown, &redactor->span_room, redactor->n_spans + 1, sizeof(PkPiiMatch), err);

		redactor->spans = grown;
		PK_FORWARD(status);
		match.start = match.start > redactor->n_context ? match.start - redactor->n_context : 0;
		match.end -= redactor->n_context;
		redactor->spans[redactor->n_spans++] = match;
	}
}

/* Where the scan stands, but for signs that a number may take in on its left. */
static size_t
open_end(const PkRedactor *redactor)
{
	size_t at = redactor->scan.at;

	while (at > redactor->scan.last_end)
	{
		PkPiiChar c = pk_pii_char_before(redactor->text, at);

		if (c.class != PK_PII_PLUS && c.class != PK_PII_OPEN && c.code != 'o' && c.code != 'O')
			break;
		at -= c.n;
	}
	return at;
}

size_t
pk_redactor_settled(const PkRedactor *redactor)
{
	return redactor->settled > redactor->n_context ? redactor->settled - redactor->n_context : 0;
}

size_t
pk_redactor_room(const PkRedactor *redactor, size_t begin, size_t end)
{
	size_t n = end - begin;

	for (size_t i = 0; i < redactor->n_spans; i++)
		if (redactor->spans[i].start >= begin && redactor->spans[i].start <= end)
			n += PK_PII_MAX_MARK;
	return n;
}

size_t
pk_redactor_piece(const PkRedactor *redactor, size_t begin, size_t end, char *out,
                  bool *is_redacted)
{
	const char *output = redactor->text + redactor->n_context;
	size_t      n = 0, at = begin;

	*is_redacted = false;
	for (size_t i = 0; i < redactor->n_spans; i++)
	{
		const PkPiiMatch *span = &redactor->spans[i];

		if (span->end <= begin || span->start >= (end > begin ? end : begin + 1))
			continue;
		*is_redacted = true;
		if (span->start >= begin && span->start < end)
		{
			memcpy(out + n, output + at, span->start - at);
			n += span->start - at;
			n += pk_pii_replace(output, span, PK_PII_TOKEN, out + n);
		}
		at = span->end < end ? span->end : end;
	}
	memcpy(out + n, output + at, end - at);
	return n + end - at;
}

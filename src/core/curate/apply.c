/*
 * apply.c
 *    Matches come in order of their ends, so a long one may swallow spans before it: the spans are
 * a stack, and each is pushed and popped once.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/curate/apply.h"

/* Bytes of the text in NFC that patterns cover without a gap. */
typedef struct Span
{
	size_t start, end;
} Span;

typedef struct Spans
{
	Span  *items;
	size_t n, room;
} Spans;

static PkStatus find_spans(PkBlockScan *scan, Spans *spans, bool *is_dropped, PkError *err);
static PkStatus add_span(Spans *spans, Span span, PkError *err);
static PkStatus put_spans(const PkBlockScan *scan, const Spans *spans, const char *text, size_t len,
                          PkOutcome *out, PkError *err);
static PkStatus put(PkOutcome *out, const char *text, size_t len, PkError *err);

void
pk_outcome_free(PkOutcome *outcome)
{
	free(outcome->text);
	memset(outcome, 0, sizeof(*outcome));
}

PkStatus
pk_blocklist_apply(const PkBlocklist *list, const char *text, size_t len, PkOutcome *out,
                   PkCancel *cancel, PkError *err)
{
	PkBlockScan *scan = NULL;
	Spans        spans = {0};
	PkStatus     status;

	PK_FORWARD_TO(done, pk_block_scan_create(list, text, len, &scan, cancel, err));
	PK_FORWARD_TO(done, find_spans(scan, &spans, &out->is_dropped, err));
	out->is_masked = !out->is_dropped && spans.n > 0;
	if (out->is_masked)
		PK_FORWARD_TO(done, put_spans(scan, &spans, text, len, out, err));

done:
	pk_block_scan_free(scan);
	free(spans.items);
	return status;
}

static PkStatus
find_spans(PkBlockScan *scan, Spans *spans, bool *is_dropped, PkError *err)
{
	for (;;)
	{
		PkBlockMatch match;
		bool         found;

		PK_FORWARD(pk_block_next(scan, &match, &found, err));
		*is_dropped = found && match.action == PK_BLOCK_DROP;
		if (!found || *is_dropped)
			return PK_OK;
		if (match.action == PK_BLOCK_MASK)
			PK_FORWARD(add_span(spans, (Span){match.start, match.end}, err));
	}
}

/* Spans that touch become one. */
static PkStatus
add_span(Spans *spans, Span span, PkError *err)
{
	void    *grown = spans->items;
	PkStatus status;

	while (spans->n > 0 && spans->items[spans->n - 1].end >= span.start)
	{
		Span last = spans->items[--spans->n];

		span.start = last.start < span.start ? last.start : span.start;
	}
	status = pk_grow(&grown, &spans->room, spans->n + 1, sizeof(Span), err);
	spans->items = grown;
	PK_FORWARD(status);
	spans->items[spans->n++] = span;
	return PK_OK;
}

/* The spans are in order. Two may lie in one character of the text as it is: it goes once. */
static PkStatus
put_spans(const PkBlockScan *scan, const Spans *spans, const char *text, size_t len, PkOutcome *out,
          PkError *err)
{
	const char *normal = pk_block_text(scan);
	size_t      done = 0;

	for (size_t i = 0; i < spans->n; i++)
	{
		Span   span = spans->items[i];
		size_t start = span.start, end = span.end;

		pk_block_source(scan, &start, &end);
		if (start > done)
			PK_FORWARD(put(out, text + done, start - done, err));
		for (size_t at = span.start; at < span.end; at++)
			if (((uint8_t) normal[at] & 0xc0) != 0x80)
				PK_FORWARD(put(out, "*", 1, err));
		done = end;
	}
	return put(out, text + done, len - done, err);
}

static PkStatus
put(PkOutcome *out, const char *text, size_t len, PkError *err)
{
	void    *grown = out->text;
	PkStatus status = pk_grow(&grown, &out->room, out->len + len, 1, err);

	out->text = grown;
	PK_FORWARD(status);
	if (len > 0)
		memcpy(out->text + out->len, text, len);
	out->len += len;
	return PK_OK;
}

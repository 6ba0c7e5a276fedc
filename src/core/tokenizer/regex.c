/*
 * regex.c
 *    Regular expressions of Split pre-tokenizers through ICU.
 */
#include <stdlib.h>
#include <unicode/uregex.h>
#include <unicode/ustring.h>
#include <unicode/utext.h>

#include "core/base/alloc.h"
#include "core/tokenizer/unicode.h"

#define REGEX_STACK_BYTES (64 << 20)
#define TRIES_PER_POLL 4096

struct PkRegex
{
	URegularExpression *icu;
	UText               text;
	PkCancel           *cancel;
	size_t              n_tried; /* starts of a match */
};

static UBool U_CALLCONV
regex_goes_on(const void *context, int32_t steps)
{
	const PkRegex *regex = context;

	(void) steps;
	return !pk_cancel_poll(regex->cancel);
}

/* A pattern that needs no stack never asks regex_goes_on(). Called for each start of a match. */
static UBool U_CALLCONV
regex_looks_on(const void *context, int64_t at)
{
	PkRegex *regex = (PkRegex *) (uintptr_t) context;

	(void) at;
	return ++regex->n_tried % TRIES_PER_POLL != 0 || !pk_cancel_poll(regex->cancel);
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
		                "tokenizer.json: Split regular expression: ICU can't compile it: %s",
		                u_errorName(code));

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
	uregex_setFindProgressCallback(icu, regex_looks_on, *out, &code);
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

/*
 * status.c
 *    Filling PkError.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/status.h"
#include "core/base/utf8.h"

static void cut_at_character(char *text, size_t size);

static const char *const status_names[PK_N_STATUS] = {
	[PK_OK] = "PK_OK",
	[PK_BAD_ARGUMENT] = "PK_BAD_ARGUMENT",
	[PK_BAD_TEXT] = "PK_BAD_TEXT",
	[PK_TOO_LONG] = "PK_TOO_LONG",
	[PK_NO_FILE] = "PK_NO_FILE",
	[PK_NO_PERMISSION] = "PK_NO_PERMISSION",
	[PK_BAD_FILE] = "PK_BAD_FILE",
	[PK_UNSUPPORTED] = "PK_UNSUPPORTED",
	[PK_IO] = "PK_IO",
	[PK_NO_DISK] = "PK_NO_DISK",
	[PK_NO_MEMORY] = "PK_NO_MEMORY",
	[PK_CANCELLED] = "PK_CANCELLED",
	[PK_INTERNAL] = "PK_INTERNAL",
};

const char *
pk_status_name(PkStatus status)
{
	return (size_t) status < PK_N_STATUS ? status_names[status] : "PK_?";
}

PkStatus
pk_error(PkError *err, PkStatus status, const char *format, ...)
{
	if (err == NULL)
		return status;

	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	cut_at_character(err->text, sizeof(err->text));
	err->status = status;
	err->hint[0] = '\0';
	return status;
}

PkStatus
pk_error_hint(PkError *err, PkStatus status, const char *format, ...)
{
	if (err == NULL)
		return status;

	va_list args;

	va_start(args, format);
	vsnprintf(err->hint, sizeof(err->hint), format, args);
	va_end(args);
	cut_at_character(err->hint, sizeof(err->hint));
	return status;
}

/* A text that fills its room may end in half a character: take that off. */
static void
cut_at_character(char *text, size_t size)
{
	size_t len = strlen(text);

	if (len + 1 < size)
		return;
	for (size_t n = 1; n < 4 && n <= len; n++)
		if (pk_utf8_partial_len(text + len - n, n) == n)
			text[len - n] = '\0';
}

static PkStatus
status_of_errno(int saved_errno)
{
	switch (saved_errno)
	{
		case ENOENT:
		case ENOTDIR:
			return PK_NO_FILE;
		case EACCES:
		case EPERM:
			return PK_NO_PERMISSION;
		case ENOSPC:
		case EDQUOT:
			return PK_NO_DISK;
		case ENOMEM:
			return PK_NO_MEMORY;
		default:
			return PK_IO;
	}
}

PkStatus
pk_error_errno(PkError *err, int saved_errno, const char *format, ...)
{
	PkStatus status = status_of_errno(saved_errno);

	if (err == NULL)
		return status;

	va_list args;

	va_start(args, format);
	int len = vsnprintf(err->text, sizeof(err->text), format, args);

	va_end(args);
	if (len >= 0 && (size_t) len < sizeof(err->text))
		snprintf(err->text + len, sizeof(err->text) - (size_t) len, ": %s", strerror(saved_errno));
	cut_at_character(err->text, sizeof(err->text));
	err->status = status;
	err->hint[0] = '\0';
	return status;
}

const char *
pk_error_quote(char *dst, size_t size, const char *src, size_t len)
{
	size_t out = 0;

	for (size_t i = 0; i < len;)
	{
		size_t n = pk_utf8_char_len(src + i, len - i);
		bool   is_plain = n > 0 && (n > 1 || ((unsigned char) src[i] >= 0x20 && src[i] != 0x7f));

		if (n == 0)
			n = 1;
		if (out + n + 4 > size) /* room for "..." and the end mark */
		{
			memcpy(dst + out, "...", 3);
			out += 3;
			break;
		}
		if (is_plain)
			memcpy(dst + out, src + i, n);
		else
			dst[out] = '?';
		out += is_plain ? n : 1;
		i += n;
	}
	dst[out] = '\0';
	return dst;
}

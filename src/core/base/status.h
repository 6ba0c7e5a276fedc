/*
 * status.h
 *    How core reports failure: a PkStatus is returned, a PkError is filled once, where the fact
 *    is known, and forwarded upwards. Core never prints, exits or throws.
 */
#ifndef PK_STATUS_H
#define PK_STATUS_H

#include "core/base/platform.h"

typedef enum PkStatus
{
	PK_OK = 0,
	PK_BAD_ARGUMENT,  /* 22023: an option or argument out of range */
	PK_BAD_TEXT,      /* 22021: input is not valid UTF-8 */
	PK_TOO_LONG,      /* 54000: does not fit the context */
	PK_NO_FILE,       /* 58P01: a file or directory is missing */
	PK_NO_PERMISSION, /* 42501: the operating system refused */
	PK_BAD_FILE,      /* XX001: a checkpoint or image is corrupt */
	PK_UNSUPPORTED,   /* 0A000: something we don't run, named */
	PK_IO,            /* 58030: read or write failed */
	PK_NO_DISK,       /* 53100 */
	PK_NO_MEMORY,     /* 53200 */
	PK_CANCELLED,     /* 57014: the caller's cancel flag was seen */
	PK_INTERNAL,      /* XX000: our own mistake; ends the request, not the server */
	PK_N_STATUS
} PkStatus;

typedef struct PkError
{
	PkStatus status;
	char     text[480]; /* what is wrong, with the numbers; lower case, no full stop */
	char     hint[240]; /* what to do, a sentence; may be empty */
} PkError;

/* Name of a status as in the enum, "PK_OK"; for tests and the command line. */
const char *pk_status_name(PkStatus status);

/* Fill err (may be NULL) and return status, so that callers can write "return pk_error(...)". */
PkStatus pk_error(PkError *err, PkStatus status, const char *format, ...) PK_PRINTF(3, 4);

/* Add a hint to an error that was just filled; returns its status. */
PkStatus pk_error_hint(PkError *err, PkStatus status, const char *format, ...) PK_PRINTF(3, 4);

/* Status and text from errno: ENOENT/ENOTDIR, EACCES/EPERM, ENOSPC/EDQUOT, ENOMEM, else PK_IO. */
PkStatus pk_error_errno(PkError *err, int saved_errno, const char *format, ...) PK_PRINTF(3, 4);

/*
 * Copy src to dst (size bytes with the end mark) so that it can stand in a message: control
 * bytes and broken UTF-8 become '?', a long text is cut at a character and ends in "...".
 */
const char *pk_error_quote(char *dst, size_t size, const char *src, size_t len);

#define PK_FORWARD(expression)                 \
	do                                         \
	{                                          \
		PkStatus pk_forwarded_ = (expression); \
		if (pk_forwarded_ != PK_OK)            \
			return pk_forwarded_;              \
	} while (0)

/* The same for functions with one exit label; needs a local "PkStatus status". */
#define PK_FORWARD_TO(label, expression) \
	do                                   \
	{                                    \
		status = (expression);           \
		if (status != PK_OK)             \
			goto label;                  \
	} while (0)

#endif

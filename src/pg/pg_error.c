/*
 * pg_error.c
 *    PkStatus to ereport.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/errcodes.h"

#include "pg/pg_error.h"

int
pkpg_sqlstate(PkStatus status)
{
	switch (status)
	{
		case PK_BAD_ARGUMENT:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case PK_BAD_TEXT:
			return ERRCODE_CHARACTER_NOT_IN_REPERTOIRE;
		case PK_TOO_LONG:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case PK_NO_FILE:
			return ERRCODE_UNDEFINED_FILE;
		case PK_NO_PERMISSION:
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case PK_BAD_FILE:
			return ERRCODE_DATA_CORRUPTED;
		case PK_UNSUPPORTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case PK_IO:
			return ERRCODE_IO_ERROR;
		case PK_NO_DISK:
			return ERRCODE_DISK_FULL;
		case PK_NO_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		case PK_CANCELLED:
			return ERRCODE_QUERY_CANCELED;
		default:
			return ERRCODE_INTERNAL_ERROR;
	}
}

/* What to do, where core knows nothing better. */
static const char *
default_hint(PkStatus status)
{
	switch (status)
	{
		case PK_BAD_ARGUMENT:
			return "Leave the argument out to get its default.";
		case PK_NO_FILE:
			return "Check the option path of the model's server, and that its files are there.";
		case PK_NO_PERMISSION:
			return "The operating-system user of the server must be able to read the files.";
		case PK_BAD_FILE:
			return "Copy the checkpoint again, and compare it with its origin.";
		case PK_UNSUPPORTED:
			return "polyko runs GPT-NeoX models with a byte-level BPE tokenizer.";
		case PK_BAD_TEXT:
			return "Text must be valid UTF-8.";
		case PK_IO:
			return "The server's log and the system's log may say more.";
		case PK_NO_DISK:
			return "Free disk space, or place images on another disk (polyko.image_directory).";
		case PK_NO_MEMORY:
			return "Shorten the input, or give the server more memory.";
		case PK_INTERNAL:
			return "This is a mistake in polyko; please report it with the statement's form.";
		default:
			return "See the manual, section Errors.";
	}
}

char *
pkpg_error_text(const char *text)
{
	char *out = pstrdup(text);

	if (GetDatabaseEncoding() == PG_UTF8 && pg_verify_mbstr(PG_UTF8, out, strlen(out), true))
		return out;
	for (char *c = out; *c != '\0'; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return out;
}

void
pkpg_raise(PkStatus status, const PkError *error)
{
	const char *text = error->text[0] != '\0' ? error->text : "polyko was stopped";

	if (status == PK_CANCELLED)
		CHECK_FOR_INTERRUPTS(); /* PostgreSQL says why, and does not return */
	ereport(ERROR, (errcode(pkpg_sqlstate(status)), errmsg("%s", pkpg_error_text(text)),
	                errhint("%s", pkpg_error_text(error->hint[0] != '\0' ? error->hint
	                                                                     : default_hint(status)))));
	pg_unreachable();
}

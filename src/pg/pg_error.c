/*
 * pg_error.c
 *    PkStatus to ereport.
 */
#include "postgres.h"

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

void
pkpg_raise(PkStatus status, const PkError *error)
{
	/* the context of core's error does not outlive this call */
	const char *text = error->text[0] != '\0' ? error->text : "polyko was stopped";

	if (status == PK_CANCELLED)
	{
		CHECK_FOR_INTERRUPTS();
		text = "canceling statement because polyko was stopped";
	}
	ereport(ERROR, (errcode(pkpg_sqlstate(status)), errmsg("%s", text),
	                error->hint[0] != '\0' && status != PK_CANCELLED ? errhint("%s", error->hint)
	                                                                 : 0));
	pg_unreachable();
}

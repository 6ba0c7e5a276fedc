/*
 * updatefailure.c
 *    Errors of rows: which are, what may be said of them, and the table polyko_update_errors.
 *
 * Messages of PostgreSQL and of functions can hold what is in the row ("invalid input syntax for
 * type integer: ..."), so of them only the format is kept, without its values. Ours, which are
 * known by their text domain (domain.h), are whole if their values are numbers or they come from
 * core, which quotes no input; those with texts may quote an argument.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/errcodes.h"

#include "pg/domain.h"
#include "pg/sibling.h"
#include "pg/update/updatefailure.h"

#define N_ADD_ARGS 6

static char *message_of(const ErrorData *error);
static bool  is_without_text(const char *format);
static void  append_format(StringInfo out, const char *format);
static bool  says_something(const char *text);

bool
pkpg_is_busy(int sqlstate)
{
	return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
	       ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TRANSACTION_ROLLBACK;
}

/*
 * With the others every row would fail, or the session ends. 58000 is a lost engine: perhaps this
 * row's doing, and the next row finds a new one. XX000 is what many functions raise for bad data.
 */
bool
pkpg_is_of_row(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION: /* 42 */
		case ERRCODE_INSUFFICIENT_RESOURCES:                /* 53 */
		case ERRCODE_OPERATOR_INTERVENTION:                 /* 57: cancel, shutdown, no engine */
		case ERRCODE_CONNECTION_EXCEPTION:                  /* 08 */
		case ERRCODE_INVALID_TRANSACTION_STATE:             /* 25 */
		case ERRCODE_FEATURE_NOT_SUPPORTED:                 /* 0A: what the model is */
		case ERRCODE_FDW_ERROR:                             /* HV: what its server is */
			return false;
		case ERRCODE_SYSTEM_ERROR: /* 58 */
			return sqlstate == ERRCODE_SYSTEM_ERROR;
		case ERRCODE_INTERNAL_ERROR: /* XX */
			return sqlstate == ERRCODE_INTERNAL_ERROR;
		default:
			return true;
	}
}

void
pkpg_record_failure(const PkpgUpdateSpec *spec, const char *relation, Datum key,
                    const ErrorData *error)
{
	static const Oid types[N_ADD_ARGS] = {TEXTOID, NAMEOID, JSONBOID, TEXTOID, TEXTOID, NAMEOID};
	NameData         column, role;

	namestrcpy(&column, spec->set_column);
	namestrcpy(&role, GetUserNameFromId(GetUserId(), false));

	const NullableDatum args[N_ADD_ARGS] = {
		{.value = CStringGetTextDatum(relation)},
		{.value = NameGetDatum(&column)},
		{.value = key},
		{.value = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode))},
		{.value = CStringGetTextDatum(message_of(error))},
		{.value = NameGetDatum(&role)}};

	(void) pkpg_call_sibling(spec->procedure,
	                         &(PkpgSibling){"polyko_update_error_add", N_ADD_ARGS, types, args});
}

/* Without anything of the row. */
static char *
message_of(const ErrorData *error)
{
	StringInfoData out;

	if (error->domain != NULL && strcmp(error->domain, TEXTDOMAIN) == 0 &&
	    error->message_id != NULL && is_without_text(error->message_id))
		return pstrdup(error->message);
	initStringInfo(&out);
	if (error->message_id != NULL)
		append_format(&out, error->message_id);
	if (!says_something(out.data))
		return pstrdup("message left out, it may hold text of the row");
	if (error->constraint_name != NULL)
		appendStringInfo(&out, " (constraint \"%s\")", error->constraint_name);
	return out.data;
}

/* "%s" alone is a message of core. */
static bool
is_without_text(const char *format)
{
	return strcmp(format, "%s") == 0 ||
	       (strstr(format, "%s") == NULL && strstr(format, "*s") == NULL);
}

/* A format of printf with "..." for each value. */
static void
append_format(StringInfo out, const char *format)
{
	for (const char *c = format; *c != '\0'; c++)
	{
		if (*c != '%')
		{
			appendStringInfoChar(out, *c);
			continue;
		}
		c++;
		c += strspn(c, "-+ #0123456789.*$hlqjzt");
		if (*c == '\0')
			return;
		appendStringInfoString(out, *c == '%' ? "%" : "...");
	}
}

static bool
says_something(const char *text)
{
	for (; *text != '\0'; text++)
		if (isalpha((unsigned char) *text))
			return true;
	return false;
}

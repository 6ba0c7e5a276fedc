/*
 * fn_update.c
 *    The procedure polyko_update: its arguments, and whether it may run here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "pg/callargs.h"
#include "pg/update/oneexpr.h"
#include "pg/update/updatejob.h"

/* Keys of a batch are held in memory, and its rows are locked while the model runs. */
#define MAX_BATCH_ROWS 65536

enum
{
	ARG_TARGET,
	ARG_SET_COLUMN,
	ARG_EXPRESSION,
	ARG_WHERE,
	ARG_BATCH_ROWS,
	ARG_ON_ERROR,
	ARG_OPTIONS
};

static void  check_transaction(FunctionCallInfo fcinfo);
static void  read_spec(FunctionCallInfo fcinfo, PkpgUpdateSpec *spec);
static char *read_text(FunctionCallInfo fcinfo, int arg, const char *name);
static void  check_given(FunctionCallInfo fcinfo, int arg, const char *name);
static int   read_batch_rows(FunctionCallInfo fcinfo);
static bool  read_on_error(FunctionCallInfo fcinfo);

PG_FUNCTION_INFO_V1(polyko_update);

Datum
polyko_update(PG_FUNCTION_ARGS)
{
	PkpgUpdateSpec spec;

	PreventCommandIfReadOnly("polyko_update()");
	check_transaction(fcinfo);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	read_spec(fcinfo, &spec);
	pkpg_update_run(&spec);
	SPI_finish();
	PG_RETURN_VOID();
}

/* CALL says whether it may commit. */
static void
check_transaction(FunctionCallInfo fcinfo)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
	    castNode(CallContext, fcinfo->context)->atomic || IsSubTransaction())
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
		     errmsg("polyko_update can't run inside a transaction block, a function, or a block "
		            "with EXCEPTION"),
		     errhint("It commits after each batch: CALL it by itself, with autocommit on.")));
}

static void
read_spec(FunctionCallInfo fcinfo, PkpgUpdateSpec *spec)
{
	JsonbValue none;

	check_given(fcinfo, ARG_TARGET, "target");
	check_given(fcinfo, ARG_SET_COLUMN, "set_column");
	spec->procedure = fcinfo->flinfo->fn_oid;
	spec->relid = PG_GETARG_OID(ARG_TARGET);
	spec->set_column = pstrdup(NameStr(*PG_GETARG_NAME(ARG_SET_COLUMN)));
	spec->expression = read_text(fcinfo, ARG_EXPRESSION, "expression");
	pkpg_check_one_expression(spec->expression, "expression");
	spec->where = NULL;
	if (!PG_ARGISNULL(ARG_WHERE))
	{
		spec->where = read_text(fcinfo, ARG_WHERE, "where_clause");
		pkpg_check_one_expression(spec->where, "where_clause");
	}
	spec->batch_rows = read_batch_rows(fcinfo);
	spec->records = read_on_error(fcinfo);
	pkpg_read_options(fcinfo, ARG_OPTIONS, NULL, 0, &none);
}

static void
check_given(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
		        (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name),
		         errhint("Give the table, the column to set and the expression for it.")));
}

static char *
read_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	check_given(fcinfo, arg, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static int
read_batch_rows(FunctionCallInfo fcinfo)
{
	int n;

	pkpg_not_null(fcinfo, ARG_BATCH_ROWS, "batch_rows");
	n = PG_GETARG_INT32(ARG_BATCH_ROWS);
	if (n < 1 || n > MAX_BATCH_ROWS)
		ereport(ERROR,
		        (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		         errmsg("batch_rows is %d, it must be between 1 and %d", n, MAX_BATCH_ROWS),
		         errhint("A batch is committed as a whole, its rows are locked until then; some "
		                 "hundred are enough.")));
	return n;
}

static bool
read_on_error(FunctionCallInfo fcinfo)
{
	char *word;

	pkpg_not_null(fcinfo, ARG_ON_ERROR, "on_error");
	word = text_to_cstring(PG_GETARG_TEXT_PP(ARG_ON_ERROR));
	if (strcmp(word, "raise") != 0 && strcmp(word, "record") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("on_error is \"%s\", it must be raise or record", word),
		                errhint("raise stops at the first error; record goes on and writes the row "
		                        "into polyko_update_errors.")));
	return strcmp(word, "record") == 0;
}

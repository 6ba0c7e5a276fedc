/*
 * fn_review.c
 *    polyko_generate_reviewed, polyko_review_approve and polyko_review_reject.
 *
 * The model runs with the rights of the caller. Only what it said is written with those of the
 * owner, by polyko_review_add, which nobody else may call. All names are looked up in the schema of
 * the function that is called.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/callargs.h"
#include "pg/functions/generation.h"
#include "pg/sibling.h"

#define N_GENERATE_ARGS 11
#define N_ADD_ARGS (N_GENERATE_ARGS + 2)

typedef struct Decision
{
	const char *status; /* approved or rejected */
	int64       id;
	Datum       reason;
	bool        has_reason;
} Decision;

static Datum add_review(FunctionCallInfo fcinfo, const PkpgGeneration *answer, const char *role);
static text *decide(FunctionCallInfo fcinfo, const Decision *decision);
static void  refuse(const char *schema, int64 id) __attribute__((noreturn));

PG_FUNCTION_INFO_V1(polyko_generate_reviewed);
PG_FUNCTION_INFO_V1(polyko_review_approve);
PG_FUNCTION_INFO_V1(polyko_review_reject);

Datum
polyko_generate_reviewed(PG_FUNCTION_ARGS)
{
	MemoryContext caller;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PreventCommandIfReadOnly("polyko_generate_reviewed()"); /* before the model runs */

	MemoryContext         call = pkpg_call_begin(&caller);
	const PkpgGeneration *answer = pkpg_generate(fcinfo);
	int64 id = DatumGetInt64(add_review(fcinfo, answer, GetUserNameFromId(GetUserId(), false)));

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(call);
	PG_RETURN_INT64(id);
}

/* Calls polyko_review_add with the arguments of the call, the answer, and who asked. */
static Datum
add_review(FunctionCallInfo fcinfo, const PkpgGeneration *answer, const char *role)
{
	static const Oid types[N_ADD_ARGS] = {TEXTOID,   TEXTOID,   INT4OID,      FLOAT4OID, INT4OID,
	                                      FLOAT4OID, FLOAT4OID, TEXTARRAYOID, INT8OID,   INT4OID,
	                                      JSONBOID,  TEXTOID,   NAMEOID};
	NullableDatum    args[N_ADD_ARGS];
	NameData         requester;

	for (int i = 0; i < N_GENERATE_ARGS; i++)
		args[i] = fcinfo->args[i];
	namestrcpy(&requester, role);
	args[N_GENERATE_ARGS] = (NullableDatum){
		.value = PointerGetDatum(cstring_to_text_with_len(answer->text, (int) answer->text_len))};
	args[N_GENERATE_ARGS + 1] = (NullableDatum){.value = NameGetDatum(&requester)};
	return pkpg_call_sibling(fcinfo->flinfo->fn_oid,
	                         &(PkpgSibling){"polyko_review_add", N_ADD_ARGS, types, args});
}

Datum
polyko_review_approve(PG_FUNCTION_ARGS)
{
	text *output = decide(fcinfo, &(Decision){.status = "approved", .id = PG_GETARG_INT64(0)});

	if (output == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(output);
}

Datum
polyko_review_reject(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("reason must not be NULL"),
		                errhint("Say why the answer is rejected: whoever asked can read it.")));
	(void) decide(fcinfo, &(Decision){.status = "rejected",
	                                  .id = PG_GETARG_INT64(0),
	                                  .reason = PG_GETARG_DATUM(1),
	                                  .has_reason = true});
	PG_RETURN_VOID();
}

/* The output of the row that was pending, in the caller's memory; NULL if it was dropped. */
static text *
decide(FunctionCallInfo fcinfo, const Decision *decision)
{
	NameData reviewer;
	Oid      types[] = {INT8OID, TEXTOID, TEXTOID, NAMEOID};
	Datum    values[] = {Int64GetDatum(decision->id), CStringGetTextDatum(decision->status),
	                     decision->reason, NameGetDatum(&reviewer)};
	char     nulls[] = {' ', ' ', decision->has_reason ? ' ' : 'n', ' '};
	char    *schema = pkpg_schema_of(fcinfo->flinfo->fn_oid);
	char    *query = psprintf("UPDATE %s.polyko_review SET status = $2, reason = $3, reviewer = $4,"
	                             " reviewed_at = clock_timestamp()"
	                             " WHERE id = $1 AND status = 'pending' RETURNING output",
	                          quote_identifier(schema));
	bool     is_null;
	text    *output = NULL;

	namestrcpy(&reviewer, GetUserNameFromId(GetSessionUserId(), false));
	SPI_connect();
	if (SPI_execute_with_args(query, lengthof(values), types, values, nulls, false, 0) !=
	    SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "could not update polyko_review");
	if (SPI_processed == 0)
		refuse(schema, decision->id);

	Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);

	if (!is_null)
		output = (text *) DatumGetPointer(SPI_datumTransfer(value, false, -1));
	SPI_finish();
	return output;
}

/* Says why a row could not be decided. */
static void
refuse(const char *schema, int64 id)
{
	Oid   types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	char *query = psprintf("SELECT status, reviewer FROM %s.polyko_review WHERE id = $1",
	                       quote_identifier(schema));

	if (SPI_execute_with_args(query, 1, types, values, NULL, false, 1) == SPI_OK_SELECT &&
	    SPI_processed == 1)
		ereport(ERROR,
		        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		         errmsg("answer %lld was already %s by \"%s\"", (long long) id,
		                SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
		                SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2)),
		         errhint("A decision stands. Generate again to have another answer reviewed.")));
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
	                errmsg("there is no answer %lld to review", (long long) id),
	                errhint("SELECT id FROM polyko_review WHERE status = 'pending' lists them.")));
}

/*
 * fn_pii.c
 *    polyko_redact_pii, polyko_find_pii and polyko_redact_trigger. No model is needed, and no
 * message contains what was found.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "core/pii/pii.h"
#include "pg/callargs.h"
#include "pg/functions/records.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"

#define N_PII_FIELDS 5

/* What a call looks for, and what it writes. */
typedef struct PiiCall
{
	uint32     kinds;
	PkPiiStyle style;
} PiiCall;

static PiiCall    read_call(FunctionCallInfo fcinfo);
static uint32     read_kinds(FunctionCallInfo fcinfo, int arg);
static PkPiiStyle read_style(FunctionCallInfo fcinfo, int arg);
static text      *redact(text *input, PiiCall call);
static bool       next_span(PkPiiScan *scan, PkPiiMatch *match);
static Datum      fit(Form_pg_attribute column, Datum value);
static int        trigger_column(TupleDesc desc, const char *name);

PG_FUNCTION_INFO_V1(polyko_redact_pii);
PG_FUNCTION_INFO_V1(polyko_find_pii);
PG_FUNCTION_INFO_V1(polyko_redact_trigger);

Datum
polyko_redact_pii(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	PiiCall call = read_call(fcinfo);

	PG_RETURN_TEXT_P(redact(PG_GETARG_TEXT_PP(0), call));
}

/* A copy with the spans replaced; the input itself when there are none. */
static text *
redact(text *input, PiiCall call)
{
	const char    *bytes = VARDATA_ANY(input);
	size_t         len = VARSIZE_ANY_EXHDR(input), done = 0;
	StringInfoData out = {0};
	PkCancel       cancel;
	PkPiiScan      scan;
	PkPiiMatch     match;

	pkpg_check_text(bytes, len);
	pkpg_cancel_init(&cancel);
	pk_pii_begin(&scan, bytes, len, call.kinds, call.style, &cancel);
	while (next_span(&scan, &match))
	{
		if (out.data == NULL)
			initStringInfo(&out);
		appendBinaryStringInfo(&out, bytes + done, (int) (match.start - done));
		enlargeStringInfo(&out, (int) Max(PK_PII_MAX_MARK, match.end - match.start));
		out.len += (int) pk_pii_replace(bytes, &match, call.style, out.data + out.len);
		done = match.end;
	}
	if (out.data == NULL)
		return input;
	appendBinaryStringInfo(&out, bytes + done, (int) (len - done));
	return cstring_to_text_with_len(out.data, out.len);
}

static bool
next_span(PkPiiScan *scan, PkPiiMatch *match)
{
	PkError err;
	bool    found = false;

	pkpg_check(pk_pii_next(scan, match, &found, &err), &err);
	return found;
}

Datum
polyko_find_pii(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_BLESS);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	PiiCall     call = read_call(fcinfo);
	text       *input = PG_GETARG_TEXT_PP(0);
	const char *bytes = VARDATA_ANY(input);
	size_t      done = 0;
	int         n_chars = 0; /* up to done */
	PkCancel    cancel;
	PkPiiScan   scan;
	PkPiiMatch  match;

	pkpg_check_text(bytes, VARSIZE_ANY_EXHDR(input));
	pkpg_cancel_init(&cancel);
	pk_pii_begin(&scan, bytes, VARSIZE_ANY_EXHDR(input), call.kinds, call.style, &cancel);
	while (next_span(&scan, &match))
	{
		int   len = (int) (match.end - match.start);
		int   start = n_chars + pg_mbstrlen_with_len(bytes + done, (int) (match.start - done));
		int   length = pg_mbstrlen_with_len(bytes + match.start, len);
		text *span = cstring_to_text_with_len(bytes + match.start, len);
		text *kind = cstring_to_text(pk_pii_name(match.kind));
		Datum fields[N_PII_FIELDS] = {PointerGetDatum(kind), Int32GetDatum(start + 1),
		                              Int32GetDatum(length), PointerGetDatum(span),
		                              Float4GetDatum(match.confidence)};

		pkpg_record_put(result->setResult, result->setDesc, fields, N_PII_FIELDS);
		pfree(span);
		pfree(kind);
		n_chars = start + length;
		done = match.end;
	}
	return (Datum) 0;
}

/* Arguments 1 and 2. Where they are the same for each row, they are read once. */
static PiiCall
read_call(FunctionCallInfo fcinfo)
{
	FmgrInfo *site = fcinfo->flinfo;
	PiiCall  *kept = site->fn_extra;

	if (kept != NULL)
		return *kept;
	pkpg_check_encoding();

	PiiCall call = {.kinds = read_kinds(fcinfo, 1), .style = read_style(fcinfo, 2)};

	if (get_fn_expr_arg_stable(site, 1) && get_fn_expr_arg_stable(site, 2))
	{
		kept = MemoryContextAlloc(site->fn_mcxt, sizeof(*kept));
		*kept = call;
		site->fn_extra = kept;
	}
	return call;
}

static uint32
read_kinds(FunctionCallInfo fcinfo, int arg)
{
	uint32 kinds = 0;
	Datum *names;
	bool  *nulls;
	int    n;

	pkpg_not_null(fcinfo, arg, "kinds");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls,
	                  &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
			        (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("kinds must not contain NULL"),
			         errhint("Take NULLs out with array_remove(kinds, NULL).")));

		text *name = DatumGetTextPP(names[i]);
		int   kind = pk_pii_kind(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));

		if (kind < 0)
		{
			char quoted[64];

			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("unknown kind \"%s\" of personal data",
			                       pk_error_quote(quoted, sizeof(quoted), VARDATA_ANY(name),
			                                      VARSIZE_ANY_EXHDR(name))),
			                errhint("Kinds are acc, rrn, tell, frn, brn, crn, card, passport, "
			                        "driver and email.")));
		}
		kinds |= PK_PII_BIT(kind);
	}
	return kinds;
}

static PkPiiStyle
read_style(FunctionCallInfo fcinfo, int arg)
{
	static const char *const keys[] = {"style"};
	JsonbValue               value;

	pkpg_read_options(fcinfo, arg, keys, lengthof(keys), &value);
	if (value.type == jbvNull)
		return PK_PII_TOKEN;

	int style = value.type == jbvString
	                ? pk_pii_style(value.val.string.val, (size_t) value.val.string.len)
	                : -1;

	if (style < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("options: style is none that is known"),
		                errhint("Styles are \"token\", \"mask\" and \"label\".")));
	return (PkPiiStyle) style;
}

/* BEFORE INSERT OR UPDATE ... FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger(column, ...) */
Datum
polyko_redact_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		                errmsg("polyko_redact_trigger was not called by a trigger"),
		                errhint("Call polyko_redact_pii(text) instead.")));
	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
	    TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
		        (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		         errmsg("polyko_redact_trigger must be fired BEFORE INSERT OR UPDATE FOR EACH ROW"),
		         errhint("CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE "
		                 "FUNCTION polyko_redact_trigger('column', ...)")));
	if (trigger->tg_trigger->tgnargs == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("polyko_redact_trigger was given no column"),
		                errhint("Name the columns to redact as its arguments.")));
	pkpg_check_encoding();

	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple row =
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;

	for (int i = 0; i < trigger->tg_trigger->tgnargs; i++)
	{
		int   column = trigger_column(desc, trigger->tg_trigger->tgargs[i]);
		bool  is_null;
		Datum old = heap_getattr(row, column, desc, &is_null);

		if (is_null)
			continue;

		text *input = DatumGetTextPP(old);
		text *output = redact(input, (PiiCall){PK_PII_DEFAULT, PK_PII_TOKEN});
		Datum value = PointerGetDatum(output);

		if (output == input)
			continue;
		value = fit(TupleDescAttr(desc, column - 1), value);
		row = heap_modify_tuple_by_cols(row, desc, 1, &column, &value, &(bool){false});
	}
	return PointerGetDatum(row);
}

/* A mark may be longer than the number: the column's own rules hold for it, too. */
static Datum
fit(Form_pg_attribute column, Datum value)
{
	int32 typmod = column->atttypmod;
	Oid   type = getBaseTypeAndTypmod(column->atttypid, &typmod);

	if (type == VARCHAROID && typmod >= 0)
		value = DirectFunctionCall3(varchar, value, Int32GetDatum(typmod), BoolGetDatum(false));
	if (type != column->atttypid)
		domain_check(value, false, column->atttypid, NULL, NULL);
	return value;
}

/* Number of a column whose type is text, or binary compatible with it. */
static int
trigger_column(TupleDesc desc, const char *name)
{
	int column = SPI_fnumber(desc, name);

	if (column <= 0)
		ereport(ERROR,
		        (errcode(ERRCODE_UNDEFINED_COLUMN),
		         errmsg("column \"%s\" of the trigger does not exist", name),
		         errhint("The arguments of polyko_redact_trigger are columns of the table.")));

	Oid type = getBaseType(TupleDescAttr(desc, column - 1)->atttypid);

	if (type != TEXTOID && type != VARCHAROID)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
		                errmsg("column \"%s\" has type %s, polyko_redact_trigger takes text", name,
		                       format_type_be(TupleDescAttr(desc, column - 1)->atttypid)),
		                errhint("Name columns of type text or varchar.")));
	if (TupleDescAttr(desc, column - 1)->attgenerated != '\0')
		ereport(ERROR, (errcode(ERRCODE_GENERATED_ALWAYS),
		                errmsg("column \"%s\" is generated, it can't be redacted", name),
		                errhint("Redact the columns that it is generated from.")));
	return column;
}

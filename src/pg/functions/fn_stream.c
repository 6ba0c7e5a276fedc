/*
 * fn_stream.c
 *    polyko_generate_stream: one row a token, computed when the row is asked for.
 *
 * Before a token is computed, the rows that lie in the output buffer are sent, so row k is on the
 * wire before token k+2 exists. That needs a plan that hands rows on one by one: the function in
 * the select list. In FROM PostgreSQL collects all rows first. A client that does not read is not
 * waited for here; its rows stay in the buffer as those of any query.
 */
#include "postgres.h"

/*
 * libpq.h asks for the headers of Kerberos and OpenSSL, which need not be installed. Nothing here
 * looks into a Port, the only struct that they are for.
 */
#undef ENABLE_GSS
#undef USE_OPENSSL

#include "fmgr.h"
#include "funcapi.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/callargs.h"
#include "pg/functions/records.h"
#include "pg/host.h"

#define N_FIELDS 4

static Datum       stream_by_value(FunctionCallInfo fcinfo);
static Datum       stream_all(FunctionCallInfo fcinfo);
static PkpgStream *stream_open(FunctionCallInfo fcinfo);
static void        send_rows(void);
static void        piece_fields(const PkPiece *piece, size_t pos, Datum *fields);

PG_FUNCTION_INFO_V1(polyko_generate_stream);

Datum
polyko_generate_stream(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	if (result != NULL && IsA(result, ReturnSetInfo) &&
	    (result->allowedModes & SFRM_ValuePerCall) == 0)
		return stream_all(fcinfo);
	return stream_by_value(fcinfo);
}

/* The request lives in the multi-call context: LIMIT, CLOSE and errors free it with that. */
static Datum
stream_by_value(FunctionCallInfo fcinfo)
{
	FuncCallContext *calls;
	PkPiece          piece;
	Datum            fields[N_FIELDS];

	if (SRF_IS_FIRSTCALL())
	{
		calls = SRF_FIRSTCALL_INIT();

		MemoryContext caller = MemoryContextSwitchTo(calls->multi_call_memory_ctx);

		calls->tuple_desc = pkpg_record_desc(fcinfo, N_FIELDS);
		if (!PG_ARGISNULL(0))
			calls->user_fctx = stream_open(fcinfo);
		MemoryContextSwitchTo(caller);
	}
	calls = SRF_PERCALL_SETUP();
	send_rows();
	if (calls->user_fctx == NULL || !pkpg_stream_next(calls->user_fctx, &piece))
		SRF_RETURN_DONE(calls);
	piece_fields(&piece, calls->call_cntr + 1, fields);
	SRF_RETURN_NEXT(calls,
	                HeapTupleGetDatum(pkpg_record_form(calls->tuple_desc, fields, N_FIELDS)));
}

static Datum
stream_all(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	PkPiece        piece;
	Datum          fields[N_FIELDS];
	MemoryContext  caller;

	InitMaterializedSRF(fcinfo, MAT_SRF_BLESS);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	MemoryContext call = pkpg_call_begin(&caller);
	PkpgStream   *stream = stream_open(fcinfo);

	for (size_t pos = 1; pkpg_stream_next(stream, &piece); pos++)
	{
		piece_fields(&piece, pos, fields);
		pkpg_record_put(result->setResult, result->setDesc, fields, N_FIELDS);
		pfree(DatumGetPointer(fields[2]));
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(call);
	return (Datum) 0;
}

static PkpgStream *
stream_open(FunctionCallInfo fcinfo)
{
	PkpgInput     input;
	PkRequestSpec spec = {0};

	pkpg_read_generate(fcinfo, &input, &spec);
	pkpg_set_prompt(&input, &spec);
	return pkpg_stream_begin(&spec);
}

static void
send_rows(void)
{
	if (whereToSendOutput == DestRemote && MyProcPort != NULL)
		(void) pq_flush_if_writable(); /* a lost connection shows as an interrupt */
}

static void
piece_fields(const PkPiece *piece, size_t pos, Datum *fields)
{
	fields[0] = Int32GetDatum((int32) pos);
	fields[1] = Int32GetDatum(piece->id);
	fields[2] = PointerGetDatum(cstring_to_text_with_len(piece->text, (int) piece->len));
	fields[3] = Float4GetDatum(piece->logprob);
}

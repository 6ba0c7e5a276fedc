/*
 * fn_stream.c
 *    polyko_generate_stream: one row a token, computed when the row is asked for.
 *
 * Before a token is computed, the rows that lie in the output buffer are sent, so row k is on the
 * wire before token k+2 exists. That needs a plan that hands rows on one by one: the function in
 * the select list. In FROM PostgreSQL collects all rows first. A client that does not read is not
 * waited for here; its rows stay in the buffer as those of any query.
 *
 * With redaction a row waits until it is known whether its token is part of a number.
 */
#include "postgres.h"

/*
 * libpq.h asks for the headers of Kerberos and OpenSSL, which need not be installed. Nothing here
 * looks into a Port, the only struct that they are for.
 */
#undef ENABLE_GSS
#undef USE_OPENSSL

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/callargs.h"
#include "pg/functions/records.h"
#include "pg/host/host.h"
#include "pg/pg_error.h"

#define N_FIELDS 4
#define FIRST_ROOM 64 /* tokens */

/* A token whose row waits, and the bytes of the output that its piece has. */
typedef struct Waiting
{
	int32_t id;
	float   logprob;
	size_t  begin, end;
} Waiting;

/* A call at work. */
typedef struct Stream
{
	PkpgRequest *pieces;
	PkRedactor  *redactor; /* NULL: rows are given as they come */
	Waiting     *waiting;  /* tokens first to n - 1 */
	size_t       first, n, room;
	size_t       n_rows; /* given so far */
	bool         has_ended;
} Stream;

static Datum   stream_by_value(FunctionCallInfo fcinfo);
static Datum   stream_all(FunctionCallInfo fcinfo);
static Stream *stream_open(FunctionCallInfo fcinfo);
static bool    next_row(Stream *stream, Datum *fields, bool *nulls);
static bool    next_redacted(Stream *stream, Datum *fields, bool *nulls);
static void    take_piece(Stream *stream);
static void    keep_waiting(Stream *stream, const PkPiece *piece);
static void    send_rows(void);

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
	Datum            fields[N_FIELDS];
	bool             nulls[N_FIELDS];

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
	if (calls->user_fctx == NULL || !next_row(calls->user_fctx, fields, nulls))
		SRF_RETURN_DONE(calls);
	SRF_RETURN_NEXT(
		calls, HeapTupleGetDatum(pkpg_record_form(calls->tuple_desc, fields, nulls, N_FIELDS)));
}

static Datum
stream_all(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum          fields[N_FIELDS];
	bool           nulls[N_FIELDS];
	MemoryContext  caller;

	InitMaterializedSRF(fcinfo, MAT_SRF_BLESS);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	MemoryContext call = pkpg_call_begin(&caller);
	Stream       *stream = stream_open(fcinfo);

	while (next_row(stream, fields, nulls))
	{
		HeapTuple row = pkpg_record_form(result->setDesc, fields, nulls, N_FIELDS);

		tuplestore_puttuple(result->setResult, row);
		heap_freetuple(row);
		pfree(DatumGetPointer(fields[2]));
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(call);
	return (Datum) 0;
}

static Stream *
stream_open(FunctionCallInfo fcinfo)
{
	Stream       *stream = palloc0(sizeof(Stream));
	PkpgInput     input;
	PkRequestSpec spec = {0};

	pkpg_read_generate(fcinfo, &input, &spec);
	pkpg_set_prompt(&input, &spec);
	if (input.redact)
	{
		stream->redactor = pkpg_redactor_begin(&input);
		stream->room = FIRST_ROOM;
		stream->waiting = palloc_array(Waiting, stream->room);
	}
	stream->pieces = pkpg_request_begin(&spec, true, false);
	return stream;
}

static bool
next_row(Stream *stream, Datum *fields, bool *nulls)
{
	PkPiece piece;

	memset(nulls, 0, N_FIELDS * sizeof(*nulls));
	if (stream->redactor != NULL)
		return next_redacted(stream, fields, nulls);
	if (!pkpg_request_next(stream->pieces, &piece))
		return false;
	fields[0] = Int32GetDatum((int32) ++stream->n_rows);
	fields[1] = Int32GetDatum(piece.id);
	fields[2] = PointerGetDatum(cstring_to_text_with_len(piece.text, (int) piece.len));
	fields[3] = Float4GetDatum(piece.logprob);
	return true;
}

/* A row with token_id NULL if the token is part of what was replaced. */
static bool
next_redacted(Stream *stream, Datum *fields, bool *nulls)
{
	while (!stream->has_ended &&
	       (stream->first == stream->n ||
	        stream->waiting[stream->first].end > pk_redactor_settled(stream->redactor) ||
	        (stream->waiting[stream->first].begin == stream->waiting[stream->first].end &&
	         stream->waiting[stream->first].begin == pk_redactor_settled(stream->redactor))))
		take_piece(stream);
	if (stream->first == stream->n)
		return false;

	const Waiting *token = &stream->waiting[stream->first++];
	size_t         room = pk_redactor_room(stream->redactor, token->begin, token->end);
	text          *piece = palloc(VARHDRSZ + room);
	size_t         len =
		pk_redactor_piece(stream->redactor, token->begin, token->end, VARDATA(piece), &nulls[1]);

	SET_VARSIZE(piece, VARHDRSZ + len);
	fields[0] = Int32GetDatum((int32) ++stream->n_rows);
	fields[1] = Int32GetDatum(token->id);
	fields[2] = PointerGetDatum(piece);
	fields[3] = Float4GetDatum(token->logprob);
	return true;
}

/* The next token joins those that wait, and what it says the redactor's text. */
static void
take_piece(Stream *stream)
{
	PkPiece piece = {0};
	PkError err = {0};

	stream->has_ended = !pkpg_request_next(stream->pieces, &piece);
	if (!stream->has_ended)
		keep_waiting(stream, &piece);
	pkpg_check(pk_redactor_push(stream->redactor, piece.text == NULL ? "" : piece.text, piece.len,
	                            stream->has_ended, &err),
	           &err);
}

static void
keep_waiting(Stream *stream, const PkPiece *piece)
{
	size_t begin = stream->n > 0 ? stream->waiting[stream->n - 1].end : 0;

	if (stream->n == stream->room)
	{
		stream->room *= 2;
		stream->waiting = repalloc_array(stream->waiting, Waiting, stream->room);
	}
	stream->waiting[stream->n++] = (Waiting){piece->id, piece->logprob, begin, begin + piece->len};
}

static void
send_rows(void)
{
	if (whereToSendOutput == DestRemote && MyProcPort != NULL)
		(void) pq_flush_if_writable(); /* a lost connection shows as an interrupt */
}

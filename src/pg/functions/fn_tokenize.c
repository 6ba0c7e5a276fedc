/*
 * fn_tokenize.c
 *    polyko_tokenize, polyko_token_count, polyko_tokens and polyko_detokenize. No model runs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/callargs.h"
#include "pg/functions/records.h"
#include "pg/modelcache.h"
#include "pg/pg_error.h"

/* Ids between two looks at interrupts: well below a millisecond. */
#define IDS_PER_CHECK 1024

#define N_TOKEN_FIELDS 5

/* Arguments and result of pk_decode_push(). */
typedef struct Push
{
	PkDecodeStream *stream;
	int32           id;
	char           *out;
	size_t          len;
} Push;

static text      *token_text(const PkModel *model, int32 id);
static size_t     push_token(const PkModel *model, PkDecodeStream *stream, int32 id, char *out);
static void       run_push(void *arg);
static ArrayType *detokenize_array(FunctionCallInfo fcinfo);
static void       check_ids(const PkTokenizer *tokenizer, const int32 *ids, int n);

PG_FUNCTION_INFO_V1(polyko_tokenize);
PG_FUNCTION_INFO_V1(polyko_token_count);
PG_FUNCTION_INFO_V1(polyko_tokens);
PG_FUNCTION_INFO_V1(polyko_detokenize);

Datum
polyko_tokenize(PG_FUNCTION_ARGS)
{
	MemoryContext caller;
	PkpgInput     input;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	MemoryContext call = pkpg_call_begin(&caller);

	pkpg_read_input(fcinfo, &input);

	const PkTokens *tokens = pkpg_encode(&input, false);

	if (tokens->n > MaxArraySize)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
		                errmsg("the input has %zu tokens, an array holds %zu", tokens->n,
		                       (size_t) MaxArraySize),
		                errhint("Use polyko_token_count, or tokenize the input in parts.")));
	MemoryContextSwitchTo(caller);

	ArrayType *out = tokens->n == 0 ? construct_empty_array(INT4OID) : NULL;

	if (out == NULL)
	{
		size_t size = ARR_OVERHEAD_NONULLS(1) + tokens->n * sizeof(int32);

		out = palloc0(size);
		SET_VARSIZE(out, size);
		out->ndim = 1;
		out->elemtype = INT4OID;
		ARR_DIMS(out)[0] = (int) tokens->n;
		ARR_LBOUND(out)[0] = 1;
		memcpy(ARR_DATA_PTR(out), tokens->ids, tokens->n * sizeof(int32));
	}
	MemoryContextDelete(call);
	PG_RETURN_ARRAYTYPE_P(out);
}

Datum
polyko_token_count(PG_FUNCTION_ARGS)
{
	MemoryContext caller;
	PkpgInput     input;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	MemoryContext call = pkpg_call_begin(&caller);

	pkpg_read_input(fcinfo, &input);

	/* a text is below 1 GB and a token at least a byte: it fits */
	int32 n = (int32) pkpg_encode(&input, false)->n;

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(call);
	PG_RETURN_INT32(n);
}

Datum
polyko_tokens(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext  caller;
	PkpgInput      input;

	InitMaterializedSRF(fcinfo, MAT_SRF_BLESS);
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	MemoryContext call = pkpg_call_begin(&caller);

	pkpg_read_input(fcinfo, &input);

	const PkTokens *tokens = pkpg_encode(&input, true);

	for (size_t i = 0; i < tokens->n; i++)
	{
		text *token = token_text(input.model, tokens->ids[i]);
		Datum fields[N_TOKEN_FIELDS] = {
			Int32GetDatum((int32) (i + 1)), Int32GetDatum(tokens->ids[i]), PointerGetDatum(token),
			Int32GetDatum((int32) tokens->starts[i]), Int32GetDatum((int32) tokens->ends[i])};

		if (i % IDS_PER_CHECK == 0)
			CHECK_FOR_INTERRUPTS();
		pkpg_record_put(result->setResult, result->setDesc, fields, N_TOKEN_FIELDS);
		pfree(token);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(call);
	return (Datum) 0;
}

/* What one token stands for; part of a character, and byte 0, is U+FFFD. */
static text *
token_text(const PkModel *model, int32 id)
{
	const PkTokenizer *tokenizer = pk_model_tokenizer(model);
	size_t             max = pk_tokenizer_max_piece(tokenizer);
	text              *out = palloc(VARHDRSZ + 2 * max);
	PkDecodeStream     stream;
	size_t             len;

	pk_decode_init(&stream, tokenizer, false);
	len = push_token(model, &stream, id, VARDATA(out));
	len += pk_decode_finish(&stream, VARDATA(out) + len);
	SET_VARSIZE(out, VARHDRSZ + len);
	return out;
}

/* As pk_decode_push(), where the tables may be gone. */
static size_t
push_token(const PkModel *model, PkDecodeStream *stream, int32 id, char *out)
{
	Push    push = {.stream = stream, .id = id, .out = out};
	PkError err = {0};

	pkpg_check(pk_model_read(model, run_push, &push, &err), &err);
	return push.len;
}

static void
run_push(void *arg)
{
	Push *push = arg;

	push->len = pk_decode_push(push->stream, push->id, push->out);
}

Datum
polyko_detokenize(PG_FUNCTION_ARGS)
{
	MemoryContext caller;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	MemoryContext call = pkpg_call_begin(&caller);
	ArrayType    *array = detokenize_array(fcinfo);
	const int32  *ids = (const int32 *) ARR_DATA_PTR(array);
	int           n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	PkModel           *model = pkpg_model_open(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	const PkTokenizer *tokenizer = pk_model_tokenizer(model);
	int                max = (int) pk_tokenizer_max_piece(tokenizer);
	PkDecodeStream     stream;
	StringInfoData     decoded;

	check_ids(tokenizer, ids, n);
	initStringInfo(&decoded);
	pk_decode_init(&stream, tokenizer, PG_GETARG_BOOL(2));
	for (int i = 0; i < n; i++)
	{
		if (i % IDS_PER_CHECK == 0)
			CHECK_FOR_INTERRUPTS();
		enlargeStringInfo(&decoded, max);
		decoded.len += (int) push_token(model, &stream, ids[i], decoded.data + decoded.len);
	}
	enlargeStringInfo(&decoded, max);
	decoded.len += (int) pk_decode_finish(&stream, decoded.data + decoded.len);
	MemoryContextSwitchTo(caller);

	text *out = cstring_to_text_with_len(decoded.data, decoded.len);

	MemoryContextDelete(call);
	PG_RETURN_TEXT_P(out);
}

static ArrayType *
detokenize_array(FunctionCallInfo fcinfo)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);

	pkpg_check_encoding();
	pkpg_not_null(fcinfo, 1, "model");
	pkpg_not_null(fcinfo, 2, "skip_special");
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("tokens has %d dimensions, it must have one", ARR_NDIM(array)),
		                errhint("Detokenize the rows of the array one by one.")));
	if (array_contains_nulls(array))
		ereport(ERROR,
		        (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("tokens must not contain NULL"),
		         errhint("Take NULLs out with array_remove(tokens, NULL).")));
	return array;
}

static void
check_ids(const PkTokenizer *tokenizer, const int32 *ids, int n)
{
	size_t n_ids = pk_tokenizer_n_ids(tokenizer);

	for (int i = 0; i < n; i++)
	{
		if (i % IDS_PER_CHECK == 0)
			CHECK_FOR_INTERRUPTS();
		if (ids[i] < 0 || (size_t) ids[i] >= n_ids)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("tokens[%d] is %d, the vocabulary has ids from 0 to %zu", i + 1,
			                       ids[i], n_ids - 1),
			                errhint("Use the model that made the tokens.")));
	}
}

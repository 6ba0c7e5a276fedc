/*
 * fn_generate.c
 *    polyko_generate and polyko_generate_details; what all functions that generate share.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "pg/call.h"
#include "pg/functions/generation.h"
#include "pg/functions/records.h"
#include "pg/pg_error.h"

static const void *take(PkpgRequest *request, size_t *size);
static Datum       text_result(FunctionCallInfo fcinfo, const PkpgInput *input, const void *answer);
static Datum details_result(FunctionCallInfo fcinfo, const PkpgInput *input, const void *answer);
static const PkpgGeneration *redacted(const PkpgInput *input, const PkpgGeneration *answer);
static const char           *finish_name(PkFinish finish);

PG_FUNCTION_INFO_V1(polyko_generate);
PG_FUNCTION_INFO_V1(polyko_generate_details);

const PkpgCallKind pkpg_generate_kind = {polyko_generate, pkpg_read_generate, take, text_result};
const PkpgCallKind pkpg_generate_details_kind = {polyko_generate_details, pkpg_read_generate, take,
                                                 details_result};

Datum
polyko_generate(PG_FUNCTION_ARGS)
{
	return pkpg_call_function(&pkpg_generate_kind, fcinfo);
}

Datum
polyko_generate_details(PG_FUNCTION_ARGS)
{
	return pkpg_call_function(&pkpg_generate_details_kind, fcinfo);
}

const PkpgGeneration *
pkpg_generate(FunctionCallInfo fcinfo)
{
	PkpgCall call;

	pkpg_call_run(&call, &pkpg_generate_kind, fcinfo);
	return redacted(&call.input, call.answer);
}

static const void *
take(PkpgRequest *request, size_t *size)
{
	const PkpgGeneration *answer = pkpg_request_generation(request);

	*size = PKPG_GENERATION_SIZE(answer->text_len);
	return answer;
}

static Datum
text_result(FunctionCallInfo fcinfo, const PkpgInput *input, const void *answer)
{
	const PkpgGeneration *given = redacted(input, answer);

	(void) fcinfo;
	return PointerGetDatum(cstring_to_text_with_len(given->text, (int) given->text_len));
}

static Datum
details_result(FunctionCallInfo fcinfo, const PkpgInput *input, const void *answer)
{
	const PkpgGeneration *given = redacted(input, answer);
	Datum fields[] = {PointerGetDatum(cstring_to_text_with_len(given->text, (int) given->text_len)),
	                  PointerGetDatum(cstring_to_text(finish_name(given->finish))),
	                  Int32GetDatum(given->n_prompt), Int32GetDatum(given->n_completion),
	                  Float8GetDatum(given->logprob)};
	TupleDesc desc = pkpg_record_desc(fcinfo, lengthof(fields));

	return HeapTupleGetDatum(pkpg_record_form(desc, fields, NULL, lengthof(fields)));
}

/* The answer, or where personal data is to be replaced, a copy: it is kept as the model gave it. */
static const PkpgGeneration *
redacted(const PkpgInput *input, const PkpgGeneration *answer)
{
	PkRedactor     *redactor;
	PkError         err = {0};
	PkpgGeneration *out;
	bool            is_redacted;

	if (!input->redact)
		return answer;
	redactor = pkpg_redactor_begin(input);
	pkpg_check(pk_redactor_push(redactor, answer->text, answer->text_len, true, &err), &err);
	out = palloc(PKPG_GENERATION_SIZE(pk_redactor_room(redactor, 0, answer->text_len)));
	*out = *answer;
	out->text_len = pk_redactor_piece(redactor, 0, answer->text_len, out->text, &is_redacted);
	return out;
}

static const char *
finish_name(PkFinish finish)
{
	switch (finish)
	{
		case PK_FINISH_STOP:
			return "stop";
		case PK_FINISH_STOP_STRING:
			return "stop_string";
		case PK_FINISH_LENGTH:
		case PK_FINISH_NONE:
		case PK_FINISH_DONE:
			break;
	}
	return "length";
}

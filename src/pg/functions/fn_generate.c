/*
 * fn_generate.c
 *    polyko_generate and polyko_generate_details; what all functions that generate share.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/callargs.h"
#include "pg/callcache.h"
#include "pg/functions/generation.h"
#include "pg/functions/records.h"
#include "pg/pg_error.h"

static const PkpgGeneration *redacted(const PkpgInput *input, const PkpgGeneration *answer);
static const char           *finish_name(PkFinish finish);

PG_FUNCTION_INFO_V1(polyko_generate);
PG_FUNCTION_INFO_V1(polyko_generate_details);

Datum
polyko_generate(PG_FUNCTION_ARGS)
{
	MemoryContext caller;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	MemoryContext         call = pkpg_call_begin(&caller);
	const PkpgGeneration *answer = pkpg_generate(fcinfo);

	MemoryContextSwitchTo(caller);

	text *out = cstring_to_text_with_len(answer->text, (int) answer->text_len);

	MemoryContextDelete(call);
	PG_RETURN_TEXT_P(out);
}

Datum
polyko_generate_details(PG_FUNCTION_ARGS)
{
	MemoryContext caller;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	MemoryContext         call = pkpg_call_begin(&caller);
	const PkpgGeneration *answer = pkpg_generate(fcinfo);
	Datum                 fields[] = {
						PointerGetDatum(cstring_to_text_with_len(answer->text, (int) answer->text_len)),
						PointerGetDatum(cstring_to_text(finish_name(answer->finish))),
						Int32GetDatum(answer->n_prompt), Int32GetDatum(answer->n_completion),
						Float8GetDatum(answer->logprob)};
	TupleDesc desc = pkpg_record_desc(fcinfo, lengthof(fields));

	MemoryContextSwitchTo(caller);

	Datum out = HeapTupleGetDatum(pkpg_record_form(desc, fields, NULL, lengthof(fields)));

	MemoryContextDelete(call);
	PG_RETURN_DATUM(out);
}

const PkpgGeneration *
pkpg_generate(FunctionCallInfo fcinfo)
{
	PkpgInput       input;
	PkRequestSpec   spec = {0};
	StringInfoData  question;
	size_t          len;
	const void     *known;
	PkpgGeneration *answer;

	pkpg_read_generate(fcinfo, &input, &spec);
	initStringInfo(&question);
	pkpg_question(&question, &spec, input.text, input.len);
	known = pkpg_answer_find(fcinfo->flinfo, &question, &len);
	if (known != NULL)
		return input.redact ? redacted(&input, known) : known;
	pkpg_set_prompt(&input, &spec);
	answer = pkpg_run_generate(&spec);
	pkpg_answer_keep(fcinfo->flinfo, &question, answer, PKPG_GENERATION_SIZE(answer->text_len));
	return input.redact ? redacted(&input, answer) : answer;
}

/* A copy of an answer (it is kept as the model gave it) without personal data. */
static const PkpgGeneration *
redacted(const PkpgInput *input, const PkpgGeneration *answer)
{
	PkRedactor     *redactor = pkpg_redactor_begin(input);
	PkError         err = {0};
	PkpgGeneration *out;
	bool            is_redacted;

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

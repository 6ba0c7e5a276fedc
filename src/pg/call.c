/*
 * call.c
 *    A call of a function that runs the model, in parts.
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/memutils.h"

#include "pg/call.h"
#include "pg/callcache.h"

Datum
pkpg_call_function(const PkpgCallKind *kind, FunctionCallInfo fcinfo)
{
	MemoryContext caller;
	PkpgCall      call;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	MemoryContext context = pkpg_call_begin(&caller);

	pkpg_call_run(&call, kind, fcinfo);

	Datum result = kind->result(fcinfo, &call.input, call.answer);

	MemoryContextSwitchTo(caller);
	result = datumCopy(result, false, -1);
	MemoryContextDelete(context);
	return result;
}

void
pkpg_call_run(PkpgCall *call, const PkpgCallKind *kind, FunctionCallInfo fcinfo)
{
	pkpg_call_read(call, kind, fcinfo, fcinfo->flinfo);
	if (call->answer != NULL)
		return;
	pkpg_call_start(call);
	while (!pkpg_request_is_done(call->request))
		pkpg_step();
	pkpg_call_finish(call, fcinfo->flinfo);
}

void
pkpg_call_read(PkpgCall *call, const PkpgCallKind *kind, FunctionCallInfo fcinfo, FmgrInfo *site)
{
	memset(call, 0, sizeof(*call));
	call->kind = kind;
	kind->read(fcinfo, &call->input, &call->spec);
	initStringInfo(&call->question);
	pkpg_question(&call->question, &call->spec, call->input.text, call->input.len);
	call->answer = pkpg_answer_find(site, &call->question, &call->size);
}

void
pkpg_call_start(PkpgCall *call)
{
	pkpg_set_prompt(&call->input, &call->spec);
	call->request = pkpg_request_begin(&call->spec, false, call->is_ahead);
}

void
pkpg_call_finish(PkpgCall *call, FmgrInfo *site)
{
	call->answer = call->kind->take(call->request, &call->size);
	call->request = NULL;
	pkpg_answer_keep(site, &call->question, call->answer, call->size);
}

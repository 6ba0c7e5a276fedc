/*
 * call.h
 *    A call of a function that runs the model, in parts: read, start, finish, result.
 *
 * A function goes through them at once (pkpg_call_function). The batch node starts the calls of
 * many rows before it finishes the first, so that they are computed together.
 */
#ifndef PKPG_CALL_H
#define PKPG_CALL_H

#include "fmgr.h"
#include "lib/stringinfo.h"

#include "pg/callargs.h"
#include "pg/host/host.h"

/* What is different between the functions. Nothing given here is freed; all of it is palloc'd. */
typedef struct PkpgCallKind
{
	PGFunction function;
	/* Arguments, of which the first is not NULL, but the tokens. */
	void (*read)(FunctionCallInfo fcinfo, PkpgInput *input, PkRequestSpec *spec);
	/* What a finished request has answered: *size bytes without pointers, which can be kept. */
	const void *(*take)(PkpgRequest *request, size_t *size);
	/* What the function returns: a varlena. */
	Datum (*result)(FunctionCallInfo fcinfo, const PkpgInput *input, const void *answer);
} PkpgCallKind;

extern const PkpgCallKind pkpg_generate_kind;
extern const PkpgCallKind pkpg_generate_details_kind;
extern const PkpgCallKind pkpg_embed_kind;

typedef struct PkpgCall
{
	const PkpgCallKind *kind;
	PkpgInput           input;
	PkRequestSpec       spec;
	StringInfoData      question; /* all that the answer depends on: see callcache.h */
	const void         *answer;   /* NULL until it is known */
	size_t              size;     /* of the answer */
	PkpgRequest        *request;  /* NULL unless it was started */
	bool                is_ahead; /* of a row that is not asked for yet */
} PkpgCall;

/* The function itself: NULL for a NULL input, without a model. */
extern Datum pkpg_call_function(const PkpgCallKind *kind, FunctionCallInfo fcinfo);

/*
 * Read the arguments. The answer is there already if this call site (NULL: none) or this
 * transaction has it. What input and spec point to may belong to the arguments.
 */
extern void pkpg_call_read(PkpgCall *call, const PkpgCallKind *kind, FunctionCallInfo fcinfo,
                           FmgrInfo *site);
/* Tokens go to the engine; the arguments are needed no longer, but for input's text. */
extern void pkpg_call_start(PkpgCall *call);
/* Take the answer of a request that is done, and keep it for the site and the transaction. */
extern void pkpg_call_finish(PkpgCall *call, FmgrInfo *site);
/* All three. */
extern void pkpg_call_run(PkpgCall *call, const PkpgCallKind *kind, FunctionCallInfo fcinfo);

#endif

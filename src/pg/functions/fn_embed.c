/*
 * fn_embed.c
 *    polyko_embed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/callargs.h"
#include "pg/callcache.h"
#include "pg/host.h"

/* Argument numbers. */
enum
{
	ARG_POOLING = 2,
	ARG_NORMALIZE,
	ARG_LAYER,
	ARG_DIMS,
	ARG_OPTIONS
};

static const ArrayType *embed(FunctionCallInfo fcinfo);
static void             read_embed(FunctionCallInfo fcinfo, PkpgInput *input, PkRequestSpec *spec);
static PkPooling        read_pooling(const text *name);
static ArrayType       *float_array(const float *floats, size_t n);

PG_FUNCTION_INFO_V1(polyko_embed);

Datum
polyko_embed(PG_FUNCTION_ARGS)
{
	MemoryContext caller;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	MemoryContext    call = pkpg_call_begin(&caller);
	const ArrayType *answer = embed(fcinfo);

	MemoryContextSwitchTo(caller);

	ArrayType *out = palloc(VARSIZE(answer));

	memcpy(out, answer, VARSIZE(answer));
	MemoryContextDelete(call);
	PG_RETURN_ARRAYTYPE_P(out);
}

/* The answer, from this call site, this transaction, or the model. In CurrentMemoryContext. */
static const ArrayType *
embed(FunctionCallInfo fcinfo)
{
	PkpgInput      input;
	PkRequestSpec  spec = {0};
	StringInfoData question;
	size_t         len;
	size_t         n;
	const float   *floats;
	const void    *known;
	ArrayType     *answer;

	read_embed(fcinfo, &input, &spec);
	initStringInfo(&question);
	pkpg_question(&question, &spec, input.text, input.len);
	known = pkpg_answer_find(fcinfo->flinfo, &question, &len);
	if (known != NULL)
		return known;
	pkpg_set_prompt(&input, &spec);
	floats = pkpg_run_embed(&spec, &n);
	answer = float_array(floats, n);
	pkpg_answer_keep(fcinfo->flinfo, &question, answer, VARSIZE(answer));
	return answer;
}

static void
read_embed(FunctionCallInfo fcinfo, PkpgInput *input, PkRequestSpec *spec)
{
	pkpg_not_null(fcinfo, 1, "model");
	pkpg_not_null(fcinfo, ARG_POOLING, "pooling");
	pkpg_not_null(fcinfo, ARG_NORMALIZE, "normalize");
	pkpg_not_null(fcinfo, ARG_LAYER, "layer");
	if (!PG_ARGISNULL(ARG_DIMS))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("dims is %d, this version gives all dimensions only",
		                       PG_GETARG_INT32(ARG_DIMS)),
		                errhint("Leave dims out.")));
	pkpg_read_options(fcinfo, ARG_OPTIONS, NULL, 0, NULL);
	spec->kind = PK_REQUEST_EMBED;
	spec->pooling = read_pooling(PG_GETARG_TEXT_PP(ARG_POOLING));
	spec->normalize = PG_GETARG_BOOL(ARG_NORMALIZE);
	spec->layer = PG_GETARG_INT32(ARG_LAYER);
	pkpg_read_input(fcinfo, input);
	spec->model = input->model;
}

static PkPooling
read_pooling(const text *name)
{
	const char *pooling = text_to_cstring(name);
	char        shown[64];

	if (strcmp(pooling, "mean") == 0)
		return PK_POOLING_MEAN;
	if (strcmp(pooling, "last") == 0)
		return PK_POOLING_LAST;
	ereport(ERROR,
	        (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
	         errmsg("pooling is \"%s\", it must be \"mean\" or \"last\"",
	                pk_error_quote(shown, sizeof(shown), pooling, strlen(pooling))),
	         errhint("mean is the average over all tokens, last the state of the last one.")));
}

static ArrayType *
float_array(const float *floats, size_t n)
{
	size_t     size = ARR_OVERHEAD_NONULLS(1) + n * sizeof(float);
	ArrayType *out = palloc0(size);

	SET_VARSIZE(out, size);
	out->ndim = 1;
	out->elemtype = FLOAT4OID;
	ARR_DIMS(out)[0] = (int) n;
	ARR_LBOUND(out)[0] = 1;
	memcpy(ARR_DATA_PTR(out), floats, n * sizeof(float));
	return out;
}

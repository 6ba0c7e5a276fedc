/*
 * fn_embed.c
 *    polyko_embed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "pg/call.h"

/* Argument numbers. */
enum
{
	ARG_POOLING = 2,
	ARG_NORMALIZE,
	ARG_LAYER,
	ARG_DIMS,
	ARG_OPTIONS
};

static void        read_embed(FunctionCallInfo fcinfo, PkpgInput *input, PkRequestSpec *spec);
static PkPooling   read_pooling(const text *name);
static const void *take(PkpgRequest *request, size_t *size);
static Datum       result(FunctionCallInfo fcinfo, const PkpgInput *input, const void *answer);
static ArrayType  *float_array(const float *floats, size_t n);

PG_FUNCTION_INFO_V1(polyko_embed);

const PkpgCallKind pkpg_embed_kind = {polyko_embed, read_embed, take, result};

Datum
polyko_embed(PG_FUNCTION_ARGS)
{
	return pkpg_call_function(&pkpg_embed_kind, fcinfo);
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

/* The answer is the array. */
static const void *
take(PkpgRequest *request, size_t *size)
{
	size_t       n;
	const float *floats = pkpg_request_floats(request, &n);
	ArrayType   *answer = float_array(floats, n);

	*size = VARSIZE(answer);
	return answer;
}

static Datum
result(FunctionCallInfo fcinfo, const PkpgInput *input, const void *answer)
{
	(void) fcinfo;
	(void) input;
	return PointerGetDatum(answer);
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

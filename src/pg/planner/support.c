/*
 * support.c
 *    polyko_support: what a call costs and how many rows it gives, for the planner.
 *
 * One unit of cost is a sequential page read; cpu_operator_cost stands for some 5,000 bytes of
 * weights passed through the processor. A prompt token is cheaper than a generated one, because
 * many prompt tokens share one pass. Estimates come from what is at hand: no model runs, no image
 * is built, nothing fails; where nothing is known the declared COST and ROWS stay.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "pg/guc.h"
#include "pg/modelcache.h"
#include "pg/planner/support.h"

#define BYTES_PER_OPERATOR 5000.0
#define PROMPT_TOKENS_PER_PASS 8.0
#define BYTES_PER_TOKEN 4.0 /* Korean: about four bytes of UTF-8 */
#define DEFAULT_MAX_TOKENS 64
#define MODEL_ARG 1
#define MAX_TOKENS_ARG 2

typedef struct KnownFunction
{
	const char *name;
	bool        runs_model;
	bool        generates;
	bool        returns_set;
} KnownFunction;

static const KnownFunction known_functions[] = {
	{"polyko_generate", true, true, false},       {"polyko_generate_details", true, true, false},
	{"polyko_generate_stream", true, true, true}, {"polyko_embed", true, false, false},
	{"polyko_tokenize", false, false, false},     {"polyko_token_count", false, false, false},
	{"polyko_tokens", false, false, true}};

static bool                 estimate_cost(SupportRequestCost *req);
static bool                 estimate_rows(SupportRequestRows *req);
static const KnownFunction *find_function(Oid funcid);
static List                *call_args(Node *node);
static double               input_bytes(PlannerInfo *root, Node *arg);
static double               max_tokens(List *args);
static bool                 model_bytes(List *args, double *bytes);

PG_FUNCTION_INFO_V1(polyko_support);

Datum
polyko_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	bool  has_answer = false;

	if (IsA(request, SupportRequestCost))
		has_answer = estimate_cost((SupportRequestCost *) request);
	else if (IsA(request, SupportRequestRows))
		has_answer = estimate_rows((SupportRequestRows *) request);
	PG_RETURN_POINTER(has_answer ? request : NULL);
}

static bool
estimate_cost(SupportRequestCost *req)
{
	const KnownFunction *function = find_function(req->funcid);
	List                *args = call_args(req->node);
	double               n_prompt;
	double               n_passes;
	double               bytes;

	if (function == NULL || args == NIL)
		return false;
	n_prompt = input_bytes(req->root, linitial(args)) / BYTES_PER_TOKEN;
	req->startup = 0;
	if (!function->runs_model)
	{
		req->per_tuple = cpu_operator_cost * (10 + 10 * n_prompt);
		return true;
	}
	if (!model_bytes(args, &bytes))
		return false;
	n_passes = 1 + n_prompt / PROMPT_TOKENS_PER_PASS + (function->generates ? max_tokens(args) : 0);
	req->per_tuple = cpu_operator_cost * n_passes * bytes / BYTES_PER_OPERATOR;
	return true;
}

static bool
estimate_rows(SupportRequestRows *req)
{
	const KnownFunction *function = find_function(req->funcid);
	List                *args = call_args(req->node);

	if (function == NULL || !function->returns_set || args == NIL)
		return false;
	if (function->generates)
		req->rows = max_tokens(args);
	else
		req->rows = clamp_row_est(input_bytes(req->root, linitial(args)) / BYTES_PER_TOKEN);
	return true;
}

static const KnownFunction *
find_function(Oid funcid)
{
	char *name = get_func_name(funcid);

	for (size_t i = 0; name != NULL && i < lengthof(known_functions); i++)
		if (strcmp(name, known_functions[i].name) == 0)
			return &known_functions[i];
	return NULL;
}

/* Arguments in their order, or NIL when they are not known yet. */
static List *
call_args(Node *node)
{
	List     *args;
	ListCell *cell;

	if (node == NULL || !IsA(node, FuncExpr))
		return NIL;
	args = ((FuncExpr *) node)->args;
	foreach (cell, args)
		if (IsA(lfirst(cell), NamedArgExpr))
			return NIL;
	return args;
}

/* Length of a constant, else what the column's statistics or its type say. */
static double
input_bytes(PlannerInfo *root, Node *arg)
{
	int32 width = 0;

	if (IsA(arg, Const))
	{
		Const *constant = (Const *) arg;

		if (constant->constisnull || constant->constlen != -1)
			return 0;
		return (double) (toast_raw_datum_size(constant->constvalue) - VARHDRSZ);
	}
	if (IsA(arg, Var) && root != NULL)
	{
		Var *var = (Var *) arg;

		if (var->varlevelsup == 0 && var->varno > 0 && var->varno < root->simple_rel_array_size &&
		    root->simple_rte_array != NULL && root->simple_rte_array[var->varno] != NULL &&
		    root->simple_rte_array[var->varno]->rtekind == RTE_RELATION)
			width = get_attavgwidth(root->simple_rte_array[var->varno]->relid, var->varattno);
	}
	return width > 0 ? width : get_typavgwidth(exprType(arg), exprTypmod(arg));
}

static double
max_tokens(List *args)
{
	if (list_length(args) > MAX_TOKENS_ARG)
	{
		Node *arg = list_nth(args, MAX_TOKENS_ARG);

		if (IsA(arg, Const) && !((Const *) arg)->constisnull)
			return Max(1, DatumGetInt32(((Const *) arg)->constvalue));
	}
	return DEFAULT_MAX_TOKENS;
}

/* Bytes of weights a token reads; those of the setting's model when the call names none. */
static bool
model_bytes(List *args, double *bytes)
{
	static const double weight_bytes[PK_N_QUANT] = {
		[PK_QUANT_F32] = 4, [PK_QUANT_F16] = 2, [PK_QUANT_Q8] = 1.0625, [PK_QUANT_Q4] = 0.5625};
	const char *name = pkpg_model;
	PkConfig    config;
	PkQuant     quant;

	if (list_length(args) > MODEL_ARG)
	{
		Node *arg = list_nth(args, MODEL_ARG);

		if (IsA(arg, Const) && !((Const *) arg)->constisnull)
			name = TextDatumGetCString(((Const *) arg)->constvalue);
	}
	if (!pkpg_model_estimate(name, &config, &quant))
		return false;
	*bytes = (double) pk_config_n_parameters(&config) * weight_bytes[quant];
	return true;
}

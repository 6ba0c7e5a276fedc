/*
 * rowcalls.c
 *    Asking what rows ask, and catching what must wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "pg/compat.h"
#include "pg/executor/rowcalls.h"
#include "pg/planner/calls.h"

static void begin_site(PkpgRowCalls *calls, int i, FuncExpr *call, List **args);
static int  last_needed(const PkpgRowCalls *calls, Node *arg);
static bool needed_walker(Node *node, int *last_column);
static bool eval_or_wait(PkpgRowCalls *calls, PkpgRow *row);
static bool must_end(int sqlerrcode);
static bool ask_or_wait(PkpgRowCalls *calls, PkpgRow *row);
static void ask_now(PkpgRowCalls *calls, PkpgRow *row);
static void eval_args(PkpgRowCalls *calls, const PkpgSite *site);

void
pkpg_calls_begin(PkpgRowCalls *calls, CustomScanState *node, PlanState *child,
                 const PkpgBatchPlan *plan)
{
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;
	EState     *estate = node->ss.ps.state;
	List       *args = scan->custom_exprs;
	ListCell   *cell;

	calls->node = &node->ss.ps;
	calls->n_columns = list_length(child->plan->targetlist);
	calls->child_slot =
		ExecInitExtraTupleSlot(estate, ExecGetResultType(child), &TTSOpsMinimalTuple);
	calls->scan_slot = node->ss.ss_ScanTupleSlot;
	calls->arg_context = CreateExprContext(estate);
	calls->arg_context->ecxt_scantuple = calls->scan_slot;
	calls->is_built_in = plan->is_built_in;
	calls->sites = palloc0_array(PkpgSite, list_length(plan->calls));
	foreach (cell, plan->calls)
		begin_site(calls, calls->n_sites++, lfirst(cell), &args);
	calls->window = pkpg_window_create(estate->es_query_cxt, calls->sites, calls->n_sites);
}

/* Privilege and hook first. Takes the call's arguments off args. */
static void
begin_site(PkpgRowCalls *calls, int i, FuncExpr *call, List **args)
{
	PkpgSite *site = &calls->sites[i];
	FmgrInfo *info = palloc0(sizeof(FmgrInfo));
	int       n_args = list_length(call->args);
	AclResult acl = pkpg_function_aclcheck(call->funcid, GetUserId(), ACL_EXECUTE);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_FUNCTION, get_func_name(call->funcid));
	InvokeFunctionExecuteHook(call->funcid);
	fmgr_info(call->funcid, info);
	fmgr_info_set_expr((Node *) call, info);
	site->kind = pkpg_call_kind(call->funcid);
	if (site->kind == NULL)
		elog(ERROR, "function %u is none that polyko computes in batches", call->funcid);
	site->fcinfo = palloc0(SizeForFunctionCallInfo(n_args));
	InitFunctionCallInfoData(*site->fcinfo, info, n_args, call->inputcollid, NULL, NULL);
	site->args = palloc_array(ExprState *, n_args);
	site->column = calls->n_columns + i;
	site->needs = -1;
	for (int k = 0; k < n_args; k++)
	{
		Node *arg = linitial(*args);

		site->args[k] = ExecInitExpr((Expr *) arg, calls->node);
		site->needs = Max(site->needs, last_needed(calls, arg));
		*args = list_copy_tail(*args, 1);
	}
	if (site->needs >= i)
		elog(ERROR, "call %d of a batch needs call %d", i, site->needs);
}

/* The last site whose result an argument is made of, -1: none. */
static int
last_needed(const PkpgRowCalls *calls, Node *arg)
{
	int last_column = 0;

	(void) needed_walker(arg, &last_column);
	return last_column > calls->n_columns ? last_column - calls->n_columns - 1 : -1;
}

static bool
needed_walker(Node *node, int *last_column)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) && ((Var *) node)->varno == INDEX_VAR)
		*last_column = Max(*last_column, ((Var *) node)->varattno);
	return expression_tree_walker(node, needed_walker, last_column);
}

bool
pkpg_calls_ask(PkpgRowCalls *calls, PkpgRow *row)
{
	const bool due = pkpg_call_is_due(calls, row);

	ResetExprContext(calls->arg_context);
	pkpg_calls_load(calls, row);
	if (due || !pkpg_calls_may_wait(calls))
		eval_args(calls, &calls->sites[row->n_started]);
	else if (!eval_or_wait(calls, row))
		return false;
	if (!due)
		return ask_or_wait(calls, row);
	ask_now(calls, row);
	return true;
}

/* Arguments of a row that is read ahead; false if an error waits. */
static bool
eval_or_wait(PkpgRowCalls *calls, PkpgRow *row)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		eval_args(calls, &calls->sites[row->n_started]);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);

		ErrorData *error = CopyErrorData();

		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		if (must_end(error->sqlerrcode))
			ReThrowError(error);
		FreeErrorData(error);
		row->has_failed = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return !row->has_failed;
}

/* Class 57, the session was told to stop, but for an engine program that isn't there. */
static bool
must_end(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION &&
	       sqlerrcode != ERRCODE_CANNOT_CONNECT_NOW;
}

bool
pkpg_calls_may_wait(const PkpgRowCalls *calls)
{
	return calls->is_built_in && !IsInParallelMode();
}

/* Our own function, whose errors leave nothing behind. */
static bool
ask_or_wait(PkpgRowCalls *calls, PkpgRow *row)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		ask_now(calls, row);
	}
	PG_CATCH();
	{
		if (must_end(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		row->has_failed = true;
	}
	PG_END_TRY();
	return !row->has_failed;
}

/* What it makes of the arguments goes with them. */
static void
ask_now(PkpgRowCalls *calls, PkpgRow *row)
{
	MemoryContext caller = MemoryContextSwitchTo(calls->arg_context->ecxt_per_tuple_memory);

	pkpg_window_ask(calls->window, row);
	MemoryContextSwitchTo(caller);
}

bool
pkpg_calls_are_complete(const PkpgRowCalls *calls, const PkpgRow *row)
{
	return row->n_done == calls->n_sites;
}

bool
pkpg_call_is_due(const PkpgRowCalls *calls, const PkpgRow *row)
{
	return row == pkpg_window_first(calls->window) && row->n_done == row->n_started;
}

void
pkpg_call_make(PkpgRowCalls *calls, PkpgRow *row)
{
	PkpgSite *site = &calls->sites[row->n_started];

	ResetExprContext(calls->arg_context);
	pkpg_calls_load(calls, row);
	eval_args(calls, site);

	MemoryContext caller = MemoryContextSwitchTo(row->context);

	site->fcinfo->isnull = false;
	row->results[row->n_started] = site->kind->function(site->fcinfo);
	row->nulls[row->n_started] = site->fcinfo->isnull;
	MemoryContextSwitchTo(caller);
	row->n_started++;
	row->n_done++;
	row->has_failed = false;
}

void
pkpg_calls_make(PkpgRowCalls *calls, PkpgRow *row)
{
	pkpg_window_restart(calls->window, row);
	while (!pkpg_calls_are_complete(calls, row))
		pkpg_call_make(calls, row);
}

void
pkpg_calls_load(const PkpgRowCalls *calls, const PkpgRow *row)
{
	TupleTableSlot *from = calls->child_slot, *to = calls->scan_slot;

	ExecClearTuple(to);
	ExecStoreMinimalTuple(row->tuple, from, false);
	slot_getallattrs(from);
	memcpy(to->tts_values, from->tts_values, (size_t) calls->n_columns * sizeof(Datum));
	memcpy(to->tts_isnull, from->tts_isnull, (size_t) calls->n_columns * sizeof(bool));
	for (int i = 0; i < calls->n_sites; i++)
	{
		to->tts_values[calls->n_columns + i] = row->results[i];
		to->tts_isnull[calls->n_columns + i] = row->nulls[i];
	}
	ExecStoreVirtualTuple(to);
}

static void
eval_args(PkpgRowCalls *calls, const PkpgSite *site)
{
	for (int k = 0; k < site->fcinfo->nargs; k++)
		site->fcinfo->args[k].value = ExecEvalExprSwitchContext(site->args[k], calls->arg_context,
		                                                        &site->fcinfo->args[k].isnull);
}

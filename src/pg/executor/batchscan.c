/*
 * batchscan.c
 *    The batch node: reads rows ahead, asks what they ask the model together, and returns them in
 *    their order with the answers.
 *
 * How far it reads: when all rows will be asked for, as many as the window holds; else, having
 * returned n rows, at most 2n + 1, so that LIMIT n and FETCH n make fewer than 2n calls. A row that
 * has its answers makes place for another one also while it waits for those before it. Rows are
 * bounded by work_mem. In EvalPlanQual, which looks at one row, and with polyko.batching off no row
 * is read ahead.
 *
 * An error that reading ahead would raise too early waits: the row's call is made again when the
 * row is returned, and raises it then. That of the row whose turn it is doesn't wait. Only errors
 * of our own functions and of built-in ones are caught so; nothing is read behind such a row.
 * Arguments are evaluated in a subtransaction, as an error may leave anything behind: a user that
 * was changed, references, a snapshot. Where arguments run other functions, rows are read ahead
 * only when all are asked for: the statement fails then in any case. So are they beside parallel
 * workers, and where finding rows has effects that can be seen.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "pg/compat.h"
#include "pg/executor/batchscan.h"
#include "pg/executor/source.h"
#include "pg/executor/window.h"
#include "pg/guc.h"
#include "pg/planner/batchpath.h"
#include "pg/planner/calls.h"

#define MAX_OPEN 64 /* rows that wait for the model at a time */
#define MAX_ROWS 1024

typedef struct BatchScan
{
	CustomScanState css;
	PkpgBatchPlan   plan;
	int             n_columns;   /* of the child */
	ScanState      *source;      /* of the child's rows, or NULL */
	TupleTableSlot *child_slot;  /* for a row of the window */
	ExprContext    *arg_context; /* arguments live until their call was started */
	PkpgSite       *sites;
	int             n_sites;
	PkpgWindow     *window;
	PkpgRow        *returned; /* the slot points into it until the next row is asked for */
	uint64          n_returned;
	bool            has_ended; /* the child has no more rows */
} BatchScan;

static bool is_complete_run = false; /* of the innermost executor: no count of rows was given */
static ExecutorRun_hook_type previous_run = NULL;

static Node           *create(CustomScan *scan);
static void            begin(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *next_row(CustomScanState *node);
static TupleTableSlot *no_row(BatchScan *scan);
static void            end(CustomScanState *node);
static void            rescan(CustomScanState *node);
static void            explain(CustomScanState *node, List *ancestors, ExplainState *es);
static void            begin_site(BatchScan *scan, int i, FuncExpr *call, List **args);
static int             last_needed(const BatchScan *scan, Node *arg);
static bool            needed_walker(Node *node, int *last_column);
static void            read_ahead(BatchScan *scan);
static size_t          most_rows(const BatchScan *scan);
static void            advance(BatchScan *scan, PkpgRow *row);
static bool            ask(BatchScan *scan, PkpgRow *row);
static bool            eval_or_wait(BatchScan *scan, PkpgRow *row);
static bool            must_end(int sqlerrcode);
static bool            may_wait(const BatchScan *scan);
static bool            ask_or_wait(BatchScan *scan, PkpgRow *row);
static void            ask_now(BatchScan *scan, PkpgRow *row);
static bool            is_complete(const BatchScan *scan, const PkpgRow *row);
static bool            is_due(const BatchScan *scan, const PkpgRow *row);
static void            make_call(BatchScan *scan, PkpgRow *row);
static void            make_calls(BatchScan *scan, PkpgRow *row);
static void            load(BatchScan *scan, const PkpgRow *row);
static void            eval_args(BatchScan *scan, const PkpgSite *site);
static PlanState      *child_of(const BatchScan *scan);

const CustomScanMethods pkpg_batch_scan_methods = {.CustomName = PKPG_BATCH_NAME,
                                                   .CreateCustomScanState = create};

static const CustomExecMethods exec_methods = {.CustomName = PKPG_BATCH_NAME,
                                               .BeginCustomScan = begin,
                                               .ExecCustomScan = next_row,
                                               .EndCustomScan = end,
                                               .ReScanCustomScan = rescan,
                                               .ExplainCustomScan = explain};

static void
run_executor(QueryDesc *query, ScanDirection direction, uint64 count PKPG_EXECUTE_ONCE_PARAM)
{
	bool outer = is_complete_run;

	is_complete_run = count == 0;
	PG_TRY();
	{
		if (previous_run != NULL)
			previous_run(query, direction, count PKPG_EXECUTE_ONCE);
		else
			standard_ExecutorRun(query, direction, count PKPG_EXECUTE_ONCE);
	}
	PG_FINALLY();
	{
		is_complete_run = outer;
	}
	PG_END_TRY();
}

void
pkpg_batchscan_init(void)
{
	RegisterCustomScanMethods(&pkpg_batch_scan_methods);
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = run_executor;
}

static Node *
create(CustomScan *scan)
{
	BatchScan *state = palloc0(sizeof(BatchScan));

	NodeSetTag(state, T_CustomScanState);
	state->css.methods = &exec_methods;
	state->plan = pkpg_batch_plan(scan);
	return (Node *) state;
}

static void
begin(CustomScanState *node, EState *estate, int eflags)
{
	BatchScan  *scan = (BatchScan *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	PlanState  *child = ExecInitNode(linitial(plan->custom_plans), estate, eflags);
	List       *args = plan->custom_exprs;
	ListCell   *cell;

	node->custom_ps = list_make1(child);
	scan->n_columns = list_length(linitial_node(Plan, plan->custom_plans)->targetlist);
	scan->source = pkpg_source(child);
	if (scan->source != NULL) /* here WHERE CURRENT OF finds it */
		node->ss.ss_currentRelation = scan->source->ss_currentRelation;
	scan->child_slot =
		ExecInitExtraTupleSlot(estate, ExecGetResultType(child), &TTSOpsMinimalTuple);
	scan->arg_context = CreateExprContext(estate);
	scan->arg_context->ecxt_scantuple = node->ss.ss_ScanTupleSlot;
	scan->sites = palloc0_array(PkpgSite, list_length(scan->plan.calls));
	foreach (cell, scan->plan.calls)
		begin_site(scan, scan->n_sites++, lfirst(cell), &args);
	scan->window = pkpg_window_create(estate->es_query_cxt, scan->sites, scan->n_sites);
}

/* As ExecInitFunc() does it: privilege and hook first. Takes the call's arguments off args. */
static void
begin_site(BatchScan *scan, int i, FuncExpr *call, List **args)
{
	PkpgSite *site = &scan->sites[i];
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
	site->column = scan->n_columns + i;
	site->needs = -1;
	for (int k = 0; k < n_args; k++)
	{
		Node *arg = linitial(*args);

		site->args[k] = ExecInitExpr((Expr *) arg, &scan->css.ss.ps);
		site->needs = Max(site->needs, last_needed(scan, arg));
		*args = list_copy_tail(*args, 1);
	}
	if (site->needs >= i)
		elog(ERROR, "call %d of a batch needs call %d", i, site->needs);
}

/* The last site whose result an argument is made of, -1: none. */
static int
last_needed(const BatchScan *scan, Node *arg)
{
	int last_column = 0;

	(void) needed_walker(arg, &last_column);
	return last_column > scan->n_columns ? last_column - scan->n_columns - 1 : -1;
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

static TupleTableSlot *
next_row(CustomScanState *node)
{
	BatchScan   *scan = (BatchScan *) node;
	ExprContext *context = node->ss.ps.ps_ExprContext;
	PkpgRow     *row;

	ResetExprContext(context);
	if (scan->returned != NULL)
		pkpg_window_remove(scan->window, scan->returned);
	scan->returned = NULL;
	for (;;)
	{
		read_ahead(scan);
		row = pkpg_window_first(scan->window);
		if (row == NULL)
			return no_row(scan);
		if (is_complete(scan, row))
			break;
		if (row->has_failed && is_due(scan, row))
			make_call(scan, row);
		else
			pkpg_step();
	}
	if (row->user != GetUserId())
		make_calls(scan, row);
	pkpg_window_returned(row, scan->n_sites);
	scan->returned = row;
	scan->n_returned++;
	load(scan, row);
	node->ss.ss_ScanTupleSlot->tts_tid = row->place;
	if (node->ss.ss_currentRelation != NULL)
		node->ss.ss_ScanTupleSlot->tts_tableOid = RelationGetRelid(node->ss.ss_currentRelation);
	if (node->ss.ps.ps_ProjInfo == NULL)
		return node->ss.ss_ScanTupleSlot;
	context->ecxt_scantuple = node->ss.ss_ScanTupleSlot;
	return ExecProject(node->ss.ps.ps_ProjInfo);
}

static TupleTableSlot *
no_row(BatchScan *scan)
{
	ScanState *state = &scan->css.ss;

	ExecClearTuple(state->ss_ScanTupleSlot);
	return state->ps.ps_ResultTupleSlot != NULL ? ExecClearTuple(state->ps.ps_ResultTupleSlot)
	                                            : state->ss_ScanTupleSlot;
}

/* Rows go on as far as they can, and new ones are read. */
static void
read_ahead(BatchScan *scan)
{
	size_t     most = most_rows(scan), most_bytes = (size_t) work_mem * 1024;
	size_t     n_open = 0;
	bool       has_failed = false;
	dlist_iter it;

	dlist_foreach(it, &scan->window->rows)
	{
		PkpgRow *row = dlist_container(PkpgRow, node, it.cur);

		advance(scan, row);
		has_failed |= row->has_failed;
		n_open += !is_complete(scan, row);
	}
	while (
		!scan->has_ended && !has_failed && scan->window->n_rows < most && n_open < MAX_OPEN &&
		(scan->window->n_rows == 0 || (scan->window->size_bytes < most_bytes && pkpg_has_room())))
	{
		TupleTableSlot *slot = ExecProcNode(child_of(scan));

		scan->has_ended = TupIsNull(slot);
		if (scan->has_ended)
			break;

		PkpgRow *row = pkpg_window_add(scan->window, slot);

		row->place = pkpg_source_place(scan->source);
		advance(scan, row);
		has_failed = row->has_failed;
		n_open += !is_complete(scan, row);
	}
}

static size_t
most_rows(const BatchScan *scan)
{
	if (!pkpg_batching || scan->css.ss.ps.state->es_epq_active != NULL)
		return 1;
	if (scan->plan.reads_all && is_complete_run)
		return MAX_ROWS;
	if (!may_wait(scan) || scan->plan.has_effects)
		return 1;
	return scan->n_returned < MAX_ROWS ? (size_t) scan->n_returned + 1 : MAX_ROWS;
}

static void
advance(BatchScan *scan, PkpgRow *row)
{
	while (pkpg_window_take(scan->window, row))
	{
		/* a row that is read ahead takes no place that its role does not have */
		if (row != pkpg_window_first(scan->window) && !pkpg_has_room())
			return;
		if (!ask(scan, row))
			return;
	}
}

/* The row's next site; false if that raised an error, which waits. */
static bool
ask(BatchScan *scan, PkpgRow *row)
{
	const bool due = is_due(scan, row);

	ResetExprContext(scan->arg_context);
	load(scan, row);
	if (due || !may_wait(scan))
		eval_args(scan, &scan->sites[row->n_started]);
	else if (!eval_or_wait(scan, row))
		return false;
	if (!due)
		return ask_or_wait(scan, row);
	ask_now(scan, row);
	return true;
}

/* Arguments of a row that is read ahead; false if an error waits. */
static bool
eval_or_wait(BatchScan *scan, PkpgRow *row)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		eval_args(scan, &scan->sites[row->n_started]);
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

/* Errors of arguments may be caught. Beside parallel workers there can be no subtransaction. */
static bool
may_wait(const BatchScan *scan)
{
	return scan->plan.is_built_in && !IsInParallelMode();
}

/* Our own function, whose errors leave nothing behind. */
static bool
ask_or_wait(BatchScan *scan, PkpgRow *row)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		ask_now(scan, row);
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
ask_now(BatchScan *scan, PkpgRow *row)
{
	MemoryContext caller = MemoryContextSwitchTo(scan->arg_context->ecxt_per_tuple_memory);

	pkpg_window_ask(scan->window, row);
	MemoryContextSwitchTo(caller);
}

static bool
is_complete(const BatchScan *scan, const PkpgRow *row)
{
	return row->n_done == scan->n_sites;
}

/* It is the row's turn, and the next thing to happen is the call of its site n_started. */
static bool
is_due(const BatchScan *scan, const PkpgRow *row)
{
	return row == pkpg_window_first(scan->window) && row->n_done == row->n_started;
}

/* The function itself, which raises the error that waits. If it does not, the row goes on. */
static void
make_call(BatchScan *scan, PkpgRow *row)
{
	PkpgSite *site = &scan->sites[row->n_started];

	ResetExprContext(scan->arg_context);
	load(scan, row);
	eval_args(scan, site);

	MemoryContext caller = MemoryContextSwitchTo(row->context);

	site->fcinfo->isnull = false;
	row->results[row->n_started] = site->kind->function(site->fcinfo);
	row->nulls[row->n_started] = site->fcinfo->isnull;
	MemoryContextSwitchTo(caller);
	row->n_started++;
	row->n_done++;
	row->has_failed = false;
}

/* All of them, as a cursor may be read on with other rights than those the row was read with. */
static void
make_calls(BatchScan *scan, PkpgRow *row)
{
	pkpg_window_restart(scan->window, row);
	while (!is_complete(scan, row))
		make_call(scan, row);
}

/* The row as the scan tuple: the child's columns, and the results that are there. */
static void
load(BatchScan *scan, const PkpgRow *row)
{
	TupleTableSlot *from = scan->child_slot, *to = scan->css.ss.ss_ScanTupleSlot;

	ExecClearTuple(to);
	ExecStoreMinimalTuple(row->tuple, from, false);
	slot_getallattrs(from);
	memcpy(to->tts_values, from->tts_values, (size_t) scan->n_columns * sizeof(Datum));
	memcpy(to->tts_isnull, from->tts_isnull, (size_t) scan->n_columns * sizeof(bool));
	for (int i = 0; i < scan->n_sites; i++)
	{
		to->tts_values[scan->n_columns + i] = row->results[i];
		to->tts_isnull[scan->n_columns + i] = row->nulls[i];
	}
	ExecStoreVirtualTuple(to);
}

static void
eval_args(BatchScan *scan, const PkpgSite *site)
{
	for (int k = 0; k < site->fcinfo->nargs; k++)
		site->fcinfo->args[k].value = ExecEvalExprSwitchContext(site->args[k], scan->arg_context,
		                                                        &site->fcinfo->args[k].isnull);
}

static PlanState *
child_of(const BatchScan *scan)
{
	return linitial(scan->css.custom_ps);
}

static void
end(CustomScanState *node)
{
	BatchScan *scan = (BatchScan *) node;

	pkpg_window_clear(scan->window);
	ExecEndNode(child_of(scan));
}

/* What was read ahead goes; parameters may have changed. */
static void
rescan(CustomScanState *node)
{
	BatchScan *scan = (BatchScan *) node;
	PlanState *child = child_of(scan);

	scan->returned = NULL;
	scan->n_returned = 0;
	scan->has_ended = false;
	pkpg_window_clear(scan->window);
	(void) no_row(scan);
	if (node->ss.ps.chgParam != NULL)
		UpdateChangedParamSet(child, node->ss.ps.chgParam);
	if (child->chgParam == NULL)
		ExecReScan(child);
}

static void
explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	const PkpgWindowStats *stats = &((BatchScan *) node)->window->stats;
	const PkpgRun         *run = &stats->run;

	(void) ancestors;
	if (!es->analyze)
		return;
	ExplainPropertyUInteger("Model Requests", NULL, stats->n_asked, es);
	ExplainPropertyUInteger("Model Steps", NULL,
	                        run->last_step > 0 ? run->last_step - run->first_step + 1 : 0, es);
	ExplainPropertyFloat("Average Batch", NULL,
	                     run->n_steps > 0 ? (double) run->n_step_rows / (double) run->n_steps : 0,
	                     1, es);
	ExplainPropertyUInteger("Prompt Tokens", NULL, run->n_prompt, es);
	ExplainPropertyUInteger("Reused Prompt Tokens", NULL, run->n_reused, es);
	ExplainPropertyUInteger("Generated Tokens", NULL, run->n_generated, es);
}

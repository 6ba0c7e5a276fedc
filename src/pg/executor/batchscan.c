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
 * An error that reading ahead would raise too early waits for its row's turn (rowcalls.h). Where it
 * can't, as arguments run other functions, rows are read ahead only when all are asked for: the
 * statement fails then in any case. So are they beside parallel workers, and where finding rows has
 * effects that can be seen.
 */
#include "postgres.h"

#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "pg/compat.h"
#include "pg/executor/batchscan.h"
#include "pg/executor/rowcalls.h"
#include "pg/executor/source.h"
#include "pg/guc.h"

#define MAX_OPEN 64 /* rows that wait for the model at a time */
#define MAX_ROWS 1024

typedef struct BatchScan
{
	CustomScanState css;
	PkpgBatchPlan   plan;
	PkpgRowCalls    calls;
	ScanState      *source;   /* of the child's rows, or NULL */
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
static void            read_ahead(BatchScan *scan);
static size_t          most_rows(const BatchScan *scan);
static void            advance(BatchScan *scan, PkpgRow *row);
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

	node->custom_ps = list_make1(child);
	scan->source = pkpg_source(child);
	if (scan->source != NULL) /* here WHERE CURRENT OF finds it */
		node->ss.ss_currentRelation = scan->source->ss_currentRelation;
	pkpg_calls_begin(&scan->calls, node, child, &scan->plan);
}

static TupleTableSlot *
next_row(CustomScanState *node)
{
	BatchScan   *scan = (BatchScan *) node;
	ExprContext *context = node->ss.ps.ps_ExprContext;
	PkpgRow     *row;

	ResetExprContext(context);
	if (scan->returned != NULL)
		pkpg_window_remove(scan->calls.window, scan->returned);
	scan->returned = NULL;
	for (;;)
	{
		read_ahead(scan);
		row = pkpg_window_first(scan->calls.window);
		if (row == NULL)
			return no_row(scan);
		if (pkpg_calls_are_complete(&scan->calls, row))
			break;
		if (row->has_failed && pkpg_call_is_due(&scan->calls, row))
			pkpg_call_make(&scan->calls, row);
		else
			pkpg_step();
	}
	if (row->user != GetUserId())
		pkpg_calls_make(&scan->calls, row);
	pkpg_window_returned(row, scan->calls.n_sites);
	scan->returned = row;
	scan->n_returned++;
	pkpg_calls_load(&scan->calls, row);
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

	dlist_foreach(it, &scan->calls.window->rows)
	{
		PkpgRow *row = dlist_container(PkpgRow, node, it.cur);

		advance(scan, row);
		has_failed |= row->has_failed;
		n_open += !pkpg_calls_are_complete(&scan->calls, row);
	}
	while (!scan->has_ended && !has_failed && scan->calls.window->n_rows < most &&
	       n_open < MAX_OPEN &&
	       (scan->calls.window->n_rows == 0 ||
	        (scan->calls.window->size_bytes < most_bytes && pkpg_has_room())))
	{
		TupleTableSlot *slot = ExecProcNode(child_of(scan));

		scan->has_ended = TupIsNull(slot);
		if (scan->has_ended)
			break;

		PkpgRow *row = pkpg_window_add(scan->calls.window, slot);

		row->place = pkpg_source_place(scan->source);
		advance(scan, row);
		has_failed = row->has_failed;
		n_open += !pkpg_calls_are_complete(&scan->calls, row);
	}
}

static size_t
most_rows(const BatchScan *scan)
{
	if (!pkpg_batching || scan->css.ss.ps.state->es_epq_active != NULL)
		return 1;
	if (scan->plan.reads_all && is_complete_run)
		return MAX_ROWS;
	if (!pkpg_calls_may_wait(&scan->calls) || scan->plan.has_effects)
		return 1;
	return scan->n_returned < MAX_ROWS ? (size_t) scan->n_returned + 1 : MAX_ROWS;
}

static void
advance(BatchScan *scan, PkpgRow *row)
{
	while (pkpg_window_take(scan->calls.window, row))
	{
		/* a row that is read ahead takes no place that its role does not have */
		if (row != pkpg_window_first(scan->calls.window) && !pkpg_has_room())
			return;
		if (!pkpg_calls_ask(&scan->calls, row))
			return;
	}
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

	pkpg_window_clear(scan->calls.window);
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
	pkpg_window_clear(scan->calls.window);
	(void) no_row(scan);
	if (node->ss.ps.chgParam != NULL)
		UpdateChangedParamSet(child, node->ss.ps.chgParam);
	if (child->chgParam == NULL)
		ExecReScan(child);
}

static void
explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	const PkpgWindowStats *stats = &((BatchScan *) node)->calls.window->stats;
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
	ExplainPropertyUInteger("Drafted Tokens", NULL, run->n_drafted, es);
	ExplainPropertyUInteger("Accepted Drafted Tokens", NULL, run->n_accepted, es);
}

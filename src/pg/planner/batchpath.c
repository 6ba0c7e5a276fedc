/*
 * batchpath.c
 *    Putting the batch node into plans.
 *
 * The planner evaluates a target list at a projection; that may be below sorts, limits, row locks
 * and the node that modifies the table. When all paths of a query level are there, each projection
 * with calls in it is replaced by a CustomPath of the same target, rows and cost, over the
 * projection's input. Its plan has the input's columns and the calls in custom_scan_tlist, so
 * setrefs.c turns the calls of the target list into references to what the node has computed.
 */
#include "postgres.h"

#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "optimizer/pathnode.h"
#include "optimizer/planner.h"
#include "optimizer/restrictinfo.h"

#include "pg/executor/batchscan.h"
#include "pg/guc.h"
#include "pg/planner/batchpath.h"
#include "pg/planner/calls.h"

static create_upper_paths_hook_type previous_hook = NULL;

static void  upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input,
                         RelOptInfo *output, void *extra);
static bool  may_batch(const PlannerInfo *root);
static bool  reads_all(const PlannerInfo *root);
static Path *with_batches(PlannerInfo *root, RelOptInfo *rel, Path *path);
static Path *over(PlannerInfo *root, RelOptInfo *rel, Path *path, size_t size, size_t child_at);
static Path *batch_path(PlannerInfo *root, RelOptInfo *rel, ProjectionPath *path);
static Plan *batch_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
                        List *clauses, List *children);

static const CustomPathMethods path_methods = {.CustomName = PKPG_BATCH_NAME,
                                               .PlanCustomPath = batch_plan};

void
pkpg_batchpath_init(void)
{
	previous_hook = create_upper_paths_hook;
	create_upper_paths_hook = upper_paths;
}

/* The last that is called for a query level: all its paths are in output. */
static void
upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input, RelOptInfo *output,
            void *extra)
{
	ListCell *cell;

	if (previous_hook != NULL)
		previous_hook(root, stage, input, output, extra);
	if (stage != UPPERREL_FINAL || !pkpg_batching || !may_batch(root))
		return;
	foreach (cell, output->pathlist)
		lfirst(cell) = with_batches(root, output, lfirst(cell));
}

static bool
may_batch(const PlannerInfo *root)
{
	const Query *query = root->parse;

	if (query->commandType != CMD_SELECT && query->commandType != CMD_INSERT &&
	    query->commandType != CMD_UPDATE)
		return false;
	return pkpg_find_calls((Node *) query->targetList, NIL) != NIL && !pkpg_is_ordered(query);
}

/* Nothing above asks for the first rows only. */
static bool
reads_all(const PlannerInfo *root)
{
	for (; root != NULL; root = root->parent_root)
		if (root->tuple_fraction > 0 || root->parse->limitCount != NULL)
			return false;
	return true;
}

/* The path, or a copy with batches in it. */
static Path *
with_batches(PlannerInfo *root, RelOptInfo *rel, Path *path)
{
	switch (nodeTag(path))
	{
		case T_ProjectionPath:
			return batch_path(root, rel, (ProjectionPath *) path);
		case T_ModifyTablePath:
			return over(root, rel, path, sizeof(ModifyTablePath),
			            offsetof(ModifyTablePath, subpath));
		case T_LockRowsPath:
			return over(root, rel, path, sizeof(LockRowsPath), offsetof(LockRowsPath, subpath));
		case T_LimitPath:
			return over(root, rel, path, sizeof(LimitPath), offsetof(LimitPath, subpath));
		case T_SortPath:
			return over(root, rel, path, sizeof(SortPath), offsetof(SortPath, subpath));
		case T_IncrementalSortPath:
			return over(root, rel, path, sizeof(IncrementalSortPath),
			            offsetof(IncrementalSortPath, spath.subpath));
		default:
			return path;
	}
}

/* The same for a path with one child. Paths are shared between others: never changed in place. */
static Path *
over(PlannerInfo *root, RelOptInfo *rel, Path *path, size_t size, size_t child_at)
{
	Path *child = *(Path **) ((char *) path + child_at);
	Path *new_child = with_batches(root, rel, child);
	Path *copy;

	if (new_child == child)
		return path;
	copy = palloc(size);
	memcpy(copy, path, size);
	*(Path **) ((char *) copy + child_at) = new_child;
	return copy;
}

static Path *
batch_path(PlannerInfo *root, RelOptInfo *rel, ProjectionPath *path)
{
	List *calls =
		pkpg_find_calls((Node *) path->path.pathtarget->exprs, path->subpath->pathtarget->exprs);
	CustomPath *batch;

	/* a query without FROM has one row */
	if (calls == NIL || path->path.param_info != NULL || IsA(path->subpath, GroupResultPath))
		return (Path *) path;
	batch = makeNode(CustomPath);
	batch->path = path->path;
	batch->path.type = T_CustomPath;
	batch->path.pathtype = T_CustomScan;
	batch->path.parent = rel; /* its own conditions are the child's */
	batch->path.parallel_aware = false;
	batch->path.parallel_safe = false;
	batch->path.parallel_workers = 0;
	batch->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	batch->custom_paths = list_make1(path->subpath);
	batch->custom_private = list_make2(calls, makeBoolean(reads_all(root)));
	batch->methods = &path_methods;
	return (Path *) batch;
}

static Plan *
batch_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist, List *clauses,
           List *children)
{
	CustomScan *scan = makeNode(CustomScan);
	List       *calls = linitial(path->custom_private);
	Plan       *child = linitial(children);
	List       *columns = NIL;
	List       *args = NIL;
	ListCell   *cell;

	(void) root;
	(void) rel;
	(void) clauses;
	foreach (cell, child->targetlist)
		columns =
			lappend(columns, makeTargetEntry(copyObject(((TargetEntry *) lfirst(cell))->expr),
		                                     (AttrNumber) (list_length(columns) + 1), NULL, false));
	foreach (cell, calls)
	{
		columns =
			lappend(columns, makeTargetEntry(copyObject((Expr *) lfirst(cell)),
		                                     (AttrNumber) (list_length(columns) + 1), NULL, false));
		args = list_concat(args, copyObject(((FuncExpr *) lfirst(cell))->args));
	}
	scan->scan.plan.targetlist = tlist;
	scan->scan.scanrelid = 0;
	scan->flags = path->flags;
	scan->custom_plans = children;
	scan->custom_exprs = args;
	scan->custom_scan_tlist = columns;
	scan->custom_private = list_make3(copyObject(calls), lsecond(path->custom_private),
	                                  makeBoolean(pkpg_is_built_in((Node *) args, calls)));
	scan->methods = &pkpg_batch_scan_methods;
	return &scan->scan.plan;
}

PkpgBatchPlan
pkpg_batch_plan(const CustomScan *scan)
{
	return (PkpgBatchPlan){.calls = linitial(scan->custom_private),
	                       .reads_all = boolVal(lsecond(scan->custom_private)),
	                       .is_built_in = boolVal(lthird(scan->custom_private))};
}

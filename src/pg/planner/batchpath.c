/*
 * batchpath.c
 *    Putting the batch node into plans.
 *
 * The planner evaluates a target list at a projection; that may be below sorts, limits, row locks,
 * the node that modifies the table, and, for partitioned tables, below the Append. When all paths
 * of a query level are there, each projection with calls in it is replaced by a CustomPath of the
 * same target, rows and cost, over the projection's input. A scan or join that is in the wanted
 * order already gets the target list itself, without a projection (apply_projection_to_path()): it
 * is copied with the target it had before, which is its relation's. The node's plan has the
 * input's columns and the calls in custom_scan_tlist, so setrefs.c turns the calls of the target
 * list into references to what the node has computed.
 */
#include "postgres.h"

#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/pathnode.h"
#include "optimizer/planner.h"
#include "optimizer/restrictinfo.h"

#include "pg/executor/batchscan.h"
#include "pg/guc.h"
#include "pg/planner/batchpath.h"
#include "pg/planner/calls.h"

static create_upper_paths_hook_type previous_hook = NULL;

static void   upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input,
                          RelOptInfo *output, void *extra);
static bool   may_batch(const PlannerInfo *root);
static bool   reads_all(const PlannerInfo *root);
static bool   reads_all_of_it(const PlannerInfo *parent);
static Path  *with_batches(PlannerInfo *root, RelOptInfo *rel, Path *path);
static Path  *over(PlannerInfo *root, RelOptInfo *rel, Path *path, size_t size, size_t child_at);
static Path  *over_all(PlannerInfo *root, Path *path, size_t size, size_t children_at);
static Path  *over_child(PlannerInfo *root, Path *path);
static Path  *over_scan(PlannerInfo *root, RelOptInfo *rel, Path *path);
static size_t scan_size(const Path *path);
static Path  *batch_path(PlannerInfo *root, RelOptInfo *rel, Path *path, Path *child);
static bool   is_updatable_cursor(const PlannerInfo *root);
static Node  *without_rowid_vars(Node *node, PlannerInfo *root);
static Plan  *batch_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
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
	return pkpg_find_calls((Node *) query->targetList, NIL, root->glob) != NIL &&
	       !pkpg_is_ordered(query);
}

/* Nothing above asks for the first rows only. */
static bool
reads_all(const PlannerInfo *root)
{
	for (; root != NULL; root = root->parent_root)
		if (root->tuple_fraction > 0 || root->parse->limitCount != NULL ||
		    (root->parent_root != NULL && !reads_all_of_it(root->parent_root)))
			return false;
	return true;
}

/*
 * What a level does with the subquery that is planned for it now. A join may stop early, and so may
 * WindowAgg when a condition on its number can't hold any more. CTEs and sublinks, which are read
 * as far as they are needed, are planned before the level has relations.
 */
static bool
reads_all_of_it(const PlannerInfo *parent)
{
	const Node *from = (const Node *) parent->parse->jointree;

	while (IsA(from, FromExpr) && list_length(((const FromExpr *) from)->fromlist) == 1)
		from = linitial(((const FromExpr *) from)->fromlist);
	return IsA(from, RangeTblRef) && parent->simple_rel_array != NULL &&
	       !parent->parse->hasWindowFuncs;
}

/* The path, or a copy with batches in it. */
static Path *
with_batches(PlannerInfo *root, RelOptInfo *rel, Path *path)
{
	switch (nodeTag(path))
	{
		case T_ProjectionPath:
			return batch_path(root, rel, path, ((ProjectionPath *) path)->subpath);
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
		case T_AppendPath:
			return over_all(root, path, sizeof(AppendPath), offsetof(AppendPath, subpaths));
		case T_MergeAppendPath:
			return over_all(root, path, sizeof(MergeAppendPath),
			                offsetof(MergeAppendPath, subpaths));
		default:
			return over_scan(root, rel, path);
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

/* The same for a path with many: each of them has the target list, for its own columns. */
static Path *
over_all(PlannerInfo *root, Path *path, size_t size, size_t children_at)
{
	List     *children = *(List **) ((char *) path + children_at);
	List     *new_children = NIL;
	bool      is_changed = false;
	Path     *copy;
	ListCell *cell;

	foreach (cell, children)
	{
		Path *new_child = over_child(root, lfirst(cell));

		is_changed |= new_child != lfirst(cell);
		new_children = lappend(new_children, new_child);
	}
	if (!is_changed)
		return path;
	copy = palloc(size);
	memcpy(copy, path, size);
	*(List **) ((char *) copy + children_at) = new_children;
	return copy;
}

/* Pruning at run time knows a child by its relation; conditions are applied below the node. */
static Path *
over_child(PlannerInfo *root, Path *path)
{
	RelOptInfo *rel = palloc(sizeof(RelOptInfo));

	memcpy(rel, path->parent, sizeof(RelOptInfo));
	rel->baserestrictinfo = NIL;
	return with_batches(root, rel, path);
}

static Path *
over_scan(PlannerInfo *root, RelOptInfo *rel, Path *path)
{
	size_t size = scan_size(path);
	Path  *child;

	if (size == 0 || pkpg_find_calls((Node *) path->pathtarget->exprs, NIL, root->glob) == NIL)
		return path;
	child = palloc(size);
	memcpy(child, path, size);
	child->pathtarget = path->parent->reltarget;
	if (IsA(path, GatherPath))
		child->pathtarget = ((GatherPath *) path)->subpath->pathtarget;
	else if (IsA(path, GatherMergePath))
		child->pathtarget = ((GatherMergePath *) path)->subpath->pathtarget;
	return batch_path(root, rel, path, child);
}

/* 0: what is computed below such a path is not its relation's target. */
static size_t
scan_size(const Path *path)
{
	if (IsA(path, GatherPath))
		return sizeof(GatherPath);
	if (IsA(path, GatherMergePath))
		return sizeof(GatherMergePath);
	if (IS_UPPER_REL(path->parent))
		return 0;
	switch (nodeTag(path))
	{
		case T_Path:
			return sizeof(Path);
		case T_IndexPath:
			return sizeof(IndexPath);
		case T_BitmapHeapPath:
			return sizeof(BitmapHeapPath);
		case T_SubqueryScanPath:
			return sizeof(SubqueryScanPath);
		case T_NestPath:
			return sizeof(NestPath);
		case T_MergePath:
			return sizeof(MergePath);
		case T_HashPath:
			return sizeof(HashPath);
		default:
			return 0;
	}
}

static Path *
batch_path(PlannerInfo *root, RelOptInfo *rel, Path *path, Path *child)
{
	List *calls =
		pkpg_find_calls((Node *) path->pathtarget->exprs, child->pathtarget->exprs, root->glob);
	CustomPath *batch;

	/* a query without FROM has one row */
	if (calls == NIL || path->param_info != NULL || IsA(child, GroupResultPath) ||
	    (IsA(child, AppendPath) && is_updatable_cursor(root)))
		return path;
	batch = makeNode(CustomPath);
	batch->path = *path;
	batch->path.type = T_CustomPath;
	batch->path.pathtype = T_CustomScan;
	batch->path.parent = rel; /* its own conditions are the child's */
	batch->path.parallel_aware = false;
	batch->path.parallel_safe = false;
	batch->path.parallel_workers = 0;
	batch->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	batch->custom_paths = list_make1(child);
	batch->custom_private = list_make2(calls, makeBoolean(reads_all(root)));
	batch->methods = &path_methods;
	return (Path *) batch;
}

/* WHERE CURRENT OF looks for the scan of each table, and finds none below the node but one. */
static bool
is_updatable_cursor(const PlannerInfo *root)
{
	return root->parent_root == NULL && root->parse->commandType == CMD_SELECT &&
	       root->tuple_fraction > 0 && root->parse->limitCount == NULL &&
	       root->parse->rowMarks == NIL;
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
	scan->scan.plan.targetlist = (List *) without_rowid_vars((Node *) tlist, root);
	scan->scan.scanrelid = 0;
	scan->flags = path->flags;
	scan->custom_plans = children;
	scan->custom_exprs = args;
	scan->custom_scan_tlist = (List *) without_rowid_vars((Node *) columns, root);
	scan->custom_private = list_make4(copyObject(calls), lsecond(path->custom_private),
	                                  makeBoolean(pkpg_is_built_in((Node *) args, calls)),
	                                  makeBoolean(pkpg_has_effects(root)));
	scan->methods = &pkpg_batch_scan_methods;
	return &scan->scan.plan;
}

/*
 * Above an inheritance tree an UPDATE has its row's identity as variables of no relation
 * (ROWID_VAR), which setrefs.c and EXPLAIN don't know in a custom_scan_tlist. That of a table of
 * the tree stands for them: what matters is that both lists agree.
 */
static Node *
without_rowid_vars(Node *node, PlannerInfo *root)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == ROWID_VAR)
	{
		RowIdentityVarInfo *identity =
			list_nth(root->row_identity_vars, ((Var *) node)->varattno - 1);
		Var *var = copyObject(identity->rowidvar);

		var->varno = bms_next_member(identity->rowidrels, -1);
		var->varnosyn = var->varno;
		var->varattnosyn = var->varattno;
		return (Node *) var;
	}
	return expression_tree_mutator(node, without_rowid_vars, root);
}

PkpgBatchPlan
pkpg_batch_plan(const CustomScan *scan)
{
	return (PkpgBatchPlan){.calls = linitial(scan->custom_private),
	                       .reads_all = boolVal(lsecond(scan->custom_private)),
	                       .is_built_in = boolVal(lthird(scan->custom_private)),
	                       .has_effects = boolVal(lfourth(scan->custom_private))};
}

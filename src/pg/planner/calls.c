/*
 * calls.c
 *    Finding the calls of a target list that are made for each row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "pg/blocktable.h"
#include "pg/planner/calls.h"
#include "pg/planner/support.h"

typedef struct Search
{
	const List    *given;
	PlannerGlobal *glob;
	List          *calls;
} Search;

static bool  find_walker(Node *node, Search *search);
static List *add_call(List *calls, Node *call);
static bool  contains_walker(Node *node, void *call);
static bool  ordered_walker(Node *node, void *context);
static bool  is_ordered_function(Oid function, void *context);
static bool  is_ordered_source(const Query *query);
static bool  has_effects_in_cte(const PlannerInfo *root);
static bool  effect_walker(Node *node, PlannerGlobal *glob);
static bool  is_volatile(Oid function, void *context);
static bool  foreign_walker(Node *node, void *given);
static bool  is_foreign_type(Oid type);
static bool  is_foreign_function(Oid function, void *context);
static bool  is_ours(Oid function);
static bool  is_query(Oid function);

const PkpgCallKind *
pkpg_call_kind(Oid function)
{
	static const PkpgCallKind *const kinds[] = {&pkpg_generate_kind, &pkpg_generate_details_kind,
	                                            &pkpg_embed_kind};
	Oid                              support = get_func_support(function);
	FmgrInfo                         info;

	if (!OidIsValid(support))
		return NULL;
	fmgr_info(support, &info);
	if (info.fn_addr != polyko_support)
		return NULL;
	fmgr_info(function, &info);
	if (info.fn_strict)
		return NULL; /* its owner has altered it */
	for (size_t i = 0; i < lengthof(kinds); i++)
		if (info.fn_addr == kinds[i]->function)
			return kinds[i];
	return NULL;
}

List *
pkpg_find_calls(Node *expr, const List *given, PlannerGlobal *glob)
{
	Search search = {given, glob, NIL};

	(void) find_walker(expr, &search);
	return search.calls;
}

/* Only into nodes that evaluate all that they are made of. */
static bool
find_walker(Node *node, Search *search)
{
	if (node == NULL || list_member(search->given, node))
		return false;
	/* an array's subscripts are not evaluated when it is NULL */
	if (IsA(node, SubscriptingRef))
		return ((SubscriptingRef *) node)->refassgnexpr == NULL &&
		       find_walker((Node *) ((SubscriptingRef *) node)->refexpr, search);
	switch (nodeTag(node))
	{
		case T_List:
		case T_TargetEntry:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CoerceToDomain:
		case T_CollateExpr:
		case T_FieldSelect:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
			break;
		default:
			return false;
	}
	if (expression_tree_walker(node, find_walker, search))
		return true;
	if (IsA(node, FuncExpr) && pkpg_call_kind(((FuncExpr *) node)->funcid) != NULL &&
	    contain_var_clause(node) && !effect_walker(node, search->glob))
		search->calls = add_call(search->calls, node);
	return false;
}

/*
 * Before those that contain it, where it may be conditional: its answer, which is there in any
 * case, is taken there, too.
 */
static List *
add_call(List *calls, Node *call)
{
	ListCell *cell;

	if (list_member(calls, call))
		return calls;
	foreach (cell, calls)
		if (contains_walker(lfirst(cell), call))
			return list_insert_nth(calls, foreach_current_index(cell), call);
	return lappend(calls, call);
}

static bool
contains_walker(Node *node, void *call)
{
	if (node == NULL)
		return false;
	return equal(node, call) || expression_tree_walker(node, contains_walker, call);
}

bool
pkpg_is_ordered(const Query *query)
{
	bool is_output = true;

	return query->hasTargetSRFs || ordered_walker((Node *) query->targetList, &is_output) ||
	       ordered_walker((Node *) query->jointree, NULL) ||
	       ordered_walker(query->havingQual, NULL) || is_ordered_source(query);
}

/* Row by row as well: what policies and barriers ask, and VALUES. */
static bool
is_ordered_source(const Query *query)
{
	ListCell *cell;

	foreach (cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst(cell);

		if (ordered_walker((Node *) entry->securityQuals, NULL) ||
		    ordered_walker((Node *) entry->values_lists, NULL))
			return true;
	}
	return false;
}

static bool
ordered_walker(Node *node, void *context)
{
	if (node == NULL || IsA(node, Query))
		return false;
	if (check_functions_in_node(node, is_ordered_function, context))
		return true;
	return expression_tree_walker(node, ordered_walker, context);
}

/* A serial number in the output is given when a row is returned: reading ahead changes none. */
static bool
is_ordered_function(Oid function, void *is_output)
{
	return (function != F_NEXTVAL || is_output == NULL) &&
	       func_volatile(function) == PROVOLATILE_VOLATILE;
}

bool
pkpg_has_effects(const PlannerInfo *root)
{
	const Query *query = root->parse;
	ListCell    *cell;

	if (effect_walker((Node *) query->jointree, root->glob) ||
	    effect_walker(query->havingQual, root->glob))
		return true;
	foreach (cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst(cell);

		if (effect_walker((Node *) entry->subquery, root->glob) ||
		    effect_walker((Node *) entry->functions, root->glob) ||
		    effect_walker((Node *) entry->tablefunc, root->glob) ||
		    effect_walker((Node *) entry->securityQuals, root->glob) ||
		    (entry->rtekind == RTE_CTE && has_effects_in_cte(root)))
			return true;
	}
	return false;
}

/*
 * Any CTE the level may read. One that modifies data is run to its end in any case; a recursive one
 * may have no end.
 */
static bool
has_effects_in_cte(const PlannerInfo *root)
{
	ListCell *cell;

	for (; root != NULL; root = root->parent_root)
		foreach (cell, root->parse->cteList)
		{
			CommonTableExpr *cte = lfirst_node(CommonTableExpr, cell);
			Query           *query = castNode(Query, cte->ctequery);

			if (cte->cterecursive ||
			    (query->commandType == CMD_SELECT && effect_walker((Node *) query, root->glob)))
				return true;
		}
	return false;
}

/* Subqueries are walked whether they are planned already (SubPlan) or not. */
static bool
effect_walker(Node *node, PlannerGlobal *glob)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return ((Query *) node)->rowMarks != NIL ||
		       query_tree_walker((Query *) node, effect_walker, glob, 0);
	if (IsA(node, SubPlan))
	{
		PlannerInfo *subroot = list_nth(glob->subroots, ((SubPlan *) node)->plan_id - 1);

		if (effect_walker((Node *) subroot->parse, glob))
			return true;
	}
	return check_functions_in_node(node, is_volatile, NULL) || IsA(node, NextValueExpr) ||
	       expression_tree_walker(node, effect_walker, glob);
}

static bool
is_volatile(Oid function, void *context)
{
	(void) context;
	return func_volatile(function) == PROVOLATILE_VOLATILE;
}

bool
pkpg_is_built_in(Node *expr, const List *given)
{
	return !foreign_walker(expr, (void *) given);
}

/*
 * What is allowed is listed: errors of these are caught, and an error of anything else may be one
 * of a function of the user, which a subtransaction alone can undo.
 */
static bool
foreign_walker(Node *node, void *given)
{
	if (node == NULL || list_member(given, node))
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_CaseWhen:
			break;
		case T_Param:
			/* may be the result of a subquery that has yet to run */
			if (((Param *) node)->paramkind == PARAM_EXEC)
				return true;
			/* FALLTHROUGH */
		case T_Var:
		case T_Const:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_SubscriptingRef:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CoerceToDomain:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_SQLValueFunction:
		case T_NullTest:
		case T_BooleanTest:
		case T_PlaceHolderVar:
			if (is_foreign_type(exprType(node)))
				return true;
			break;
		default:
			return true;
	}
	return check_functions_in_node(node, is_foreign_function, NULL) ||
	       expression_tree_walker(node, foreign_walker, given);
}

/*
 * Built-in functions call those of a user's type: its output, comparison, cast or check. Records
 * and other pseudo-types may hold such types.
 */
static bool
is_foreign_type(Oid type)
{
	char kind = get_typtype(type);

	if (type == UNKNOWNOID) /* a literal, as an argument of concat() */
		return false;
	return type >= FirstNormalObjectId || kind == TYPTYPE_PSEUDO || kind == TYPTYPE_COMPOSITE;
}

/*
 * Built-in ones that run queries (table_to_xml) may run anything; none of them is parallel safe.
 * Whose owner gave it another user or settings leaves them behind in an error.
 */
static bool
is_foreign_function(Oid function, void *context)
{
	HeapTuple    row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool         is_foreign;

	(void) context;
	if (!HeapTupleIsValid(row))
		return true;
	form = (Form_pg_proc) GETSTRUCT(row);
	is_foreign = form->prosecdef || !heap_attisnull(row, Anum_pg_proc_proconfig, NULL);
	if (form->prolang == INTERNALlanguageId)
		is_foreign |= form->proparallel != PROPARALLEL_SAFE;
	else
		is_foreign |= form->prolang != ClanguageId || !is_ours(function) || is_query(function);
	ReleaseSysCache(row);
	return is_foreign;
}

static bool
is_ours(Oid function)
{
	Oid extension = getExtensionOfObject(ProcedureRelationId, function);

	return OidIsValid(extension) && extension == get_extension_oid("polyko", true);
}

/* Those of ours that read tables. */
static bool
is_query(Oid function)
{
	static const PGFunction queries[] = {polyko_apply_blocklist, polyko_find_blocklist};
	FmgrInfo                info;

	fmgr_info(function, &info);
	for (size_t i = 0; i < lengthof(queries); i++)
		if (info.fn_addr == queries[i])
			return true;
	return false;
}

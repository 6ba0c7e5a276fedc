/*
 * oneexpr.c
 *    Whether a text is exactly one SQL expression.
 *
 * PostgreSQL's parser reads the text as what follows SELECT. The tree must be that of a SELECT with
 * one nameless column and nothing else: "a, b", "a b", "a FROM t", "a) = (b" and "a; b" all differ.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"

#include "pg/update/oneexpr.h"

static bool is_one_expression(List *trees);
static bool is_star(Node *expr);
static bool param_walker(Node *node, void *context);
static void error_context(void *text);

void
pkpg_check_one_expression(const char *text, const char *argument)
{
	ErrorContextCallback callback = {.previous = error_context_stack,
	                                 .callback = error_context,
	                                 .arg = unconstify(char *, text)};
	List                *trees;

	error_context_stack = &callback;
	trees = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	error_context_stack = callback.previous;
	if (!is_one_expression(trees))
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
		                errmsg("%s must be exactly one expression", argument),
		                errhint("Write what may stand between parentheses in a query, such as "
		                        "polyko_embed(body).")));
	if (param_walker((Node *) trees, NULL))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_PARAMETER),
		                errmsg("%s must not have parameters ($1)", argument),
		                errhint("Put the value into the text, with format() and %%L.")));
}

static bool
is_one_expression(List *trees)
{
	SelectStmt *select =
		list_length(trees) == 1 ? (SelectStmt *) linitial_node(RawStmt, trees)->stmt : NULL;
	SelectStmt *plain = makeNode(SelectStmt);
	ResTarget  *column;

	if (select == NULL || !IsA(select, SelectStmt) || list_length(select->targetList) != 1)
		return false;
	plain->targetList = select->targetList;
	plain->limitOption = select->limitOption; /* says something only beside a limit */
	column = linitial_node(ResTarget, select->targetList);
	return equal(select, plain) && column->name == NULL && column->indirection == NIL &&
	       !is_star(column->val);
}

/* "*" and "t.*" are many columns. */
static bool
is_star(Node *expr)
{
	return IsA(expr, ColumnRef) && IsA(llast(((ColumnRef *) expr)->fields), A_Star);
}

static bool
param_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RawStmt))
		return param_walker(((RawStmt *) node)->stmt, context);
	return IsA(node, ParamRef) || raw_expression_tree_walker(node, param_walker, context);
}

/* A place in text is none in the CALL. */
static void
error_context(void *text)
{
	int position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(text);
}

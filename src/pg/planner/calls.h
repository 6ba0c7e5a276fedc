/*
 * calls.h
 *    Finding the calls of a target list that are made for each row.
 */
#ifndef PKPG_CALLS_H
#define PKPG_CALLS_H

#include "nodes/pathnodes.h"

#include "pg/call.h"

/* The kind of a function that can be computed in batches; NULL for any other. */
extern const PkpgCallKind *pkpg_call_kind(Oid function);

/*
 * Calls in expr that are made whatever the row holds: a list of FuncExpr, each once, inner calls
 * before those whose arguments they are. What is conditional (CASE, COALESCE, AND, OR) is not
 * looked into, nor is a call with volatile arguments, also in a subquery, nor one that is the same
 * for all rows: its call site remembers the answer. given: expressions that are computed already.
 */
extern List *pkpg_find_calls(Node *expr, const List *given, PlannerGlobal *glob);

/* True if the query level has a volatile function or returns sets: rows then keep their order. */
extern bool pkpg_is_ordered(const Query *query);

/*
 * True if finding the level's rows may do what can be seen: a volatile function or a row lock below
 * it, in a subquery, in a function of FROM, in a CTE. In such a query rows that are never returned
 * must not be read.
 */
extern bool pkpg_has_effects(const PlannerInfo *root);

/* True if evaluating expr, where given is computed, runs only the server's functions and ours. */
extern bool pkpg_is_built_in(Node *expr, const List *given);

#endif

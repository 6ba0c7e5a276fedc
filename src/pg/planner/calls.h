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
 * Calls in expr that are made whatever the row holds, added to calls unless they are there: a list
 * of FuncExpr, inner calls before those whose arguments they are. What is conditional (CASE,
 * COALESCE, AND, OR) is not looked into, nor is a call with volatile arguments.
 */
extern List *pkpg_find_calls(List *calls, Node *expr);

/* True if the query level has a volatile function or returns sets: rows then keep their order. */
extern bool pkpg_is_ordered(const Query *query);

/* True if evaluating expr runs nothing but functions that are built into the server. */
extern bool pkpg_is_built_in(Node *expr);

#endif

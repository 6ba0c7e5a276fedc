/*
 * rowcalls.h
 *    The calls that a batch node makes for its rows: privileges, arguments, and errors that wait.
 *
 * An error that reading ahead would raise too early waits: the row's call is made again when the
 * row is returned, and raises it then. That of the row whose turn it is doesn't wait. Only errors
 * of our own functions and of built-in ones are caught so; nothing is read behind such a row.
 * Arguments are evaluated in a subtransaction, as an error may leave anything behind: a user that
 * was changed, references, a snapshot.
 */
#ifndef PKPG_ROWCALLS_H
#define PKPG_ROWCALLS_H

#include "nodes/execnodes.h"

#include "pg/executor/window.h"
#include "pg/planner/batchpath.h"

typedef struct PkpgRowCalls
{
	PlanState      *node;        /* whose expressions the arguments are */
	int             n_columns;   /* of the node's child */
	TupleTableSlot *child_slot;  /* for a row of the window */
	TupleTableSlot *scan_slot;   /* the child's columns, then the results */
	ExprContext    *arg_context; /* arguments live until their call was started */
	PkpgSite       *sites;
	int             n_sites;
	bool            is_built_in; /* errors of arguments may be caught */
	PkpgWindow     *window;
} PkpgRowCalls;

/* Checks EXECUTE and calls the function-execute hook, as ExecInitFunc() does. */
extern void pkpg_calls_begin(PkpgRowCalls *calls, CustomScanState *node, PlanState *child,
                             const PkpgBatchPlan *plan);

/* Errors of arguments may be caught. Beside parallel workers there can be no subtransaction. */
extern bool pkpg_calls_may_wait(const PkpgRowCalls *calls);

/* The row's next site; false if that raised an error, which waits. */
extern bool pkpg_calls_ask(PkpgRowCalls *calls, PkpgRow *row);
extern bool pkpg_calls_are_complete(const PkpgRowCalls *calls, const PkpgRow *row);

/* It is the row's turn, and the next thing to happen is the call of its site n_started. */
extern bool pkpg_call_is_due(const PkpgRowCalls *calls, const PkpgRow *row);
/* That call itself, which raises the error that waits. If it does not, the row goes on. */
extern void pkpg_call_make(PkpgRowCalls *calls, PkpgRow *row);
/* All of them, as a cursor may be read on with other rights than those the row was read with. */
extern void pkpg_calls_make(PkpgRowCalls *calls, PkpgRow *row);

/* The row to the scan slot: the child's columns, and the results that are there. */
extern void pkpg_calls_load(const PkpgRowCalls *calls, const PkpgRow *row);

#endif

/*
 * window.h
 *    Rows that were read ahead, and the questions that they ask the model.
 *
 * Rows stand in the order in which they were read and are returned so. Rows with equal calls share
 * a question. A question belongs to the window, not to the row that asked first; it goes when its
 * last row goes, and with it its request. Everything goes with the window's memory context.
 */
#ifndef PKPG_WINDOW_H
#define PKPG_WINDOW_H

#include "executor/tuptable.h"
#include "lib/ilist.h"
#include "storage/itemptr.h"

#include "pg/call.h"

/* One call of the target list, made for each row. */
typedef struct PkpgSite
{
	const PkpgCallKind *kind;
	FunctionCallInfo    fcinfo; /* arguments of the row at hand */
	struct ExprState  **args;
	int                 column; /* of its result in the scan tuple, from 0 */
	int                 needs;  /* sites before it that its arguments need: the last, or -1 */
} PkpgSite;

typedef struct PkpgQuestion PkpgQuestion;

typedef struct PkpgRow
{
	dlist_node      node;
	MemoryContext   context;    /* the row, its tuple and its results */
	MinimalTuple    tuple;      /* columns of the child */
	ItemPointerData place;      /* of the row in its table; invalid: unknown */
	Oid             user;       /* with whose rights it asked; invalid: of more than one */
	size_t          size_bytes; /* of what is kept for it */
	int             n_started;  /* sites */
	int             n_done;
	bool            has_failed; /* starting site n_started raised an error: it waits for its turn */
	PkpgQuestion  **questions;  /* of each site that was started; NULL: the answer is NULL */
	Datum          *results;
	bool           *nulls;
} PkpgRow;

typedef struct PkpgWindowStats
{
	uint64  n_asked; /* questions that the model was asked */
	PkpgRun run;
} PkpgWindowStats;

typedef struct PkpgWindow
{
	MemoryContext   context;
	dlist_head      rows; /* oldest first */
	dlist_head      questions;
	size_t          n_rows;
	size_t          size_bytes; /* of all rows */
	PkpgSite       *sites;
	int             n_sites;
	PkpgWindowStats stats;
} PkpgWindow;

extern PkpgWindow *pkpg_window_create(MemoryContext parent, PkpgSite *sites, int n_sites);
/* All rows go, and what they wait for is cancelled. */
extern void        pkpg_window_clear(PkpgWindow *window);

/* A row at the end, with a copy of the child's columns. */
extern PkpgRow *pkpg_window_add(PkpgWindow *window, TupleTableSlot *slot);
extern PkpgRow *pkpg_window_first(PkpgWindow *window); /* NULL: there is none */
extern void     pkpg_window_remove(PkpgWindow *window, PkpgRow *row);

/*
 * Ask what the row's next site asks, with the arguments in its fcinfo: of the model unless the
 * answer is known or the same is asked already. Raises what the function would raise.
 */
extern void pkpg_window_ask(PkpgWindow *window, PkpgRow *row);
/* Take answers that are there, in the order of sites; true if the row's next site may be asked. */
extern bool pkpg_window_take(PkpgWindow *window, PkpgRow *row);
/*
 * The row is complete and returned: what is above it may make its calls again (RETURNING, triggers,
 * CASE) and finds their answers, of however many rows answers have come meanwhile.
 */
extern void pkpg_window_returned(const PkpgRow *row, int n_sites);
/* Forget what the row asked: it is to be asked again. */
extern void pkpg_window_restart(PkpgWindow *window, PkpgRow *row);

#endif

/*
 * blocktable.h
 *    The table polyko_blocklist as an automaton.
 */
#ifndef PKPG_BLOCKTABLE_H
#define PKPG_BLOCKTABLE_H

#include "fmgr.h"

#include "core/curate/blocklist.h"

typedef struct PkpgBlockNames
{
	text *pattern, *kind, *action;
} PkpgBlockNames;

typedef struct PkpgBlocklist
{
	PkBlocklist    *list;
	PkpgBlockNames *names; /* a pattern: its row */
	size_t          n;
} PkpgBlocklist;

/*
 * The table beside the function that is called, as the statement's snapshot sees it. Read once a
 * call site and snapshot; belongs to the call site.
 */
const PkpgBlocklist *pkpg_blocklist(FunctionCallInfo fcinfo);

/* The functions that read it. */
extern PGDLLEXPORT Datum polyko_apply_blocklist(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum polyko_find_blocklist(PG_FUNCTION_ARGS);

#endif

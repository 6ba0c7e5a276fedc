/*
 * source.h
 *    The scan that a plan has its rows from.
 *
 * UPDATE ... WHERE CURRENT OF asks a cursor's scan for the row that it is on. A scan that was read
 * ahead is on another: the batch node keeps each row's place and answers in the scan's stead.
 */
#ifndef PKPG_SOURCE_H
#define PKPG_SOURCE_H

#include "nodes/execnodes.h"
#include "storage/itemptr.h"

/* NULL if the plan's rows are not those of one table. */
extern ScanState      *pkpg_source(PlanState *node);
/* Where in the table the row is that was returned last; invalid for no source. */
extern ItemPointerData pkpg_source_place(ScanState *source);

#endif

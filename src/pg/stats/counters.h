/*
 * counters.h
 *    What requests cost, counted for each database, model and role in shared memory.
 */
#ifndef PKPG_COUNTERS_H
#define PKPG_COUNTERS_H

#include "pg/shared.h"

typedef enum PkpgOutcome
{
	PKPG_ANSWERED,
	PKPG_CANCELLED,
	PKPG_FAILED
} PkpgOutcome;

/* Add up; every field. */
extern void pkpg_run_add(PkpgRun *sum, const PkpgRun *run);

/* Count one request. Does nothing unless the library was preloaded; never fails. */
extern void pkpg_count_run(Oid role, const char *model, PkpgOutcome outcome, const PkpgRun *run);

#endif

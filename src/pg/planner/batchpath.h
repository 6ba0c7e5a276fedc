/*
 * batchpath.h
 *    Putting the batch node into plans.
 */
#ifndef PKPG_BATCHPATH_H
#define PKPG_BATCHPATH_H

#include "nodes/pg_list.h"
#include "nodes/plannodes.h"

/*
 * What a plan's node knows (custom_private), beside its expressions: custom_exprs has the arguments
 * of all calls one after the other, custom_scan_tlist the columns of the child, then the calls.
 */
typedef struct PkpgBatchPlan
{
	List *calls;       /* FuncExpr: types and function only, their variables are the planner's */
	bool  reads_all;   /* no LIMIT, cursor or join that may be left early */
	bool  is_built_in; /* arguments run nothing but the server's own functions and ours */
	bool  has_effects; /* finding rows may do what can be seen */
} PkpgBatchPlan;

extern void          pkpg_batchpath_init(void);
extern PkpgBatchPlan pkpg_batch_plan(const CustomScan *scan);

#endif

/*
 * source.c
 *    The scan that a plan has its rows from.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "executor/executor.h"

#include "pg/executor/source.h"

/* Down the same nodes as search_plan_tree() of execCurrent.c, but for those with many children. */
ScanState *
pkpg_source(PlanState *node)
{
	if (node == NULL)
		return NULL;
	switch (nodeTag(node))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_IndexScanState:
		case T_IndexOnlyScanState:
		case T_BitmapHeapScanState:
		case T_TidScanState:
		case T_TidRangeScanState:
		case T_ForeignScanState:
		case T_CustomScanState: /* a batch node, which has its source's */
			return ((ScanState *) node)->ss_currentRelation != NULL ? (ScanState *) node : NULL;
		case T_ResultState:
		case T_LimitState:
			return pkpg_source(outerPlanState(node));
		case T_SubqueryScanState:
			return pkpg_source(((SubqueryScanState *) node)->subplan);
		default:
			return NULL;
	}
}

ItemPointerData
pkpg_source_place(ScanState *source)
{
	ItemPointerData place;

	ItemPointerSetInvalid(&place);
	if (source == NULL)
		return place;
	if (IsA(source, IndexOnlyScanState))
		return ((IndexOnlyScanState *) source)->ioss_ScanDesc->xs_heaptid;
	return source->ss_ScanTupleSlot->tts_tid;
}

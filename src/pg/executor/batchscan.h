/*
 * batchscan.h
 *    The batch node: Custom Scan (PolykoBatch).
 */
#ifndef PKPG_BATCHSCAN_H
#define PKPG_BATCHSCAN_H

#include "nodes/extensible.h"

#define PKPG_BATCH_NAME "PolykoBatch"

extern const CustomScanMethods pkpg_batch_scan_methods;

extern void pkpg_batchscan_init(void);

#endif

/*
 * polyko.c
 *    Where the library begins: _PG_init is the table of contents.
 *
 * Nothing here starts a thread, opens a model or loads a library: it may run in the postmaster.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "pg/executor/batchscan.h"
#include "pg/guc.h"
#include "pg/modelcache.h"
#include "pg/planner/batchpath.h"
#include "pg/shared.h"
#include "pg/supervisor.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	pkpg_guc_init();
	pkpg_modelcache_init();
	pkpg_batchpath_init();
	pkpg_batchscan_init();
	if (process_shared_preload_libraries_in_progress)
	{
		pkpg_shared_init();
		pkpg_supervisor_register();
	}
}

/*
 * updateprogress.c
 *    How far the polyko_update of this session is, here and for pg_stat_progress_polyko. A session
 *    runs one at a time.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "pg/stats/progress.h"
#include "pg/updateprogress.h"

static PkpgUpdateProgress current; /* pid 0: none */

void
pkpg_update_progress_begin(Oid relid)
{
	current = (PkpgUpdateProgress){.datid = MyDatabaseId,
	                               .relid = relid,
	                               .pid = MyProcPid,
	                               .started_at = GetCurrentTimestamp()};
	pkpg_progress_update(relid);
}

void
pkpg_update_progress_add(int64 done, int64 failed, int64 locked)
{
	current.rows_done += done;
	current.rows_failed += failed;
	current.rows_locked += locked;
	current.batches++;
	pkpg_progress_rows((uint64) done, (uint64) failed, (uint64) locked);
}

void
pkpg_update_progress_end(void)
{
	current.pid = 0;
	pkpg_progress_end();
}

const PkpgUpdateProgress *
pkpg_update_progress(void)
{
	return current.pid != 0 ? &current : NULL;
}

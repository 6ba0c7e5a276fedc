/*
 * updateprogress.h
 *    How far the polyko_update of this session is.
 */
#ifndef PKPG_UPDATEPROGRESS_H
#define PKPG_UPDATEPROGRESS_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct PkpgUpdateProgress
{
	Oid         datid, relid;
	int         pid;
	int64       rows_done, rows_failed, rows_locked, batches; /* of batches that are committed */
	TimestampTz started_at;
} PkpgUpdateProgress;

extern void                      pkpg_update_progress_begin(Oid relid);
/* A batch was committed. */
extern void                      pkpg_update_progress_add(int64 done, int64 failed, int64 locked);
extern void                      pkpg_update_progress_end(void);
/* NULL: none runs. */
extern const PkpgUpdateProgress *pkpg_update_progress(void);

#endif

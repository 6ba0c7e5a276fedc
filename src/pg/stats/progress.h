/*
 * progress.h
 *    How far the long job of this backend is, for pg_stat_progress_polyko.
 *
 * One job a backend at a time. Nothing here fails or waits; without shared memory it does nothing.
 */
#ifndef PKPG_PROGRESS_H
#define PKPG_PROGRESS_H

#include "pg/shared.h"

extern void pkpg_progress_convert(const char *model);
extern void pkpg_progress_update(Oid relation);

extern void pkpg_progress_bytes(uint64 n_done, uint64 n_total);
/* A batch was committed. */
extern void pkpg_progress_rows(uint64 n_done, uint64 n_failed, uint64 n_locked);
extern void pkpg_progress_end(void);

#endif

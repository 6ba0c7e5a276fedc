/*
 * updatebatch.h
 *    One batch of polyko_update: keys, locks, the UPDATE, and rows that fail.
 */
#ifndef PKPG_UPDATEBATCH_H
#define PKPG_UPDATEBATCH_H

#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/palloc.h"
#include "utils/queryenvironment.h"

#include "pg/update/updatesql.h"

typedef struct PkpgUpdateJob
{
	const PkpgUpdateSpec *spec;
	MemoryContext         context; /* SPI's: lives across commits */
	MemoryContext         batch;   /* reset after each batch */
	char                 *relation;
	PkpgUpdateKey         key;
	Datum                 last[INDEX_MAX_KEYS]; /* the walk goes on after it */
	bool                  has_last;
	Datum                 bound[INDEX_MAX_KEYS]; /* and ends with it */
	bool                  has_bound;

	/* A relation of keys, for statements. Its rows live in batch. */
	TupleDesc                  keys_desc;
	EphemeralNamedRelationData keys;

	HTAB *moved; /* see movedkeys.h */

	int64 rows_done, rows_failed, rows_locked; /* of the batches that are committed */

	/* Of the batch. */
	PkpgUpdateSql sql;
	Datum       **rows; /* keys of the rows that are locked */
	int           n_rows;
	int           n_done, n_failed, n_locked;
} PkpgUpdateJob;

/* key is there; current context is the job's. */
extern void pkpg_update_begin(PkpgUpdateJob *job);
/* Raise what is wrong with the UPDATE: names, types, privileges. Needs sql, as the others do. */
extern void pkpg_update_check(PkpgUpdateJob *job);
/* Read bound; false if there are no rows. */
extern bool pkpg_update_find_bound(PkpgUpdateJob *job);
/* The next batch: how many keys were found. Fills the counters and moves last. */
extern int  pkpg_update_batch(PkpgUpdateJob *job);

#endif

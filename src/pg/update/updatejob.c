/*
 * updatejob.c
 *    polyko_update: walks a table by its key and updates it batch by batch.
 *
 * A batch is a transaction. Between two the table may change, so each looks again what it is; the
 * key must stay the one that the walk began with. The walk ends at the last key there was at its
 * beginning, each batch begins after the last key of the one before, and rows that their own update
 * moved ahead are left out: so no row is tried twice, whatever becomes of it, and the walk ends.
 *
 * Memory: the job's lives as long as SPI's connection, across commits; the batch's is reset.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "tcop/pquery.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "pg/stats/progress.h"
#include "pg/update/updatebatch.h"
#include "pg/update/updatejob.h"

static void       walk(PkpgUpdateJob *job);
static bool       prepare(PkpgUpdateJob *job);
static bool       run_batch(PkpgUpdateJob *job);
static void       commit(PkpgUpdateJob *job);
static Relation   open_target(const PkpgUpdateSpec *spec);
static void       check_kind(Relation rel);
static AttrNumber find_column(const PkpgUpdateSpec *spec, Relation rel);
static void       warn_of_children(Relation rel);
static void       say_result(const PkpgUpdateJob *job);
static void       error_context(void *arg);

void
pkpg_update_run(const PkpgUpdateSpec *spec)
{
	PkpgUpdateJob       *job = palloc0(sizeof(PkpgUpdateJob));
	ErrorContextCallback callback = {
		.previous = error_context_stack, .callback = error_context, .arg = job};

	job->spec = spec;
	job->context = CurrentMemoryContext;
	job->batch = AllocSetContextCreate(job->context, "polyko_update batch", ALLOCSET_DEFAULT_SIZES);
	pkpg_progress_update(spec->relid);
	PG_TRY();
	{
		error_context_stack = &callback; /* in here: PG_FINALLY() puts back what was before it */
		walk(job);
		error_context_stack = callback.previous;
		say_result(job);
	}
	PG_FINALLY();
	{
		pkpg_progress_end();
	}
	PG_END_TRY();
}

static void
walk(PkpgUpdateJob *job)
{
	bool has_more = prepare(job);

	while (has_more)
	{
		has_more = run_batch(job);
		commit(job);
	}
}

/* Says what is wrong with the statements before any row is touched. False: there are no rows. */
static bool
prepare(PkpgUpdateJob *job)
{
	Relation rel = open_target(job->spec);
	bool     has_rows;

	pkpg_update_key(rel, find_column(job->spec, rel), &job->key);
	job->relation = pkpg_relation_text(rel);
	warn_of_children(rel);
	pkpg_update_begin(job);
	MemoryContextSwitchTo(job->batch);
	pkpg_update_sql(job->spec, rel, &job->key, false, &job->sql);
	pkpg_update_check(job);
	has_rows = pkpg_update_find_bound(job);
	relation_close(rel, NoLock);
	MemoryContextSwitchTo(job->context);
	MemoryContextReset(job->batch);
	return has_rows;
}

/* False: it was the last. */
static bool
run_batch(PkpgUpdateJob *job)
{
	Relation      rel = open_target(job->spec);
	PkpgUpdateKey key;
	int           n_keys;

	MemoryContextSwitchTo(job->batch);
	pkpg_update_key(rel, find_column(job->spec, rel), &key);
	if (memcmp(&key, &job->key, sizeof(key)) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("the key of %s is another one now", job->relation),
		                errhint("Call polyko_update again: it goes on with the rows that are "
		                        "still due.")));
	pkpg_update_sql(job->spec, rel, &job->key, job->has_last, &job->sql);
	n_keys = pkpg_update_batch(job);
	relation_close(rel, NoLock);
	MemoryContextSwitchTo(job->context);
	MemoryContextReset(job->batch);
	return n_keys == job->spec->batch_rows;
}

static void
commit(PkpgUpdateJob *job)
{
	SPI_commit();
	job->rows_done += job->n_done;
	job->rows_failed += job->n_failed;
	job->rows_locked += job->n_locked;
	pkpg_progress_rows((uint64) job->n_done, (uint64) job->n_failed, (uint64) job->n_locked);
	EnsurePortalSnapshotExists();
}

/* The lock of an UPDATE, until the end of the transaction. */
static Relation
open_target(const PkpgUpdateSpec *spec)
{
	Relation rel = try_relation_open(spec->relid, RowExclusiveLock);

	if (rel == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
		                errmsg("there is no relation with OID %u", spec->relid),
		                errhint("Give the name of a table; it may have been dropped.")));
	check_kind(rel);
	return rel;
}

static void
check_kind(Relation rel)
{
	const char *name = RelationGetRelationName(rel);

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
	    rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
		        (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a table", name),
		         errdetail_relkind_not_supported(rel->rd_rel->relkind),
		         errhint("Only a table has the unique index to walk by. For a view, name the "
		                 "table that it shows.")));
	if (IsSystemRelation(rel))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		                errmsg("permission denied: \"%s\" is a system catalog", name),
		                errhint("polyko_update works on tables of users.")));
}

static AttrNumber
find_column(const PkpgUpdateSpec *spec, Relation rel)
{
	AttrNumber attnum = get_attnum(spec->relid, spec->set_column);

	if (attnum <= 0)
		ereport(ERROR,
		        (errcode(ERRCODE_UNDEFINED_COLUMN),
		         errmsg("table \"%s\" has no column \"%s\" to set", RelationGetRelationName(rel),
		                spec->set_column),
		         errhint("set_column is the name of one column, without quotes of its own.")));
	return attnum;
}

/* A key of a table says nothing about the rows of tables that inherit from it. */
static void
warn_of_children(Relation rel)
{
	int n = rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_rel->relhassubclass
	            ? list_length(find_inheritance_children(RelationGetRelid(rel), NoLock))
	            : 0;

	if (n > 0)
		ereport(NOTICE,
		        (errmsg_plural("%d table that inherits from \"%s\" is left out",
		                       "%d tables that inherit from \"%s\" are left out", (unsigned long) n,
		                       n, RelationGetRelationName(rel)),
		         errhint("Call polyko_update for each: a key doesn't reach into children.")));
}

static void
say_result(const PkpgUpdateJob *job)
{
	ereport(
		NOTICE,
		(errmsg("polyko_update: %lld done, %lld locked, %lld failed", (long long) job->rows_done,
	            (long long) job->rows_locked, (long long) job->rows_failed),
	     job->rows_failed > 0 ? errhint("polyko_update_errors says which failed, and why.") : 0));
}

static void
error_context(void *arg)
{
	const PkpgUpdateJob *job = arg;

	if (job->relation != NULL)
		errcontext("polyko_update of %s, rows done before, which stay: %lld", job->relation,
		           (long long) job->rows_done);
}

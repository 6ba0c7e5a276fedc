/*
 * updatebatch.c
 *    One batch of polyko_update: keys, locks, the UPDATE, and rows that fail.
 *
 * Where failures are recorded, the UPDATE runs in a subtransaction. If it fails, its rows are tried
 * in halves, down to the row: the others keep company in the batch node. Row locks are taken
 * before, and are kept.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#include "pg/update/movedkeys.h"
#include "pg/update/updatebatch.h"
#include "pg/update/updatefailure.h"

/* What is tried in a subtransaction: rows from to to (exclusive), or a row that was not taken. */
typedef struct Attempt
{
	PkpgUpdateJob *job;
	int            from, to;
	Datum         *key;
	bool           is_there; /* key's row is due and locked now */
} Attempt;

static TupleDesc  keys_desc(const PkpgUpdateKey *key);
static void       fill_keys(PkpgUpdateJob *job, Datum **rows, int n);
static void       end_keys(PkpgUpdateJob *job);
static void       execute(PkpgUpdateJob *job, const char *sql, const Datum *key, int expected);
static Datum     *read_key(const PkpgUpdateJob *job, uint64 row);
static void       copy_key(const PkpgUpdateKey *key, const Datum *from, Datum *to);
static void       move_last(PkpgUpdateJob *job, const Datum *key);
static int        take(PkpgUpdateJob *job);
static void       find(PkpgUpdateJob *job);
static void       find_and_lock(Attempt *attempt);
static void       walk(PkpgUpdateJob *job, const char *sql);
static void       retake(PkpgUpdateJob *job, Datum *key);
static void       retake_now(Attempt *attempt);
static void       update(PkpgUpdateJob *job);
static void       update_halves(PkpgUpdateJob *job, int from, int to);
static void       update_now(Attempt *attempt);
static void       remember_moved(PkpgUpdateJob *job);
static void       record(PkpgUpdateJob *job, const ErrorData *error);
static ErrorData *try_it(void (*what)(Attempt *), Attempt *attempt);

void
pkpg_update_begin(PkpgUpdateJob *job)
{
	job->keys_desc = keys_desc(&job->key);
	job->keys.md.name = PKPG_UPDATE_KEYS;
	job->keys.md.tupdesc = job->keys_desc;
	job->keys.md.enrtype = ENR_NAMED_TUPLESTORE;
	if (SPI_register_relation(&job->keys) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register \"%s\"", PKPG_UPDATE_KEYS);
}

static TupleDesc
keys_desc(const PkpgUpdateKey *key)
{
	TupleDesc desc = CreateTemplateTupleDesc(key->n);

	for (int i = 0; i < key->n; i++)
		TupleDescInitEntry(desc, (AttrNumber) (i + 1), psprintf("k%d", i + 1), key->columns[i].type,
		                   -1, 0);
	return desc;
}

/* The relation of keys has these rows now. */
static void
fill_keys(PkpgUpdateJob *job, Datum **rows, int n)
{
	bool no_nulls[INDEX_MAX_KEYS] = {false};

	end_keys(job);
	job->keys.reldata = tuplestore_begin_heap(true, false, work_mem);
	job->keys.md.enrtuples = n;
	for (int i = 0; i < n; i++)
		tuplestore_putvalues(job->keys.reldata, job->keys_desc, rows[i], no_nulls);
}

static void
end_keys(PkpgUpdateJob *job)
{
	if (job->keys.reldata != NULL)
		tuplestore_end(job->keys.reldata);
	job->keys.reldata = NULL;
}

/* $1.. is key (NULL: null); the result is in SPI_tuptable, the current context is batch. */
static void
execute(PkpgUpdateJob *job, const char *sql, const Datum *key, int expected)
{
	Oid   types[2 * INDEX_MAX_KEYS];
	Datum values[2 * INDEX_MAX_KEYS] = {0};
	char  nulls[2 * INDEX_MAX_KEYS] = {0};
	int   n = job->key.n;

	for (int i = 0; i < n; i++)
	{
		types[i] = types[n + i] = job->key.columns[i].type;
		values[i] = key != NULL ? key[i] : (Datum) 0;
		values[n + i] = job->bound[i];
		nulls[i] = key != NULL ? ' ' : 'n';
		nulls[n + i] = job->has_bound ? ' ' : 'n';
	}

	int result = SPI_execute_with_args(sql, 2 * n, types, values, nulls, false, 0);

	MemoryContextSwitchTo(job->batch);
	if (result != expected)
		elog(ERROR, "a statement of polyko_update ended with %s", SPI_result_code_string(result));
}

void
pkpg_update_check(PkpgUpdateJob *job)
{
	fill_keys(job, NULL, 0);
	job->keys.md.enrtuples = job->spec->batch_rows;
	execute(job, job->sql.explain, NULL, SPI_OK_UTILITY);
	SPI_freetuptable(SPI_tuptable);
	end_keys(job);
}

bool
pkpg_update_find_bound(PkpgUpdateJob *job)
{
	execute(job, job->sql.bound, NULL, SPI_OK_SELECT);
	job->has_bound = SPI_processed == 1;
	if (job->has_bound)
	{
		MemoryContextSwitchTo(job->context);
		copy_key(&job->key, read_key(job, 0), job->bound);
		MemoryContextSwitchTo(job->batch);
	}
	SPI_freetuptable(SPI_tuptable);
	return job->has_bound;
}

/* The key in the first columns of a row of SPI_tuptable, without pointers to other places. */
static Datum *
read_key(const PkpgUpdateJob *job, uint64 row)
{
	Datum *key = palloc_array(Datum, job->key.n);

	for (int i = 0; i < job->key.n; i++)
	{
		bool is_null;

		key[i] = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, i + 1, &is_null);
		if (is_null)
			elog(ERROR, "a key of \"%s\" is NULL", job->relation);
	}
	copy_key(&job->key, key, key);
	return key;
}

static void
copy_key(const PkpgUpdateKey *key, const Datum *from, Datum *to)
{
	for (int i = 0; i < key->n; i++)
	{
		const PkpgKeyColumn *column = &key->columns[i];

		to[i] = column->typlen == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(from[i]))
		                             : datumCopy(from[i], column->typbyval, column->typlen);
	}
}

static void
move_last(PkpgUpdateJob *job, const Datum *key)
{
	MemoryContext batch = MemoryContextSwitchTo(job->context);

	for (int i = 0; i < job->key.n && job->has_last; i++)
		if (!job->key.columns[i].typbyval)
			pfree(DatumGetPointer(job->last[i]));
	copy_key(&job->key, key, job->last);
	job->has_last = true;
	MemoryContextSwitchTo(batch);
}

int
pkpg_update_batch(PkpgUpdateJob *job)
{
	job->n_done = job->n_failed = job->n_locked = job->n_rows = 0;
	if (job->spec->records) /* what is deferred is to fail here, not in the commit */
		execute(job, "SET CONSTRAINTS ALL IMMEDIATE", NULL, SPI_OK_UTILITY);

	int n_keys = take(job);

	if (job->n_rows > 0)
		update(job);
	end_keys(job);
	return n_keys;
}

/* Find the next due rows and lock those that can be. */
static int
take(PkpgUpdateJob *job)
{
	find(job);

	SPITupleTable *found = SPI_tuptable;
	int            n_keys = (int) SPI_processed, n_skipped = 0;
	Datum        **skipped = palloc_array(Datum *, n_keys + 1);

	job->rows = palloc_array(Datum *, n_keys + 1);
	for (int i = 0; i < n_keys; i++)
	{
		Datum *key = read_key(job, (uint64) i);
		bool   was_skipped;

		(void) SPI_getbinval(found->vals[i], found->tupdesc, job->key.n + 1, &was_skipped);
		if (i == n_keys - 1)
			move_last(job, key);
		if (pkpg_moved_has(job->moved, &job->key, key))
			continue;
		if (was_skipped)
			skipped[n_skipped++] = key;
		else
			job->rows[job->n_rows++] = key;
	}
	SPI_freetuptable(found);
	for (int i = 0; i < n_skipped; i++)
		retake(job, skipped[i]);
	return n_keys;
}

/*
 * A row that another session moves to another partition at that moment can't be locked, and fails
 * all. Where failures are recorded the rows are then found without locks, and locked one by one.
 */
static void
find(PkpgUpdateJob *job)
{
	Attempt    attempt = {.job = job};
	ErrorData *error = NULL;

	if (!job->spec->records)
		walk(job, job->sql.take);
	else
		error = try_it(find_and_lock, &attempt);
	if (error == NULL)
		return;
	if (!pkpg_is_busy(error->sqlerrcode))
		ReThrowError(error);
	FreeErrorData(error);
	walk(job, job->sql.find);
}

static void
find_and_lock(Attempt *attempt)
{
	walk(attempt->job, attempt->job->sql.take);
}

/*
 * A walk along the index reads each row once, whatever is due. A sort looks cheaper where few rows
 * seem to be due, as in a table that was not analyzed, and reads all of them in each batch. (What a
 * setting forbids costs so much that it would be compiled.)
 */
static void
walk(PkpgUpdateJob *job, const char *sql)
{
	static const char *const off[] = {"enable_sort", "enable_incremental_sort", "jit"};
	int                      level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
		                         0, false);
	execute(job, sql, job->has_last ? job->last : NULL, SPI_OK_SELECT);
	AtEOXact_GUC(true, level);
}

/* Skipped may mean locked, changed meanwhile, or kept from us by a policy: only one counts. */
static void
retake(PkpgUpdateJob *job, Datum *key)
{
	Attempt    attempt = {.job = job, .key = key};
	ErrorData *error = try_it(retake_now, &attempt);

	if (error == NULL && attempt.is_there)
		job->rows[job->n_rows++] = key;
	else if (error != NULL && !pkpg_is_busy(error->sqlerrcode))
		ReThrowError(error);
	else if (error != NULL)
		job->n_locked++;
}

static void
retake_now(Attempt *attempt)
{
	execute(attempt->job, attempt->job->sql.retake, attempt->key, SPI_OK_SELECT);
	attempt->is_there = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
}

static void
update(PkpgUpdateJob *job)
{
	Attempt all = {.job = job, .from = 0, .to = job->n_rows};

	if (job->spec->records)
	{
		update_halves(job, 0, job->n_rows);
		return;
	}
	fill_keys(job, job->rows, job->n_rows);
	update_now(&all);
}

static void
update_halves(PkpgUpdateJob *job, int from, int to)
{
	Attempt attempt = {.job = job, .from = from, .to = to};
	int     middle = from + (to - from) / 2;

	fill_keys(job, job->rows + from, to - from);

	ErrorData *error = try_it(update_now, &attempt);

	if (error == NULL)
		return;
	if (!pkpg_is_busy(error->sqlerrcode) && !pkpg_is_of_row(error->sqlerrcode))
		ReThrowError(error);
	if (to - from > 1)
	{
		FreeErrorData(error);
		update_halves(job, from, middle);
		update_halves(job, middle, to);
	}
	else if (pkpg_is_busy(error->sqlerrcode))
		job->n_locked++;
	else
		record(job, error);
}

static void
update_now(Attempt *attempt)
{
	PkpgUpdateJob *job = attempt->job;

	execute(job, job->sql.update, job->last, SPI_OK_UPDATE_RETURNING);
	remember_moved(job);
	job->n_done += (int) SPI_processed;
	SPI_freetuptable(SPI_tuptable);
}

/* Rows that now stand ahead of the walk. */
static void
remember_moved(PkpgUpdateJob *job)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool is_null;

		if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, job->key.n + 1,
		                               &is_null)))
			pkpg_moved_add(&job->moved, job->context, &job->key, read_key(job, i));
	}
}

/* The only row of job->keys failed. */
static void
record(PkpgUpdateJob *job, const ErrorData *error)
{
	bool is_null;

	execute(job, job->sql.key_json, NULL, SPI_OK_SELECT);
	pkpg_record_failure(job->spec, job->relation,
	                    SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null),
	                    error);
	SPI_freetuptable(SPI_tuptable);
	job->n_failed++;
}

/* NULL, or the error that ended the subtransaction. */
static ErrorData *
try_it(void (*what)(Attempt *), Attempt *attempt)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		what(attempt);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

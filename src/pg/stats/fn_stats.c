/*
 * fn_stats.c
 *    The rows of the statistics views: copies of what lies in shared memory.
 *
 * Without shared_preload_libraries there is nothing to count in: the views are empty.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pg/guc.h"
#include "pg/shared.h"

PG_FUNCTION_INFO_V1(polyko_stat_counters);
PG_FUNCTION_INFO_V1(polyko_stat_engine);
PG_FUNCTION_INFO_V1(polyko_stat_models);
PG_FUNCTION_INFO_V1(polyko_stat_activity);
PG_FUNCTION_INFO_V1(polyko_stat_progress);
PG_FUNCTION_INFO_V1(polyko_stat_reset);

#define MAX_COLUMNS 16

/* A row being made: columns in order. */
typedef struct Row
{
	Datum values[MAX_COLUMNS];
	bool  nulls[MAX_COLUMNS];
	int   n;
} Row;

static PkpgShared *copy_shared(void);
static void        put(Row *row, Datum value);
static void        put_null(Row *row);
static void        put_number(Row *row, uint64 value);
static void        put_text(Row *row, const char *value);
static void        put_ms(Row *row, uint64 us);
static void        emit(FunctionCallInfo fcinfo, const Row *row);
static const char *phase_name(const PkActivity *activity);
static const char *kind_name(uint32 kind);

/* A consistent copy, so that the lock is not held while rows are made. NULL: nothing is shared. */
static PkpgShared *
copy_shared(void)
{
	Size        size;
	PkpgShared *copy;

	if (pkpg_shared == NULL)
		return NULL;
	size = offsetof(PkpgShared, backends) + (Size) pkpg_shared->n_backends * sizeof(PkpgBackend);
	copy = palloc(size);
	LWLockAcquire(pkpg_shared->lock, LW_SHARED);
	memcpy(copy, pkpg_shared, size);
	LWLockRelease(pkpg_shared->lock);
	return copy;
}

Datum
polyko_stat_counters(PG_FUNCTION_ARGS)
{
	PkpgShared *shared = copy_shared();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; shared != NULL && i < shared->n_counters; i++)
	{
		const PkpgCounter *counter = &shared->counters[i];
		const PkpgRun     *run = &counter->run;
		Row                row = {.n = 0};

		put(&row, ObjectIdGetDatum(counter->database));
		put_text(&row, counter->model);
		put(&row, ObjectIdGetDatum(counter->role));
		put_number(&row, counter->n_answered);
		put_number(&row, counter->n_cancelled);
		put_number(&row, counter->n_failed);
		put_number(&row, run->n_prompt);
		put_number(&row, run->n_generated);
		put_number(&row, run->n_reused);
		put_ms(&row, run->queue_us);
		put_ms(&row, run->run_us);
		put_number(&row, run->n_steps);
		put_number(&row, run->n_step_rows);
		put(&row, TimestampTzGetDatum(shared->reset_at));
		emit(fcinfo, &row);
	}
	return (Datum) 0;
}

Datum
polyko_stat_engine(PG_FUNCTION_ARGS)
{
	PkpgShared *shared = copy_shared();

	InitMaterializedSRF(fcinfo, 0);
	if (shared != NULL)
	{
		const PkpgEngineState *engine = &shared->engine;
		const PkStatusHead    *status = &shared->status;
		Row                    row = {.n = 0};
		uint64                 n_requests = 0;

		for (int i = 0; i < shared->n_backends; i++)
			n_requests += shared->backends[i].n_requests;
		engine->pid != 0 ? put(&row, Int32GetDatum(engine->pid)) : put_null(&row);
		put(&row, BoolGetDatum(engine->is_ready));
		engine->pid != 0 ? put(&row, TimestampTzGetDatum(engine->started_at)) : put_null(&row);
		put_number(&row, engine->n_starts);
		put_text(&row, engine->kernels);
		put(&row, Int32GetDatum((int32) status->n_sessions));
		put_number(&row, n_requests);
		put(&row, Int32GetDatum((int32) status->n_running));
		put(&row, Int32GetDatum((int32) status->n_waiting));
		put_number(&row, status->weight_bytes);
		put_number(&row, status->kv_max_bytes);
		put_number(&row, status->kv_used_bytes);
		put_number(&row, status->kv_cached_bytes);
		put_number(&row, status->workspace_bytes);
		put_number(&row, shared->n_uncounted);
		engine->problem[0] != '\0' ? put_text(&row, engine->problem) : put_null(&row);
		emit(fcinfo, &row);
	}
	return (Datum) 0;
}

Datum
polyko_stat_models(PG_FUNCTION_ARGS)
{
	PkpgShared *shared = copy_shared();

	InitMaterializedSRF(fcinfo, 0);
	for (uint32 i = 0; shared != NULL && i < shared->status.n_models; i++)
	{
		Row row = {.n = 0};

		put_text(&row, shared->models[i].name);
		put_number(&row, shared->models[i].bytes);
		put(&row, Int32GetDatum((int32) shared->models[i].n_requests));
		put_ms(&row, shared->models[i].load_us);
		emit(fcinfo, &row);
	}
	return (Datum) 0;
}

Datum
polyko_stat_activity(PG_FUNCTION_ARGS)
{
	PkpgShared *shared = copy_shared();

	InitMaterializedSRF(fcinfo, 0);
	for (uint32 i = 0; shared != NULL && i < shared->status.n_activities; i++)
	{
		const PkActivity *activity = &shared->activities[i];
		Row               row = {.n = 0};

		put(&row, Int32GetDatum(activity->pid));
		put(&row, ObjectIdGetDatum(activity->database));
		put(&row, ObjectIdGetDatum(activity->role));
		put_text(&row, activity->model);
		put_number(&row, activity->id);
		put_text(&row, kind_name(activity->kind));
		put_text(&row, phase_name(activity));
		put(&row, Int32GetDatum((int32) activity->n_prompt));
		put(&row, Int32GetDatum((int32) activity->n_cached));
		put(&row, Int32GetDatum((int32) activity->n_generated));
		put(&row, Int32GetDatum((int32) activity->max_tokens));
		put_ms(&row, activity->age_us +
		                 (uint64) (GetCurrentTimestamp() - shared->status_at)); /* of the report */
		emit(fcinfo, &row);
	}
	return (Datum) 0;
}

Datum
polyko_stat_progress(PG_FUNCTION_ARGS)
{
	PkpgShared *shared = copy_shared();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; shared != NULL && i < shared->n_backends; i++)
	{
		const PkpgProgress *progress = &shared->backends[i].progress;
		Row                 row = {.n = 0};

		if (progress->job == PKPG_NO_JOB)
			continue;
		put(&row, Int32GetDatum(progress->pid));
		put(&row, ObjectIdGetDatum(progress->database));
		put_text(&row, progress->job == PKPG_CONVERT ? "convert" : "update");
		progress->job == PKPG_CONVERT ? put_text(&row, progress->model) : put_null(&row);
		progress->job == PKPG_UPDATE ? put(&row, ObjectIdGetDatum(progress->relation))
									 : put_null(&row);
		put(&row, TimestampTzGetDatum(progress->started_at));
		put_number(&row, progress->n_done);
		progress->n_total > 0 ? put_number(&row, progress->n_total) : put_null(&row);
		put_number(&row, progress->n_failed);
		put_number(&row, progress->n_locked);
		put_number(&row, progress->n_batches);
		emit(fcinfo, &row);
	}
	return (Datum) 0;
}

Datum
polyko_stat_reset(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (pkpg_shared != NULL)
	{
		LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
		pkpg_shared->n_counters = 0;
		pkpg_shared->n_uncounted = 0;
		pkpg_shared->reset_at = GetCurrentTimestamp();
		LWLockRelease(pkpg_shared->lock);
	}
	PG_RETURN_VOID();
}

static const char *
phase_name(const PkActivity *activity)
{
	if (activity->is_paused)
		return "paused";
	switch ((PkPhase) activity->phase)
	{
		case PK_PHASE_PREFILL:
			return "prefill";
		case PK_PHASE_DECODE:
			return "decode";
		case PK_PHASE_WAITING:
		case PK_PHASE_ENDED:
			break;
	}
	return "waiting";
}

static const char *
kind_name(uint32 kind)
{
	return kind == PK_REQUEST_GENERATE ? "generate" : kind == PK_REQUEST_EMBED ? "embed" : "score";
}

static void
put(Row *row, Datum value)
{
	Assert(row->n < MAX_COLUMNS);
	row->values[row->n] = value;
	row->nulls[row->n++] = false;
}

static void
put_null(Row *row)
{
	put(row, (Datum) 0);
	row->nulls[row->n - 1] = true;
}

static void
put_number(Row *row, uint64 value)
{
	put(row, Int64GetDatum((int64) value));
}

static void
put_text(Row *row, const char *value)
{
	put(row, CStringGetTextDatum(value));
}

static void
put_ms(Row *row, uint64 us)
{
	put(row, Float8GetDatum((double) us / 1000));
}

static void
emit(FunctionCallInfo fcinfo, const Row *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	Assert(result->setDesc->natts == row->n);
	tuplestore_putvalues(result->setResult, result->setDesc, (Datum *) row->values,
	                     (bool *) row->nulls);
}

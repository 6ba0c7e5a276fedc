/*
 * builder.c
 *    The worker that converts a checkpoint, and the sessions that wait for it.
 *
 * The caller never converts itself while there is a worker slot, so a cancelled caller, or a short
 * statement_timeout, never keeps a model from loading.
 *
 * Shared: one DSM segment an order (PkpgOrder). The caller fills it before the worker starts; from
 * then on only the worker writes, result last (a barrier before it). The segment is pinned until
 * the worker has attached, so it outlives a caller that is cancelled at once.
 *
 * One builder an image: an advisory lock of database 0 (so all databases meet in it), keyed by
 * source key and quantization, is held by the worker as long as it builds. A second order finds
 * it taken and its caller only waits. The lock goes with its process, however that ends. The worker
 * is connected to no database.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "core/base/machine.h"
#include "core/base/mapfile.h"
#include "core/base/threads.h"
#include "core/model/convert.h"
#include "pg/builder.h"
#include "pg/guc.h"
#include "pg/imageparts.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"
#include "pg/stats/progress.h"

#define POLL_MS 40           /* a waiting session looks this often */
#define FIRST_NOTICE_MS 2000 /* quiet before; then a notice each NOTICE_MS */
#define NOTICE_MS 10000
#define LOCK_TRIES 10
#define LOCK_RETRY_US 2000
#define LOCK_CLASS 0x706b /* fourth field of the lock: not one of the user's advisory locks */

typedef enum BuildResult
{
	BUILD_PENDING = 0,
	BUILD_DONE,
	BUILD_BUSY, /* somebody else builds it */
	BUILD_FAILED
} BuildResult;

typedef struct PkpgOrder
{
	PkpgBuild        build;
	char             model[NAMEDATALEN];
	pg_atomic_uint32 is_taken; /* the worker has attached and unpinned it */
	pg_atomic_uint32 result;   /* BuildResult; all below is valid once it is not pending */
	PkError          error;
} PkpgOrder;

typedef struct Waiting
{
	const PkpgBuild *build;
	const char      *model;
	TimestampTz      began;
	long             next_notice_ms;
} Waiting;

static void        build_lock_tag(const PkpgBuild *build, LOCKTAG *tag);
static void        wait_for_builder(const PkpgBuild *build, const char *model);
static void        wait_a_little(Waiting *waiting);
static bool        read_progress(const PkpgBuild *build, uint64_t numbers[2]);
static bool        launch(PkpgOrder *order, dsm_segment *segment, BackgroundWorkerHandle **handle);
static BuildResult wait_for_worker(PkpgOrder *order, BackgroundWorkerHandle *handle,
                                   dsm_handle segment);
static void        worker_lost(const char *model) __attribute__((noreturn));
static bool        build_here(const PkpgBuild *build, const char *model);
static BuildResult run_build(const PkpgBuild *build, PkCancel *cancel, PkError *err);
static bool        take_build_lock(const LOCKTAG *tag);
static PkStatus    build_image(const PkpgBuild *build, PkCancel *cancel, PkError *err);
static bool        has_candidates(const PkpgBuild *build);
static PkStatus    convert(const PkpgBuild *build, const PkpgPart *part, PkCancel *cancel,
                           PkHash128 *fingerprint, PkError *err);
static PkStatus    publish(const PkpgBuild *build, const PkpgPart *part, PkHash128 fingerprint,
                           PkError *err);
static PkStatus    check_pin(const PkpgBuild *build, PkHash128 fingerprint, PkError *err);
static void        write_progress(void *arg, uint64_t done, uint64_t total);
static bool        worker_must_stop(void *arg);

bool
pkpg_build_order(const PkpgBuild *build, const char *model)
{
	if (pkpg_build_is_running(build))
	{
		wait_for_builder(build, model);
		return false;
	}

	dsm_segment            *segment = dsm_create(sizeof(PkpgOrder), 0);
	PkpgOrder              *order = dsm_segment_address(segment);
	BackgroundWorkerHandle *worker;

	memset(order, 0, sizeof(*order));
	order->build = *build;
	strlcpy(order->model, model, sizeof(order->model));
	pg_atomic_init_u32(&order->is_taken, false);
	pg_atomic_init_u32(&order->result, BUILD_PENDING);
	if (!launch(order, segment, &worker))
	{
		dsm_detach(segment);
		return build_here(build, model);
	}

	BuildResult result = wait_for_worker(order, worker, dsm_segment_handle(segment));
	PkError     error = order->error;

	dsm_detach(segment);
	pfree(worker);
	if (result == BUILD_BUSY)
		wait_for_builder(build, model);
	else if (result == BUILD_FAILED && error.status == PK_CANCELLED)
		worker_lost(model);
	else if (result == BUILD_FAILED)
		pkpg_raise(error.status, &error);
	return result == BUILD_DONE;
}

bool
pkpg_build_is_running(const PkpgBuild *build)
{
	LOCKTAG tag;

	build_lock_tag(build, &tag);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}

static void
build_lock_tag(const PkpgBuild *build, LOCKTAG *tag)
{
	uint32 halves[2];

	memcpy(halves, build->source_key.bytes, sizeof(halves));
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, halves[0], halves[1] ^ (uint32) build->quant,
	                     LOCK_CLASS);
}

/* Another session ordered it: wait until its builder is gone, whatever came of it. */
static void
wait_for_builder(const PkpgBuild *build, const char *model)
{
	Waiting waiting = {build, model, GetCurrentTimestamp(), FIRST_NOTICE_MS};

	while (pkpg_build_is_running(build))
		wait_a_little(&waiting);
}

static void
wait_a_little(Waiting *waiting)
{
	uint64_t numbers[2];
	long     waited_ms;

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS,
	                 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	waited_ms = TimestampDifferenceMilliseconds(waiting->began, GetCurrentTimestamp());
	if (waited_ms < waiting->next_notice_ms)
		return;
	waiting->next_notice_ms = waited_ms + NOTICE_MS;
	if (read_progress(waiting->build, numbers) && numbers[1] > 0)
		ereport(NOTICE,
		        (errmsg("model \"%s\" is being converted: %d %% after %ld s", waiting->model,
		                (int) (100 * numbers[0] / numbers[1]), waited_ms / 1000)));
	else
		ereport(NOTICE, (errmsg("model \"%s\" is being converted: %ld s", waiting->model,
		                        waited_ms / 1000)));
}

static bool
read_progress(const PkpgBuild *build, uint64_t numbers[2])
{
	char path[MAXPGPATH];

	pkpg_progress_path(build, path);

	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return false;

	bool is_read = pread(fd, numbers, 2 * sizeof(uint64_t), 0) == 2 * sizeof(uint64_t);

	close(fd);
	return is_read && numbers[0] <= numbers[1];
}

static bool
launch(PkpgOrder *order, dsm_segment *segment, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState; /* standbys build their own */
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	strlcpy(worker.bgw_library_name, "polyko", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "polyko_builder_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "polyko builder: %s", order->model);
	strlcpy(worker.bgw_type, "polyko builder", sizeof(worker.bgw_type));

	dsm_pin_segment(segment); /* the worker unpins it */
	if (RegisterDynamicBackgroundWorker(&worker, handle))
		return true;
	dsm_unpin_segment(dsm_segment_handle(segment));
	return false;
}

static void
worker_lost(const char *model)
{
	/* no row's doing, see pkpg_is_of_row() */
	ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
	                errmsg("the worker that converts model \"%s\" was stopped", model),
	                errhint("The server's log says why; run the statement again.")));
}

static BuildResult
wait_for_worker(PkpgOrder *order, BackgroundWorkerHandle *handle, dsm_handle segment)
{
	Waiting waiting = {&order->build, order->model, GetCurrentTimestamp(), FIRST_NOTICE_MS};

	for (;;)
	{
		pid_t           pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
		BuildResult     result = (BuildResult) pg_atomic_read_u32(&order->result);

		pg_read_barrier();
		if (result != BUILD_PENDING)
			return result;
		if (status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED)
		{
			if (!pg_atomic_read_u32(&order->is_taken))
				dsm_unpin_segment(segment); /* it never started */
			worker_lost(order->model);
		}
		wait_a_little(&waiting);
	}
}

/* All worker slots are taken. Returns as pkpg_build_order(). */
static bool
build_here(const PkpgBuild *build, const char *model)
{
	PkCancel cancel;
	PkError  error;

	ereport(
		NOTICE,
		(errmsg("no background worker is free: this session converts model \"%s\" itself", model),
	     errhint("Raise max_worker_processes to let conversions go on by themselves.")));
	pkpg_cancel_init(&cancel);
	pkpg_progress_convert(model);

	BuildResult result = run_build(build, &cancel, &error);

	pkpg_progress_end();
	if (result == BUILD_BUSY)
		wait_for_builder(build, model);
	else if (result == BUILD_FAILED)
		pkpg_raise(error.status, &error);
	return result == BUILD_DONE;
}

void
polyko_builder_main(Datum main_arg)
{
	PkCancel cancel = {.poll = worker_must_stop};
	PkError  error;

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	/* no database: but pg_stat_activity shows it and pg_terminate_backend() stops it */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "polyko builder");

	dsm_segment *segment = dsm_attach(DatumGetUInt32(main_arg));

	if (segment == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("polyko builder could not find its order")));

	PkpgOrder *order = dsm_segment_address(segment);

	pg_atomic_write_u32(&order->is_taken, true);
	dsm_unpin_segment(DatumGetUInt32(main_arg));

	TimestampTz began = GetCurrentTimestamp();

	pgstat_report_activity(STATE_RUNNING, psprintf("converting model %s to %s", order->model,
	                                               pk_quant_name(order->build.quant)));

	pkpg_progress_convert(order->model);

	BuildResult result = run_build(&order->build, &cancel, &error);

	pkpg_progress_end();
	if (result == BUILD_FAILED)
	{
		order->error = error;
		ereport(LOG, (errmsg("polyko could not convert model \"%s\": %s", order->model,
		                     pkpg_error_text(error.text))));
	}
	else if (result == BUILD_DONE)
		ereport(LOG,
		        (errmsg("polyko converted model \"%s\" to %s in %ld ms", order->model,
		                pk_quant_name(order->build.quant),
		                (long) TimestampDifferenceMilliseconds(began, GetCurrentTimestamp()))));
	pg_write_barrier();
	pg_atomic_write_u32(&order->result, result);
	dsm_detach(segment); /* the postmaster tells the caller when this process has ended */
}

static bool
worker_must_stop(void *arg)
{
	(void) arg;
	if (ProcSignalBarrierPending)
		ProcessProcSignalBarrier(); /* DROP DATABASE and others wait for all processes */
	return ShutdownRequestPending || !PostmasterIsAlive();
}

/*
 * False if somebody builds. A session that looks whether somebody does holds the lock for a moment:
 * that is waited out.
 */
static bool
take_build_lock(const LOCKTAG *tag)
{
	for (int i = 0; i < LOCK_TRIES; i++)
	{
		if (LockAcquire(tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL)
			return true;
		pg_usleep(LOCK_RETRY_US);
	}
	return false;
}

/* Under the build lock, which is released also when this fails. */
static BuildResult
run_build(const PkpgBuild *build, PkCancel *cancel, PkError *err)
{
	LOCKTAG   tag;
	PkHash128 fingerprint;
	PkStatus  status;
	char      path[MAXPGPATH];

	build_lock_tag(build, &tag);
	if (!take_build_lock(&tag))
		return BUILD_BUSY;
	err->text[0] = err->hint[0] = '\0';
	if (pkpg_sidecar_read(build, &fingerprint) && pkpg_image_exists(build, fingerprint))
		status = PK_OK; /* somebody was faster */
	else
		status = build_image(build, cancel, err);
	err->status = status;
	pkpg_progress_path(build, path);
	(void) unlink(path);
	LockRelease(&tag, ExclusiveLock, true);
	return status == PK_OK ? BUILD_DONE : BUILD_FAILED;
}

/*
 * A copied or touched checkpoint has an image already: where there are candidates, or a pin to
 * hold, the content is hashed before it is converted. What builders left that were killed goes
 * first, or a machine that is short of memory would fill its disk with parts.
 */
static PkStatus
build_image(const PkpgBuild *build, PkCancel *cancel, PkError *err)
{
	PkHash128 fingerprint;
	PkpgPart  part;

	PK_FORWARD(pkpg_image_dir_make(build, err));
	pkpg_parts_sweep(build);
	if (build->is_pinned || has_candidates(build))
	{
		PK_FORWARD(pk_fingerprint(build->source_dir, cancel, write_progress,
		                          (void *) (uintptr_t) build, &fingerprint, err));
		PK_FORWARD(check_pin(build, fingerprint, err));
		if (pkpg_image_exists(build, fingerprint))
			return pkpg_sidecar_write(build, fingerprint, err);
	}
	PK_FORWARD(pkpg_part_make(build, "part", &part, err));

	PkStatus status = convert(build, &part, cancel, &fingerprint, err);

	if (status == PK_OK)
		status = publish(build, &part, fingerprint, err);
	pkpg_part_end(&part);
	return status;
}

static PkStatus
check_pin(const PkpgBuild *build, PkHash128 fingerprint, PkError *err)
{
	char wanted[PK_HASH_HEX_LEN + 1], found[PK_HASH_HEX_LEN + 1];

	if (!build->is_pinned || pk_hash_equal(build->fingerprint, fingerprint))
		return PK_OK;
	pk_hash_to_hex(build->fingerprint, wanted);
	pk_hash_to_hex(fingerprint, found);
	pk_error(err, PK_BAD_FILE,
	         "the checkpoint in \"%s\" has fingerprint %s, but the server is pinned "
	         "to %s",
	         build->source_dir, found, wanted);
	return pk_error_hint(err, PK_BAD_FILE,
	                     "Restore the files, or set the option fingerprint anew if "
	                     "the change is wanted.");
}

/* True if there is an image of this quantization and layout, whatever its content. */
static bool
has_candidates(const PkpgBuild *build)
{
	char           ending[32];
	DIR           *dir = opendir(build->image_dir);
	struct dirent *entry;
	bool           is_found = false;

	snprintf(ending, sizeof(ending), "-%s-%d.img", pk_quant_name(build->quant),
	         PK_IMAGE_LAYOUT(build->quant));
	if (dir == NULL)
		return false;
	while (!is_found && (entry = readdir(dir)) != NULL)
	{
		size_t len = strlen(entry->d_name);

		is_found =
			len > strlen(ending) && strcmp(entry->d_name + len - strlen(ending), ending) == 0;
	}
	closedir(dir);
	return is_found;
}

static PkStatus
convert(const PkpgBuild *build, const PkpgPart *part, PkCancel *cancel, PkHash128 *fingerprint,
        PkError *err)
{
	PkPool *pool;

	PK_FORWARD(
		pk_pool_create(pkpg_threads > 0 ? (size_t) pkpg_threads : pk_n_processors(), &pool, err));

	PkConvert args = {
		.source_dir = build->source_dir,
		.quant = build->quant,
		.image_path = part->path,
		.is_made = true,
		.pool = pool,
		.cancel = cancel,
		.progress = write_progress,
		.progress_arg = (void *) (uintptr_t) build,
		.keep_free = true,
	};
	PkStatus status = pk_convert(&args, build->source_key, fingerprint, err);

	pk_pool_destroy(pool);
	return status;
}

/* The image gets its name, then the sidecar points to it. */
static PkStatus
publish(const PkpgBuild *build, const PkpgPart *part, PkHash128 fingerprint, PkError *err)
{
	char image[MAXPGPATH];

	pkpg_image_path(build, fingerprint, image);
	if (rename(part->path, image) != 0)
		return pk_error_errno(err, errno, "could not rename \"%s\"", part->path);

	int dir = open(build->image_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0)
	{
		(void) fsync(dir); /* a lost name costs only another conversion */
		close(dir);
	}
	return pkpg_sidecar_write(build, fingerprint, err);
}

/* Failure is of no account: waiting sessions then show no percentage. */
static void
write_progress(void *arg, uint64_t done, uint64_t total)
{
	const PkpgBuild *build = arg;
	uint64_t         numbers[2] = {done, total};
	char             path[MAXPGPATH];
	PkError          ignored;

	pkpg_progress_bytes(done, total);
	pkpg_progress_path(build, path);

	int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	(void) pk_file_write(fd, path, numbers, sizeof(numbers), 0, &ignored);
	close(fd);
}

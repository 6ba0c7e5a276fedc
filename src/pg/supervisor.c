/*
 * supervisor.c
 *    The background worker that starts the engine program and keeps it running.
 *
 * It has no threads and computes nothing. It holds the socket that sessions connect to, so that
 * these wait, not fail, while the program is started anew; the program inherits it. A crash of the
 * program is a message on a socket here: the server goes on.
 *
 * Shared memory: it alone writes PkpgShared's engine, status, models and activities.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "core/serve/message.h"
#include "pg/guc.h"
#include "pg/shared.h"
#include "pg/supervisor.h"

#define PROGRAM "polyko_engine"
#define CONTROL_FD 3 /* of the program */
#define LISTEN_FD 4
#define LOOK_MS 1000
#define MAX_PAUSE_MS 1000 /* between starts that fail */
#define STABLE_MS 10000   /* a program that ran for so long starts again at once */
/* Starts without a READY; then sessions are told, not kept waiting. */
#define TELL_AFTER_FAILURES 3

typedef struct Program
{
	pid_t       pid; /* 0: none */
	PkConn      conn;
	bool        is_ready;
	TimestampTz started_at;
	int         n_failures; /* starts in a row that came to nothing or ended soon */
	int         n_unready;  /* of these, without a READY */
	bool        is_other_version;
} Program;

static int     listen_fd = -1;
static Program program = {.conn = {.fd = -1}};

static void supervise(void);
static void leave(int code, Datum arg);
static void wake(SIGNAL_ARGS);
static void open_listener(void);
static void start_program(void);
static void become_program(int control_fd, const char *path) __attribute__((noreturn));
static bool send_config(void);
static void wait_for_something(void);
static long pause_ms(void);
static void take_messages(void);
static void take_message(const PkFrame *frame);
static void take_ready(const PkFrame *frame);
static void take_status(const PkFrame *frame);
static void tell_model(const PkFrame *frame, bool is_loaded);
static void tell_note(const PkFrame *frame);
static void program_ended(void);
static bool was_told_to_stop(int status);
static void describe_end(int status, char *out, size_t size);
static void stop_program(void);
static void note_engine(const char *problem);

void
pkpg_supervisor_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState; /* standbys serve, too */
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "polyko", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "polyko_supervisor_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "polyko supervisor", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "polyko supervisor", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

void
polyko_supervisor_main(Datum main_arg)
{
	(void) main_arg;
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN); /* there is no statement that pg_cancel_backend() could end */
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGCHLD, wake);
	BackgroundWorkerUnblockSignals();
	/* no database: but pg_stat_activity shows it */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(leave, (Datum) 0);
	open_listener();
	pgstat_report_appname("polyko supervisor");
	supervise();
}

static void
supervise(void)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending)
			proc_exit(1); /* with 0 it would not be started again */
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			if (program.pid != 0 && !send_config())
				program.conn.is_broken = true;
		}
		if (program.pid == 0 && pause_ms() == 0)
			start_program();
		wait_for_something();
		if (program.pid != 0)
			take_messages();
	}
}

static void
leave(int code, Datum arg)
{
	(void) code;
	(void) arg;
	/* first the door: who comes now waits for the next supervisor */
	if (listen_fd >= 0)
	{
		(void) unlink(PKPG_ENGINE_SOCKET);
		close(listen_fd);
	}
	stop_program();
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	memset(&pkpg_shared->status, 0, sizeof(pkpg_shared->status));
	pkpg_shared->engine.supervisor_pid = 0;
	pkpg_shared->engine.pid = 0;
	pkpg_shared->engine.is_ready = false;
	LWLockRelease(pkpg_shared->lock);
}

static void
wake(SIGNAL_ARGS)
{
	int saved_errno = errno;

	(void) postgres_signal_arg;
	SetLatch(MyLatch);
	errno = saved_errno;
}

/* The data directory is ours alone: a socket that lies there is left from before. */
static void
open_listener(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PKPG_ENGINE_SOCKET};
	mode_t             mask = umask(S_IRWXG | S_IRWXO);

	(void) unlink(PKPG_ENGINE_SOCKET);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
	    listen(listen_fd, SOMAXCONN) != 0)
		ereport(ERROR, (errcode_for_socket_access(),
		                errmsg("could not listen on socket \"%s\": %m", PKPG_ENGINE_SOCKET)));
	umask(mask);
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	pkpg_shared->engine.supervisor_pid = MyProcPid;
	pkpg_shared->engine.was_started = true;
	LWLockRelease(pkpg_shared->lock);
}

static void
start_program(void)
{
	char path[MAXPGPATH];
	int  ends[2];

	strlcpy(path, my_exec_path, sizeof(path));
	get_parent_directory(path);
	join_path_components(path, path, PROGRAM);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
		ereport(ERROR, (errcode_for_socket_access(), errmsg("could not create a socket: %m")));
	program.started_at = GetCurrentTimestamp();
	program.is_ready = program.is_other_version = false;
	program.pid = fork();
	if (program.pid == 0)
		become_program(ends[1], path);
	close(ends[1]);
	if (program.pid < 0)
	{
		close(ends[0]);
		program.pid = 0;
		ereport(ERROR, (errmsg("could not start the engine program of polyko: %m")));
	}
	pk_conn_init(&program.conn, ends[0]);
	if (!send_config())
		program.conn.is_broken = true;
	note_engine(NULL);
}

/* After fork(): nothing of the server is touched but descriptors, until the program replaces it. */
static void
become_program(int control_fd, const char *path)
{
	static const char failed[] = "polyko: could not execute polyko_engine\n";
	int               moved;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* out of the way of both places */
	moved = fcntl(control_fd, F_DUPFD, LISTEN_FD + 1);
	control_fd = moved;
	moved = fcntl(listen_fd, F_DUPFD, LISTEN_FD + 1);
	if (dup2(control_fd, CONTROL_FD) == CONTROL_FD && dup2(moved, LISTEN_FD) == LISTEN_FD)
	{
		closefrom(LISTEN_FD + 1);
		(void) execl(path, PROGRAM, (char *) NULL);
	}
	(void) !write(STDERR_FILENO, failed, sizeof(failed) - 1);
	_exit(127);
}

static bool
send_config(void)
{
	PkServeConfig config = {
		.kv_cache_bytes = pkpg_kv_cache_size_kb > 0 ? (uint64) pkpg_kv_cache_size_kb * 1024 : 0,
		.model_memory_bytes = (uint64) pkpg_model_memory_mb * 1024 * 1024,
		.n_threads = (uint32) pkpg_threads,
		.max_batch_tokens = (uint32) pkpg_max_batch_tokens,
		.nice = pkpg_engine_nice};

	strlcpy(config.kernels, pkpg_kernels, sizeof(config.kernels));
	if (pk_message_send(&program.conn, PK_MSG_CONFIG, &config, sizeof(config), NULL) != PK_OK)
		return false;
	pk_conn_send(&program.conn);
	return true;
}

static void
wait_for_something(void)
{
	int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;

	if (program.pid != 0)
	{
		events |= WL_SOCKET_READABLE;
		if (pk_conn_has_output(&program.conn))
			events |= WL_SOCKET_WRITEABLE;
		events = WaitLatchOrSocket(MyLatch, events, program.conn.fd, LOOK_MS, PG_WAIT_EXTENSION);
	}
	else
		events = WaitLatch(MyLatch, events, Max(pause_ms(), 1), PG_WAIT_EXTENSION);
	if ((events & WL_LATCH_SET) != 0)
		ResetLatch(MyLatch);
}

/* How long to wait until the program is started again; 0: now. */
static long
pause_ms(void)
{
	long pause, since;

	if (program.n_failures == 0)
		return 0;
	pause = Min(MAX_PAUSE_MS, 50L << Min(program.n_failures, 10));
	since = TimestampDifferenceMilliseconds(program.started_at, GetCurrentTimestamp());
	return since >= pause ? 0 : pause - since;
}

static void
take_messages(void)
{
	PkFrame frame;

	pk_conn_send(&program.conn);
	(void) pk_conn_receive(&program.conn, NULL);
	while (pk_conn_next(&program.conn, &frame))
		take_message(&frame);
	if (program.conn.is_broken)
		program_ended();
}

static void
take_message(const PkFrame *frame)
{
	switch (frame->type)
	{
		case PK_MSG_READY:
			take_ready(frame);
			break;
		case PK_MSG_LOADED:
		case PK_MSG_UNLOADED:
			tell_model(frame, frame->type == PK_MSG_LOADED);
			break;
		case PK_MSG_STATUS:
			take_status(frame);
			break;
		case PK_MSG_NOTE:
			tell_note(frame);
			break;
		default:
			program.conn.is_broken = true;
	}
}

static void
take_ready(const PkFrame *frame)
{
	PkReady ready;

	if (!pk_message_read(frame, &ready, sizeof(ready)) || ready.version != PK_SERVE_VERSION)
	{
		ereport(LOG, (errmsg("polyko_engine is of another version than the library"),
		              errhint("Restart the server after installing polyko anew.")));
		program.is_other_version = true;
		program.conn.is_broken = true;
		return;
	}
	program.is_ready = true;
	program.n_unready = 0;
	ready.kernels[sizeof(ready.kernels) - 1] = '\0';
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	strlcpy(pkpg_shared->engine.kernels, ready.kernels, sizeof(pkpg_shared->engine.kernels));
	pkpg_shared->engine.n_starts++;
	LWLockRelease(pkpg_shared->lock);
	note_engine("");
	ereport(LOG, (errmsg("polyko engine started (PID %d), kernels %s", (int) program.pid,
	                     ready.kernels)));
}

static void
take_status(const PkFrame *frame)
{
	PkStatusHead head;
	const char  *models, *activities;

	if (!pk_status_read(frame, &head, &models, &activities))
	{
		program.conn.is_broken = true;
		return;
	}
	head.n_models = Min(head.n_models, PKPG_MAX_MODELS);
	head.n_activities = Min(head.n_activities, PKPG_MAX_ACTIVITIES);
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	pkpg_shared->status = head;
	memcpy(pkpg_shared->models, models, head.n_models * sizeof(PkServedModelInfo));
	memcpy(pkpg_shared->activities, activities, head.n_activities * sizeof(PkActivity));
	for (uint32 i = 0; i < head.n_models; i++)
		pkpg_shared->models[i].name[PK_MODEL_NAME_SIZE - 1] = '\0';
	for (uint32 i = 0; i < head.n_activities; i++)
		pkpg_shared->activities[i].model[PK_MODEL_NAME_SIZE - 1] = '\0';
	pkpg_shared->status_at = GetCurrentTimestamp();
	LWLockRelease(pkpg_shared->lock);
}

static void
tell_model(const PkFrame *frame, bool is_loaded)
{
	PkServedModelInfo info;

	if (!pk_message_read(frame, &info, sizeof(info)))
	{
		program.conn.is_broken = true;
		return;
	}
	info.name[sizeof(info.name) - 1] = '\0';
	if (is_loaded)
		ereport(LOG, (errmsg("polyko engine loaded model \"%s\": %llu MB in %llu ms", info.name,
		                     (unsigned long long) (info.bytes >> 20),
		                     (unsigned long long) (info.load_us / 1000))));
	else
		ereport(LOG, (errmsg("polyko engine unloaded model \"%s\"", info.name)));
}

static void
tell_note(const PkFrame *frame)
{
	PkNote note;

	if (!pk_message_read(frame, &note, sizeof(note)))
	{
		program.conn.is_broken = true;
		return;
	}
	note.text[sizeof(note.text) - 1] = '\0';
	ereport(LOG, (errmsg("polyko engine (PID %d): %s", (int) program.pid, note.text)));
}

/* Its end of the connection is closed, or it is to be ended for what it sent. */
static void
program_ended(void)
{
	char how[128];
	int  status = 0;
	long ran_ms = TimestampDifferenceMilliseconds(program.started_at, GetCurrentTimestamp());

	(void) kill(program.pid, SIGKILL); /* it may only have closed its end */
	while (waitpid(program.pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (program.is_other_version)
		strlcpy(how, "is of another version than the library", sizeof(how));
	else
		describe_end(status, how, sizeof(how));
	if (was_told_to_stop(status))
		ereport(LOG, (errmsg("polyko engine (PID %d) stopped", (int) program.pid)));
	else
		ereport(LOG, (errmsg("polyko engine (PID %d) %s", (int) program.pid, how),
		              program.is_ready
		                  ? errdetail("Requests that it had have failed; it is started again.")
		                  : errdetail("It was never ready; it is tried again.")));
	close(program.conn.fd);
	pk_conn_free(&program.conn);
	pk_conn_init(&program.conn, -1);
	program.n_failures = program.is_ready && ran_ms >= STABLE_MS ? 0 : program.n_failures + 1;
	program.n_unready = program.is_ready ? 0 : program.n_unready + 1;
	program.pid = 0;
	program.is_ready = false;
	note_engine(program.n_unready >= TELL_AFTER_FAILURES ? how : NULL);
}

/*
 * The postmaster signals the supervisor and then its process group, to which the program belongs:
 * it may be gone before the supervisor comes to stopping it.
 */
static bool
was_told_to_stop(int status)
{
	return ShutdownRequestPending && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
}

static void
describe_end(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(out, size, "was ended by signal %d: %s", WTERMSIG(status),
		         pg_strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 127)
		snprintf(out, size, "could not be executed");
	else
		snprintf(out, size, "exited with code %d", WEXITSTATUS(status));
}

static void
stop_program(void)
{
	pid_t ended = 0;

	if (program.pid == 0)
		return;
	(void) kill(program.pid, SIGTERM);
	for (int i = 0; i < 100 && (ended = waitpid(program.pid, NULL, WNOHANG)) == 0; i++)
		pg_usleep(10000);
	if (ended == 0)
	{
		(void) kill(program.pid, SIGKILL);
		(void) waitpid(program.pid, NULL, 0);
	}
	ereport(LOG, (errmsg("polyko engine (PID %d) stopped", (int) program.pid)));
	program.pid = 0;
}

/* What others may know of the program; problem NULL: as before. */
static void
note_engine(const char *problem)
{
	LWLockAcquire(pkpg_shared->lock, LW_EXCLUSIVE);
	pkpg_shared->engine.pid = program.pid;
	pkpg_shared->engine.is_ready = program.is_ready;
	pkpg_shared->engine.started_at = program.started_at;
	if (problem != NULL)
		strlcpy(pkpg_shared->engine.problem, problem, sizeof(pkpg_shared->engine.problem));
	if (program.pid == 0)
		memset(&pkpg_shared->status, 0, sizeof(pkpg_shared->status));
	LWLockRelease(pkpg_shared->lock);
}

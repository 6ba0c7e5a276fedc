/*
 * server.c
 *    The loop: sockets, a step, answers; and giving memory back when nobody asks.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/serve/server_internal.h"

#define DEFAULT_KV_BYTES ((size_t) 2 << 30)
#define POLL_US 5000         /* within a step the sockets are looked at this often */
#define SHORT_STEP_US 150000 /* a shorter step is not given up */
#define REPORT_US 200000
#define GATHER_MS 1     /* nobody else asks at the same time if there is so long a silence */
#define GATHER_SHARE 16 /* of the step before: so long is waited at most */
#define IDLE_US ((uint64_t) 60 * 1000000) /* memory and models that nobody used are given back */

static PkStatus wait_for_input(PkServer *server, PkError *err);
static PkStatus list_sockets(PkServer *server, PkError *err);
static bool     may_accept(const PkServer *server);
static int      wait_ms(const PkServer *server);
static PkStatus take_control(PkServer *server, PkError *err);
static void     set_nice(int nice);
static PkStatus configure(PkServer *server, PkError *err);
static bool     is_same_engine(const PkServeConfig *a, const PkServeConfig *b);
static PkStatus make_engine(PkServer *server, PkError *err);
static void     accept_sessions(PkServer *server);
static void     receive_all(PkServer *server);
static void     compute(PkServer *server);
static void     gather(PkServer *server);
static bool     must_stop(void *arg);
static void     send_all(PkServer *server);
static void     keep_house(PkServer *server);
static void     report(PkServer *server, uint64_t now_us);

PkStatus
pk_server_create(int listen_fd, int control_fd, PkServer **out, PkError *err)
{
	void *room;

	PK_FORWARD(pk_calloc(1, sizeof(PkServer), &room, err));

	PkServer *server = room;

	server->listen_fd = listen_fd;
	pk_conn_init(&server->control, control_fd);
	pk_report_models_to(server);
	pk_sessions_open_spare(server);
	*out = server;
	return PK_OK;
}

void
pk_server_destroy(PkServer *server)
{
	if (server == NULL)
		return;
	pk_sessions_free(server);
	server->models.tell = NULL;
	(void) pk_served_models_expire(&server->models, UINT64_MAX);
	pk_engine_destroy(server->engine);
	pk_conn_free(&server->control);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	free(server->fds);
	free(server);
}

PkStatus
pk_server_run(PkServer *server, PkError *err)
{
	for (;;)
	{
		PK_FORWARD(wait_for_input(server, err));
		PK_FORWARD(take_control(server, err));
		if (server->control.is_broken)
			return PK_OK;
		if (!server->is_configured)
			continue;
		/* before requests are taken in: a session that asks all the time leaves no other moment */
		PK_FORWARD(configure(server, err));
		receive_all(server);
		accept_sessions(server);
		pk_sessions_drop_broken(server);
		pk_jobs_start_waiting(server);
		compute(server);
		keep_house(server);
		send_all(server);
		pk_sessions_drop_broken(server);
	}
}

static PkStatus
wait_for_input(PkServer *server, PkError *err)
{
	struct pollfd *fds;

	PK_FORWARD(list_sockets(server, err));
	fds = server->fds;
	if (poll(fds, 2 + server->n_sessions, wait_ms(server)) < 0 && errno != EINTR)
		return pk_error_errno(err, errno, "could not wait for sockets");
	return PK_OK;
}

/* The control connection, the listening socket, then the sessions in their order. */
static PkStatus
list_sockets(PkServer *server, PkError *err)
{
	void    *room = server->fds;
	PkStatus status =
		pk_grow(&room, &server->n_fds_room, 2 + server->n_sessions, sizeof(struct pollfd), err);

	server->fds = room;
	PK_FORWARD(status);

	struct pollfd *fd = server->fds;

	*fd++ =
		(struct pollfd){.fd = server->control.fd,
	                    .events = POLLIN | (pk_conn_has_output(&server->control) ? POLLOUT : 0)};
	*fd++ = (struct pollfd){.fd = may_accept(server) ? server->listen_fd : -1, .events = POLLIN};
	for (PkSession *session = server->sessions; session != NULL; session = session->next)
		*fd++ =
			(struct pollfd){.fd = session->conn.fd,
		                    .events = POLLIN | (pk_conn_has_output(&session->conn) ? POLLOUT : 0)};
	return PK_OK;
}

static bool
may_accept(const PkServer *server)
{
	return server->is_configured && pk_clock_us() >= server->accept_at_us;
}

/* 0 while there is something to compute, -1: nothing is to be done until somebody asks. */
static int
wait_ms(const PkServer *server)
{
	uint64_t now_us = pk_clock_us();

	if (server->engine != NULL && pk_engine_has_work(server->engine))
		return 0;
	if (server->n_jobs > 0 || server->is_report_due || now_us < server->accept_at_us)
		return REPORT_US / 1000;
	if (server->is_idle || !server->is_configured)
		return -1;
	return now_us - server->busy_us >= IDLE_US
	           ? 0
	           : (int) ((server->busy_us + IDLE_US - now_us) / 1000) + 1;
}

static PkStatus
take_control(PkServer *server, PkError *err)
{
	const struct pollfd *fds = server->fds;
	PkFrame              frame;

	if (fds[0].revents == 0)
		return PK_OK;
	if ((fds[0].revents & ~POLLOUT) != 0)
		PK_FORWARD(pk_conn_receive(&server->control, err));
	while (pk_conn_next(&server->control, &frame))
	{
		if (frame.type != PK_MSG_CONFIG ||
		    !pk_message_read(&frame, &server->config, sizeof(server->config)))
			return pk_error(err, PK_INTERNAL, "the supervisor sent message %u",
			                (unsigned) frame.type);
		server->config.kernels[sizeof(server->config.kernels) - 1] = '\0';
		server->models.max_bytes = server->config.model_memory_bytes;
		set_nice(server->config.nice);
		if (!server->is_configured)
		{
			PK_FORWARD(make_engine(server, err));
			server->is_configured = true;
		}
	}
	return PK_OK;
}

/* Linux has a niceness for each thread; new ones inherit it. To be less nice may be refused. */
static void
set_nice(int nice)
{
	DIR           *tasks = opendir("/proc/self/task");
	struct dirent *task;

	(void) setpriority(PRIO_PROCESS, 0, nice);
	while (tasks != NULL && (task = readdir(tasks)) != NULL)
		if (task->d_name[0] != '.')
			(void) setpriority(PRIO_PROCESS, (id_t) strtoul(task->d_name, NULL, 10), nice);
	if (tasks != NULL)
		closedir(tasks);
}

/* What the engine is made of changes when nothing runs. */
static PkStatus
configure(PkServer *server, PkError *err)
{
	if (server->n_jobs > 0 || is_same_engine(&server->config, &server->engine_config))
		return PK_OK;
	memcpy(server->config.kernels, server->engine_config.kernels, sizeof(server->config.kernels));
	return make_engine(server, err);
}

static bool
is_same_engine(const PkServeConfig *a, const PkServeConfig *b)
{
	return a->kv_cache_bytes == b->kv_cache_bytes && a->n_threads == b->n_threads &&
	       a->max_batch_tokens == b->max_batch_tokens;
}

static PkStatus
make_engine(PkServer *server, PkError *err)
{
	const PkServeConfig *config = &server->config;
	PkEngineConfig       wanted = {.n_threads = config->n_threads,
	                               .kv_cache_bytes = config->kv_cache_bytes > 0 ? config->kv_cache_bytes
	                                                                            : DEFAULT_KV_BYTES,
	                               .max_batch_tokens = config->max_batch_tokens,
	                               .kernels = config->kernels};
	PkReady              ready = {.version = PK_SERVE_VERSION};
	bool                 is_first = server->engine == NULL;

	pk_engine_destroy(server->engine);
	server->engine = NULL;
	PK_FORWARD(pk_engine_create(&wanted, &server->engine, err));
	server->engine_config = *config;
	if (!is_first)
		return PK_OK;
	strncpy(ready.kernels, pk_engine_kernels(server->engine), sizeof(ready.kernels) - 1);
	return pk_message_send(&server->control, PK_MSG_READY, &ready, sizeof(ready), err);
}

/* New ones stand in front of the list, so the places in fds are good no longer. */
static void
accept_sessions(PkServer *server)
{
	const struct pollfd *fds = server->fds;

	if ((fds[1].revents & POLLIN) != 0)
		pk_sessions_accept(server);
}

/* Called while fds has the sessions in their order. */
static void
receive_all(PkServer *server)
{
	const struct pollfd *fd = (struct pollfd *) server->fds + 2;

	for (PkSession *session = server->sessions; session != NULL; session = session->next, fd++)
	{
		if ((fd->revents & ~POLLOUT) != 0)
			(void) pk_conn_receive(&session->conn, NULL);
		pk_session_take_frames(server, session);
	}
}

static void
compute(PkServer *server)
{
	PkCancel cancel = {.poll = must_stop, .poll_arg = server};
	PkError  err = {0};
	PkStatus status;

	if (!pk_engine_has_work(server->engine))
		return;
	if (!server->is_at_work)
		gather(server);
	if (list_sockets(server, NULL) != PK_OK)
		return;
	server->is_idle = false;
	server->step_began_us = server->polled_us = pk_clock_us();
	status = pk_engine_step(server->engine, &cancel, &err);
	if (status == PK_OK)
		server->step_us = pk_clock_us() - server->step_began_us;
	pk_jobs_count_step(server);
	pk_jobs_deliver(server); /* also of a step that was not computed to its end */
	if (status != PK_OK && status != PK_CANCELLED && pk_jobs_fail_unreadable(server) == 0)
		pk_jobs_fail_youngest(server, &err);
	server->was_given_up = status == PK_CANCELLED;
	server->step_began_us = 0;
	server->busy_us = pk_clock_us();
	/* what must_stop() received: poll() does not tell of it again */
	for (PkSession *session = server->sessions; session != NULL; session = session->next)
		pk_session_take_frames(server, session);
	server->is_at_work = pk_engine_has_work(server->engine);
}

/*
 * Clients that were answered together ask together again, and a session sends the questions of many
 * rows one by one: a step for the first of them alone would let all others enter beside a running
 * sequence, in small chunks. So the first step after a pause waits for them, where steps are long.
 */
static void
gather(PkServer *server)
{
	uint64_t end_us = pk_clock_us() + server->step_us / GATHER_SHARE;
	size_t   n_known = 0;

	while (server->n_jobs + server->n_sessions > n_known &&
	       pk_clock_us() + GATHER_MS * 1000 <= end_us && list_sockets(server, NULL) == PK_OK)
	{
		struct pollfd *fds = server->fds;

		n_known = server->n_jobs + server->n_sessions;
		fds[0].fd = -1; /* the supervisor waits */
		if (poll(fds, 2 + server->n_sessions, GATHER_MS) <= 0)
			return;
		receive_all(server);
		accept_sessions(server);
	}
}

/*
 * Called between tiles of a step. What is received here is handled after the step. Not twice in a
 * row: sessions that leave all the time must not keep the others from going on.
 */
static bool
must_stop(void *arg)
{
	PkServer      *server = arg;
	struct pollfd *fds = server->fds, *fd = fds + 2;
	uint64_t       now_us = pk_clock_us();
	bool           is_dropped = false;

	if (server->was_given_up || now_us - server->polled_us < POLL_US)
		return false;
	server->polled_us = now_us;
	if (now_us - server->step_began_us < SHORT_STEP_US)
		return false;
	if (poll(fds, 2 + server->n_sessions, 0) <= 0)
		return false;
	for (PkSession *session = server->sessions; session != NULL; session = session->next, fd++)
	{
		if (session->n_jobs == 0)
			continue;
		if ((fd->revents & ~POLLOUT) != 0 && !session->conn.is_broken)
			(void) pk_conn_receive(&session->conn, NULL);
		is_dropped |= session->conn.is_broken || pk_session_drops(session);
	}
	return is_dropped;
}

static void
send_all(PkServer *server)
{
	pk_conn_send(&server->control);
	for (PkSession *session = server->sessions; session != NULL; session = session->next)
		pk_conn_send(&session->conn);
}

static void
keep_house(PkServer *server)
{
	uint64_t now_us = pk_clock_us();

	if (server->n_jobs > 0)
		server->busy_us = now_us;
	if (pk_served_models_expire(&server->models, now_us > IDLE_US ? now_us - IDLE_US : 0) > 0)
		server->is_report_due = true;
	if (pk_served_models_shrink(&server->models) > 0)
		server->is_report_due = true;
	if (server->n_jobs == 0 && !server->is_idle && now_us - server->busy_us >= IDLE_US)
	{
		pk_engine_idle(server->engine);
		server->is_idle = server->is_report_due = true;
	}
	report(server, now_us);
}

/*
 * Now and then while something changes, and once more when nothing does. Not at each end of a
 * request: sessions with short ones would flood the supervisor, and always be seen at rest.
 */
static void
report(PkServer *server, uint64_t now_us)
{
	server->is_report_due |= server->n_jobs > 0 || server->was_busy;
	server->was_busy = server->n_jobs > 0;
	if (!server->is_report_due || now_us - server->reported_us < REPORT_US)
		return;
	if (pk_conn_has_output(&server->control))
		pk_conn_send(&server->control);
	if (pk_conn_has_output(&server->control))
		return; /* the supervisor is slow: it gets the next one */
	pk_report_status(server);
	server->reported_us = now_us;
	server->is_report_due = false;
}

/*
 * sessions.c
 *    Connections of sessions: accepted, and closed.
 *
 * A session keeps its connection while it asks nothing, so descriptors may run out. Then the
 * connection goes that was idle for the longest time; its session connects anew when it asks again.
 * A socket that is listened on and not accepted from would keep poll() from waiting, and who
 * connects would wait for ever: so one descriptor is kept to accept with and refuse, if need be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/serve/server_internal.h"

#define PAUSE_US ((uint64_t) 200 * 1000) /* when nothing can be accepted at all */
#define TELL_EVERY_US ((uint64_t) 600 * 1000000)

static int         accept_one(const PkServer *server);
static bool        accept_with_spare(PkServer *server);
static void        tell_crowded(PkServer *server);
static void        refuse(int fd);
static bool        close_idlest(PkServer *server);
static bool        is_idle(const PkSession *session);
static bool        is_ours(int fd);
static void        session_add(PkServer *server, int fd);
static PkSession **link_to(PkServer *server, const PkSession *session);
static void        session_free(PkServer *server, PkSession **link);

void
pk_sessions_open_spare(PkServer *server)
{
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void
pk_sessions_accept(PkServer *server)
{
	bool is_more = true;

	while (is_more)
	{
		int fd = accept_one(server);

		if (fd >= 0)
			session_add(server, fd);
		else if (errno == EMFILE || errno == ENFILE)
			is_more = accept_with_spare(server);
		else
		{
			if (errno == ENOBUFS || errno == ENOMEM)
				server->accept_at_us = pk_clock_us() + PAUSE_US;
			is_more = errno == EINTR || errno == ECONNABORTED;
		}
	}
}

static int
accept_one(const PkServer *server)
{
	return accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* False if nobody is there after all: accept4() fails for want of a descriptor also then. */
static bool
accept_with_spare(PkServer *server)
{
	int fd;

	if (server->spare_fd >= 0)
		close(server->spare_fd);
	fd = accept_one(server);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		server->accept_at_us = pk_clock_us() + PAUSE_US;
	if (fd >= 0)
	{
		tell_crowded(server);
		if (close_idlest(server))
			session_add(server, fd);
		else
			refuse(fd);
	}
	pk_sessions_open_spare(server);
	return fd >= 0;
}

static void
tell_crowded(PkServer *server)
{
	uint64_t now_us = pk_clock_us();

	if (server->told_crowded_us != 0 && now_us - server->told_crowded_us < TELL_EVERY_US)
		return;
	server->told_crowded_us = now_us;
	pk_report_note(server,
	               "no file descriptor is left: connections of idle sessions are closed, or "
	               "new ones refused; raise the limit of open files");
}

/* What the other side asks is not read; what it is told stays in its socket. */
static void
refuse(int fd)
{
	PkConn  conn;
	PkError failure;

	(void) pk_error(&failure, PK_NO_MEMORY,
	                "the engine program of polyko has no file descriptor for another session");
	(void) pk_error_hint(
		&failure, PK_NO_MEMORY,
		"Raise the limit of open files of the server (LimitNOFILE of its service).");
	pk_conn_init(&conn, fd);
	if (pk_failed_send(&conn, PK_ALL_REQUESTS, &failure, NULL) == PK_OK)
		pk_conn_send(&conn);
	pk_conn_free(&conn);
	close(fd);
}

/* False if all have something to do. */
static bool
close_idlest(PkServer *server)
{
	PkSession *idlest = NULL;

	for (PkSession *session = server->sessions; session != NULL; session = session->next)
		if ((idlest == NULL || session->used_us < idlest->used_us) && is_idle(session))
			idlest = session;
	if (idlest == NULL)
		return false;
	session_free(server, link_to(server, idlest));
	return true;
}

/* Who has not said HELLO yet is about to ask. */
static bool
is_idle(const PkSession *session)
{
	const PkConn *conn = &session->conn;
	char          byte;

	return session->n_jobs == 0 && session->hello.version != 0 && !pk_conn_has_output(conn) &&
	       conn->in.end == conn->in.begin && conn->n_skip == 0 &&
	       recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

static PkSession **
link_to(PkServer *server, const PkSession *session)
{
	PkSession **link = &server->sessions;

	while (*link != session)
		link = &(*link)->next;
	return link;
}

/* A process of the account that runs the server. */
static bool
is_ours(int fd)
{
	struct ucred peer;
	socklen_t    size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static void
session_add(PkServer *server, int fd)
{
	void *room;

	if (!is_ours(fd) || pk_calloc(1, sizeof(PkSession), &room, NULL) != PK_OK)
	{
		close(fd);
		return;
	}

	PkSession *session = room;

	pk_conn_init(&session->conn, fd);
	session->number = ++server->n_sessions_ever;
	session->used_us = pk_clock_us();
	session->next = server->sessions;
	server->sessions = session;
	server->n_sessions++;
	server->is_report_due = true;
}

void
pk_sessions_drop_broken(PkServer *server)
{
	for (PkSession **link = &server->sessions; *link != NULL;)
	{
		const PkConn *conn = &(*link)->conn;

		if (conn->is_starved)
			pk_report_note(server, "no memory to receive or to answer what a session asks: its "
			                       "connection is closed, its requests fail");
		if (conn->is_broken)
			session_free(server, link);
		else
			link = &(*link)->next;
	}
}

void
pk_sessions_free(PkServer *server)
{
	while (server->sessions != NULL)
		session_free(server, &server->sessions);
}

static void
session_free(PkServer *server, PkSession **link)
{
	PkSession *session = *link;

	*link = session->next;
	pk_jobs_free(server, session);
	close(session->conn.fd);
	pk_conn_free(&session->conn);
	free(session);
	server->n_sessions--;
	server->is_report_due = true;
}

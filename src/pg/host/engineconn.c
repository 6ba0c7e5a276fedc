/*
 * engineconn.c
 *    From a session to the socket on which the engine program listens.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"

#include "pg/compat.h"
#include "pg/host/engineconn.h"
#include "pg/pg_error.h"
#include "pg/shared.h"

#define CONNECT_MS 3000 /* a supervisor that was ended comes back within a second */
#define CONNECT_EVERY_MS 10

static int  open_socket(void);
static bool may_come(int error);

void
pkpg_engine_connect(PkConn *conn)
{
	PkHello hello = {.version = PK_SERVE_VERSION, .pid = MyProcPid, .database = MyDatabaseId};
	PkError err = {0};

	pkpg_engine_check_startable();

	int fd = open_socket();

	for (int i = 0; fd < 0 && may_come(errno) && i < CONNECT_MS / CONNECT_EVERY_MS; i++)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, CONNECT_EVERY_MS,
		                 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		fd = open_socket();
	}
	if (fd < 0 && errno == EMFILE)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
		                errmsg("no file descriptor is left for the engine program of polyko"),
		                errhint("Raise max_files_per_process.")));
	if (fd < 0)
		ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
		                errmsg("could not connect to the engine program of polyko: %m"),
		                errhint("The server's log says why it is not there.")));
	pk_conn_init(conn, fd);
	pkpg_check(pk_message_send(conn, PK_MSG_HELLO, &hello, sizeof(hello), &err), &err);
}

/*
 * The supervisor listens as long as it lives, so this succeeds at once also while the program is
 * being started. -1 with errno; never waits.
 */
static int
open_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int                fd, saved_errno;

	if (!AcquireExternalFD())
	{
		errno = EMFILE;
		return -1;
	}
	/* by its full name where that fits: a function may have changed the directory */
	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", DataDir,
	             PKPG_ENGINE_SOCKET) >= (int) sizeof(address.sun_path))
		strlcpy(address.sun_path, PKPG_ENGINE_SOCKET, sizeof(address.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0)
		return fd;
	saved_errno = errno;
	if (fd >= 0)
		close(fd);
	ReleaseExternalFD();
	errno = saved_errno;
	return -1;
}

/* The queue of connections is full, or the supervisor is being started anew. */
static bool
may_come(int error)
{
	return error == EAGAIN || error == EINTR || error == ECONNREFUSED || error == ENOENT;
}

void
pkpg_engine_check_startable(void)
{
	char problem[sizeof(pkpg_shared->engine.problem)];

	LWLockAcquire(pkpg_shared->lock, LW_SHARED);
	strlcpy(problem, pkpg_shared->engine.problem, sizeof(problem));
	LWLockRelease(pkpg_shared->lock);
	if (problem[0] != '\0')
		ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
		                errmsg("the engine program of polyko does not start: it %s", problem),
		                errhint("The server's log says more. It is tried again and again.")));
}

void
pkpg_engine_disconnect(PkConn *conn)
{
	close(conn->fd);
	ReleaseExternalFD();
	pk_conn_free(conn);
	pk_conn_init(conn, -1);
}

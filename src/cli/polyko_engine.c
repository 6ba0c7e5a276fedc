/*
 * polyko_engine.c
 *    The computing program: core/serve with a main. The supervisor inside PostgreSQL starts it.
 *
 * Descriptor 3 is the connection to the supervisor, 4 the socket that sessions connect to. The
 * program ends with the supervisor. It writes to stderr only when it can't go on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/serve/server.h"

#define CONTROL_FD 3
#define LISTEN_FD 4
/* When memory runs out this process goes before any of the server's. */
#define OOM_SCORE "800"

static bool is_socket(int fd);
static void settle(void);
static void set_signals(void);
static void leave(int signal_number);
static void volunteer_for_oom(void);
static void allow_many_files(void);

int
main(int argc, char **argv)
{
	PkServer *server;
	PkError   err = {0};
	PkStatus  status;

	(void) argv;
	if (argc > 1 || !is_socket(CONTROL_FD) || !is_socket(LISTEN_FD))
	{
		fprintf(stderr, "polyko_engine computes for a PostgreSQL server that has polyko in "
		                "shared_preload_libraries; the server starts it.\n");
		return 2;
	}
	settle();
	status = pk_server_create(LISTEN_FD, CONTROL_FD, &server, &err);
	if (status == PK_OK)
	{
		status = pk_server_run(server, &err);
		pk_server_destroy(server);
	}
	if (status == PK_OK)
		return 0;
	fprintf(stderr, "polyko_engine: %s\n", err.text);
	return 1;
}

static bool
is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void
settle(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	set_signals();
	volunteer_for_oom();
	allow_many_files();
	for (int fd = CONTROL_FD; fd <= LISTEN_FD; fd++)
	{
		(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
		(void) fcntl(fd, F_SETFL, O_NONBLOCK);
	}
}

/* It shares the supervisor's process group: what is meant for that, but the end, is ignored. */
static void
set_signals(void)
{
	static const int ignored[] = {SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM};
	sigset_t         none;

	for (size_t i = 0; i < PK_LENGTH(ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	signal(SIGQUIT, leave); /* by default it would leave a core file */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
leave(int signal_number)
{
	(void) signal_number;
	_exit(0);
}

static void
volunteer_for_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void) !write(fd, OOM_SCORE, strlen(OOM_SCORE));
	close(fd);
}

/* One for each session. */
static void
allow_many_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
}

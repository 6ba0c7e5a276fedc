/*
 * server.h
 *    The computing program's work: requests of many sessions in one batch.
 *
 * One thread does all: it takes what sessions ask, computes a step of everything that runs, and
 * sends what came of it. While a long step is computed it looks at the sockets now and then; when a
 * request in it was dropped, or its session has gone, the step is given up.
 *
 * A session that is too slow to read its stream is paused, not waited for. A connection that breaks
 * takes its requests with it: keys and values are free at once.
 */
#ifndef PK_SERVER_H
#define PK_SERVER_H

#include "core/base/status.h"

typedef struct PkServer PkServer;

/*
 * listen_fd: a listening stream socket that sessions connect to. control_fd: a connected one to who
 * started this; its end ends the server. Both stay the caller's.
 */
PkStatus pk_server_create(int listen_fd, int control_fd, PkServer **out, PkError *err);
void     pk_server_destroy(PkServer *server);

/* Serve until the control connection ends (PK_OK) or nothing more can be done. */
PkStatus pk_server_run(PkServer *server, PkError *err);

#endif

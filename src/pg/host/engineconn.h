/*
 * engineconn.h
 *    A session's connection to the engine program.
 */
#ifndef PKPG_ENGINECONN_H
#define PKPG_ENGINECONN_H

#include "core/serve/message.h"

/*
 * Connect and greet; waits while the supervisor is being started. 57P03 when the engine program
 * can't be started or reached, 53000 when no file descriptor is left.
 */
extern void pkpg_engine_connect(PkConn *conn);
extern void pkpg_engine_disconnect(PkConn *conn);

/*
 * What the supervisor says of an engine that does not come up. Not 58000, as for an engine that was
 * lost: that may be the doing of one row, this is none's (see pkpg_is_of_row()).
 */
extern void pkpg_engine_check_startable(void);

#endif

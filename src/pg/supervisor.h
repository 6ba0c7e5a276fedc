/*
 * supervisor.h
 *    The background worker that starts the engine program and keeps it running.
 */
#ifndef PKPG_SUPERVISOR_H
#define PKPG_SUPERVISOR_H

#include "postgres.h"

#include "pg/compat.h"

/* In _PG_init, while libraries are preloaded. */
extern void pkpg_supervisor_register(void);

PKPG_EXPORT extern void polyko_supervisor_main(Datum main_arg);

#endif

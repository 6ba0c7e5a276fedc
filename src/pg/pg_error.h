/*
 * pg_error.h
 *    PkStatus to SQLSTATE: the only place that knows which is which.
 */
#ifndef PKPG_PG_ERROR_H
#define PKPG_PG_ERROR_H

#include "postgres.h"

#include "core/base/status.h"

/* SQLSTATE of a failure (as errcode() takes it). */
extern int pkpg_sqlstate(PkStatus status);

/*
 * Raise what core reported; never returns. PK_CANCELLED first serves the interrupt that caused it,
 * so the user sees PostgreSQL's own message (57014, or the end of the session).
 */
extern void pkpg_raise(PkStatus status, const PkError *error) __attribute__((noreturn));

/*
 * A message of core as text of this database, palloc'd: in databases of other encodings, and where
 * a file name is no UTF-8, what is not ASCII becomes '?'.
 */
extern char *pkpg_error_text(const char *text);

/* Raise unless status is PK_OK. */
static inline void
pkpg_check(PkStatus status, const PkError *error)
{
	if (unlikely(status != PK_OK))
		pkpg_raise(status, error);
}

#endif

/*
 * updatefailure.h
 *    Errors of rows: which are, what may be said of them, and the table polyko_update_errors.
 */
#ifndef PKPG_UPDATEFAILURE_H
#define PKPG_UPDATEFAILURE_H

#include "postgres.h"

#include "pg/update/updatesql.h"

/* Another transaction has the row, or had it when it mattered: a later call can do it. */
extern bool pkpg_is_busy(int sqlstate);
/* The error is that of a row, not of the statement, the server or the session. */
extern bool pkpg_is_of_row(int sqlstate);
/* Write a row into polyko_update_errors, as its owner; relation is the table's name, key a jsonb.
 */
extern void pkpg_record_failure(const PkpgUpdateSpec *spec, const char *relation, Datum key,
                                const ErrorData *error);

#endif

/*
 * compat.h
 *    What differs between PostgreSQL 15, 16, 17 and 18, each with the upstream change.
 */
#ifndef PKPG_COMPAT_H
#define PKPG_COMPAT_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "polyko needs PostgreSQL 15 or later"
#endif

/* c727f511bd (16): one object_aclcheck() for all kinds of object. */
static inline AclResult
pkpg_server_aclcheck(Oid server, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, server, role, mode);
#else
	return pg_foreign_server_aclcheck(server, role, mode);
#endif
}

static inline AclResult
pkpg_function_aclcheck(Oid function, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, role, mode);
#else
	return pg_proc_aclcheck(function, role, mode);
#endif
}

/* 3eea7a0c97 (18): ExecutorRun lost its parameter execute_once. */
#if PG_VERSION_NUM >= 180000
#define PKPG_EXECUTE_ONCE_PARAM
#define PKPG_EXECUTE_ONCE
#else
#define PKPG_EXECUTE_ONCE_PARAM , bool execute_once
#define PKPG_EXECUTE_ONCE , execute_once
#endif

/* ab355e3a88 (17): PGPROC has the whole virtual transaction id. */
static inline LocalTransactionId
pkpg_local_transaction(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/* This backend among MaxBackends, from 0. ab355e3a88 (17): the number of its PGPROC. */
static inline int
pkpg_my_number(void)
{
#if PG_VERSION_NUM >= 170000
	return (int) MyProcNumber;
#else
	return (int) MyBackendId - 1;
#endif
}

/* c9af054653 (17): wait events of extensions have names. */
static inline uint32
pkpg_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* a379061a22 (18): a NOT NULL constraint may be NOT VALID, and attnotnull is set all the same. */
static inline bool
pkpg_is_not_null(TupleDesc desc, AttrNumber attnum)
{
#if PG_VERSION_NUM >= 180000
	return TupleDescCompactAttr(desc, attnum - 1)->attnullability == ATTNULLABLE_VALID;
#else
	return TupleDescAttr(desc, attnum - 1)->attnotnull;
#endif
}

/* Exported from the library; PostgreSQL 16 hides everything else (089480c077), 15 hides nothing. */
#if PG_VERSION_NUM >= 160000
#define PKPG_EXPORT PGDLLEXPORT
#else
#define PKPG_EXPORT __attribute__((visibility("default")))
#endif

#endif

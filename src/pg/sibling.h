/*
 * sibling.h
 *    Functions and tables of polyko that one of its functions uses: those of its own schema.
 */
#ifndef PKPG_SIBLING_H
#define PKPG_SIBLING_H

#include "postgres.h"

/* The schema of function, which is ours. Raises 42883 if polyko was dropped while it runs. */
extern char *pkpg_schema_of(Oid function);

/* A function beside another one, and what it is called with. */
typedef struct PkpgSibling
{
	const char          *name;
	int                  n_args;
	const Oid           *types;
	const NullableDatum *args;
} PkpgSibling;

/* Its result. Privileges are not checked: only what is not granted to anybody is called so. */
extern Datum pkpg_call_sibling(Oid function, const PkpgSibling *sibling);

#endif

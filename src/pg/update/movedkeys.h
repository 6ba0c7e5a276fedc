/*
 * movedkeys.h
 *    Keys that rows got from their own update, ahead of the walk: they are not to be tried again.
 */
#ifndef PKPG_MOVEDKEYS_H
#define PKPG_MOVEDKEYS_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "pg/update/updatekey.h"

/* A set that begins as NULL and belongs to context. Keys are whole: not toasted. */
extern void pkpg_moved_add(HTAB **moved, MemoryContext context, const PkpgUpdateKey *key,
                           const Datum *values);
extern bool pkpg_moved_has(HTAB *moved, const PkpgUpdateKey *key, const Datum *values);

#endif

/*
 * movedkeys.c
 *    Keys that rows got from their own update, ahead of the walk: they are not to be tried again.
 *
 * Of each only a hash of 128 bits is kept, some 40 bytes with all that belongs to it. Usually there
 * are none: a job sets a column that is no key.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/datum.h"

#include "core/base/hash.h"
#include "pg/update/movedkeys.h"

static PkHash128 hash_key(const PkpgUpdateKey *key, const Datum *values);

void
pkpg_moved_add(HTAB **moved, MemoryContext context, const PkpgUpdateKey *key, const Datum *values)
{
	PkHash128 hash = hash_key(key, values);

	if (*moved == NULL)
	{
		HASHCTL control = {
			.keysize = sizeof(PkHash128), .entrysize = sizeof(PkHash128), .hcxt = context};

		*moved = hash_create("polyko_update moved keys", 256, &control,
		                     HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	(void) hash_search(*moved, &hash, HASH_ENTER, NULL);
}

bool
pkpg_moved_has(HTAB *moved, const PkpgUpdateKey *key, const Datum *values)
{
	PkHash128 hash;

	if (moved == NULL)
		return false;
	hash = hash_key(key, values);
	return hash_search(moved, &hash, HASH_FIND, NULL) != NULL;
}

/* Of the values as they are stored: each has its length in it, or has always the same. */
static PkHash128
hash_key(const PkpgUpdateKey *key, const Datum *values)
{
	StringInfoData bytes;
	PkHash128      hash;

	initStringInfo(&bytes);
	for (int i = 0; i < key->n; i++)
	{
		const PkpgKeyColumn *column = &key->columns[i];

		if (column->typbyval)
			appendBinaryStringInfo(&bytes, (const char *) &values[i], sizeof(Datum));
		else
			appendBinaryStringInfo(&bytes, (const char *) DatumGetPointer(values[i]),
			                       (int) datumGetSize(values[i], column->typbyval, column->typlen));
	}
	hash = pk_hash128(bytes.data, (size_t) bytes.len);
	pfree(bytes.data);
	return hash;
}

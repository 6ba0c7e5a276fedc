/*
 * updatesql.h
 *    The statements of polyko_update.
 */
#ifndef PKPG_UPDATESQL_H
#define PKPG_UPDATESQL_H

#include "postgres.h"

#include "utils/rel.h"

#include "pg/update/updatekey.h"

/* Relations of keys (columns k1, k2, ...) that live as long as the job: see SPI_register_relation.
 */
#define PKPG_UPDATE_KEYS "polyko_update keys"

/* What the CALL asks for. */
typedef struct PkpgUpdateSpec
{
	Oid         procedure; /* the one that was called */
	Oid         relid;
	const char *set_column;
	const char *expression;
	const char *where; /* NULL: set_column IS NULL */
	int         batch_rows;
	bool        records; /* failures are recorded; else raised */
} PkpgUpdateSpec;

/*
 * Of n key columns, $1 to $n are a key and $n+1 to $2n the bound, whether the statement uses them
 * or not. Each belongs to CurrentMemoryContext.
 */
typedef struct PkpgUpdateSql
{
	char *bound;    /* the last key of the table: no rows, or one */
	char *take;     /* keys of the next due rows in order, and whether the row is locked now */
	char *find;     /* the same without locks: as if none could be locked */
	char *retake;   /* locks the row with the key $1.., or raises 55P03; no row if it isn't due */
	char *update;   /* the rows of PKPG_UPDATE_KEYS: their keys now, and whether after $1.. */
	char *explain;  /* update, only planned and checked */
	char *key_json; /* the row of PKPG_UPDATE_KEYS as a JSON object */
} PkpgUpdateSql;

/* has_last: take begins after $1.. */
extern void  pkpg_update_sql(const PkpgUpdateSpec *spec, Relation rel, const PkpgUpdateKey *key,
                             bool has_last, PkpgUpdateSql *sql);
/* schema.name, quoted. */
extern char *pkpg_relation_text(Relation rel);

#endif

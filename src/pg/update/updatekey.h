/*
 * updatekey.h
 *    The key that polyko_update walks a table by.
 */
#ifndef PKPG_UPDATEKEY_H
#define PKPG_UPDATEKEY_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/stratnum.h"
#include "lib/stringinfo.h"
#include "utils/rel.h"

/* Compared as bytes: made of zeroed memory. */
typedef struct PkpgKeyColumn
{
	Oid        type, collation; /* of the index; InvalidOid: none */
	Oid        opfamily, opcintype;
	AttrNumber attnum;
	int16      option; /* INDOPTION_... */
	int16      typlen;
	bool       typbyval;
} PkpgKeyColumn;

typedef struct PkpgUpdateKey
{
	int           n;
	bool          is_set; /* set_column is one of its columns */
	PkpgKeyColumn columns[INDEX_MAX_KEYS];
} PkpgUpdateKey;

/*
 * The primary key, or another unique index that finds each row once: valid, not partial, not
 * deferrable, all columns NOT NULL; one without set_column if there is one. 55000 if there is none.
 */
extern void pkpg_update_key(Relation rel, AttrNumber set_column, PkpgUpdateKey *key);

/*
 * Conditions on the key in SQL, each name qualified. left and right make the text of column i
 * (from 0); left's has the index's collation.
 */
typedef char *(*PkpgColumnText)(const void *arg, int i);

typedef struct PkpgKeyText
{
	const PkpgUpdateKey *key;
	PkpgColumnText       left, right;
	const void          *left_arg, *right_arg;
} PkpgKeyText;

extern void pkpg_key_equal(StringInfo out, const PkpgKeyText *text);
/* left comes after right in the order of the index; with negate, it does not. */
extern void pkpg_key_after(StringInfo out, const PkpgKeyText *text, bool negate);
/* The list of ORDER BY in the order of the index, or backwards; left only. */
extern void pkpg_key_order(StringInfo out, const PkpgKeyText *text, bool backwards);

#endif

/*
 * updatesql.c
 *    The statements of polyko_update.
 *
 * The user's expressions stand between parentheses, each on lines of its own, where only the
 * columns of the table can be seen; all else is written with its schema. Each statement runs as the
 * caller with the caller's search_path.
 *
 * A batch is two statements. take finds the next due keys as its snapshot sees them, and for each
 * locks the row that has the key now, or skips it. update has a later snapshot, so what it computes
 * from is what was locked; rows are found by their keys, since not everybody may read ctid. Its
 * target list lies above a join, where the batch node can stand, also over partitions.
 */
#include "postgres.h"

#include "nodes/bitmapset.h"
#include "access/sysattr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "pg/update/updatesql.h"

typedef struct Names
{
	const PkpgUpdateSpec *spec;
	const PkpgUpdateKey  *key;
	Relation              rel;
	const char           *table; /* how its columns are qualified */
	const char           *from;  /* how it stands in FROM */
	const char           *keys;  /* alias of a relation of keys */
	char                 *due;
	const char           *lock;
} Names;

static void        begin_names(Names *names, const PkpgUpdateSpec *spec, Relation rel,
                               const PkpgUpdateKey *key);
static PkpgKeyText against(const Names *names, PkpgColumnText right, const void *right_arg);
static char       *target_column(const void *names, int i);
static char       *keys_column(const void *names, int i);
static char       *parameter(const void *first, int i);
static char       *bound_text(const Names *names);
static char       *take_text(const Names *names, bool has_last, bool is_locking);
static void        append_candidates(StringInfo out, const Names *names, bool has_last);
static char       *retake_text(const Names *names);
static char       *update_text(const Names *names);
static char       *key_json_text(const Names *names);
static const char *lock_text(const Names *names);
static void        append_columns(StringInfo out, const Names *names, bool has_alias);

void
pkpg_update_sql(const PkpgUpdateSpec *spec, Relation rel, const PkpgUpdateKey *key, bool has_last,
                PkpgUpdateSql *sql)
{
	Names names;

	begin_names(&names, spec, rel, key);
	sql->bound = bound_text(&names);
	sql->take = take_text(&names, has_last, true);
	sql->find = take_text(&names, has_last, false);
	sql->retake = retake_text(&names);
	sql->update = update_text(&names);
	sql->explain = psprintf("EXPLAIN %s", sql->update);
	sql->key_json = key_json_text(&names);
}

char *
pkpg_relation_text(Relation rel)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
	                                  RelationGetRelationName(rel));
}

static void
begin_names(Names *names, const PkpgUpdateSpec *spec, Relation rel, const PkpgUpdateKey *key)
{
	const char *relation = pkpg_relation_text(rel);

	names->spec = spec;
	names->rel = rel;
	names->key = key;
	names->table = quote_identifier(RelationGetRelationName(rel));
	/* the key is unique in one table only, unless that is partitioned */
	names->from = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? relation
	                                                                : psprintf("ONLY %s", relation);
	names->keys = strcmp(names->table, "polyko_keys") == 0 ? "polyko_rows" : "polyko_keys";
	names->due = spec->where != NULL
	                 ? psprintf("(\n%s\n)", spec->where)
	                 : psprintf("%s.%s IS NULL", names->table, quote_identifier(spec->set_column));
	names->lock = lock_text(names);
}

/*
 * As strong as the lock of the UPDATE: rows stay free for the foreign-key checks of others while
 * the model runs, unless what is set belongs to a key.
 */
static const char *
lock_text(const Names *names)
{
	AttrNumber attnum = get_attnum(RelationGetRelid(names->rel), names->spec->set_column);
	Bitmapset *keys = RelationGetIndexAttrBitmap(names->rel, INDEX_ATTR_BITMAP_KEY);

	return bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, keys) ? "FOR UPDATE"
	                                                                        : "FOR NO KEY UPDATE";
}

/* Conditions whose left side are columns of the table. */
static PkpgKeyText
against(const Names *names, PkpgColumnText right, const void *right_arg)
{
	return (PkpgKeyText){.key = names->key,
	                     .left = target_column,
	                     .left_arg = names,
	                     .right = right,
	                     .right_arg = right_arg};
}

static char *
target_column(const void *arg, int i)
{
	const Names      *names = arg;
	Form_pg_attribute attribute =
		TupleDescAttr(RelationGetDescr(names->rel), names->key->columns[i].attnum - 1);

	return psprintf("%s.%s", names->table, quote_identifier(NameStr(attribute->attname)));
}

static char *
keys_column(const void *names, int i)
{
	return psprintf("%s.k%d", ((const Names *) names)->keys, i + 1);
}

static char *
parameter(const void *first, int i)
{
	return psprintf("$%d", *(const int *) first + i);
}

static void
append_columns(StringInfo out, const Names *names, bool has_alias)
{
	for (int i = 0; i < names->key->n; i++)
	{
		appendStringInfo(out, "%s%s", i > 0 ? ", " : "", target_column(names, i));
		if (has_alias)
			appendStringInfo(out, " AS k%d", i + 1);
	}
}

static char *
bound_text(const Names *names)
{
	PkpgKeyText    text = against(names, NULL, NULL);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT ");
	append_columns(&out, names, false);
	appendStringInfo(&out, " FROM %s ORDER BY ", names->from);
	pkpg_key_order(&out, &text, true);
	appendStringInfoString(&out, " LIMIT 1");
	return out.data;
}

/* Two levels: a row that changes between snapshot and lock must not change where the walk is. */
static char *
take_text(const Names *names, bool has_last, bool is_locking)
{
	PkpgKeyText    same = against(names, keys_column, names);
	PkpgKeyText    order = {.key = names->key, .left = keys_column, .left_arg = names};
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT ");
	for (int i = 0; i < names->key->n; i++)
		appendStringInfo(&out, "%s, ", keys_column(names, i));
	appendStringInfo(&out, "%s FROM (", is_locking ? "taken.ok" : "NULL::pg_catalog.bool");
	append_candidates(&out, names, has_last);
	appendStringInfo(&out, ") AS %s", names->keys);
	if (is_locking)
	{
		appendStringInfo(&out, " LEFT JOIN LATERAL (SELECT true AS ok FROM %s WHERE ", names->from);
		pkpg_key_equal(&out, &same);
		appendStringInfo(&out, " AND %s %s SKIP LOCKED) AS taken ON true", names->due, names->lock);
	}
	appendStringInfoString(&out, " ORDER BY ");
	pkpg_key_order(&out, &order, false);
	return out.data;
}

static void
append_candidates(StringInfo out, const Names *names, bool has_last)
{
	int         last_at = 1, bound_at = names->key->n + 1;
	PkpgKeyText last = against(names, parameter, &last_at);
	PkpgKeyText bound = against(names, parameter, &bound_at);

	appendStringInfoString(out, "SELECT ");
	append_columns(out, names, true);
	appendStringInfo(out, " FROM %s WHERE ", names->from);
	if (has_last)
	{
		pkpg_key_after(out, &last, false);
		appendStringInfoString(out, " AND ");
	}
	pkpg_key_after(out, &bound, true);
	appendStringInfo(out, " AND %s ORDER BY ", names->due);
	pkpg_key_order(out, &last, false);
	appendStringInfo(out, " LIMIT %d", names->spec->batch_rows);
}

static char *
retake_text(const Names *names)
{
	int            first = 1;
	PkpgKeyText    same = against(names, parameter, &first);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "SELECT FROM %s WHERE ", names->from);
	pkpg_key_equal(&out, &same);
	appendStringInfo(&out, " AND %s %s NOWAIT", names->due, names->lock);
	return out.data;
}

static char *
update_text(const Names *names)
{
	int            first = 1;
	PkpgKeyText    same = against(names, keys_column, names);
	PkpgKeyText    last = against(names, parameter, &first);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out,
	                 "UPDATE %s SET %s = (\n%s\n) WHERE EXISTS"
	                 " (SELECT FROM \"" PKPG_UPDATE_KEYS "\" AS %s WHERE ",
	                 names->from, quote_identifier(names->spec->set_column),
	                 names->spec->expression, names->keys);
	pkpg_key_equal(&out, &same);
	appendStringInfoString(&out, ") RETURNING ");
	append_columns(&out, names, false);
	appendStringInfoString(&out, ", ");
	pkpg_key_after(&out, &last, false);
	return out.data;
}

static char *
key_json_text(const Names *names)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "SELECT pg_catalog.jsonb_build_object(");
	for (int i = 0; i < names->key->n; i++)
	{
		Form_pg_attribute attribute =
			TupleDescAttr(RelationGetDescr(names->rel), names->key->columns[i].attnum - 1);

		appendStringInfo(&out, "%s%s, %s", i > 0 ? ", " : "",
		                 quote_literal_cstr(NameStr(attribute->attname)), keys_column(names, i));
	}
	appendStringInfo(&out, ") FROM \"" PKPG_UPDATE_KEYS "\" AS %s", names->keys);
	return out.data;
}

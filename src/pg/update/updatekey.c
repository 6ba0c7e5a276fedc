/*
 * updatekey.c
 *    The key that polyko_update walks a table by: which index, and conditions on it as SQL.
 *
 * Operators are those of the index's operator classes, written with their schema, and collations
 * are the index's: what "<" means must not depend on search_path, and the walk must be in the order
 * of the index, which then serves it. A row comparison does where all columns have one direction
 * and one name of operator; else it is spelled out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "pg/compat.h"
#include "pg/update/updatekey.h"

static bool           is_key(Relation rel, Relation index);
static int            cost_of(const Relation index, AttrNumber set_column);
static bool           has_column(const Relation index, AttrNumber attnum);
static void           read_key(Relation rel, Relation index, AttrNumber set, PkpgUpdateKey *key);
static bool           is_backwards(const PkpgKeyColumn *column);
static bool           is_uniform(const PkpgUpdateKey *key);
static const char    *operator_text(const PkpgKeyColumn *column, StrategyNumber strategy);
static const char    *column_text(const PkpgKeyText *text, int i);
static void           append_comparison(StringInfo out, const PkpgKeyText *text, int i,
                                        StrategyNumber strategy);
static void           append_row(StringInfo out, const PkpgKeyText *text, StrategyNumber strategy);
static void           append_spelled(StringInfo out, const PkpgKeyText *text, int i);
static StrategyNumber after_strategy(const PkpgKeyColumn *column);

void
pkpg_update_key(Relation rel, AttrNumber set_column, PkpgUpdateKey *key)
{
	List     *indexes = RelationGetIndexList(rel);
	ListCell *cell;
	int       least = INT_MAX;

	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (is_key(rel, index) && cost_of(index, set_column) < least)
		{
			least = cost_of(index, set_column);
			read_key(rel, index, set_column, key);
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	if (least == INT_MAX)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		     errmsg("table \"%s\" has no key to walk by", RelationGetRelationName(rel)),
		     errhint("Add a primary key, or a unique index on columns that are NOT NULL; it must "
		             "be valid, and neither partial nor deferrable.")));
}

static bool
is_key(Relation rel, Relation index)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
	    index->rd_rel->relam != BTREE_AM_OID ||
	    !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
		if (form->indkey.values[i] <= 0 ||
		    !pkpg_is_not_null(RelationGetDescr(rel), form->indkey.values[i]))
			return false;
	return true;
}

/* The least is taken: without set_column, the primary key, few columns. */
static int
cost_of(const Relation index, AttrNumber set_column)
{
	return index->rd_index->indnkeyatts + (index->rd_index->indisprimary ? 0 : INDEX_MAX_KEYS + 1) +
	       (has_column(index, set_column) ? 4 * INDEX_MAX_KEYS : 0);
}

static bool
has_column(const Relation index, AttrNumber attnum)
{
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
		if (index->rd_index->indkey.values[i] == attnum)
			return true;
	return false;
}

static void
read_key(Relation rel, Relation index, AttrNumber set_column, PkpgUpdateKey *key)
{
	memset(key, 0, sizeof(*key));
	key->n = index->rd_index->indnkeyatts;
	key->is_set = has_column(index, set_column);
	for (int i = 0; i < key->n; i++)
	{
		PkpgKeyColumn    *column = &key->columns[i];
		Form_pg_attribute attribute =
			TupleDescAttr(RelationGetDescr(rel), index->rd_index->indkey.values[i] - 1);

		column->attnum = attribute->attnum;
		column->type = attribute->atttypid;
		column->typlen = attribute->attlen;
		column->typbyval = attribute->attbyval;
		column->collation = index->rd_indcollation[i];
		column->opfamily = index->rd_opfamily[i];
		column->opcintype = index->rd_opcintype[i];
		column->option = index->rd_indoption[i];
	}
}

void
pkpg_key_equal(StringInfo out, const PkpgKeyText *text)
{
	for (int i = 0; i < text->key->n; i++)
	{
		appendStringInfoString(out, i > 0 ? " AND " : "");
		append_comparison(out, text, i, BTEqualStrategyNumber);
	}
}

void
pkpg_key_after(StringInfo out, const PkpgKeyText *text, bool negate)
{
	const PkpgKeyColumn *first = &text->key->columns[0];

	if (is_uniform(text->key))
	{
		StrategyNumber not_after =
			is_backwards(first) ? BTGreaterEqualStrategyNumber : BTLessEqualStrategyNumber;

		append_row(out, text, negate ? not_after : after_strategy(first));
		return;
	}
	/* the first condition is for the index */
	if (!negate)
	{
		append_comparison(out, text, 0,
		                  is_backwards(first) ? BTLessEqualStrategyNumber
		                                      : BTGreaterEqualStrategyNumber);
		appendStringInfoString(out, " AND ");
	}
	appendStringInfoString(out, negate ? "NOT " : "");
	append_spelled(out, text, 0);
}

void
pkpg_key_order(StringInfo out, const PkpgKeyText *text, bool backwards)
{
	for (int i = 0; i < text->key->n; i++)
	{
		const PkpgKeyColumn *column = &text->key->columns[i];
		bool                 down = is_backwards(column) != backwards;
		bool nulls_first = ((column->option & INDOPTION_NULLS_FIRST) != 0) != backwards;

		appendStringInfo(
			out, "%s%s USING %s NULLS %s", i > 0 ? ", " : "", column_text(text, i),
			operator_text(column, down ? BTGreaterStrategyNumber : BTLessStrategyNumber),
			nulls_first ? "FIRST" : "LAST");
	}
}

static bool
is_backwards(const PkpgKeyColumn *column)
{
	return (column->option & INDOPTION_DESC) != 0;
}

static StrategyNumber
after_strategy(const PkpgKeyColumn *column)
{
	return is_backwards(column) ? BTLessStrategyNumber : BTGreaterStrategyNumber;
}

/* A row comparison can say it. */
static bool
is_uniform(const PkpgUpdateKey *key)
{
	const PkpgKeyColumn *first = &key->columns[0];

	for (int i = 1; i < key->n; i++)
		if (is_backwards(&key->columns[i]) != is_backwards(first) ||
		    strcmp(operator_text(&key->columns[i], BTGreaterStrategyNumber),
		           operator_text(first, BTGreaterStrategyNumber)) != 0)
			return false;
	return true;
}

/* OPERATOR(schema.name) of the column's operator class. */
static const char *
operator_text(const PkpgKeyColumn *column, StrategyNumber strategy)
{
	Oid         oid = get_opfamily_member(column->opfamily, column->opcintype, column->opcintype,
	                                      (int16) strategy);
	HeapTuple   row = SearchSysCache1(OPEROID, ObjectIdGetDatum(oid));
	const char *text;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "operator family %u has no operator %d", column->opfamily, strategy);

	Form_pg_operator form = (Form_pg_operator) GETSTRUCT(row);

	text = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
	                NameStr(form->oprname));
	ReleaseSysCache(row);
	return text;
}

/* The left text with the collation of the index. */
static const char *
column_text(const PkpgKeyText *text, int i)
{
	const char *column = text->left(text->left_arg, i);
	Oid         collation = text->key->columns[i].collation;

	return OidIsValid(collation)
	           ? psprintf("%s COLLATE %s", column, generate_collation_name(collation))
	           : column;
}

static void
append_comparison(StringInfo out, const PkpgKeyText *text, int i, StrategyNumber strategy)
{
	appendStringInfo(out, "%s %s %s", column_text(text, i),
	                 operator_text(&text->key->columns[i], strategy),
	                 text->right(text->right_arg, i));
}

static void
append_row(StringInfo out, const PkpgKeyText *text, StrategyNumber strategy)
{
	const char *op = operator_text(&text->key->columns[0], strategy);

	appendStringInfoString(out, "ROW(");
	for (int i = 0; i < text->key->n; i++)
		appendStringInfo(out, "%s%s", i > 0 ? ", " : "", column_text(text, i));
	appendStringInfo(out, ") %s ROW(", op);
	for (int i = 0; i < text->key->n; i++)
		appendStringInfo(out, "%s%s", i > 0 ? ", " : "", text->right(text->right_arg, i));
	appendStringInfoChar(out, ')');
}

/* Column i is after, or equal and the next is after. */
static void
append_spelled(StringInfo out, const PkpgKeyText *text, int i)
{
	appendStringInfoChar(out, '(');
	append_comparison(out, text, i, after_strategy(&text->key->columns[i]));
	if (i + 1 < text->key->n)
	{
		appendStringInfoString(out, " OR (");
		append_comparison(out, text, i, BTEqualStrategyNumber);
		appendStringInfoString(out, " AND ");
		append_spelled(out, text, i + 1);
		appendStringInfoChar(out, ')');
	}
	appendStringInfoChar(out, ')');
}

/*
 * records.c
 *    Rows of the named composite types.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"

#include "pg/functions/records.h"

TupleDesc
pkpg_record_desc(FunctionCallInfo fcinfo, int n_fields)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts < n_fields)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
		                errmsg("the function does not return the row type that polyko declared"),
		                errhint("Call it by the name that CREATE EXTENSION polyko gave it.")));
	return BlessTupleDesc(desc);
}

HeapTuple
pkpg_record_form(TupleDesc desc, const Datum *fields, const bool *nulls, int n_fields)
{
	Datum    *values = palloc0_array(Datum, desc->natts);
	bool     *is_null = palloc_array(bool, desc->natts);
	HeapTuple row;

	for (int i = 0; i < desc->natts; i++)
	{
		is_null[i] = i >= n_fields || (nulls != NULL && nulls[i]);
		if (i < n_fields)
			values[i] = fields[i];
	}
	row = heap_form_tuple(desc, values, is_null);
	pfree(values);
	pfree(is_null);
	return row;
}

void
pkpg_record_put(Tuplestorestate *rows, TupleDesc desc, const Datum *fields, int n_fields)
{
	HeapTuple row = pkpg_record_form(desc, fields, NULL, n_fields);

	tuplestore_puttuple(rows, row);
	heap_freetuple(row);
}

/*
 * records.h
 *    Rows of the named composite types. A type may have got attributes that this library does not
 *    know (ALTER TYPE ... ADD ATTRIBUTE in a later version): they are NULL.
 */
#ifndef PKPG_RECORDS_H
#define PKPG_RECORDS_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "fmgr.h"
#include "utils/tuplestore.h"

/* Row type of the call's result, blessed, with at least n_fields attributes. */
TupleDesc pkpg_record_desc(FunctionCallInfo fcinfo, int n_fields);

/* A row of fields; nulls may be NULL: none of them is. */
HeapTuple pkpg_record_form(TupleDesc desc, const Datum *fields, const bool *nulls, int n_fields);
/* The same into rows, without NULLs. */
void      pkpg_record_put(Tuplestorestate *rows, TupleDesc desc, const Datum *fields, int n_fields);

#endif

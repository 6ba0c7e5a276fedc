/*
 * sibling.c
 *    Functions and tables of polyko that one of its functions uses: those of its own schema.
 *
 * A running function holds no lock on itself: DROP EXTENSION in another session doesn't wait for
 * it, and every look-up may find nothing.
 */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "parser/parse_func.h"
#include "utils/lsyscache.h"

#include "pg/sibling.h"

char *
pkpg_schema_of(Oid function)
{
	char *schema = get_namespace_name(get_func_namespace(function));

	if (schema == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION), errmsg("polyko was dropped meanwhile"),
		                errhint("CREATE EXTENSION polyko brings it back.")));
	return schema;
}

Datum
pkpg_call_sibling(Oid function, const PkpgSibling *sibling)
{
	LOCAL_FCINFO(call, FUNC_MAX_ARGS);
	List *name =
		list_make2(makeString(pkpg_schema_of(function)), makeString(pstrdup(sibling->name)));
	FmgrInfo flinfo;

	fmgr_info(LookupFuncName(name, sibling->n_args, sibling->types, false), &flinfo);
	InitFunctionCallInfoData(*call, &flinfo, (short) sibling->n_args, InvalidOid, NULL, NULL);
	for (int i = 0; i < sibling->n_args; i++)
		call->args[i] = sibling->args[i];
	return FunctionCallInvoke(call);
}

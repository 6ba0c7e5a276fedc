/*
 * fn_admin.c
 *    polyko_load_model, polyko_verify_model, polyko_default_model and the rows of polyko_models.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "core/model/convert.h"
#include "pg/compat.h"
#include "pg/guc.h"
#include "pg/imagestore.h"
#include "pg/modelcache.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"

PG_FUNCTION_INFO_V1(polyko_default_model);
PG_FUNCTION_INFO_V1(polyko_load_model);
PG_FUNCTION_INFO_V1(polyko_verify_model);
PG_FUNCTION_INFO_V1(polyko_list_models);

/* Columns of polyko_list_models. */
enum
{
	COL_NAME,
	COL_ARCHITECTURE,
	COL_PARAMETERS,
	COL_LAYERS,
	COL_HIDDEN_SIZE,
	COL_CONTEXT,
	COL_VOCABULARY,
	COL_QUANTIZATION,
	COL_IMAGE_BYTES,
	COL_LOADED,
	COL_NUMERICS,
	COL_UNICODE,
	COL_FINGERPRINT,
	COL_PROBLEM,
	N_COLS
};

typedef struct Row
{
	Datum values[N_COLS];
	bool  nulls[N_COLS];
} Row;

static PkModel *open_argument(FunctionCallInfo fcinfo);
static void     put(Row *row, int col, Datum value);
static bool     describe_server(Oid oid, Row *row);
static void     describe_files(const PkpgServer *server, Row *row);
static void     describe_image(const PkpgServer *server, PkHash128 source_key, Row *row);
static List    *all_servers(void);

Datum
polyko_default_model(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(pkpg_model));
}

Datum
polyko_load_model(PG_FUNCTION_ARGS)
{
	PkModel *model = open_argument(fcinfo);
	PkCancel cancel;
	PkError  error;

	pkpg_cancel_init(&cancel);
	pkpg_check(pk_model_warm(model, &cancel, &error), &error);
	PG_RETURN_VOID();
}

Datum
polyko_verify_model(PG_FUNCTION_ARGS)
{
	PkModel *model = open_argument(fcinfo);
	PkCancel cancel;
	PkError  error;

	pkpg_cancel_init(&cancel);
	pkpg_check(pk_model_verify(model, &cancel, &error), &error);
	PG_RETURN_BOOL(true);
}

static PkModel *
open_argument(FunctionCallInfo fcinfo)
{
	return pkpg_model_open(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
}

/* One row a model. What is wrong with a model is a column of its row: nothing here fails. */
Datum
polyko_list_models(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell      *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, all_servers())
	{
		Row row;

		memset(row.nulls, true, sizeof(row.nulls));
		if (describe_server(lfirst_oid(cell), &row))
			tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
		CHECK_FOR_INTERRUPTS();
	}
	return (Datum) 0;
}

static List *
all_servers(void)
{
	List       *found = NIL;
	Relation    servers = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(servers, InvalidOid, false, NULL, 0, NULL);
	HeapTuple   tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);

		if (pkpg_is_our_wrapper(server->srvfdw))
			found = lappend_oid(found, server->oid);
	}
	systable_endscan(scan);
	table_close(servers, AccessShareLock);
	return found;
}

static void
put(Row *row, int col, Datum value)
{
	row->values[col] = value;
	row->nulls[col] = false;
}

static bool
describe_server(Oid oid, Row *row)
{
	ForeignServer *server = GetForeignServerExtended(oid, FSV_MISSING_OK);
	PkpgServer     model;

	if (server == NULL)
		return false; /* dropped since it was listed */
	pkpg_server_options(server, &model);
	put(row, COL_NAME, CStringGetTextDatum(server->servername));
	put(row, COL_QUANTIZATION, CStringGetTextDatum(pk_quant_name(model.quant)));
	put(row, COL_LOADED, BoolGetDatum(false));
	if (pkpg_server_aclcheck(oid, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		put(row, COL_PROBLEM, CStringGetTextDatum("no USAGE privilege on this server"));
	else if (model.path == NULL)
		put(row, COL_PROBLEM, CStringGetTextDatum("the option path is missing"));
	else
		describe_files(&model, row);
	return true;
}

static void
describe_files(const PkpgServer *server, Row *row)
{
	PkSources *sources;
	PkConfig   config;
	PkError    error;
	PkStatus   status = pk_sources_scan(server->path, &sources, &error);

	if (status == PK_OK)
	{
		status = pk_sources_config(sources, &config, &error);
		describe_image(server, pk_sources_key(sources), row);
		pk_sources_free(sources);
	}
	if (status != PK_OK)
	{
		put(row, COL_PROBLEM, CStringGetTextDatum(pkpg_error_text(error.text)));
		return;
	}
	put(row, COL_ARCHITECTURE, CStringGetTextDatum("gpt_neox"));
	put(row, COL_PARAMETERS, Int64GetDatum((int64) pk_config_n_parameters(&config)));
	put(row, COL_LAYERS, Int32GetDatum((int32) config.num_hidden_layers));
	put(row, COL_HIDDEN_SIZE, Int32GetDatum((int32) config.hidden_size));
	put(row, COL_CONTEXT, Int32GetDatum((int32) config.max_position_embeddings));
	put(row, COL_VOCABULARY, Int32GetDatum((int32) config.vocab_size));
}

/* What the image says, if there is one. */
static void
describe_image(const PkpgServer *server, PkHash128 source_key, Row *row)
{
	PkpgBuild   build = {.source_key = source_key, .quant = server->quant};
	PkHash128   fingerprint;
	PkImageInfo info;
	PkError     ignored;
	char        path[MAXPGPATH], hex[PK_HASH_HEX_LEN + 1];

	strlcpy(build.image_dir, pkpg_image_directory, sizeof(build.image_dir));
	if (!pkpg_sidecar_read(&build, &fingerprint))
		return;
	pk_hash_to_hex(fingerprint, hex);
	put(row, COL_FINGERPRINT, CStringGetTextDatum(hex));
	pkpg_image_path(&build, fingerprint, path);
	if (pk_image_peek(path, &info, &ignored) != PK_OK)
		return;
	put(row, COL_LOADED, BoolGetDatum(true));
	put(row, COL_IMAGE_BYTES, Int64GetDatum((int64) info.size_bytes));
	put(row, COL_NUMERICS, Int32GetDatum(PK_NUMERICS));
	put(row, COL_UNICODE, CStringGetTextDatum(info.unicode_version));
}

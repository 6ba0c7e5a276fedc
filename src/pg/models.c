/*
 * models.c
 *    Options, validator and privileges of models.
 *
 * PostgreSQL hands a validator all options of an object, not the change: so any ALTER of a server
 * with a path needs the right to set a path. A path that is missing on disk is only a warning:
 * a restore, or a standby, may come before its files.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/reloptions.h"
#include "catalog/dependency.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pg/compat.h"
#include "pg/models.h"

#define SHAREDIR "$sharedir/"
#define OPTION_LIST "path, quantization, fingerprint, redact_output"

PG_FUNCTION_INFO_V1(polyko_fdw_validator);

static void  check_option(DefElem *option);
static void  check_path(const char *path);
static void  check_redact_output(const char *value);
static void  warn_if_missing(const char *path);
static char *resolve_path(const char *path);

Datum
polyko_fdw_validator(PG_FUNCTION_ARGS)
{
	List     *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid       catalog = PG_GETARG_OID(1);
	ListCell *cell;

	foreach (cell, options)
	{
		if (catalog != ForeignServerRelationId)
			ereport(ERROR,
			        (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			         errmsg("invalid option \"%s\"", ((DefElem *) lfirst(cell))->defname),
			         errhint("Only servers of the wrapper polyko have options: %s.", OPTION_LIST)));
		check_option(lfirst(cell));
	}
	foreach (cell, options)
		if (strcmp(((DefElem *) lfirst(cell))->defname, "path") == 0)
			warn_if_missing(defGetString(lfirst(cell)));
	PG_RETURN_VOID();
}

static void
check_option(DefElem *option)
{
	const char *value = defGetString(option);
	PkQuant     quant;
	PkHash128   fingerprint;

	if (strcmp(option->defname, "path") == 0)
		check_path(value);
	else if (strcmp(option->defname, "quantization") == 0)
	{
		if (!pk_quant_from_name(value, &quant))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("invalid quantization \"%s\"", value),
			                errhint("Valid values are f32, f16, q8 and q4.")));
	}
	else if (strcmp(option->defname, "fingerprint") == 0)
	{
		if (!pk_hash_from_hex(value, &fingerprint))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("invalid fingerprint \"%s\"", value),
			                errhint("A fingerprint has 32 hexadecimal digits; the view "
			                        "polyko_models shows that of a model.")));
	}
	else if (strcmp(option->defname, "redact_output") == 0)
		check_redact_output(value);
	else
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
		                errmsg("invalid option \"%s\"", option->defname),
		                errhint("Valid options are: %s.", OPTION_LIST)));
}

/* What defGetBoolean() takes, which has neither this SQLSTATE nor a hint. */
static void
check_redact_output(const char *value)
{
	static const char *const valid[] = {"on", "off", "true", "false"};

	for (size_t i = 0; i < lengthof(valid); i++)
		if (pg_strcasecmp(value, valid[i]) == 0)
			return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
	                errmsg("invalid redact_output \"%s\"", value),
	                errhint("Valid values are on and off.")));
}

static void
check_path(const char *path)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
		        (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		         errmsg("permission denied to set the path of a model"),
		         errhint("Only a superuser or a member of pg_read_server_files may create or alter "
		                 "a server with a path.")));
	if (path[0] != '/' && strncmp(path, SHAREDIR, strlen(SHAREDIR)) != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("the path of a model must be absolute: \"%s\"", path),
		                errhint("Begin it with / or with $sharedir/.")));
	if (strlen(resolve_path(path)) >= MAXPGPATH || strchr(path, '\n') != NULL)
		ereport(ERROR,
		        (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		         errmsg("the path of a model must be one line of less than %d bytes", MAXPGPATH),
		         errhint("Use a shorter path, or a symbolic link.")));
}

static void
warn_if_missing(const char *path)
{
	struct stat found;

	if (stat(resolve_path(path), &found) != 0)
		ereport(WARNING, (errmsg("could not find the model directory \"%s\": %m", path),
		                  errhint("The model answers once the directory is there and the server's "
		                          "user can read it.")));
}

static char *
resolve_path(const char *path)
{
	char share[MAXPGPATH];

	if (strncmp(path, SHAREDIR, strlen(SHAREDIR)) != 0)
		return pstrdup(path);
	get_share_path(my_exec_path, share);
	return psprintf("%s/%s", share, path + strlen(SHAREDIR));
}

void
pkpg_server_find(const char *name, PkpgServer *out)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL)
		ereport(ERROR,
		        (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", name),
		         errhint("SELECT name FROM polyko_models lists the models; CREATE SERVER ... "
		                 "FOREIGN DATA WRAPPER polyko makes one.")));
	if (!pkpg_is_our_wrapper(server->fdwid))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
		                errmsg("server \"%s\" is not a model: its wrapper is \"%s\"", name,
		                       GetForeignDataWrapper(server->fdwid)->fdwname),
		                errhint("A model is a server of the foreign-data wrapper polyko.")));

	AclResult allowed = pkpg_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE);

	if (allowed != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		                errmsg("permission denied for foreign server %s", server->servername),
		                errhint("GRANT USAGE ON FOREIGN SERVER %s TO %s allows it.",
		                        quote_identifier(server->servername),
		                        quote_identifier(GetUserNameFromId(GetUserId(), false)))));
	pkpg_server_options(server, out);
}

bool
pkpg_server_try(const char *name, PkpgServer *out)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL || !pkpg_is_our_wrapper(server->fdwid) ||
	    pkpg_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		return false;
	pkpg_server_options(server, out);
	return out->path != NULL;
}

void
pkpg_server_options(ForeignServer *server, PkpgServer *out)
{
	ListCell *cell;

	*out = (PkpgServer){.oid = server->serverid, .name = server->servername, .quant = PK_QUANT_Q8};
	foreach (cell, server->options)
	{
		DefElem    *option = lfirst(cell);
		const char *value = defGetString(option);

		if (strcmp(option->defname, "path") == 0)
			out->path = resolve_path(value);
		else if (strcmp(option->defname, "quantization") == 0)
			(void) pk_quant_from_name(value, &out->quant);
		else if (strcmp(option->defname, "fingerprint") == 0)
			out->is_pinned = pk_hash_from_hex(value, &out->fingerprint);
		else if (strcmp(option->defname, "redact_output") == 0)
			out->redacts = defGetBoolean(option);
	}
}

bool
pkpg_server_redacts(const char *name)
{
	PkpgServer server = {0};

	pkpg_server_options(GetForeignServerByName(name, false), &server);
	return server.redacts;
}

/* By membership in the extension, not by name: another wrapper may be called polyko elsewhere. */
bool
pkpg_is_our_wrapper(Oid fdw)
{
	Oid extension = getExtensionOfObject(ForeignDataWrapperRelationId, fdw);

	return OidIsValid(extension) && extension == get_extension_oid("polyko", true);
}

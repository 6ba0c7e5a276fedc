/*
 * modelcache.c
 *    A short list of open models, by server.
 *
 * An entry is trusted within one statement (by its start time) unless the catalog entry of a
 * server changed meanwhile; then options and files are looked at again, which costs a few stat()
 * calls. Models that were replaced are kept until the transaction ends, because callers may hold
 * them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_foreign_server.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "core/model/convert.h"
#include "pg/compat.h"
#include "pg/imagestore.h"
#include "pg/modelcache.h"
#include "pg/models.h"
#include "pg/pg_error.h"

#define MAX_ENTRIES 8

typedef struct Entry
{
	char        name[NAMEDATALEN];
	Oid         server;
	PkHash128   source_key;
	PkQuant     quant;
	bool        is_pinned;
	PkHash128   fingerprint;
	PkModel    *model;      /* NULL: a free entry */
	TimestampTz checked_at; /* statement that looked at options and files; 0: look again */
	uint64      used_at;
} Entry;

static Entry  entries[MAX_ENTRIES];
static uint64 n_uses;
static List  *retired = NIL; /* PkModels, in TopMemoryContext */

static Entry    *find_entry(const char *name);
static Entry    *free_entry(void);
static void      check_usage(const Entry *entry);
static void      refresh(Entry *entry, const char *name);
static bool      is_same(const Entry *entry, const PkpgServer *server, PkHash128 source_key);
static void      retire(PkModel *model);
static PkHash128 look_at_files(const char *path);
static void      forget_checks(Datum arg, int cache, uint32 hash);
static void      at_xact_end(XactEvent event, void *arg);

void
pkpg_modelcache_init(void)
{
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, forget_checks, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, forget_checks, (Datum) 0);
	RegisterXactCallback(at_xact_end, NULL);
}

PkModel *
pkpg_model_open(const char *name)
{
	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model must not be NULL"),
		                errhint("SELECT name FROM polyko_models lists the models.")));

	Entry *entry = find_entry(name);

	if (entry != NULL && entry->checked_at == GetCurrentStatementStartTimestamp())
		check_usage(entry);
	else
	{
		if (entry == NULL)
			entry = free_entry();
		refresh(entry, name);
	}
	entry->used_at = ++n_uses;
	return entry->model;
}

static Entry *
find_entry(const char *name)
{
	for (int i = 0; i < MAX_ENTRIES; i++)
		if (entries[i].model != NULL && strcmp(entries[i].name, name) == 0)
			return &entries[i];
	return NULL;
}

/* A free one, or the one that was not used for the longest time. */
static Entry *
free_entry(void)
{
	Entry *oldest = &entries[0];

	for (int i = 0; i < MAX_ENTRIES; i++)
	{
		if (entries[i].model == NULL)
			return &entries[i];
		if (entries[i].used_at < oldest->used_at)
			oldest = &entries[i];
	}
	retire(oldest->model);
	memset(oldest, 0, sizeof(*oldest));
	return oldest;
}

/* The rest of what pkpg_server_find() checks cannot change without a syscache callback. */
static void
check_usage(const Entry *entry)
{
	PkpgServer server;

	if (pkpg_server_aclcheck(entry->server, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		pkpg_server_find(entry->name, &server); /* raises the error */
}

static void
refresh(Entry *entry, const char *name)
{
	PkpgServer server;

	pkpg_server_find(name, &server);
	if (server.path == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
		                errmsg("model \"%s\" has no path", name),
		                errhint("ALTER SERVER %s OPTIONS (ADD path '...') sets it.", name)));

	PkHash128 source_key = look_at_files(server.path);

	if (entry->model == NULL || !is_same(entry, &server, source_key))
	{
		PkModel *model = pkpg_image_open(&server, source_key);

		if (entry->model != NULL)
			retire(entry->model);
		entry->model = model;
		strlcpy(entry->name, name, sizeof(entry->name));
		entry->server = server.oid;
		entry->source_key = source_key;
		entry->quant = server.quant;
		entry->is_pinned = server.is_pinned;
		entry->fingerprint = server.fingerprint;
	}
	entry->checked_at = GetCurrentStatementStartTimestamp();
}

static bool
is_same(const Entry *entry, const PkpgServer *server, PkHash128 source_key)
{
	return entry->server == server->oid && entry->quant == server->quant &&
	       entry->is_pinned == server->is_pinned &&
	       (!server->is_pinned || pk_hash_equal(entry->fingerprint, server->fingerprint)) &&
	       pk_hash_equal(entry->source_key, source_key);
}

static PkHash128
look_at_files(const char *path)
{
	PkSources *sources;
	PkError    error;

	pkpg_check(pk_sources_scan(path, &sources, &error), &error);

	PkHash128 key = pk_sources_key(sources);

	pk_sources_free(sources);
	return key;
}

/* Released at the end of the transaction. */
static void
retire(PkModel *model)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

	retired = lappend(retired, model);
	MemoryContextSwitchTo(before);
}

bool
pkpg_model_estimate(const char *name, PkConfig *config, PkQuant *quant)
{
	Entry     *entry = name != NULL ? find_entry(name) : NULL;
	PkpgServer server;
	PkSources *sources;

	if (entry != NULL)
	{
		*config = *pk_model_config(entry->model);
		*quant = entry->quant;
		return true;
	}
	if (name == NULL || !pkpg_server_try(name, &server) ||
	    pk_sources_scan(server.path, &sources, NULL) != PK_OK)
		return false;

	bool is_known = pk_sources_config(sources, config, NULL) == PK_OK;

	pk_sources_free(sources);
	*quant = server.quant;
	return is_known;
}

bool
pkpg_model_is_open(Oid server)
{
	for (int i = 0; i < MAX_ENTRIES; i++)
		if (entries[i].model != NULL && entries[i].server == server)
			return true;
	return false;
}

static void
forget_checks(Datum arg, int cache, uint32 hash)
{
	(void) arg;
	(void) cache;
	(void) hash;
	for (int i = 0; i < MAX_ENTRIES; i++)
		entries[i].checked_at = 0;
}

static void
at_xact_end(XactEvent event, void *arg)
{
	ListCell *cell;

	(void) arg;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach (cell, retired)
		pk_model_release(lfirst(cell));
	list_free(retired);
	retired = NIL;
}

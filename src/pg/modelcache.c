/*
 * modelcache.c
 *    A short list of open models, by server.
 *
 * An entry is trusted within one statement (by its start time) unless the catalog entry of a
 * server changed meanwhile; then options and files are looked at again, which costs a few stat()
 * calls. The image's file is one of them: it may have been removed, and the engine program has to
 * find it; or cut, and to read on from the map would end all sessions. Callers may hold a model
 * until the transaction ends: until then none is closed, neither one that was replaced nor one too
 * many, so a transaction maps an image once however it mixes models. Its end closes all but the
 * MAX_KEPT that were used last.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_foreign_server.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "core/model/convert.h"
#include "pg/compat.h"
#include "pg/imagestore.h"
#include "pg/modelcache.h"
#include "pg/models.h"
#include "pg/pg_error.h"

/* Models that stay open between transactions. */
#define MAX_KEPT 8

typedef struct Entry
{
	char        name[NAMEDATALEN];
	Oid         server;
	PkHash128   source_key;
	PkQuant     quant;
	bool        is_pinned;
	PkHash128   fingerprint;
	PkModel    *model;
	TimestampTz checked_at; /* statement that looked at options and files; 0: look again */
	uint64      used_at;
} Entry;

/* Both in TopMemoryContext. */
static List  *entries = NIL; /* Entries */
static List  *retired = NIL; /* PkModels */
static uint64 n_uses;

static Entry    *find_entry(const char *name);
static void      check_usage(const Entry *entry);
static Entry    *refresh(Entry *entry, const char *name);
static Entry    *add_entry(void);
static bool      is_same(const Entry *entry, const PkpgServer *server, PkHash128 source_key);
static void      retire(PkModel *model);
static PkHash128 look_at_files(const char *path);
static void      forget_checks(Datum arg, int cache, uint32 hash);
static void      at_xact_end(XactEvent event, void *arg);
static void      close_oldest(void);

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

	/* a worker that runs no statements has no start time: it looks every time */
	if (entry != NULL && entry->checked_at != 0 &&
	    entry->checked_at == GetCurrentStatementStartTimestamp())
		check_usage(entry);
	else
		entry = refresh(entry, name);
	entry->used_at = ++n_uses;
	return entry->model;
}

static Entry *
find_entry(const char *name)
{
	ListCell *cell;

	foreach (cell, entries)
		if (strcmp(((Entry *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

const char *
pkpg_model_name(const PkModel *model)
{
	ListCell *cell;

	foreach (cell, entries)
		if (((Entry *) lfirst(cell))->model == model)
			return ((Entry *) lfirst(cell))->name;
	return "";
}

/* The rest of what pkpg_server_find() checks cannot change without a syscache callback. */
static void
check_usage(const Entry *entry)
{
	PkpgServer server;

	if (pkpg_server_aclcheck(entry->server, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		pkpg_server_find(entry->name, &server); /* raises the error */
}

/* entry is NULL if there is none. It is changed only once nothing can fail any more. */
static Entry *
refresh(Entry *entry, const char *name)
{
	PkpgServer server;

	pkpg_server_find(name, &server);
	if (server.path == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
		                errmsg("model \"%s\" has no path", name),
		                errhint("ALTER SERVER %s OPTIONS (ADD path '...') sets it.",
		                        quote_identifier(name))));

	PkHash128 source_key = look_at_files(server.path);

	if (entry == NULL || !is_same(entry, &server, source_key))
	{
		PkModel *model = pkpg_image_open(&server, source_key);

		if (entry != NULL)
			retire(entry->model);
		else
			entry = add_entry();
		entry->model = model;
		strlcpy(entry->name, name, sizeof(entry->name));
		entry->server = server.oid;
		entry->source_key = source_key;
		entry->quant = server.quant;
		entry->is_pinned = server.is_pinned;
		entry->fingerprint = server.fingerprint;
	}
	entry->checked_at = GetCurrentStatementStartTimestamp();
	return entry;
}

/* Its name is empty, so nobody finds it before it is filled. */
static Entry *
add_entry(void)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
	Entry        *entry = palloc0(sizeof(Entry));

	entries = lappend(entries, entry);
	MemoryContextSwitchTo(before);
	return entry;
}

static bool
is_same(const Entry *entry, const PkpgServer *server, PkHash128 source_key)
{
	return entry->server == server->oid && entry->quant == server->quant &&
	       entry->is_pinned == server->is_pinned &&
	       (!server->is_pinned || pk_hash_equal(entry->fingerprint, server->fingerprint)) &&
	       pk_hash_equal(entry->source_key, source_key) &&
	       pk_model_file_state(entry->model) == PK_FILE_SAME;
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
	ListCell *cell;

	foreach (cell, entries)
		if (((Entry *) lfirst(cell))->server == server)
			return true;
	return false;
}

static void
forget_checks(Datum arg, int cache, uint32 hash)
{
	ListCell *cell;

	(void) arg;
	(void) cache;
	(void) hash;
	foreach (cell, entries)
		((Entry *) lfirst(cell))->checked_at = 0;
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
	while (list_length(entries) > MAX_KEPT)
		close_oldest();
}

static void
close_oldest(void)
{
	Entry    *oldest = linitial(entries);
	ListCell *cell;

	foreach (cell, entries)
		if (((Entry *) lfirst(cell))->used_at < oldest->used_at)
			oldest = lfirst(cell);
	entries = list_delete_ptr(entries, oldest);
	pk_model_release(oldest->model);
	pfree(oldest);
}

/*
 * blocktable.c
 *    Reads polyko_blocklist, and knows whether what was read still holds.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "core/base/utf8.h"
#include "pg/blocktable.h"
#include "pg/callargs.h"
#include "pg/compat.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"
#include "pg/sibling.h"

/*
 * What a snapshot sees. Of two snapshots with one xmax the later one has fewer running
 * transactions; a transaction's own changes show in its command counter, which never goes back, and
 * what it takes back in its subtransaction.
 */
typedef struct Version
{
	LocalTransactionId transaction;
	SubTransactionId   subtransaction;
	CommandId          command;
	TransactionId      xmax;
	uint32             n_running, n_running_sub;
} Version;

/* Of a call site, in fn_extra. */
typedef struct Site
{
	MemoryContext  context; /* holds blocklist; NULL: none was read */
	Version        version;
	PkpgBlocklist *blocklist;
} Site;

static Version        get_version(void);
static PkpgBlocklist *read_table(Oid function);
static void read_row(HeapTuple row, TupleDesc desc, PkpgBlockNames *names, PkBlockPattern *pattern);
static text *get_text(HeapTuple row, TupleDesc desc, int column);
static void  free_list(void *list);

const PkpgBlocklist *
pkpg_blocklist(FunctionCallInfo fcinfo)
{
	Site   *site = fcinfo->flinfo->fn_extra;
	Version version = get_version();

	if (site == NULL)
		site = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Site));
	if (site->context != NULL && memcmp(&site->version, &version, sizeof(version)) == 0)
		return site->blocklist;

	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "polyko blocklist", ALLOCSET_DEFAULT_SIZES);
	MemoryContext  caller = MemoryContextSwitchTo(context);
	PkpgBlocklist *blocklist = read_table(fcinfo->flinfo->fn_oid);

	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, fcinfo->flinfo->fn_mcxt);
	if (site->context != NULL)
		MemoryContextDelete(site->context);
	*site = (Site){context, version, blocklist};
	return blocklist;
}

static Version
get_version(void)
{
	Snapshot snapshot = GetActiveSnapshot();
	Version  version;

	memset(&version, 0, sizeof(version)); /* compared as bytes */
	version.transaction = pkpg_local_transaction();
	version.subtransaction = GetCurrentSubTransactionId();
	version.command = snapshot->curcid;
	version.xmax = snapshot->xmax;
	version.n_running = snapshot->xcnt;
	version.n_running_sub = (uint32) snapshot->subxcnt;
	return version;
}

/* Into CurrentMemoryContext. */
static PkpgBlocklist *
read_table(Oid function)
{
	MemoryContext   context = CurrentMemoryContext;
	PkpgBlocklist  *blocklist = palloc0(sizeof(PkpgBlocklist));
	PkBlockPattern *patterns;
	PkCancel        cancel;
	PkError         err = {0};
	char           *query = psprintf("SELECT pattern, kind, action FROM %s.polyko_blocklist"
	                                           " ORDER BY pattern COLLATE pg_catalog.\"C\"",
	                                 quote_identifier(pkpg_schema_of(function)));

	(void) pkpg_tie(context, free_list, &blocklist->list);
	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read polyko_blocklist");
	blocklist->n = SPI_processed;
	blocklist->names =
		MemoryContextAllocHuge(context, Max(blocklist->n, 1) * sizeof(PkpgBlockNames));
	patterns = palloc0_array(PkBlockPattern, Max(blocklist->n, 1));
	MemoryContextSwitchTo(context);
	for (size_t i = 0; i < blocklist->n; i++)
		read_row(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &blocklist->names[i], &patterns[i]);
	pkpg_cancel_init(&cancel);
	pkpg_check(pk_blocklist_create(patterns, blocklist->n, &blocklist->list, &cancel, &err), &err);
	SPI_finish();
	return blocklist;
}

/* The table's constraints hold what is not checked here. */
static void
read_row(HeapTuple row, TupleDesc desc, PkpgBlockNames *names, PkBlockPattern *pattern)
{
	names->pattern = get_text(row, desc, 1);
	names->kind = get_text(row, desc, 2);
	names->action = get_text(row, desc, 3);
	pattern->text = VARDATA_ANY(names->pattern);
	pattern->len = VARSIZE_ANY_EXHDR(names->pattern);

	if (!pk_utf8_is_valid(pattern->text, pattern->len, NULL))
		ereport(
			ERROR,
			(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
		     errmsg("a pattern of the table polyko_blocklist is not UTF-8"),
		     errdetail("Its kind is \"%s\".", text_to_cstring(names->kind)),
		     errhint("A database of encoding SQL_ASCII takes any bytes; replace the pattern.")));

	int action = pk_block_action(VARDATA_ANY(names->action), VARSIZE_ANY_EXHDR(names->action));

	if (pattern->len == 0 || action < 0)
		elog(ERROR, "a constraint of polyko_blocklist does not hold");
	pattern->action = (PkBlockAction) action;
}

/* A copy. */
static text *
get_text(HeapTuple row, TupleDesc desc, int column)
{
	bool  is_null;
	Datum value = SPI_getbinval(row, desc, column, &is_null);

	if (is_null)
		elog(ERROR, "a constraint of polyko_blocklist does not hold");
	return DatumGetTextPCopy(value);
}

static void
free_list(void *list)
{
	pk_blocklist_free(*(PkBlocklist **) list);
}

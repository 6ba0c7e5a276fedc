/*
 * fn_images.c
 *    polyko_list_images and polyko_prune_images: what lies in the image directory.
 *
 * One rule, the same in every database: an image is kept while the checkpoint it was made from is
 * still there unchanged, as its sidecar says. Everything else that bears our prefix goes: images
 * and sidecars of checkpoints that changed or are gone, images of another layout, parts that nobody
 * builds. Unlinking is always safe: who has an image mapped keeps it until he lets go.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "core/model/convert.h"
#include "pg/builder.h"
#include "pg/guc.h"
#include "pg/imageparts.h"
#include "pg/imagestore.h"

PG_FUNCTION_INFO_V1(polyko_list_images);
PG_FUNCTION_INFO_V1(polyko_prune_images);

/* Columns of polyko_list_images. */
enum
{
	COL_FILE,
	COL_FINGERPRINT,
	COL_QUANTIZATION,
	COL_LAYOUT,
	COL_NUMERICS,
	COL_UNICODE,
	COL_BYTES,
	COL_CREATED,
	COL_CHECKPOINT,
	N_COLS
};

/* A sidecar whose checkpoint is still what it was. */
typedef struct LiveSource
{
	PkHash128 fingerprint;
	char      source_dir[MAXPGPATH];
} LiveSource;

static List       *list_files(void);
static bool        ends_with(const char *name, const char *ending);
static List       *live_sources(List *files);
static LiveSource *live_source_of(const char *file);
static LiveSource *find_live(List *sources, PkHash128 fingerprint);
static void        list_image(ReturnSetInfo *result, const char *file, List *sources);
static bool        is_needed(const char *file, List *sources);
static bool        is_image_needed(const char *path, List *sources);
static bool        is_being_built(const char *file);
static char       *path_of(const char *file);

Datum
polyko_list_images(PG_FUNCTION_ARGS)
{
	List     *files = list_files();
	List     *sources = live_sources(files);
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, files)
		if (ends_with(lfirst(cell), ".img"))
			list_image((ReturnSetInfo *) fcinfo->resultinfo, lfirst(cell), sources);
	return (Datum) 0;
}

/* Returns how many files were removed. */
Datum
polyko_prune_images(PG_FUNCTION_ARGS)
{
	List     *files = list_files();
	List     *sources = live_sources(files);
	int32     n_removed = 0;
	ListCell *cell;

	foreach (cell, files)
	{
		char *path = path_of(lfirst(cell));

		CHECK_FOR_INTERRUPTS();
		if (is_needed(lfirst(cell), sources))
			continue;
		if (pkpg_is_part(lfirst(cell)) ? pkpg_part_remove(path) : unlink(path) == 0)
			n_removed++;
		else if (errno != ENOENT && errno != EWOULDBLOCK)
			ereport(WARNING,
			        (errcode_for_file_access(), errmsg("could not remove \"%s\": %m", path)));
	}
	PG_RETURN_INT32(n_removed);
}

/* Names of our files; a directory that is not there yet has none. */
static List *
list_files(void)
{
	List          *files = NIL;
	DIR           *dir = AllocateDir(pkpg_image_directory);
	struct dirent *entry;

	if (dir == NULL && errno == ENOENT)
		return NIL;
	while ((entry = ReadDir(dir, pkpg_image_directory)) != NULL)
		if (strncmp(entry->d_name, PKPG_FILE_PREFIX, strlen(PKPG_FILE_PREFIX)) == 0)
			files = lappend(files, pstrdup(entry->d_name));
	FreeDir(dir);
	return files;
}

static char *
path_of(const char *file)
{
	return psprintf("%s/%s", pkpg_image_directory, file);
}

static bool
ends_with(const char *name, const char *ending)
{
	size_t len = strlen(name);

	return len >= strlen(ending) && strcmp(name + len - strlen(ending), ending) == 0;
}

static List *
live_sources(List *files)
{
	List     *sources = NIL;
	ListCell *cell;

	foreach (cell, files)
	{
		LiveSource *source = ends_with(lfirst(cell), ".src") ? live_source_of(lfirst(cell)) : NULL;

		if (source != NULL)
			sources = lappend(sources, source);
	}
	return sources;
}

/* NULL if the sidecar can't be read, or its checkpoint is gone or another one now. */
static LiveSource *
live_source_of(const char *file)
{
	LiveSource *source = palloc(sizeof(LiveSource));
	PkSources  *found;
	char        hex[PK_HASH_HEX_LEN + 1];

	if (!pkpg_sidecar_parse(path_of(file), &source->fingerprint, source->source_dir) ||
	    pk_sources_scan(source->source_dir, &found, NULL) != PK_OK)
		return NULL;
	pk_hash_to_hex(pk_sources_key(found), hex);
	pk_sources_free(found);
	return strncmp(file + strlen(PKPG_FILE_PREFIX), hex, PK_HASH_HEX_LEN) == 0 ? source : NULL;
}

static LiveSource *
find_live(List *sources, PkHash128 fingerprint)
{
	ListCell *cell;

	foreach (cell, sources)
		if (pk_hash_equal(((LiveSource *) lfirst(cell))->fingerprint, fingerprint))
			return lfirst(cell);
	return NULL;
}

static void
list_image(ReturnSetInfo *result, const char *file, List *sources)
{
	Datum       values[N_COLS] = {0};
	bool        nulls[N_COLS];
	char       *path = path_of(file);
	char        hex[PK_HASH_HEX_LEN + 1];
	struct stat found;
	PkImageInfo info;
	PkError     ignored;

	if (stat(path, &found) != 0)
		return;
	memset(nulls, true, sizeof(nulls));
	values[COL_FILE] = CStringGetTextDatum(file);
	values[COL_BYTES] = Int64GetDatum(found.st_size);
	values[COL_CREATED] = TimestampTzGetDatum(time_t_to_timestamptz(found.st_mtime));
	nulls[COL_FILE] = nulls[COL_BYTES] = nulls[COL_CREATED] = false;
	if (pk_image_peek(path, &info, &ignored) == PK_OK)
	{
		LiveSource *source = find_live(sources, info.fingerprint);

		pk_hash_to_hex(info.fingerprint, hex);
		values[COL_FINGERPRINT] = CStringGetTextDatum(hex);
		values[COL_QUANTIZATION] = CStringGetTextDatum(pk_quant_name(info.quant));
		values[COL_LAYOUT] = Int32GetDatum((int32) info.layout);
		values[COL_NUMERICS] = Int32GetDatum((int32) info.numerics);
		values[COL_UNICODE] = CStringGetTextDatum(info.unicode_version);
		memset(nulls + COL_FINGERPRINT, false, COL_BYTES - COL_FINGERPRINT);
		if (source != NULL)
			values[COL_CHECKPOINT] = CStringGetTextDatum(source->source_dir);
		nulls[COL_CHECKPOINT] = source == NULL;
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static bool
is_needed(const char *file, List *sources)
{
	if (ends_with(file, ".img"))
		return is_image_needed(path_of(file), sources);
	if (ends_with(file, ".src"))
		return live_source_of(file) != NULL;
	return is_being_built(file);
}

static bool
is_image_needed(const char *path, List *sources)
{
	PkImageInfo info;
	PkError     ignored;

	return pk_image_peek(path, &info, &ignored) == PK_OK &&
	       find_live(sources, info.fingerprint) != NULL;
}

/* A part or progress file, by us: <source key>-<quantization>. begins their names. */
static bool
is_being_built(const char *file)
{
	const char *key = file + strlen(PKPG_FILE_PREFIX);
	PkpgBuild   build = {0};
	char        hex[PK_HASH_HEX_LEN + 1], quant[8];

	if (sscanf(key, "%32[0-9a-f]-%7[a-z0-9].", hex, quant) != 2 ||
	    !pk_hash_from_hex(hex, &build.source_key) || !pk_quant_from_name(quant, &build.quant))
		return false;
	return pkpg_build_is_running(&build);
}

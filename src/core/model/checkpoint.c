/*
 * checkpoint.c
 *    Opening the files of a checkpoint and joining the tensors of its shards.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/model/checkpoint.h"
#include "core/model/weights.h"

static PkStatus open_all(PkCheckpoint *checkpoint, PkError *err);
static PkStatus load_configs(PkCheckpoint *checkpoint, PkError *err);
static PkStatus open_shard(PkCheckpoint *checkpoint, size_t shard, PkError *err);
static PkStatus read_header(PkCheckpoint *checkpoint, size_t shard, const PkSourceFile *file,
                            PkError *err);
static PkStatus changed(const PkSourceFile *file, PkError *err);
static PkStatus sort_tensors(PkCheckpoint *checkpoint, PkError *err);
static PkStatus check_index(PkCheckpoint *checkpoint, PkError *err);
static PkStatus check_index_entry(void *arg, const char *tensor, const char *shard, PkError *err);
static PkStatus check_shard_name(const char *name, size_t len, PkError *err);
static int      compare_names(const void *a, const void *b);

PkStatus
pk_checkpoint_open(const PkSources *sources, PkCheckpoint *out, PkError *err)
{
	void *fds;

	memset(out, 0, sizeof(*out));
	out->sources = sources;
	PK_FORWARD(pk_calloc(sources->n_shards, sizeof(int), &fds, err));
	out->fds = fds;
	for (size_t i = 0; i < sources->n_shards; i++)
		out->fds[i] = -1;

	PkStatus status = open_all(out, err);

	if (status != PK_OK)
		pk_checkpoint_close(out);
	return status;
}

static PkStatus
open_all(PkCheckpoint *checkpoint, PkError *err)
{
	PK_FORWARD(load_configs(checkpoint, err));
	for (size_t i = 0; i < checkpoint->sources->n_shards; i++)
		PK_FORWARD(open_shard(checkpoint, i, err));
	PK_FORWARD(sort_tensors(checkpoint, err));
	return check_index(checkpoint, err);
}

void
pk_checkpoint_close(PkCheckpoint *checkpoint)
{
	if (checkpoint->fds != NULL)
		for (size_t i = 0; i < checkpoint->sources->n_shards; i++)
			if (checkpoint->fds[i] >= 0)
				close(checkpoint->fds[i]);
	free(checkpoint->fds);
	pk_tensor_list_free(&checkpoint->tensors);
	memset(checkpoint, 0, sizeof(*checkpoint));
}

static PkStatus
load_configs(PkCheckpoint *checkpoint, PkError *err)
{
	const char *dir = checkpoint->sources->dir;
	char       *json;
	size_t      len;

	PK_FORWARD(pk_file_load(dir, "config.json", PK_CONFIG_BYTES_MAX, &json, &len, err));
	checkpoint->config_hash = pk_hash128(json, len);

	PkStatus status = pk_config_parse(json, len, &checkpoint->config, err);

	free(json);
	if (status != PK_OK || !checkpoint->sources->has_generation_config)
		return status;
	PK_FORWARD(pk_file_load(dir, "generation_config.json", PK_CONFIG_BYTES_MAX, &json, &len, err));
	checkpoint->generation_hash = pk_hash128(json, len);
	status = pk_config_parse_generation(json, len, &checkpoint->config, err);
	free(json);
	return status;
}

static PkStatus
open_shard(PkCheckpoint *checkpoint, size_t shard, PkError *err)
{
	const PkSources    *sources = checkpoint->sources;
	const PkSourceFile *file = &sources->files[sources->first_shard + shard];
	PkFileId            id;

	PK_FORWARD(pk_file_open(sources->dir, file->name, &checkpoint->fds[shard], &id, err));
	if (!pk_file_id_equal(&id, &file->id))
		return changed(file, err);
	return read_header(checkpoint, shard, file, err);
}

static PkStatus
read_header(PkCheckpoint *checkpoint, size_t shard, const PkSourceFile *file, PkError *err)
{
	unsigned char prefix[PK_SAFETENSORS_PREFIX];
	int           fd = checkpoint->fds[shard];
	size_t        len;
	void         *json;

	PkStatus status = pk_file_read(fd, file->name, prefix, sizeof(prefix), 0, err);

	if (status == PK_BAD_FILE) /* empty, or nearly so */
		pk_error_hint(err, status, PK_HINT_DAMAGED);
	PK_FORWARD(status);
	PK_FORWARD(pk_safetensors_header_len(prefix, file->id.size, file->name, &len, err));
	PK_FORWARD(pk_calloc(len, 1, &json, err));

	status = pk_file_read(fd, file->name, json, len, sizeof(prefix), err);
	if (status == PK_OK)
		status = pk_safetensors_parse(json, len, file->id.size, (uint32_t) shard, file->name,
		                              &checkpoint->tensors, err);
	free(json);
	return status;
}

static PkStatus
changed(const PkSourceFile *file, PkError *err)
{
	pk_error(err, PK_BAD_FILE, "%s changed while it was read", file->name);
	return pk_error_hint(err, PK_BAD_FILE, "Try again when the files are complete.");
}

PkStatus
pk_checkpoint_check_unchanged(const PkCheckpoint *checkpoint, PkError *err)
{
	const PkSources *sources = checkpoint->sources;

	for (size_t i = 0; i < sources->n_shards; i++)
	{
		const PkSourceFile *file = &sources->files[sources->first_shard + i];
		PkFileId            id;

		PK_FORWARD(pk_file_reidentify(checkpoint->fds[i], file->name, &id, err));
		if (!pk_file_id_equal(&id, &file->id))
			return changed(file, err);
	}
	for (size_t i = 0; i < sources->n_files; i++)
	{
		const PkSourceFile *file = &sources->files[i];
		PkFileId            id;

		if (pk_file_identify(sources->dir, file->name, &id, NULL) != PK_OK ||
		    !pk_file_id_equal(&id, &file->id))
			return changed(file, err);
	}
	return PK_OK;
}

const char *
pk_checkpoint_file_name(const PkCheckpoint *checkpoint, const PkTensor *tensor)
{
	const PkSources *sources = checkpoint->sources;

	return sources->files[sources->first_shard + tensor->file].name;
}

/* Sort by name; a name that stands in two shards is refused. */
static PkStatus
sort_tensors(PkCheckpoint *checkpoint, PkError *err)
{
	PkTensorList *list = &checkpoint->tensors;
	char          quoted[120];

	if (list->n > 0)
		qsort(list->items, list->n, sizeof(PkTensor), compare_names);
	for (size_t i = 1; i < list->n; i++)
	{
		const PkTensor *before = &list->items[i - 1], *tensor = &list->items[i];

		if (strcmp(before->name, tensor->name) == 0)
			return pk_error(
				err, PK_BAD_FILE, "tensor %s is in both %s and %s",
				pk_error_quote(quoted, sizeof(quoted), tensor->name, strlen(tensor->name)),
				pk_checkpoint_file_name(checkpoint, before),
				pk_checkpoint_file_name(checkpoint, tensor));
	}
	return PK_OK;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const PkTensor *) a)->name, ((const PkTensor *) b)->name);
}

/* The index and the shards say the same. */
static PkStatus
check_index(PkCheckpoint *checkpoint, PkError *err)
{
	char  *json;
	size_t len;

	if (!checkpoint->sources->has_index)
		return PK_OK;
	PK_FORWARD(pk_file_load(checkpoint->sources->dir, PK_INDEX_NAME, PK_INDEX_BYTES_MAX, &json,
	                        &len, err));

	PkStatus status = pk_index_walk(json, len, check_index_entry, checkpoint, err);

	free(json);
	return status;
}

static PkStatus
check_index_entry(void *arg, const char *tensor, const char *shard, PkError *err)
{
	const PkCheckpoint *checkpoint = arg;
	PkTensor            key = {.name = (char *) (uintptr_t) tensor};
	const PkTensorList *list = &checkpoint->tensors;
	const PkTensor     *found =
        list->n == 0 ? NULL : bsearch(&key, list->items, list->n, sizeof(PkTensor), compare_names);
	char quoted[120];

	pk_error_quote(quoted, sizeof(quoted), tensor, strlen(tensor));
	if (found == NULL)
		return pk_error(err, PK_BAD_FILE, "%s places tensor %s in %s, which does not have it",
		                PK_INDEX_NAME, quoted, shard);
	if (strcmp(pk_checkpoint_file_name(checkpoint, found), shard) != 0)
		return pk_error(err, PK_BAD_FILE, "%s places tensor %s in %s, but it is in %s",
		                PK_INDEX_NAME, quoted, shard, pk_checkpoint_file_name(checkpoint, found));
	return PK_OK;
}

PkStatus
pk_index_walk(const char *json, size_t len, PkIndexFn fn, void *arg, PkError *err)
{
	PkJsonDoc *doc;
	PkStatus   status = PK_OK;

	PK_FORWARD(pk_json_parse(json, len, PK_INDEX_NAME, &doc, err));

	const PkJson *map = pk_json_get(pk_json_root(doc), "weight_map");

	if (pk_json_type(map) != PK_JSON_OBJECT)
		status = pk_error(err, PK_BAD_FILE, "%s has no weight_map", PK_INDEX_NAME);
	for (const PkJsonMember *it = pk_json_first(map); it != NULL && status == PK_OK;
	     it = pk_json_next(map, it))
	{
		size_t      shard_len = 0;
		const char *shard = pk_json_string(pk_json_member_value(it), &shard_len);

		status = check_shard_name(shard, shard_len, err);
		if (status == PK_OK)
			status = fn(arg, pk_json_member_key(it, NULL), shard, err);
	}
	pk_json_free(doc);
	return status;
}

/* A name stands in messages as it is. */
static bool
has_control(const char *name)
{
	for (; *name != '\0'; name++)
		if ((unsigned char) *name < 0x20 || *name == 0x7f)
			return true;
	return false;
}

/* A shard is a plain file name: nothing that could lead out of the directory, or be hidden. */
static PkStatus
check_shard_name(const char *name, size_t len, PkError *err)
{
	char quoted[120];

	if (name == NULL)
		return pk_error(err, PK_BAD_FILE, "the weight_map of %s names a shard that is no string",
		                PK_INDEX_NAME);
	if (len == 0 || len > 255 || strlen(name) != len || name[0] == '.' ||
	    memchr(name, '/', len) != NULL || memchr(name, '\\', len) != NULL ||
	    strstr(name, "..") != NULL || has_control(name))
		return pk_error(err, PK_BAD_FILE, "%s names a shard \"%s\", which is not a plain file name",
		                PK_INDEX_NAME, pk_error_quote(quoted, sizeof(quoted), name, len));
	return PK_OK;
}

PkStatus
pk_sources_config(const PkSources *sources, PkConfig *out, PkError *err)
{
	PkCheckpoint checkpoint;
	PkBinding    binding;

	PK_FORWARD(pk_checkpoint_open(sources, &checkpoint, err));

	PkStatus status = pk_weights_bind(&checkpoint.tensors, &checkpoint.config, &binding, err);

	if (status == PK_OK)
	{
		*out = checkpoint.config;
		pk_binding_free(&binding);
	}
	pk_checkpoint_close(&checkpoint);
	return status;
}

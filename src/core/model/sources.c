/*
 * sources.c
 *    Which files make up a checkpoint, and whether they changed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/model/checkpoint.h"

/* github.com/git-lfs/git-lfs, docs/spec.md: a pointer is below 1,024 bytes and begins so. */
#define LFS_BEGINNING "version https://git-lfs"
#define LFS_BYTES_MAX 1024

static PkStatus scan(PkSources *sources, PkError *err);
static PkStatus check_directory(const char *dir, PkError *err);
static PkStatus refuse_adapter(const PkSources *sources, PkError *err);
static bool     has_directory(const char *dir, const char *name);
static bool     make_path(char out[PATH_MAX], const char *dir, const char *name);
static PkStatus add_required(PkSources *sources, const char *name, PkError *err);
static PkStatus add_optional(PkSources *sources, const char *name, bool *found, PkError *err);
static PkStatus add_file(PkSources *sources, const char *name, PkError *err);
static PkStatus look_at(const char *dir, const char *name, PkFileId *id, PkError *err);
static bool     is_link(const char *dir, const char *name);
static PkStatus check_pointer(int fd, const char *name, uint64_t size, PkError *err);
static PkStatus add_weights(PkSources *sources, PkError *err);
static PkStatus no_weights(const PkSources *sources, PkError *err);
static bool     find_file(const char *dir, const char *pattern, char out[256]);
static PkStatus add_shards(PkSources *sources, PkError *err);
static PkStatus add_shard(void *arg, const char *tensor, const char *shard, PkError *err);
static int      compare_names(const void *a, const void *b);

PkStatus
pk_sources_scan(const char *dir, PkSources **out, PkError *err)
{
	void *memory, *copy;

	PK_FORWARD(pk_calloc(1, sizeof(PkSources), &memory, err));

	PkSources *sources = memory;
	PkStatus   status = pk_calloc(strlen(dir) + 1, 1, &copy, err);

	if (status == PK_OK)
	{
		sources->dir = memcpy(copy, dir, strlen(dir) + 1);
		status = scan(sources, err);
	}
	if (status != PK_OK)
	{
		pk_sources_free(sources);
		return status;
	}
	*out = sources;
	return PK_OK;
}

static PkStatus
scan(PkSources *sources, PkError *err)
{
	PK_FORWARD(check_directory(sources->dir, err));
	PK_FORWARD(refuse_adapter(sources, err));
	PK_FORWARD(add_required(sources, "config.json", err));
	PK_FORWARD(
		add_optional(sources, "generation_config.json", &sources->has_generation_config, err));
	PK_FORWARD(add_required(sources, "tokenizer.json", err));
	return add_weights(sources, err);
}

static PkStatus
check_directory(const char *dir, PkError *err)
{
	struct stat info;

	if (stat(dir, &info) != 0)
	{
		int saved_errno = errno;

		if (saved_errno == EACCES) /* opening a file in it gives the better message */
			return PK_OK;
		return pk_error_errno(err, saved_errno, "could not find the model directory \"%s\"", dir);
	}
	if (!S_ISDIR(info.st_mode))
	{
		pk_error(err, PK_NO_FILE, "\"%s\" is not a directory", dir);
		return pk_error_hint(err, PK_NO_FILE,
		                     "Give the directory of the checkpoint, not a file in it.");
	}
	return PK_OK;
}

/* peft leaves it beside a model or alone; the model without it would answer as if untrained. */
static PkStatus
refuse_adapter(const PkSources *sources, PkError *err)
{
	PkFileId id;

	if (pk_file_identify(sources->dir, "adapter_config.json", &id, NULL) != PK_OK)
		return PK_OK;
	pk_error(err, PK_UNSUPPORTED,
	         "\"%s\" holds an adapter such as LoRA (adapter_config.json), which is not applied",
	         sources->dir);
	return pk_error_hint(err, PK_UNSUPPORTED, PK_HINT_ADAPTER);
}

static PkStatus
add_required(PkSources *sources, const char *name, PkError *err)
{
	PkStatus status = add_file(sources, name, err);

	if (status == PK_NO_FILE && has_directory(sources->dir, "snapshots"))
		pk_error_hint(err, status,
		              "This directory of the Hugging Face cache holds versions of the model; give "
		              "one of them, snapshots/<hash>.");
	else if (status == PK_NO_FILE)
		pk_error_hint(err, status,
		              "A checkpoint directory holds config.json, tokenizer.json and "
		              "model.safetensors (or its shards and their index).");
	return status;
}

static bool
has_directory(const char *dir, const char *name)
{
	char        path[PATH_MAX];
	struct stat info;

	return make_path(path, dir, name) && stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool
make_path(char out[PATH_MAX], const char *dir, const char *name)
{
	int len = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	return len > 0 && len < PATH_MAX;
}

static PkStatus
add_optional(PkSources *sources, const char *name, bool *found, PkError *err)
{
	PkError  problem;
	PkStatus status = add_file(sources, name, &problem);

	*found = status == PK_OK;
	if (status == PK_OK || status == PK_NO_FILE)
		return PK_OK;
	if (err != NULL)
		*err = problem;
	return status;
}

static PkStatus
add_file(PkSources *sources, const char *name, PkError *err)
{
	PkFileId id;
	void    *copy;

	PK_FORWARD(look_at(sources->dir, name, &id, err));

	void    *files = sources->files;
	PkStatus status =
		pk_grow(&files, &sources->n_room, sources->n_files + 1, sizeof(PkSourceFile), err);

	sources->files = files;
	if (status != PK_OK)
		return status;
	PK_FORWARD(pk_calloc(strlen(name) + 1, 1, &copy, err));
	sources->files[sources->n_files].name = memcpy(copy, name, strlen(name) + 1);
	sources->files[sources->n_files].id = id;
	sources->n_files++;
	return PK_OK;
}

/* The file's identity, if it can be read and is what its name says. */
static PkStatus
look_at(const char *dir, const char *name, PkFileId *id, PkError *err)
{
	int      fd;
	PkStatus status = pk_file_open(dir, name, &fd, id, err);

	if (status == PK_NO_FILE && is_link(dir, name))
	{
		pk_error(err, PK_BAD_FILE, "%s is a symbolic link to a file that isn't there", name);
		return pk_error_hint(
			err, PK_BAD_FILE,
			"Copy the checkpoint with cp -rL, so that files come instead of links.");
	}
	PK_FORWARD(status);
	status = check_pointer(fd, name, id->size, err);

	close(fd);
	return status;
}

static bool
is_link(const char *dir, const char *name)
{
	char        path[PATH_MAX];
	struct stat info;

	return make_path(path, dir, name) && lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

/* A clone without git-lfs holds small texts in the place of its large files. */
static PkStatus
check_pointer(int fd, const char *name, uint64_t size, PkError *err)
{
	char beginning[sizeof(LFS_BEGINNING) - 1];

	if (size < sizeof(beginning) || size > LFS_BYTES_MAX)
		return PK_OK;
	PK_FORWARD(pk_file_read(fd, name, beginning, sizeof(beginning), 0, err));
	if (memcmp(beginning, LFS_BEGINNING, sizeof(beginning)) != 0)
		return PK_OK;
	pk_error(err, PK_BAD_FILE, "%s is a git-lfs pointer, not the file", name);
	return pk_error_hint(err, PK_BAD_FILE,
	                     "Run git lfs pull in its directory, or download the file.");
}

/* As transformers: one file if there is one, else the index and its shards. */
static PkStatus
add_weights(PkSources *sources, PkError *err)
{
	bool has_single;

	PK_FORWARD(add_optional(sources, "model.safetensors", &has_single, err));
	if (has_single)
	{
		sources->first_shard = sources->n_files - 1;
		sources->n_shards = 1;
		return PK_OK;
	}
	PK_FORWARD(add_optional(sources, PK_INDEX_NAME, &sources->has_index, err));
	if (!sources->has_index)
		return no_weights(sources, err);
	sources->first_shard = sources->n_files;
	return add_shards(sources, err);
}

/* Says what else of weights is there. */
static PkStatus
no_weights(const PkSources *sources, PkError *err)
{
	char name[256], quoted[120];

	pk_error(err, PK_NO_FILE, "\"%s\" has neither model.safetensors nor %s", sources->dir,
	         PK_INDEX_NAME);
	if (find_file(sources->dir, "pytorch_model*.bin", name))
		return pk_error_hint(err, PK_NO_FILE,
		                     "It has %s; load it with transformers and save it with "
		                     "save_pretrained(), which writes safetensors.",
		                     pk_error_quote(quoted, sizeof(quoted), name, strlen(name)));
	if (find_file(sources->dir, "*-of-*.safetensors", name))
		return pk_error_hint(err, PK_NO_FILE, "It has the shard %s; download %s too.",
		                     pk_error_quote(quoted, sizeof(quoted), name, strlen(name)),
		                     PK_INDEX_NAME);
	if (find_file(sources->dir, "*.safetensors", name))
		return pk_error_hint(err, PK_NO_FILE,
		                     "It has %s; if that is the whole model, name it model.safetensors.",
		                     pk_error_quote(quoted, sizeof(quoted), name, strlen(name)));
	return PK_NO_FILE;
}

/* The first name in alphabetical order that fits, so that a message is the same each time. */
static bool
find_file(const char *dir, const char *pattern, char out[256])
{
	DIR           *names = opendir(dir);
	struct dirent *entry;

	out[0] = '\0';
	while (names != NULL && (entry = readdir(names)) != NULL)
		if (fnmatch(pattern, entry->d_name, 0) == 0 &&
		    (out[0] == '\0' || strcmp(entry->d_name, out) < 0))
			snprintf(out, 256, "%s", entry->d_name);
	if (names != NULL)
		closedir(names);
	return out[0] != '\0';
}

static PkStatus
add_shards(PkSources *sources, PkError *err)
{
	char  *json;
	size_t len;

	PK_FORWARD(pk_file_load(sources->dir, PK_INDEX_NAME, PK_INDEX_BYTES_MAX, &json, &len, err));

	PkStatus status = pk_index_walk(json, len, add_shard, sources, err);

	free(json);
	PK_FORWARD(status);
	if (sources->n_shards == 0)
		return pk_error(err, PK_BAD_FILE, "%s names no shard", PK_INDEX_NAME);
	qsort(sources->files + sources->first_shard, sources->n_shards, sizeof(PkSourceFile),
	      compare_names);
	return PK_OK;
}

static PkStatus
add_shard(void *arg, const char *tensor, const char *shard, PkError *err)
{
	PkSources *sources = arg;

	(void) tensor;
	if (sources->n_shards > 0 && strcmp(sources->files[sources->last_shard].name, shard) == 0)
		return PK_OK; /* neighbours in the index mostly share a shard */
	for (size_t i = sources->n_files; i > sources->first_shard; i--)
		if (strcmp(sources->files[i - 1].name, shard) == 0)
		{
			sources->last_shard = i - 1;
			return PK_OK;
		}
	if (sources->n_shards == PK_SHARDS_MAX)
		return pk_error(err, PK_UNSUPPORTED, "%s names more than %d shards", PK_INDEX_NAME,
		                PK_SHARDS_MAX);

	PkStatus status = add_file(sources, shard, err);

	if (status == PK_NO_FILE)
		pk_error_hint(err, status, "%s names this shard; the checkpoint is incomplete.",
		              PK_INDEX_NAME);
	PK_FORWARD(status);
	sources->last_shard = sources->n_files - 1;
	sources->n_shards++;
	return PK_OK;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const PkSourceFile *) a)->name, ((const PkSourceFile *) b)->name);
}

PkHash128
pk_sources_key(const PkSources *sources)
{
	/* each file is one record, hashed; the key is the hash of the records in their fixed order */
	PkHash128 chain = {{0}};

	for (size_t i = 0; i < sources->n_files; i++)
	{
		const PkSourceFile *file = &sources->files[i];
		struct
		{
			PkHash128 before, name;
			PkFileId  id;
		} record;

		memset(&record, 0, sizeof(record));
		record.before = chain;
		record.name = pk_hash128(file->name, strlen(file->name));
		record.id = file->id;
		chain = pk_hash128(&record, sizeof(record));
	}
	return chain;
}

uint64_t
pk_sources_size(const PkSources *sources)
{
	uint64_t size = 0;

	for (size_t i = 0; i < sources->n_files; i++)
		size += sources->files[i].id.size;
	return size;
}

bool
pk_sources_hold(const PkSources *sources, const char *path)
{
	struct stat info;

	if (stat(path, &info) != 0)
		return false;
	for (size_t i = 0; i < sources->n_files; i++)
		if (sources->files[i].id.device == (uint64_t) info.st_dev &&
		    sources->files[i].id.inode == (uint64_t) info.st_ino)
			return true;
	return false;
}

void
pk_sources_free(PkSources *sources)
{
	if (sources == NULL)
		return;
	for (size_t i = 0; i < sources->n_files; i++)
		free(sources->files[i].name);
	free(sources->files);
	free(sources->dir);
	free(sources);
}

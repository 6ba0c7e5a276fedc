/*
 * checkpoint.h
 *    A checkpoint opened for reading: config, open shards and the tensors in them.
 */
#ifndef PK_CHECKPOINT_H
#define PK_CHECKPOINT_H

#include "core/base/hash.h"
#include "core/base/mapfile.h"
#include "core/model/config.h"
#include "core/model/convert.h"
#include "core/model/safetensors.h"

#define PK_CONFIG_BYTES_MAX ((size_t) 1 << 20)
#define PK_INDEX_BYTES_MAX ((size_t) 16 << 20)
#define PK_TOKENIZER_BYTES_MAX ((size_t) 64 << 20)
#define PK_SHARDS_MAX 256

typedef struct PkSourceFile
{
	char    *name; /* within the directory; malloc'ed */
	PkFileId id;
} PkSourceFile;

/* See convert.h. files[0] is config.json; shards are the last n_shards of files. */
struct PkSources
{
	char         *dir;
	PkSourceFile *files;
	size_t        n_files;
	size_t        n_room;
	bool          has_generation_config;
	bool          has_index;
	size_t        first_shard;
	size_t        n_shards;
	size_t        last_shard; /* that the index named; of the scan alone */
};

#define PK_INDEX_NAME "model.safetensors.index.json"

/*
 * Walk the weight_map of an index: fn(arg, tensor, shard) for each entry. json is the text.
 * PK_BAD_FILE when it is no index, or a shard's name could leave the directory.
 */
typedef PkStatus (*PkIndexFn)(void *arg, const char *tensor, const char *shard, PkError *err);
PkStatus pk_index_walk(const char *json, size_t len, PkIndexFn fn, void *arg, PkError *err);

typedef struct PkCheckpoint
{
	const PkSources *sources; /* must outlive the checkpoint */
	PkConfig         config;  /* vocab_size from the file, n_tokens 0 */
	PkHash128        config_hash;
	PkHash128        generation_hash; /* zeros without generation_config.json */
	int             *fds;             /* (n_shards) */
	PkTensorList     tensors;         /* sorted by name, none twice */
} PkCheckpoint;

/* Open all shards and read their headers; the files must be those of the scan. */
PkStatus pk_checkpoint_open(const PkSources *sources, PkCheckpoint *out, PkError *err);
void     pk_checkpoint_close(PkCheckpoint *checkpoint);

/* The open shards are still what they were. PK_BAD_FILE naming the one that changed. */
PkStatus pk_checkpoint_check_unchanged(const PkCheckpoint *checkpoint, PkError *err);

/* Name of the shard a tensor lies in. */
const char *pk_checkpoint_file_name(const PkCheckpoint *checkpoint, const PkTensor *tensor);

#endif

/*
 * convert.h
 *    From a Hugging Face checkpoint to an image, in bounded memory.
 */
#ifndef PK_CONVERT_H
#define PK_CONVERT_H

#include "core/base/cancel.h"
#include "core/base/hash.h"
#include "core/base/threads.h"
#include "core/kernels/quant.h"
#include "core/model/config.h"

/*
 * The files of a checkpoint and a key of their identity: names, device, inode, size, mtime, ctime.
 * Equal keys mean that nothing changed, so nothing needs to be read again.
 */
typedef struct PkSources PkSources;

/*
 * Find config.json, generation_config.json (optional), tokenizer.json and model.safetensors or the
 * index with its shards in dir; each must be a regular, readable file. Nothing is kept open.
 * PK_NO_FILE, PK_NO_PERMISSION, PK_BAD_FILE (an index that names '/' or '..', a link that leads
 * nowhere, ...), PK_UNSUPPORTED (an adapter). Reads the index only, and how small files begin.
 */
PkStatus  pk_sources_scan(const char *dir, PkSources **out, PkError *err);
PkHash128 pk_sources_key(const PkSources *sources);
uint64_t  pk_sources_size(const PkSources *sources); /* bytes of all files */
void      pk_sources_free(PkSources *sources);

/* path is one of the checkpoint's files, whatever name or link leads to it. */
bool pk_sources_hold(const PkSources *sources, const char *path);

/* Read config, generation config and the headers of all shards; names, shapes and dtypes checked.
 * Cheap: no weight is read, no tokenizer compiled (n_tokens is 0). For polyko_models. */
PkStatus pk_sources_config(const PkSources *sources, PkConfig *out, PkError *err);

/* Bytes of the image these sources give with quant, without the tokenizer's part (below 64 MB). */
uint64_t pk_image_size_estimate(const PkConfig *config, PkQuant quant);

typedef void (*PkProgressFn)(void *arg, uint64_t bytes_done, uint64_t bytes_total);

typedef struct PkConvert
{
	const char  *source_dir;
	PkQuant      quant;
	const char  *image_path; /* of the temporary file, mode 0600 */
	bool         is_made;    /* it is there, empty; else it is made anew (unlinked first) */
	PkPool      *pool;       /* NULL: this thread alone */
	PkCancel    *cancel;     /* may be NULL */
	PkProgressFn progress;   /* may be NULL; calling thread, every few MB */
	void        *progress_arg;
	bool         keep_free; /* refuse with PK_NO_DISK unless max(1 GiB, 5 %) stays free */
} PkConvert;

/*
 * Convert; on PK_OK the image is complete, fsynced and has its fingerprint, to be renamed by the
 * caller; on failure nothing is left. At most 512 MiB of memory. Sources are read with pread and
 * must still have the identity `expected` (pk_sources_key) at the end, else PK_BAD_FILE. An
 * image_path that is one of them is PK_BAD_ARGUMENT.
 */
PkStatus pk_convert(const PkConvert *convert, PkHash128 expected, PkHash128 *fingerprint,
                    PkError *err);

/* The fingerprint alone: reads everything, writes nothing. */
PkStatus pk_fingerprint(const char *source_dir, PkCancel *cancel, PkProgressFn progress,
                        void *progress_arg, PkHash128 *fingerprint, PkError *err);

#endif

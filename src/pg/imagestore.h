/*
 * imagestore.h
 *    The image directory: names, sidecars, and getting the image of a checkpoint.
 *
 * All names begin with pgsql_tmp_polyko_, because backup tools skip such files and each node builds
 * its own:
 *    ..._<fingerprint>-<quantization>-<layout>.img   an image; only ever made by rename, unlinked
 *    ..._<source key>.src                            sidecar: two lines, the fingerprint these
 * files have and their directory
 *    ..._<source key>-<quantization>.<random>.part   an image being built
 *    ..._<source key>-<quantization>.<random>.aside  a sidecar being written
 *    ..._<source key>-<quantization>.progress        how far it is: two 64-bit numbers
 * Anybody may read them at any time; they are written only by the holder of the build lock of that
 * source key and quantization (builder.c), and removed by him or by polyko_prune_images().
 *
 * The build lock is a server's own, but servers may share the directory, and processes of a
 * parallel query don't exclude each other by locks. So each builder writes files of its own, and
 * holds a lock of the operating system on them, which goes with its process, however that ends:
 * whoever can take the lock has found what a dead builder left.
 */
#ifndef PKPG_IMAGESTORE_H
#define PKPG_IMAGESTORE_H

#include "postgres.h"

#include "core/base/hash.h"
#include "core/model/model.h"
#include "pg/models.h"

#define PKPG_FILE_PREFIX "pgsql_tmp_polyko_"

/* A build: which checkpoint, in which form. Flat, so that it can lie in shared memory. */
typedef struct PkpgBuild
{
	char      source_dir[MAXPGPATH];
	char      image_dir[MAXPGPATH];
	PkHash128 source_key;
	PkQuant   quant;
	bool      is_pinned;
	PkHash128 fingerprint; /* wanted if is_pinned */
} PkpgBuild;

/* Paths, in the caller's buffer of MAXPGPATH bytes. */
extern void pkpg_image_path(const PkpgBuild *build, PkHash128 fingerprint, char *out);
extern void pkpg_progress_path(const PkpgBuild *build, char *out);

/* The fingerprint that the sidecar knows for these files; false if it knows none. */
extern bool     pkpg_sidecar_read(const PkpgBuild *build, PkHash128 *fingerprint);
/* The same for the sidecar file at path, with the directory it was made for. */
extern bool     pkpg_sidecar_parse(const char *path, PkHash128 *fingerprint,
                                   char source_dir[MAXPGPATH]);
extern PkStatus pkpg_sidecar_write(const PkpgBuild *build, PkHash128 fingerprint, PkError *err);

/* True if the image of this fingerprint is there. */
extern bool pkpg_image_exists(const PkpgBuild *build, PkHash128 fingerprint);

/* Make the directory (mode 0700) if it is missing. */
extern PkStatus pkpg_image_dir_make(const PkpgBuild *build, PkError *err);

/*
 * The model of a server, opened; waits while its image is built. The caller releases it. Raises
 * what goes wrong.
 */
extern PkModel *pkpg_image_open(const PkpgServer *server, PkHash128 source_key);

#endif

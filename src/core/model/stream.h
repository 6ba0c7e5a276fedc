/*
 * stream.h
 *    One tensor from its shard into the image, piece by piece, by all threads of a pool.
 *
 * A piece is read, hashed, widened to float, packed, hashed again and written by one thread in
 * that thread's own buffers, so memory does not depend on the model's size and threads share
 * nothing but the list of hashes, of which each writes its own items.
 */
#ifndef PK_STREAM_H
#define PK_STREAM_H

#include "core/base/cancel.h"
#include "core/base/threads.h"
#include "core/kernels/kernels.h"
#include "core/model/checkpoint.h"
#include "core/model/image.h"

typedef struct PkStream PkStream;

typedef struct PkStreamConfig
{
	const PkCheckpoint  *checkpoint; /* must outlive the stream */
	const PkImageLayout *layout;
	int                  image_fd; /* -1: only hashes are wanted */
	const char          *image_path;
	PkPool              *pool; /* NULL: the calling thread alone */
	PkCancel            *cancel;
	PkProgressFn         progress;
	void                *progress_arg;
	uint64_t             bytes_total;
} PkStreamConfig;

PkStatus pk_stream_create(const PkStreamConfig *config, PkStream **out, PkError *err);
void     pk_stream_destroy(PkStream *stream);

/*
 * Convert one slot from tensor (NULL: zeros). *source_hash is of the tensor's bytes in the order
 * of the image's rows; the hashes of the packed pieces go into image_hasher (NULL without an
 * image). PK_BAD_FILE naming tensor, row and column for a value that is no number.
 */
PkStatus pk_stream_slot(PkStream *stream, size_t slot, const PkTensor *tensor,
                        PkHash128 *source_hash, PkHasher *image_hasher, PkError *err);

#endif

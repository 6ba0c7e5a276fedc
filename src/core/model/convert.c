/*
 * convert.c
 *    A checkpoint to an image, or to its fingerprint alone.
 *
 * Order: everything that can be refused cheaply first, then room on the disk, then the weights in
 * slot order, the tables, the header, and at last another look at the sources. The fingerprint is
 * the XXH3-128 of a list: the configs' and the tokenizer's hashes, and name, dtype, shape and hash
 * of each weight in slot order. So it does not depend on shards, file order, buffers that are
 * skipped, or quantization.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/model/checkpoint.h"
#include "core/model/convert.h"
#include "core/model/hugepages.h"
#include "core/model/image.h"
#include "core/model/stream.h"
#include "core/tokenizer/tokenizer.h"

#define FINGERPRINT_SALT "polyko checkpoint 1\n"
#define ALLOCATE_BYTES ((size_t) 64 << 20)
#define SYNC_BYTES ((size_t) 1 << 20)
#define FREE_MIN ((uint64_t) 1 << 30)

typedef struct Conversion
{
	const PkConvert *args;
	PkSources       *sources;
	PkCheckpoint     checkpoint;
	PkBinding        binding;
	char            *tokenizer_json;
	size_t           tokenizer_json_len;
	PkHash128        tokenizer_hash;
	void            *tables; /* what lies between header and weights */
	size_t           tables_size;
	PkImageLayout    layout;
	PkStream        *stream;
	PkHasher        *fingerprint; /* of the list above */
	PkHasher        *weights;     /* of all pieces of the image */
	int              fd;          /* -1: only the fingerprint is wanted */
} Conversion;

static PkStatus begin(Conversion *c, const PkHash128 *expected, PkError *err);
static void     end(Conversion *c);
static PkStatus build(Conversion *c, PkHash128 *fingerprint, PkError *err);
static PkStatus make_tables(Conversion *c, PkError *err);
static void    *table_at(const Conversion *c, size_t offset);
static PkStatus compile_tokenizer(Conversion *c, void **blob, size_t *blob_size, PkError *err);
static PkStatus ask_tokenizer(Conversion *c, PkError *err);
static PkStatus create_image(Conversion *c, PkError *err);
static PkStatus check_room(const Conversion *c, PkError *err);
static PkStatus allocate_file(const Conversion *c, PkError *err);
static PkStatus hint_disk(PkStatus status, PkError *err);
static PkStatus start_stream(Conversion *c, PkError *err);
static PkStatus convert_slots(Conversion *c, PkHash128 *fingerprint, PkError *err);
static void     add_to_fingerprint(Conversion *c, size_t slot, const PkTensor *tensor,
                                   PkHash128 content);
static void     hash_number(PkHasher *hasher, uint64_t number);
static PkStatus write_tables(Conversion *c, PkHash128 fingerprint, PkError *err);
static PkStatus sync_image(const Conversion *c, PkError *err);
static PkStatus explain_cancel(PkStatus status, PkError *err);

PkStatus
pk_convert(const PkConvert *convert, PkHash128 expected, PkHash128 *fingerprint, PkError *err)
{
	Conversion c = {.args = convert, .fd = -1};
	PkStatus   status = begin(&c, &expected, err);

	if (status == PK_OK)
		status = build(&c, fingerprint, err);
	if (status != PK_OK && c.fd >= 0)
		(void) unlink(convert->image_path);
	end(&c);
	return explain_cancel(status, err);
}

PkStatus
pk_fingerprint(const char *source_dir, PkCancel *cancel, PkProgressFn progress, void *progress_arg,
               PkHash128 *fingerprint, PkError *err)
{
	PkConvert args = {
		.source_dir = source_dir,
		.quant = PK_QUANT_F32,
		.cancel = cancel,
		.progress = progress,
		.progress_arg = progress_arg,
	};
	Conversion c = {.args = &args, .fd = -1};
	PkStatus   status;

	PK_FORWARD_TO(done, begin(&c, NULL, err));
	PK_FORWARD_TO(done, pk_image_layout(&c.checkpoint.config, args.quant, 0, &c.layout, err));
	PK_FORWARD_TO(done, start_stream(&c, err));
	PK_FORWARD_TO(done, convert_slots(&c, fingerprint, err));
	status = pk_checkpoint_check_unchanged(&c.checkpoint, err);
done:
	end(&c);
	return explain_cancel(status, err);
}

/* Find, open and check everything but the values. */
static PkStatus
begin(Conversion *c, const PkHash128 *expected, PkError *err)
{
	PK_FORWARD(pk_sources_scan(c->args->source_dir, &c->sources, err));
	if (expected != NULL && !pk_hash_equal(pk_sources_key(c->sources), *expected))
	{
		pk_error(err, PK_BAD_FILE, "the files in \"%s\" changed since they were looked up",
		         c->args->source_dir);
		return pk_error_hint(err, PK_BAD_FILE, "Try again when the files are complete.");
	}
	PK_FORWARD(pk_checkpoint_open(c->sources, &c->checkpoint, err));
	PK_FORWARD(pk_weights_bind(&c->checkpoint.tensors, &c->checkpoint.config, &c->binding, err));
	PK_FORWARD(pk_file_load(c->args->source_dir, "tokenizer.json", PK_TOKENIZER_BYTES_MAX,
	                        &c->tokenizer_json, &c->tokenizer_json_len, err));
	c->tokenizer_hash = pk_hash128(c->tokenizer_json, c->tokenizer_json_len);
	return pk_hasher_create(&c->fingerprint, err);
}

static void
end(Conversion *c)
{
	pk_stream_destroy(c->stream);
	pk_hasher_destroy(c->fingerprint);
	pk_hasher_destroy(c->weights);
	pk_pages_free(c->tables, c->tables_size);
	pk_image_layout_free(&c->layout);
	pk_binding_free(&c->binding);
	free(c->tokenizer_json);
	pk_checkpoint_close(&c->checkpoint);
	pk_sources_free(c->sources);
	if (c->fd >= 0)
		close(c->fd);
}

static PkStatus
build(Conversion *c, PkHash128 *fingerprint, PkError *err)
{
	PK_FORWARD(make_tables(c, err));
	PK_FORWARD(create_image(c, err));
	PK_FORWARD(pk_hasher_create(&c->weights, err));
	PK_FORWARD(start_stream(c, err));
	PK_FORWARD(convert_slots(c, fingerprint, err));
	PK_FORWARD(write_tables(c, *fingerprint, err));
	PK_FORWARD(pk_checkpoint_check_unchanged(&c->checkpoint, err));
	return sync_image(c, err);
}

/* Lay out the image and fill all of its tables in memory. */
static PkStatus
make_tables(Conversion *c, PkError *err)
{
	PkImageLayout  *layout = &c->layout;
	const PkConfig *config = &c->checkpoint.config;
	size_t          blob_size;
	void           *blob;

	PK_FORWARD(compile_tokenizer(c, &blob, &blob_size, err));

	PkStatus status = pk_image_layout(config, c->args->quant, blob_size, layout, err);

	if (status == PK_OK)
	{
		c->tables_size = layout->weights_offset - PK_IMAGE_PAGE;
		status = pk_pages_alloc(c->tables_size, &c->tables, err);
	}
	if (status == PK_OK)
	{
		memcpy(table_at(c, layout->tokenizer_offset), blob, blob_size);
		pk_image_directory(layout, table_at(c, layout->directory_offset));
		pk_rope_tables(config, table_at(c, layout->rope_offset),
		               table_at(c, layout->rope_offset + layout->rope_size));
		status = ask_tokenizer(c, err);
	}
	free(blob);
	return status;
}

/* The place of what will lie at offset in the file. */
static void *
table_at(const Conversion *c, size_t offset)
{
	return (char *) c->tables + (offset - PK_IMAGE_PAGE);
}

static PkStatus
compile_tokenizer(Conversion *c, void **blob, size_t *blob_size, PkError *err)
{
	if (pk_cancel_poll(c->args->cancel))
		return PK_CANCELLED;
	PK_FORWARD(pk_tokenizer_compile(c->tokenizer_json, c->tokenizer_json_len, c->args->cancel, blob,
	                                blob_size, err));
	free(c->tokenizer_json);
	c->tokenizer_json = NULL;
	return PK_OK;
}

/* What only the tokenizer knows: how many tokens there are and which of them ends a text. */
static PkStatus
ask_tokenizer(Conversion *c, PkError *err)
{
	static const char endoftext[] = "<|endoftext|>";
	PkConfig         *config = &c->checkpoint.config;
	const void       *blob = table_at(c, c->layout.tokenizer_offset);
	PkTokenizer      *tokenizer;

	PK_FORWARD(pk_tokenizer_open(blob, c->layout.tokenizer_size, &tokenizer, err));

	size_t  n_ids = pk_tokenizer_n_ids(tokenizer);
	int32_t end_id = pk_tokenizer_find(tokenizer, endoftext, sizeof(endoftext) - 1);

	pk_tokenizer_close(tokenizer);
	if (n_ids < 1 || n_ids > config->vocab_size)
		return pk_error(err, PK_BAD_FILE,
		                "tokenizer.json has %zu tokens, but the model has %u rows of vocabulary",
		                n_ids, config->vocab_size);
	config->n_tokens = (uint32_t) n_ids;
	config->endoftext_id = end_id;
	if (end_id >= 0)
		PK_FORWARD(pk_config_add_eos(config, end_id, err));
	return pk_config_check(config, err);
}

static PkStatus
create_image(Conversion *c, PkError *err)
{
	const char *path = c->args->image_path;
	int         flags = c->args->is_made ? O_RDWR : O_RDWR | O_CREAT | O_EXCL;

	if (pk_sources_hold(c->sources, path)) /* the next lines would remove or fill it */
		return pk_error(err, PK_BAD_ARGUMENT, "\"%s\" is a file of the checkpoint", path);
	if (!c->args->is_made && unlink(path) != 0 && errno != ENOENT)
		return pk_error_errno(err, errno, "could not remove \"%s\"", path);
	c->fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->fd < 0)
		return hint_disk(pk_error_errno(err, errno, "could not create \"%s\"", path), err);
	if (c->args->keep_free)
		PK_FORWARD(check_room(c, err));
	return allocate_file(c, err);
}

/* A full disk would stop the server's WAL: leave max(1 GiB, 5 %). */
static PkStatus
check_room(const Conversion *c, PkError *err)
{
	struct statvfs disk;

	if (fstatvfs(c->fd, &disk) != 0)
		return pk_error_errno(err, errno, "could not examine the disk of \"%s\"",
		                      c->args->image_path);

	uint64_t unit = disk.f_frsize;
	uint64_t room = (uint64_t) disk.f_bavail * unit;
	uint64_t keep = (uint64_t) disk.f_blocks * unit / 20;
	uint64_t need = c->layout.size_bytes;

	if (keep < FREE_MIN)
		keep = FREE_MIN;
	if (room >= need && room - need >= keep)
		return PK_OK;
	pk_error(err, PK_NO_DISK,
	         "the image needs %llu bytes and must leave %llu free, but the disk has %llu free",
	         (unsigned long long) need, (unsigned long long) keep, (unsigned long long) room);
	return hint_disk(PK_NO_DISK, err);
}

/* All blocks first, so that a full disk is met now and not in the middle. */
static PkStatus
allocate_file(const Conversion *c, PkError *err)
{
	size_t size = c->layout.size_bytes;

	for (size_t done = 0; done < size;)
	{
		size_t n = size - done < ALLOCATE_BYTES ? size - done : ALLOCATE_BYTES;
		int    failure = posix_fallocate(c->fd, (off_t) done, (off_t) n);

		if (pk_cancel_poll(c->args->cancel))
			return PK_CANCELLED;
		if (failure == EINTR)
			continue;
		if (failure != 0)
			return hint_disk(pk_error_errno(err, failure, "could not allocate %zu bytes for \"%s\"",
			                                size, c->args->image_path),
			                 err);
		done += n;
	}
	return PK_OK;
}

static PkStatus
hint_disk(PkStatus status, PkError *err)
{
	if (status == PK_NO_DISK)
		pk_error_hint(err, status,
		              "Free disk space, or place images on another disk (setting "
		              "polyko.image_directory).");
	return status;
}

static PkStatus
start_stream(Conversion *c, PkError *err)
{
	PkStreamConfig config = {
		.checkpoint = &c->checkpoint,
		.layout = &c->layout,
		.image_fd = c->fd,
		.image_path = c->args->image_path,
		.pool = c->args->pool,
		.cancel = c->args->cancel,
		.progress = c->args->progress,
		.progress_arg = c->args->progress_arg,
	};

	for (size_t i = 0; i < c->binding.n_slots; i++)
		if (c->binding.tensors[i] != NULL)
			config.bytes_total += c->binding.tensors[i]->end - c->binding.tensors[i]->begin;
	return pk_stream_create(&config, &c->stream, err);
}

static PkStatus
convert_slots(Conversion *c, PkHash128 *fingerprint, PkError *err)
{
	PkHugePages pages = pk_huge_pages(c->fd, c->layout.size_bytes, c->args->pool, c->args->cancel);

	pk_hasher_update(c->fingerprint, FINGERPRINT_SALT, strlen(FINGERPRINT_SALT));
	pk_hasher_update(c->fingerprint, &c->checkpoint.config_hash, sizeof(PkHash128));
	pk_hasher_update(c->fingerprint, &c->checkpoint.generation_hash, sizeof(PkHash128));
	pk_hasher_update(c->fingerprint, &c->tokenizer_hash, sizeof(PkHash128));
	for (size_t i = 0; i < c->binding.n_slots; i++)
	{
		const PkTensor *tensor = c->binding.tensors[i];
		const PkSlot   *slot = &c->layout.slots[i];
		PkHash128       content;

		PK_FORWARD(pk_huge_pages_reach(&pages, slot->offset + slot->size));
		PK_FORWARD(pk_stream_slot(c->stream, i, tensor, &content, c->weights, err));
		if (tensor != NULL)
			add_to_fingerprint(c, i, tensor, content);
	}
	*fingerprint = pk_hasher_digest(c->fingerprint);
	return PK_OK;
}

static void
add_to_fingerprint(Conversion *c, size_t slot, const PkTensor *tensor, PkHash128 content)
{
	char        room[PK_SLOT_NAME_ROOM];
	const char *name = pk_slot_name(&c->checkpoint.config, slot, room);

	hash_number(c->fingerprint, strlen(name));
	pk_hasher_update(c->fingerprint, name, strlen(name));
	hash_number(c->fingerprint, (uint64_t) tensor->dtype);
	hash_number(c->fingerprint, tensor->n_dims);
	for (uint32_t i = 0; i < tensor->n_dims; i++)
		hash_number(c->fingerprint, tensor->shape[i]);
	pk_hasher_update(c->fingerprint, &content, sizeof(content));
}

static void
hash_number(PkHasher *hasher, uint64_t number)
{
	pk_hasher_update(hasher, &number, sizeof(number)); /* little-endian: see image.h */
}

static PkStatus
write_tables(Conversion *c, PkHash128 fingerprint, PkError *err)
{
	PkImageHeader header = {
		.endian = PK_IMAGE_ENDIAN,
		.layout = PK_IMAGE_LAYOUT(c->args->quant),
		.numerics = PK_NUMERICS,
		.quant = (uint32_t) c->args->quant,
		.size_bytes = c->layout.size_bytes,
		.weight_bytes = c->layout.weight_bytes,
		.tokenizer_size = c->layout.tokenizer_size,
		.fingerprint = fingerprint,
		.config = c->checkpoint.config,
	};

	memcpy(header.magic, PK_IMAGE_MAGIC, sizeof(header.magic));
	strncpy(header.unicode_version, pk_unicode_version(), sizeof(header.unicode_version) - 1);
	header.tables_hash = pk_hash128(c->tables, c->tables_size);
	header.weights_hash = pk_hasher_digest(c->weights);
	header.header_hash = pk_image_header_hash(&header);

	PK_FORWARD(
		pk_file_write(c->fd, c->args->image_path, c->tables, c->tables_size, PK_IMAGE_PAGE, err));
	return pk_file_write(c->fd, c->args->image_path, &header, sizeof(header), 0, err);
}

/* In parts, so that a cancel is seen between them; the fsync at the end has little left to do. */
static PkStatus
sync_image(const Conversion *c, PkError *err)
{
#ifdef SYNC_FILE_RANGE_WRITE
	for (size_t done = 0; done < c->layout.size_bytes; done += SYNC_BYTES)
	{
		if (pk_cancel_poll(c->args->cancel))
			return PK_CANCELLED;
		/* advice only: what it misses, fsync() does and reports */
		(void) sync_file_range(c->fd, (off_t) done, (off_t) SYNC_BYTES,
		                       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
		                           SYNC_FILE_RANGE_WAIT_AFTER);
	}
#endif
	if (pk_cancel_poll(c->args->cancel))
		return PK_CANCELLED;
	if (fsync(c->fd) != 0)
		return hint_disk(pk_error_errno(err, errno, "could not flush \"%s\"", c->args->image_path),
		                 err);
	return PK_OK;
}

static PkStatus
explain_cancel(PkStatus status, PkError *err)
{
	if (status == PK_CANCELLED)
		return pk_error(err, status, "reading the checkpoint was cancelled");
	return status;
}

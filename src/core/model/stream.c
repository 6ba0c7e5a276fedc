/*
 * stream.c
 *    The inner loop of a conversion.
 *
 * query_key_value lies in a checkpoint as (heads, 3, head size) rows and in an image as
 * (3, heads, head size): a piece of the image gathers runs of source rows. The source hash is
 * taken in the order of the image, so one pass is enough.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/machine.h"
#include "core/model/stream.h"

/* Source bytes between two progress reports and hints to the system to read ahead. */
#define BATCH_BYTES ((size_t) 16 << 20)
/* Buffers, and pieces of one batch where there are more threads than buffers. A piece needs up to
 * 4 MB of buffers in the largest published model, so this keeps far below 512 MiB. */
#define WORKERS_MAX 64
/* Larger than one part in so many of the memory: a checkpoint that is dropped as it is read. */
#define CACHE_SHARE 2
#define F16_LIMIT 65520.0f /* from here on a float rounds to infinity */

typedef struct Worker
{
	void   *raw;    /* one piece as in the checkpoint */
	float  *floats; /* widened */
	void   *packed; /* as in the image */
	PkError error;  /* of failed_piece */
	size_t  failed_piece;
} Worker;

struct PkStream
{
	PkStreamConfig config;
	PkKernels      kernels;
	size_t         n_threads, n_workers;
	Worker        *workers; /* one for each thread, or for each tile if threads are more */
	size_t         raw_size, floats_size, packed_size;
	PkHash128     *source_hashes, *image_hashes; /* of the pieces of the current slot */
	uint64_t       bytes_done;
	bool           exceeds_cache; /* the checkpoint; so it is dropped as it is read */

	/* the slot at work */
	const PkSlot   *slot;
	const PkTensor *tensor; /* NULL: zeros */
	size_t          item_size;
	size_t          first_piece;  /* of this batch: tile 0 */
	atomic_size_t   failed_piece; /* lowest so far; later pieces are skipped */
};

static PkStatus allocate(PkStream *stream, PkError *err);
static void     measure(PkStream *stream, size_t *n_pieces_max);
static PkStatus run_batch(PkStream *stream, size_t n_pieces, PkError *err);
static void     read_ahead(const PkStream *stream, size_t first_piece, size_t n_pieces);
static void     write_behind(const PkStream *stream, const PkPieceRange *last);
static void     forget_source(const PkStream *stream);
static void     run_tile(void *arg, size_t thread, size_t tile);
static PkStatus convert_piece(PkStream *stream, Worker *worker, size_t i);
static PkStatus read_rows(PkStream *stream, Worker *worker, const PkPieceRange *piece);
static size_t   source_row(const PkStream *stream, size_t row, size_t *n_run);
static void     widen(const PkStream *stream, Worker *worker, size_t n_items);
static PkStatus pack(PkStream *stream, Worker *worker, const PkPieceRange *piece);
static bool     find_bad(const float *x, size_t n, float limit, size_t *where);
static PkStatus bad_value(const PkStream *stream, Worker *worker, const PkPieceRange *piece,
                          size_t row, size_t col);
static PkStatus first_error(const PkStream *stream, PkError *err);

PkStatus
pk_stream_create(const PkStreamConfig *config, PkStream **out, PkError *err)
{
	void *memory;

	PK_FORWARD(pk_calloc(1, sizeof(PkStream), &memory, err));

	PkStream *stream = memory;
	PkStatus  status;

	stream->config = *config;
	stream->exceeds_cache = config->bytes_total > pk_memory_limit() / CACHE_SHARE;
	stream->n_threads = pk_pool_n_threads(config->pool);
	stream->n_workers = stream->n_threads < WORKERS_MAX ? stream->n_threads : WORKERS_MAX;
	status = pk_kernels_select(pk_cpu_features(), NULL, &stream->kernels, err);
	if (status == PK_OK)
		status = allocate(stream, err);
	if (status != PK_OK)
	{
		pk_stream_destroy(stream);
		return status;
	}
	*out = stream;
	return PK_OK;
}

static PkStatus
allocate(PkStream *stream, PkError *err)
{
	size_t n_pieces_max;
	void  *memory;

	measure(stream, &n_pieces_max);
	PK_FORWARD(pk_calloc(n_pieces_max, sizeof(PkHash128), &memory, err));
	stream->source_hashes = memory;
	PK_FORWARD(pk_calloc(n_pieces_max, sizeof(PkHash128), &memory, err));
	stream->image_hashes = memory;
	PK_FORWARD(pk_calloc(stream->n_workers, sizeof(Worker), &memory, err));
	stream->workers = memory;
	for (size_t i = 0; i < stream->n_workers; i++)
	{
		Worker *worker = &stream->workers[i];

		PK_FORWARD(pk_pages_alloc(stream->raw_size, &worker->raw, err));
		if (stream->config.image_fd < 0)
			continue;
		PK_FORWARD(pk_pages_alloc(stream->floats_size, &memory, err));
		worker->floats = memory;
		PK_FORWARD(pk_pages_alloc(stream->packed_size, &worker->packed, err));
	}
	return PK_OK;
}

/* The largest piece of any slot. */
static void
measure(PkStream *stream, size_t *n_pieces_max)
{
	const PkImageLayout *layout = stream->config.layout;

	*n_pieces_max = 0;
	for (size_t i = 0; i < layout->n_slots; i++)
	{
		const PkSlot *slot = &layout->slots[i];
		PkPieceRange  piece = pk_slot_piece(slot, 0);
		size_t        floats_size = piece.n_rows * slot->n_cols * sizeof(float);

		if (slot->n_pieces > *n_pieces_max)
			*n_pieces_max = slot->n_pieces;
		if (floats_size > stream->floats_size)
			stream->floats_size = floats_size;
		if (piece.size > stream->packed_size)
			stream->packed_size = piece.size;
	}
	stream->raw_size = stream->floats_size; /* no source is wider than float */
}

void
pk_stream_destroy(PkStream *stream)
{
	if (stream == NULL)
		return;
	for (size_t i = 0; stream->workers != NULL && i < stream->n_workers; i++)
	{
		pk_pages_free(stream->workers[i].raw, stream->raw_size);
		pk_pages_free(stream->workers[i].floats, stream->floats_size);
		pk_pages_free(stream->workers[i].packed, stream->packed_size);
	}
	free(stream->workers);
	free(stream->source_hashes);
	free(stream->image_hashes);
	free(stream);
}

PkStatus
pk_stream_slot(PkStream *stream, size_t slot, const PkTensor *tensor, PkHash128 *source_hash,
               PkHasher *image_hasher, PkError *err)
{
	stream->slot = &stream->config.layout->slots[slot];
	stream->tensor = tensor;
	stream->item_size = tensor != NULL ? pk_dtype_size(tensor->dtype) : sizeof(float);

	size_t n_pieces = stream->slot->n_pieces;
	size_t piece_bytes = stream->slot->n_piece_rows * stream->slot->n_cols * stream->item_size;
	size_t n_batch = piece_bytes < BATCH_BYTES ? BATCH_BYTES / piece_bytes : 1;

	if (n_batch > WORKERS_MAX)
		n_batch = WORKERS_MAX;
	atomic_store(&stream->failed_piece, SIZE_MAX);
	read_ahead(stream, 0, n_batch);
	for (size_t i = 0; i < n_pieces; i += n_batch)
	{
		read_ahead(stream, i + n_batch, n_batch);
		stream->first_piece = i;
		PK_FORWARD(run_batch(stream, n_pieces - i < n_batch ? n_pieces - i : n_batch, err));
	}
	forget_source(stream);
	*source_hash = pk_hash128(stream->source_hashes, n_pieces * sizeof(PkHash128));
	if (image_hasher != NULL)
		pk_hasher_update(image_hasher, stream->image_hashes, n_pieces * sizeof(PkHash128));
	return PK_OK;
}

static PkStatus
run_batch(PkStream *stream, size_t n_pieces, PkError *err)
{
	const PkStreamConfig *config = &stream->config;

	PK_FORWARD(pk_pool_run(config->pool, run_tile, stream, n_pieces, config->cancel));
	if (atomic_load(&stream->failed_piece) != SIZE_MAX)
		return first_error(stream, err);

	PkPieceRange last = pk_slot_piece(stream->slot, stream->first_piece + n_pieces - 1);
	size_t n_rows = last.row0 + last.n_rows - stream->first_piece * stream->slot->n_piece_rows;

	write_behind(stream, &last);
	if (stream->tensor != NULL)
		stream->bytes_done += n_rows * stream->slot->n_cols * stream->item_size;
	if (config->progress != NULL)
		config->progress(config->progress_arg, stream->bytes_done, config->bytes_total);
	return PK_OK;
}

/* Ask the system for the rows of the next batch while this one is computed. */
static void
read_ahead(const PkStream *stream, size_t first_piece, size_t n_pieces)
{
	if (stream->tensor == NULL || first_piece >= stream->slot->n_pieces)
		return;

	size_t row_bytes = stream->slot->n_cols * stream->item_size;
	size_t begin = first_piece * stream->slot->n_piece_rows * row_bytes;
	size_t len = n_pieces * stream->slot->n_piece_rows * row_bytes;
	size_t left = (size_t) (stream->tensor->end - stream->tensor->begin) - begin;

	if (len > left)
		len = left;
	(void) posix_fadvise(stream->config.checkpoint->fds[stream->tensor->file],
	                     (off_t) (stream->tensor->begin + begin), (off_t) len,
	                     POSIX_FADV_WILLNEED); /* advice: refusal costs only speed */
}

/* Let the disk begin with this batch, so that little is left for the end. */
static void
write_behind(const PkStream *stream, const PkPieceRange *last)
{
#ifdef SYNC_FILE_RANGE_WRITE
	PkPieceRange first = pk_slot_piece(stream->slot, stream->first_piece);

	if (stream->config.image_fd >= 0)
		(void) sync_file_range(stream->config.image_fd, (off_t) first.offset,
		                       (off_t) (last->offset + last->size - first.offset),
		                       SYNC_FILE_RANGE_WRITE); /* advice: fsync() comes anyway */
#else
	(void) stream;
	(void) last;
#endif
}

/*
 * A checkpoint that is large beside the memory would push the data of others and the pages of the
 * image out of the cache, and its own beginning before it is read again.
 */
static void
forget_source(const PkStream *stream)
{
	const PkTensor *tensor = stream->tensor;

	if (tensor == NULL || !stream->exceeds_cache)
		return;
	(void) posix_fadvise(stream->config.checkpoint->fds[tensor->file], (off_t) tensor->begin,
	                     (off_t) (tensor->end - tensor->begin),
	                     POSIX_FADV_DONTNEED); /* advice: refusal costs only memory */
}

static void
run_tile(void *arg, size_t thread, size_t tile)
{
	PkStream *stream = arg;
	Worker   *worker = &stream->workers[stream->n_threads > WORKERS_MAX ? tile : thread];
	size_t    piece = stream->first_piece + tile;
	size_t    failed = atomic_load(&stream->failed_piece);

	if (piece > failed || convert_piece(stream, worker, piece) == PK_OK)
		return;
	/* the error of the lowest piece is reported: the message must not depend on the threads */
	if (worker->failed_piece == 0 || piece + 1 < worker->failed_piece)
		worker->failed_piece = piece + 1;
	while (piece < failed && !atomic_compare_exchange_weak(&stream->failed_piece, &failed, piece))
		;
}

static PkStatus
first_error(const PkStream *stream, PkError *err)
{
	size_t failed = atomic_load(&stream->failed_piece);

	for (size_t i = 0; i < stream->n_workers; i++)
	{
		const Worker *worker = &stream->workers[i];

		if (worker->failed_piece != failed + 1)
			continue;
		if (err != NULL)
			*err = worker->error;
		return worker->error.status;
	}
	return pk_error(err, PK_INTERNAL, "a piece failed without an error");
}

static PkStatus
convert_piece(PkStream *stream, Worker *worker, size_t i)
{
	const PkStreamConfig *config = &stream->config;
	PkPieceRange          piece = pk_slot_piece(stream->slot, i);
	size_t                n_items = piece.n_rows * stream->slot->n_cols;

	PK_FORWARD(read_rows(stream, worker, &piece));
	stream->source_hashes[i] = pk_hash128(worker->raw, n_items * stream->item_size);
	if (config->image_fd < 0)
		return PK_OK;

	widen(stream, worker, n_items);
	PK_FORWARD(pack(stream, worker, &piece));
	stream->image_hashes[i] = pk_hash128(worker->packed, piece.size);
	return pk_file_write(config->image_fd, config->image_path, worker->packed, piece.size,
	                     piece.offset, &worker->error);
}

static PkStatus
read_rows(PkStream *stream, Worker *worker, const PkPieceRange *piece)
{
	const PkTensor *tensor = stream->tensor;
	size_t          row_bytes = stream->slot->n_cols * stream->item_size;

	if (tensor == NULL)
	{
		memset(worker->raw, 0, piece->n_rows * row_bytes);
		return PK_OK;
	}
	for (size_t done = 0; done < piece->n_rows;)
	{
		size_t n_run;
		size_t from = source_row(stream, piece->row0 + done, &n_run);
		size_t n = piece->n_rows - done < n_run ? piece->n_rows - done : n_run;

		PK_FORWARD(pk_file_read(stream->config.checkpoint->fds[tensor->file],
		                        pk_checkpoint_file_name(stream->config.checkpoint, tensor),
		                        (char *) worker->raw + done * row_bytes, n * row_bytes,
		                        tensor->begin + from * row_bytes, &worker->error));
		done += n;
	}
	return PK_OK;
}

/* Row of the checkpoint that becomes row of the image; *n_run rows from there follow likewise. */
static size_t
source_row(const PkStream *stream, size_t row, size_t *n_run)
{
	const PkConfig *config = &stream->config.checkpoint->config;
	size_t          E = config->hidden_size;
	size_t          D = E / config->num_attention_heads;

	if (stream->slot->role != PK_ROLE_QKV && stream->slot->role != PK_ROLE_QKV_BIAS)
	{
		*n_run = stream->slot->n_rows - row;
		return row;
	}

	size_t part = row / E; /* q, k or v */
	size_t head = row % E / D;
	size_t within = row % D; /* E is a multiple of D */

	*n_run = D - within;
	return head * 3 * D + part * D + within;
}

static void
widen(const PkStream *stream, Worker *worker, size_t n_items)
{
	const uint16_t *halves = worker->raw;
	PkDtype         dtype = stream->tensor != NULL ? stream->tensor->dtype : PK_DTYPE_F32;

	if (dtype == PK_DTYPE_F16)
		stream->kernels.f16_to_f32(worker->floats, halves, n_items);
	else if (dtype == PK_DTYPE_F32)
		memcpy(worker->floats, worker->raw, n_items * sizeof(float));
	else
		for (size_t i = 0; i < n_items; i++) /* bfloat16 is the upper half of a float */
		{
			uint32_t bits = (uint32_t) halves[i] << 16;

			memcpy(&worker->floats[i], &bits, sizeof(bits));
		}
}

static PkStatus
pack(PkStream *stream, Worker *worker, const PkPieceRange *piece)
{
	const PkSlot *slot = stream->slot;
	size_t        n_items = piece->n_rows * slot->n_cols;
	size_t        row = 0, col = 0;

	if (slot->form == PK_FORM_MATRIX)
	{
		memset(worker->packed, 0, piece->size); /* padding */
		if (!pk_matrix_pack(slot->quant, worker->packed, piece->n_rows, slot->n_cols, 0,
		                    piece->n_rows, worker->floats, &row, &col))
			return bad_value(stream, worker, piece, row, col);
		return PK_OK;
	}
	if (find_bad(worker->floats, n_items, slot->quant == PK_QUANT_F16 ? F16_LIMIT : INFINITY, &row))
		return bad_value(stream, worker, piece, row / slot->n_cols, row % slot->n_cols);
	if (slot->quant == PK_QUANT_F16)
		stream->kernels.f32_to_f16(worker->packed, worker->floats, n_items);
	else
		memcpy(worker->packed, worker->floats, n_items * sizeof(float));
	return PK_OK;
}

/* The first value that is NaN or not below limit. */
static bool
find_bad(const float *x, size_t n, float limit, size_t *where)
{
	for (size_t i = 0; i < n; i++)
	{
		if (!(fabsf(x[i]) < limit))
		{
			*where = i;
			return true;
		}
	}
	return false;
}

static PkStatus
bad_value(const PkStream *stream, Worker *worker, const PkPieceRange *piece, size_t row, size_t col)
{
	char        name[120];
	const char *raw_name = stream->tensor != NULL ? stream->tensor->name : "";
	float       value = worker->floats[row * stream->slot->n_cols + col];
	size_t      n_run;
	size_t      from = source_row(stream, piece->row0 + row, &n_run);

	pk_error_quote(name, sizeof(name), raw_name, strlen(raw_name));
	if (!isfinite(value))
		return pk_error(&worker->error, PK_BAD_FILE, "tensor %s has %s at row %zu, column %zu",
		                name, isnan(value) ? "NaN" : "an infinite value", from, col);
	pk_error(&worker->error, PK_UNSUPPORTED,
	         "tensor %s has %g at row %zu, column %zu, which is too large for 16-bit floats", name,
	         (double) value, from, col);
	return pk_error_hint(&worker->error, PK_UNSUPPORTED, "Use quantization '%s'.",
	                     stream->slot->form == PK_FORM_MATRIX ? "q8' or 'f32" : "f32");
}

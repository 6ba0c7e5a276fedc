/*
 * modelread.c
 *    Reading what an image has, from a file that may fail while it is mapped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/mapguard.h"
#include "core/model/model_internal.h"

#define WARM_BYTES ((size_t) 4 << 20)
#define WARM_AHEAD_BYTES ((size_t) 32 << 20)

/* Arguments and result of what runs within pk_map_try(). */
typedef struct Encode
{
	const PkTokenizer *tokenizer;
	const char        *text;
	size_t             len;
	PkTokens           tokens;
	PkCancel          *cancel;
	PkError           *err;
	PkStatus           status;
} Encode;

typedef struct Verify
{
	const PkModel *model;
	PkHasher      *hasher;
	PkCancel      *cancel;
	PkError       *err;
	PkStatus       status;
} Verify;

static void     run_encode(void *arg);
static void     run_verify(void *arg);
static PkStatus verify_slots(const PkModel *model, PkHasher *hasher, PkCancel *cancel,
                             PkError *err);
static bool     is_zero(const unsigned char *bytes, size_t len);
static PkStatus lost(const PkModel *model, PkError *err);
static PkStatus unreadable(PkError *err);
static PkStatus verify_failed(const PkModel *model, PkError *err);
static PkStatus cancelled(PkError *err);

PkStatus
pk_model_prepare(PkModel *model, PkError *err)
{
	size_t       size = model->layout.tokenizer_size;
	PkTokenizer *tokenizer;
	void        *tables;

	if (model->tables != NULL)
		return PK_OK;
	PK_FORWARD(pk_model_bring_in(model, model->layout.tokenizer_offset, size, err));
	PK_FORWARD(pk_pages_alloc(size, &tables, err));
	memcpy(tables, (const char *) model->map.data + model->layout.tokenizer_offset, size);

	PkStatus status = pk_tokenizer_open(tables, size, &tokenizer, err);

	if (status != PK_OK)
	{
		pk_pages_free(tables, size);
		return status;
	}
	pk_tokenizer_close(model->tokenizer);
	model->tokenizer = tokenizer;
	model->tables = tables;
	pk_map_allow_zeros(&model->map);
	return PK_OK;
}

PkFileState
pk_model_file_state(const PkModel *model)
{
	PkFileState state = pk_map_state(&model->map, model->path);

	return state == PK_FILE_SAME && pk_map_is_lost(&model->map) ? PK_FILE_OTHER : state;
}

PkStatus
pk_model_check_read(const PkModel *model, PkError *err)
{
	return pk_map_is_lost(&model->map) ? lost(model, err) : PK_OK;
}

static PkStatus
lost(const PkModel *model, PkError *err)
{
	pk_error(err, PK_IO, "could not read all of \"%s\" while it was in use", model->name);
	return unreadable(err);
}

PkStatus
pk_model_read(const PkModel *model, void (*read)(void *arg), void *arg, PkError *err)
{
	return pk_map_try(read, arg) ? PK_OK : lost(model, err);
}

PkStatus
pk_model_encode(const PkModel *model, const char *text, size_t len, PkTokens *tokens,
                PkCancel *cancel, PkError *err)
{
	Encode encode = {model->tokenizer, text, len, *tokens, cancel, err, PK_OK};

	/* arrays that a jump may leave half changed are given up */
	*tokens = (PkTokens){.want_offsets = tokens->want_offsets};
	PK_FORWARD(pk_model_read(model, run_encode, &encode, err));
	*tokens = encode.tokens;
	return encode.status;
}

static void
run_encode(void *arg)
{
	Encode *encode = arg;

	encode->status = pk_tokenizer_encode(encode->tokenizer, encode->text, encode->len,
	                                     &encode->tokens, encode->cancel, encode->err);
}

PkStatus
pk_model_verify(const PkModel *model, PkCancel *cancel, PkError *err)
{
	PkHasher *hasher;

	PK_FORWARD(pk_hasher_create(&hasher, err));

	Verify   verify = {.model = model, .hasher = hasher, .cancel = cancel, .err = err};
	PkStatus status = pk_model_read(model, run_verify, &verify, err);

	if (status == PK_OK)
		status = verify.status;
	if (status == PK_OK)
		status = pk_model_check_read(model, err);
	if (status == PK_OK && !pk_hash_equal(pk_hasher_digest(hasher), model->weights_hash))
		status = verify_failed(model, err);
	pk_hasher_destroy(hasher);
	return status;
}

static void
run_verify(void *arg)
{
	Verify *verify = arg;

	verify->status = verify_slots(verify->model, verify->hasher, verify->cancel, verify->err);
}

static PkStatus
verify_slots(const PkModel *model, PkHasher *hasher, PkCancel *cancel, PkError *err)
{
	const unsigned char *base = model->map.data;
	size_t               at = model->layout.weights_offset;

	for (size_t i = 0; i < model->layout.n_slots; i++)
	{
		const PkSlot *slot = &model->layout.slots[i];

		PK_FORWARD(pk_model_bring_in(model, at, slot->offset - at, err));
		if (!is_zero(base + at, slot->offset - at))
			return verify_failed(model, err);
		for (size_t k = 0; k < slot->n_pieces; k++)
		{
			PkPieceRange piece = pk_slot_piece(slot, k);

			PK_FORWARD(pk_model_bring_in(model, piece.offset, piece.size, err));

			PkHash128 hash = pk_hash128(base + piece.offset, piece.size);

			pk_hasher_update(hasher, &hash, sizeof(hash));
			if (pk_cancel_poll(cancel))
				return cancelled(err);
		}
		at = slot->offset + slot->size;
	}
	PK_FORWARD(pk_model_bring_in(model, at, model->layout.size_bytes - at, err));
	return is_zero(base + at, model->layout.size_bytes - at) ? PK_OK : verify_failed(model, err);
}

PkStatus
pk_model_bring_in(const PkModel *model, size_t offset, size_t len, PkError *err)
{
#ifdef MADV_POPULATE_READ
	size_t page = (size_t) sysconf(_SC_PAGESIZE);
	size_t start = offset / page * page;
	char  *base = (char *) (uintptr_t) model->map.data;

	while (len > 0 && madvise(base + start, offset + len - start, MADV_POPULATE_READ) != 0)
	{
		if (errno == EINTR || errno == EAGAIN)
			continue;
		if (errno == EINVAL) /* Linux before 5.14 */
			return PK_OK;
		if (errno == ENOMEM)
			return pk_error_errno(err, errno, "could not read \"%s\"", model->name);
		pk_error(err, PK_IO, "could not read \"%s\" between bytes %zu and %zu", model->name, offset,
		         offset + len);
		return unreadable(err);
	}
#else
	(void) model, (void) offset, (void) len, (void) err;
#endif
	return PK_OK;
}

static PkStatus
unreadable(PkError *err)
{
	return pk_error_hint(err, PK_IO,
	                     "The disk failed or the file was cut short. Remove the image; it is "
	                     "built anew when the model is used again.");
}

static bool
is_zero(const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static PkStatus
verify_failed(const PkModel *model, PkError *err)
{
	pk_error(err, PK_BAD_FILE, "the weights in \"%s\" do not match their checksum", model->name);
	return pk_error_hint(err, PK_BAD_FILE,
	                     "Remove the image; it is built anew when the model is used again.");
}

PkStatus
pk_model_warm(const PkModel *model, PkCancel *cancel, PkError *err)
{
	char  *base = (char *) (uintptr_t) model->map.data;
	size_t size = model->map.size;

	for (size_t done = 0; done < size; done += WARM_BYTES)
	{
		size_t n = size - done < WARM_BYTES ? size - done : WARM_BYTES;

		if (done % WARM_AHEAD_BYTES == 0) /* advice: refusal costs only speed */
			(void) madvise(base + done,
			               size - done < 2 * WARM_AHEAD_BYTES ? size - done : 2 * WARM_AHEAD_BYTES,
			               MADV_WILLNEED);
		PK_FORWARD(pk_model_bring_in(model, done, n, err));
		for (size_t i = 0; i < n; i += PK_IMAGE_PAGE)
			(void) *(volatile char *) (base + done + i);
		if (pk_cancel_poll(cancel))
			return cancelled(err);
	}
	return pk_model_check_read(model, err);
}

static PkStatus
cancelled(PkError *err)
{
	return pk_error(err, PK_CANCELLED, "reading the image was cancelled");
}

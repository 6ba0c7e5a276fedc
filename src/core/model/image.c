/*
 * image.c
 *    The layout of an image and the checks of its header.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/model/convert.h"
#include "core/model/image.h"

/* About 1 ms of work: what a thread converts between two looks at the cancel flag. */
#define PIECE_ITEMS ((size_t) 1 << 18)
/* From here on a tensor starts on a page of its own. */
#define BIG_BYTES ((size_t) 1 << 16)

static PkStatus place_slots(const PkConfig *config, PkImageLayout *layout, PkError *err);
static bool     place_slot(PkSlot *slot, size_t *at);
static bool     rows_size(const PkSlot *slot, size_t n_rows, size_t *size);

PkStatus
pk_image_layout(const PkConfig *config, PkQuant quant, size_t tokenizer_size, PkImageLayout *out,
                PkError *err)
{
	void *slots;

	memset(out, 0, sizeof(*out));
	out->quant = quant;
	out->n_slots = pk_n_slots(config);
	out->directory_offset = PK_IMAGE_PAGE;
	out->tokenizer_offset =
		pk_round_up(out->directory_offset + out->n_slots * sizeof(PkImageEntry), PK_ALIGNMENT);
	out->tokenizer_size = tokenizer_size;
	out->rope_offset = pk_round_up(out->tokenizer_offset + tokenizer_size, PK_ALIGNMENT);
	/* at most 2^26 bytes: pk_config_check() */
	out->rope_size = pk_round_up((size_t) config->max_position_embeddings *
	                                 (config->rotary_dims / 2) * sizeof(float),
	                             PK_ALIGNMENT);
	out->weights_offset = pk_round_up(out->rope_offset + 2 * out->rope_size, PK_IMAGE_PAGE);

	PK_FORWARD(pk_calloc(out->n_slots, sizeof(PkSlot), &slots, err));
	out->slots = slots;

	PkStatus status = place_slots(config, out, err);

	if (status != PK_OK)
		pk_image_layout_free(out);
	return status;
}

void
pk_image_layout_free(PkImageLayout *layout)
{
	free(layout->slots);
	memset(layout, 0, sizeof(*layout));
}

static PkStatus
place_slots(const PkConfig *config, PkImageLayout *layout, PkError *err)
{
	size_t at = layout->weights_offset;

	for (size_t i = 0; i < layout->n_slots; i++)
	{
		PkSlot *slot = &layout->slots[i];

		slot->role = pk_slot_role(config, i, &slot->layer);
		slot->form = pk_role_form(slot->role);
		slot->quant = layout->quant;
		if (slot->form == PK_FORM_ROWS && layout->quant != PK_QUANT_F32)
			slot->quant = PK_QUANT_F16;
		if (slot->form == PK_FORM_VECTOR)
			slot->quant = PK_QUANT_F32;
		pk_role_shape(config, slot->role, &slot->n_rows, &slot->n_cols);
		if (!place_slot(slot, &at))
			return pk_error(err, PK_UNSUPPORTED, "the model is too large");
		if (slot->role != PK_ROLE_EMBED_IN)
			layout->weight_bytes += slot->size;
	}
	layout->size_bytes = pk_round_up(at, PK_IMAGE_PAGE);
	return PK_OK;
}

/* Sizes are far below 2^63: the limits of pk_config_check(). */
static bool
place_slot(PkSlot *slot, size_t *at)
{
	size_t n_rows = PIECE_ITEMS / slot->n_cols / PK_LANES * PK_LANES;

	slot->n_piece_rows = n_rows < PK_LANES ? PK_LANES : n_rows;
	slot->n_pieces = (slot->n_rows + slot->n_piece_rows - 1) / slot->n_piece_rows;
	if (!rows_size(slot, slot->n_rows, &slot->size))
		return false;
	slot->offset = pk_round_up(*at, slot->size >= BIG_BYTES ? PK_IMAGE_PAGE : PK_ALIGNMENT);
	return pk_size_add(slot->offset, slot->size, at);
}

static bool
rows_size(const PkSlot *slot, size_t n_rows, size_t *size)
{
	size_t n_items;

	if (slot->form == PK_FORM_MATRIX)
		return pk_matrix_size(slot->quant, n_rows, slot->n_cols, size);
	return pk_size_mul(n_rows, slot->n_cols, &n_items) &&
	       pk_size_mul(n_items, slot->quant == PK_QUANT_F16 ? 2 : 4, size);
}

PkPieceRange
pk_slot_piece(const PkSlot *slot, size_t i)
{
	PkPieceRange piece = {.row0 = i * slot->n_piece_rows};
	size_t       before = 0;

	piece.n_rows = slot->n_rows - piece.row0 < slot->n_piece_rows ? slot->n_rows - piece.row0
	                                                              : slot->n_piece_rows;
	/* cannot overflow: smaller than the slot, whose size was computed */
	(void) rows_size(slot, piece.row0, &before);
	(void) rows_size(slot, piece.n_rows, &piece.size);
	piece.offset = slot->offset + before;
	return piece;
}

void
pk_image_directory(const PkImageLayout *layout, PkImageEntry *entries)
{
	for (size_t i = 0; i < layout->n_slots; i++)
	{
		const PkSlot *slot = &layout->slots[i];

		entries[i] = (PkImageEntry){
			.role = (uint32_t) slot->role,
			.layer = slot->layer,
			.form = (uint32_t) slot->form,
			.n_rows = slot->n_rows,
			.n_cols = slot->n_cols,
			.offset = slot->offset,
			.size = slot->size,
		};
	}
}

PkHash128
pk_image_header_hash(const PkImageHeader *header)
{
	return pk_hash128(header, offsetof(PkImageHeader, header_hash));
}

PkStatus
pk_image_check_header(const PkImageHeader *header, uint64_t file_size, const char *file,
                      PkError *err)
{
	if (memcmp(header->magic, PK_IMAGE_MAGIC, sizeof(header->magic)) != 0)
		return pk_error(err, PK_BAD_FILE, "\"%s\" is not a model image", file);
	if (header->endian != PK_IMAGE_ENDIAN || header->layout != PK_IMAGE_LAYOUT(header->quant))
		return pk_error(err, PK_BAD_FILE, "\"%s\" has image layout %u, this version reads %u", file,
		                header->layout, (unsigned) PK_IMAGE_LAYOUT(header->quant));
	if (!pk_hash_equal(pk_image_header_hash(header), header->header_hash))
		return pk_error(err, PK_BAD_FILE, "the header of \"%s\" does not match its checksum", file);
	if (header->size_bytes != file_size)
		return pk_error(err, PK_BAD_FILE, "\"%s\" has %llu bytes, its header says %llu", file,
		                (unsigned long long) file_size, (unsigned long long) header->size_bytes);
	if (header->quant >= PK_N_QUANT ||
	    memchr(header->unicode_version, '\0', sizeof(header->unicode_version)) == NULL)
		return pk_error(err, PK_BAD_FILE, "the header of \"%s\" is out of range", file);
	return pk_config_check(&header->config, err);
}

uint64_t
pk_image_size_estimate(const PkConfig *config, PkQuant quant)
{
	PkImageLayout layout;

	if (pk_config_check(config, NULL) != PK_OK ||
	    pk_image_layout(config, quant, 0, &layout, NULL) != PK_OK)
		return 0;

	uint64_t size = layout.size_bytes;

	pk_image_layout_free(&layout);
	return size;
}

void
pk_rope_tables(const PkConfig *config, float *cosines, float *sines)
{
	size_t n = config->rotary_dims / 2;

	for (size_t i = 0; i < n; i++)
	{
		float exponent = (float) (2 * i) / (float) config->rotary_dims;
		float power = (float) pow((double) config->rope_theta, (double) exponent);
		float inv_freq = 1.0f / power;

		for (size_t pos = 0; pos < config->max_position_embeddings; pos++)
		{
			float angle = (float) pos * inv_freq;

			cosines[pos * n + i] = (float) cos((double) angle);
			sines[pos * n + i] = (float) sin((double) angle);
		}
	}
}

/*
 * image.h
 *    The file that sessions map: where everything lies.
 *
 *    0        header (one page)
 *    4096     directory: one PkImageEntry for each slot
 *             tokenizer blob
 *             rotary tables: cos, then sin, (max_position_embeddings, rotary_dims / 2) floats
 *             weights, in slot order
 *
 * Everything is PK_ALIGNMENT-aligned, big tensors start on a page; gaps are zero. All places
 * follow from config, quantization and the tokenizer's size, so an image is checked by computing
 * its layout anew and comparing. Numbers are little-endian, as on every machine we run on.
 */
#ifndef PK_IMAGE_H
#define PK_IMAGE_H

#include "core/base/hash.h"
#include "core/kernels/quant.h"
#include "core/model/config.h"
#include "core/model/model.h"
#include "core/model/weights.h"

#define PK_IMAGE_MAGIC "PKIMAGE\n"
#define PK_IMAGE_ENDIAN 0x01020304u
#define PK_IMAGE_PAGE 4096

typedef struct PkImageHeader
{
	char      magic[8];
	uint32_t  endian;
	uint32_t  layout;
	uint32_t  numerics;
	uint32_t  quant; /* PkQuant */
	uint64_t  size_bytes;
	uint64_t  weight_bytes;
	uint64_t  tokenizer_size;
	PkHash128 fingerprint;
	PkHash128 tables_hash;  /* of all bytes between header and weights */
	PkHash128 weights_hash; /* of the hashes of all pieces, see PkSlot */
	char      unicode_version[16];
	PkConfig  config;
	uint8_t   zeros[PK_IMAGE_PAGE - 112 - sizeof(PkConfig) - sizeof(PkHash128)];
	PkHash128 header_hash; /* of all bytes before it */
} PkImageHeader;

_Static_assert(sizeof(PkImageHeader) == PK_IMAGE_PAGE, "the header is one page");
_Static_assert(sizeof(size_t) == 8, "images are mapped whole: 64-bit machines only");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "checkpoints and images are little-endian");

typedef struct PkImageEntry
{
	uint32_t role; /* PkRole */
	uint32_t layer;
	uint32_t form; /* PkForm */
	uint32_t zero;
	uint64_t n_rows, n_cols;
	uint64_t offset, size;
} PkImageEntry;

/*
 * One tensor of an image. It is converted, hashed and verified in pieces of n_piece_rows rows
 * (the last may be shorter), which depend on the shape alone.
 */
typedef struct PkSlot
{
	PkRole   role;
	uint32_t layer;
	PkForm   form;
	PkQuant  quant; /* of PK_FORM_MATRIX; for PK_FORM_ROWS f16 or f32 */
	size_t   n_rows, n_cols;
	size_t   offset, size;
	size_t   n_piece_rows;
	size_t   n_pieces;
} PkSlot;

typedef struct PkImageLayout
{
	PkQuant quant;
	size_t  directory_offset;
	size_t  tokenizer_offset, tokenizer_size;
	size_t  rope_offset, rope_size; /* of each of the two tables */
	size_t  weights_offset;
	size_t  size_bytes;
	size_t  weight_bytes; /* all slots but embed_in, of which a token reads one row */
	size_t  n_slots;
	PkSlot *slots;
} PkImageLayout;

/* config must have passed pk_config_check(). pk_image_layout_free() frees the slots. */
PkStatus pk_image_layout(const PkConfig *config, PkQuant quant, size_t tokenizer_size,
                         PkImageLayout *out, PkError *err);
void     pk_image_layout_free(PkImageLayout *layout);

/* Rows of piece i of a slot, and its bytes in the image. */
typedef struct PkPieceRange
{
	size_t row0, n_rows;
	size_t offset, size; /* in the file */
} PkPieceRange;

PkPieceRange pk_slot_piece(const PkSlot *slot, size_t i);

/* Fill a directory of layout->n_slots entries. */
void pk_image_directory(const PkImageLayout *layout, PkImageEntry *entries);

PkHash128 pk_image_header_hash(const PkImageHeader *header);

/* Check a header alone: magic, versions, checksum, config. file is for messages. */
PkStatus pk_image_check_header(const PkImageHeader *header, uint64_t file_size, const char *file,
                               PkError *err);

/*
 * The rotary tables, as transformers computes them: inv_freq = 1 / theta^(2i / rotary_dims) and
 * angle = position * inv_freq in float, cos and sin in double, rounded.
 */
void pk_rope_tables(const PkConfig *config, float *cosines, float *sines);

#endif

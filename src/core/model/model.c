/*
 * model.c
 *    Opening an image: everything but the weights is checked before it is used.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/mapguard.h"
#include "core/model/model_internal.h"

static PkStatus open_image(PkModel *model, const char *path, PkError *err);
static PkStatus check_tables(PkModel *model, const PkImageHeader *header, PkError *err);
static PkStatus check_directory(const PkModel *model, PkError *err);
static PkStatus open_tokenizer(PkModel *model, PkError *err);
static PkStatus wire(PkModel *model, PkError *err);
static void     wire_slot(PkModel *model, const PkSlot *slot);
static void     fill_info(const PkImageHeader *header, PkImageInfo *out);

PkStatus
pk_model_open(const char *image_path, PkModel **out, PkError *err)
{
	void *memory;

	PK_FORWARD(pk_calloc(1, sizeof(PkModel), &memory, err));

	PkModel *model = memory;
	PkStatus status;

	model->n_refs = 1;
	status = open_image(model, image_path, err);
	if (status != PK_OK)
	{
		pk_model_release(model);
		return status;
	}
	*out = model;
	return PK_OK;
}

static PkStatus
open_image(PkModel *model, const char *path, PkError *err)
{
	const char *slash = strrchr(path, '/');

	strncpy(model->name, slash != NULL ? slash + 1 : path, sizeof(model->name) - 1);
	model->path = strdup(path);
	if (model->path == NULL)
		return pk_error(err, PK_NO_MEMORY, "no memory for the name of an image");
	PK_FORWARD(pk_map_open(path, &model->map, err));
	if (model->map.size < sizeof(PkImageHeader))
		return pk_error(err, PK_BAD_FILE, "\"%s\" has only %zu bytes", model->name,
		                model->map.size);

	const PkImageHeader *header = model->map.data;

	PK_FORWARD(pk_model_bring_in(model, 0, sizeof(*header), err));
	PK_FORWARD(pk_image_check_header(header, model->map.size, model->name, err));
	model->config = header->config;
	model->weights_hash = header->weights_hash;
	fill_info(header, &model->info);
	PK_FORWARD(check_tables(model, header, err));
	PK_FORWARD(open_tokenizer(model, err));
	pk_map_guard(&model->map);
	return wire(model, err);
}

PkModel *
pk_model_ref(PkModel *model)
{
	model->n_refs++;
	return model;
}

void
pk_model_release(PkModel *model)
{
	if (model == NULL || --model->n_refs > 0)
		return;
	pk_tokenizer_close(model->tokenizer);
	if (model->tables != NULL)
		pk_pages_free(model->tables, model->layout.tokenizer_size);
	free(model->layers);
	pk_image_layout_free(&model->layout);
	pk_map_unguard(&model->map);
	pk_map_close(&model->map);
	free(model->path);
	free(model);
}

/* The layout that the header implies must be the one that the file has. */
static PkStatus
check_tables(PkModel *model, const PkImageHeader *header, PkError *err)
{
	PkImageLayout *layout = &model->layout;

	if (header->tokenizer_size > model->map.size)
		return pk_error(err, PK_BAD_FILE, "the tokenizer of \"%s\" is larger than the file",
		                model->name);
	PK_FORWARD(pk_image_layout(&model->config, model->info.quant, (size_t) header->tokenizer_size,
	                           layout, err));
	if (layout->size_bytes != model->map.size || layout->weight_bytes != header->weight_bytes)
		return pk_error(err, PK_BAD_FILE, "\"%s\" has %zu bytes, but its configuration needs %zu",
		                model->name, model->map.size, layout->size_bytes);

	const char *tables = (const char *) model->map.data + PK_IMAGE_PAGE;

	PK_FORWARD(pk_model_bring_in(model, 0, layout->weights_offset, err));
	if (!pk_hash_equal(pk_hash128(tables, layout->weights_offset - PK_IMAGE_PAGE),
	                   header->tables_hash))
		return pk_error(err, PK_BAD_FILE, "the tables of \"%s\" do not match their checksum",
		                model->name);
	return check_directory(model, err);
}

static PkStatus
check_directory(const PkModel *model, PkError *err)
{
	size_t      size = model->layout.n_slots * sizeof(PkImageEntry);
	const char *found = (const char *) model->map.data + model->layout.directory_offset;
	void       *wanted;

	PK_FORWARD(pk_calloc(model->layout.n_slots, sizeof(PkImageEntry), &wanted, err));
	pk_image_directory(&model->layout, wanted);

	bool is_equal = memcmp(wanted, found, size) == 0;

	free(wanted);
	if (!is_equal)
		return pk_error(err, PK_BAD_FILE,
		                "the directory of \"%s\" does not fit the model's configuration",
		                model->name);
	return PK_OK;
}

static PkStatus
open_tokenizer(PkModel *model, PkError *err)
{
	const char *blob = (const char *) model->map.data + model->layout.tokenizer_offset;

	PK_FORWARD(pk_tokenizer_open(blob, model->layout.tokenizer_size, &model->tokenizer, err));
	if (pk_tokenizer_n_ids(model->tokenizer) != model->config.n_tokens)
		return pk_error(err, PK_BAD_FILE,
		                "the tokenizer of \"%s\" has %zu tokens, its header says %u", model->name,
		                pk_tokenizer_n_ids(model->tokenizer), model->config.n_tokens);
	return PK_OK;
}

/* Point PkWeights into the map. */
static PkStatus
wire(PkModel *model, PkError *err)
{
	const char *base = model->map.data;
	void       *layers;

	PK_FORWARD(pk_calloc(model->config.num_hidden_layers, sizeof(PkLayer), &layers, err));
	model->layers = layers;
	model->weights.layers = layers;
	model->weights.rope_cos = (const float *) (const void *) (base + model->layout.rope_offset);
	model->weights.rope_sin =
		(const float *) (const void *) (base + model->layout.rope_offset + model->layout.rope_size);
	for (size_t i = 0; i < model->layout.n_slots; i++)
		wire_slot(model, &model->layout.slots[i]);
	return PK_OK;
}

static void
wire_slot(PkModel *model, const PkSlot *slot)
{
	PkLayer     *layer = &model->layers[slot->layer];
	const void  *data = (const char *) model->map.data + slot->offset;
	PkMatrix     matrix = {slot->quant, slot->n_rows, slot->n_cols, data};
	const float *vector = data;

	switch (slot->role)
	{
		case PK_ROLE_EMBED_IN:
			model->weights.embed_in = data;
			break;
		case PK_ROLE_LN1_GAIN:
			layer->ln1_gain = vector;
			break;
		case PK_ROLE_LN1_BIAS:
			layer->ln1_bias = vector;
			break;
		case PK_ROLE_LN2_GAIN:
			layer->ln2_gain = vector;
			break;
		case PK_ROLE_LN2_BIAS:
			layer->ln2_bias = vector;
			break;
		case PK_ROLE_QKV:
			layer->qkv = matrix;
			break;
		case PK_ROLE_QKV_BIAS:
			layer->qkv_bias = vector;
			break;
		case PK_ROLE_DENSE:
			layer->dense = matrix;
			break;
		case PK_ROLE_DENSE_BIAS:
			layer->dense_bias = vector;
			break;
		case PK_ROLE_H_TO_4H:
			layer->h_to_4h = matrix;
			break;
		case PK_ROLE_H_TO_4H_BIAS:
			layer->h_to_4h_bias = vector;
			break;
		case PK_ROLE_4H_TO_H:
			layer->h4_to_h = matrix;
			break;
		case PK_ROLE_4H_TO_H_BIAS:
			layer->h4_to_h_bias = vector;
			break;
		case PK_ROLE_LN_GAIN:
			model->weights.ln_gain = vector;
			break;
		case PK_ROLE_LN_BIAS:
			model->weights.ln_bias = vector;
			break;
		case PK_ROLE_EMBED_OUT:
			model->weights.embed_out = matrix;
			break;
		case PK_N_ROLES:
			break;
	}
}

const PkConfig *
pk_model_config(const PkModel *model)
{
	return &model->config;
}

const PkWeights *
pk_model_weights(const PkModel *model)
{
	return &model->weights;
}

const PkTokenizer *
pk_model_tokenizer(const PkModel *model)
{
	return model->tokenizer;
}

const PkImageInfo *
pk_model_info(const PkModel *model)
{
	return &model->info;
}

const char *
pk_model_path(const PkModel *model)
{
	return model->path;
}

PkStatus
pk_image_peek(const char *image_path, PkImageInfo *out, PkError *err)
{
	PkImageHeader header;
	PkFileId      id;
	int           fd;

	PK_FORWARD(pk_file_open(image_path, NULL, &fd, &id, err));

	PkStatus status = pk_file_check_private(fd, image_path, err);

	if (status == PK_OK)
		status = pk_file_read(fd, image_path, &header, sizeof(header), 0, err);
	close(fd);
	PK_FORWARD(status);
	PK_FORWARD(pk_image_check_header(&header, id.size, image_path, err));
	fill_info(&header, out);
	return PK_OK;
}

static void
fill_info(const PkImageHeader *header, PkImageInfo *out)
{
	*out = (PkImageInfo){
		.fingerprint = header->fingerprint,
		.quant = (PkQuant) header->quant,
		.layout = header->layout,
		.numerics = header->numerics,
		.size_bytes = header->size_bytes,
		.weight_bytes = header->weight_bytes,
	};
	memcpy(out->unicode_version, header->unicode_version, sizeof(out->unicode_version));
}

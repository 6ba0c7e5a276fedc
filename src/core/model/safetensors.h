/*
 * safetensors.h
 *    The header of a safetensors file: names, dtypes, shapes and places of its tensors.
 *
 * Format: 8 bytes little-endian header length n, n bytes of JSON {name: {dtype, shape,
 * data_offsets}}, then the data without gaps (github.com/huggingface/safetensors, README).
 */
#ifndef PK_SAFETENSORS_H
#define PK_SAFETENSORS_H

#include "core/base/status.h"

#define PK_SAFETENSORS_PREFIX 8
#define PK_SAFETENSORS_HEADER_MAX ((uint64_t) 100000000) /* the format's own limit */
#define PK_TENSOR_DIMS_MAX 8
#define PK_TENSORS_MAX 16384 /* 1,024 layers have 15,363 with their buffers */

typedef enum PkDtype
{
	PK_DTYPE_F16,
	PK_DTYPE_BF16,
	PK_DTYPE_F32,
	PK_DTYPE_OTHER /* no weight has it; may only be skipped */
} PkDtype;

typedef struct PkTensor
{
	char       *name; /* malloc'ed */
	PkDtype     dtype;
	char        dtype_name[12];
	uint32_t    file;      /* index of the shard */
	const char *file_name; /* that the parser was given; for messages */
	uint32_t    n_dims;
	uint64_t    shape[PK_TENSOR_DIMS_MAX];
	uint64_t    begin, end; /* bytes in the file, half-open */
} PkTensor;

typedef struct PkTensorList
{
	PkTensor *items;
	size_t    n;
	size_t    n_room;
} PkTensorList;

/* Hints for what is not a whole model in safetensors. */
#define PK_HINT_ADAPTER                                           \
	"Merge it into its model with peft (merge_and_unload()) and " \
	"save the whole model in a directory of its own."
#define PK_HINT_DAMAGED "The file is incomplete or damaged; download it again."
#define PK_HINT_PYTORCH                                       \
	"Load the checkpoint with transformers and save it with " \
	"save_pretrained(), which writes safetensors."

/* Header length from the first 8 bytes; file is for messages. PK_BAD_FILE unless it fits. */
PkStatus pk_safetensors_header_len(const unsigned char prefix[PK_SAFETENSORS_PREFIX],
                                   uint64_t file_size, const char *file, size_t *len, PkError *err);

/*
 * Append the tensors of a header (len bytes of JSON) to list, in the order of their data. Every
 * tensor must lie inside the file, be as large as its shape says, and begin where the one before
 * it ends; the last ends with the file. PK_BAD_FILE naming tensor and file. file must outlive list.
 */
PkStatus pk_safetensors_parse(const char *json, size_t len, uint64_t file_size, uint32_t file_index,
                              const char *file, PkTensorList *list, PkError *err);

void pk_tensor_list_free(PkTensorList *list);

/* Bytes of one item of a PK_DTYPE_F16, _BF16 or _F32 tensor. */
size_t pk_dtype_size(PkDtype dtype);

/* "(768, 256)" */
const char *pk_tensor_shape_text(const PkTensor *tensor, char *out, size_t size);

#endif

/*
 * fuzz_safetensors.c
 *    The header of a shard, and what its tensors are for.
 *
 * Input: 4 bytes of file size (little-endian; the data itself is never read), then the file as far
 * as its header goes.
 */
#include <stdlib.h>
#include <string.h>

#include "core/model/safetensors.h"
#include "core/model/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The model that the headers of the corpus belong to. */
static const PkConfig small = {
	.hidden_size = 8,
	.intermediate_size = 16,
	.num_hidden_layers = 1,
	.num_attention_heads = 2,
	.max_position_embeddings = 16,
	.vocab_size = 32,
	.rotary_dims = 2,
	.rope_theta = 10000,
	.layer_norm_eps = 1e-5f,
	.use_parallel_residual = 1,
	.attention_bias = 1,
	.bos_token_id = -1,
	.endoftext_id = -1,
};

static void
check_tensors(const PkTensorList *list, uint64_t file_size)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->items[i].begin > list->items[i].end || list->items[i].end > file_size)
			abort(); /* a tensor outside of the file came through */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PkTensorList list = {0};
	PkConfig     config = small;
	PkBinding    binding;
	PkError      err;
	size_t       len;

	if (size < 4 + PK_SAFETENSORS_PREFIX)
		return 0;

	uint64_t file_size = (uint64_t) data[0] | (uint64_t) data[1] << 8 | (uint64_t) data[2] << 16 |
	                     (uint64_t) data[3] << 24;

	data += 4;
	size -= 4;
	if (pk_safetensors_header_len(data, file_size, "fuzz", &len, &err) == PK_OK &&
	    len <= size - PK_SAFETENSORS_PREFIX &&
	    pk_safetensors_parse((const char *) data + PK_SAFETENSORS_PREFIX, len, file_size, 0, "fuzz",
	                         &list, &err) == PK_OK)
	{
		check_tensors(&list, file_size);
		if (pk_weights_bind(&list, &config, &binding, &err) == PK_OK)
			pk_binding_free(&binding);
	}
	pk_tensor_list_free(&list);
	return 0;
}

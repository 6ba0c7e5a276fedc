/*
 * fuzz_image.c
 *    Opening an image. Checksums, size and magic are put right first, so that what lies behind
 *    them is reached: config, directory, tokenizer blob.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/model/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE_MAX_TRIED ((size_t) 1 << 20)

static void
put_right(uint8_t *bytes, size_t size)
{
	PkImageHeader header;
	PkImageLayout layout;

	memcpy(&header, bytes, sizeof(header));
	memcpy(header.magic, PK_IMAGE_MAGIC, sizeof(header.magic));
	header.endian = PK_IMAGE_ENDIAN;
	header.layout = PK_IMAGE_LAYOUT(header.quant);
	header.size_bytes = size;
	if (header.quant < PK_N_QUANT && header.tokenizer_size <= size &&
	    pk_config_check(&header.config, NULL) == PK_OK &&
	    pk_image_layout(&header.config, (PkQuant) header.quant, header.tokenizer_size, &layout,
	                    NULL) == PK_OK)
	{
		header.weight_bytes = layout.weight_bytes;
		if (layout.weights_offset <= size)
			header.tables_hash =
				pk_hash128(bytes + PK_IMAGE_PAGE, layout.weights_offset - PK_IMAGE_PAGE);
		pk_image_layout_free(&layout);
	}
	header.header_hash = pk_image_header_hash(&header);
	memcpy(bytes, &header, sizeof(header));
}

static void
use(const PkModel *model)
{
	const PkTokenizer *tokenizer = pk_model_tokenizer(model);
	PkTokens           tokens = {0};
	PkError            err;
	size_t             len;
	char              *text;

	for (size_t id = 0; id < pk_tokenizer_n_ids(tokenizer); id++)
		(void) pk_tokenizer_bytes(tokenizer, (int32_t) id, &len);
	(void) pk_tokenizer_find(tokenizer, "<|endoftext|>", 13);
	if (pk_tokenizer_encode(tokenizer, "abc 1 ab<|endoftext|>", 21, &tokens, NULL, &err) == PK_OK &&
	    pk_tokenizer_decode(tokenizer, tokens.ids, tokens.n, false, &text, &len, &err) == PK_OK)
		free(text);
	pk_tokens_free(&tokens);
	(void) pk_model_verify(model, NULL, &err);
	(void) pk_model_warm(model, NULL, &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PkModel *model;
	PkError  err;
	char     path[64];

	if (size < sizeof(PkImageHeader) || size > SIZE_MAX_TRIED)
		return 0;

	uint8_t *bytes = malloc(size);
	int      fd = memfd_create("image", MFD_CLOEXEC);

	if (bytes == NULL || fd < 0 || fchmod(fd, 0600) != 0)
		abort();
	memcpy(bytes, data, size);
	put_right(bytes, size);
	if (write(fd, bytes, size) != (ssize_t) size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (pk_model_open(path, &model, &err) == PK_OK)
	{
		use(model);
		pk_model_release(model);
	}
	close(fd);
	free(bytes);
	return 0;
}

/*
 * fuzz_config.c
 *    config.json, generation_config.json and the index: three texts, separated by byte 0.
 */
#include <stdlib.h>
#include <string.h>

#include "core/model/checkpoint.h"
#include "core/model/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static PkStatus
look_at_shard(void *arg, const char *tensor, const char *shard, PkError *err)
{
	(void) arg;
	(void) err;
	if (tensor == NULL || strchr(shard, '/') != NULL || shard[0] == '.')
		abort(); /* a name that could leave the directory came through */
	return PK_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *texts[3] = {(const char *) data, "", ""};
	size_t      lens[3] = {size, 0, 0};
	PkConfig    config;
	PkError     err;

	for (size_t i = 0; i < 2; i++)
	{
		const char *zero = lens[i] > 0 ? memchr(texts[i], '\0', lens[i]) : NULL;

		if (zero == NULL)
			break;
		texts[i + 1] = zero + 1;
		lens[i + 1] = lens[i] - (size_t) (zero + 1 - texts[i]);
		lens[i] = (size_t) (zero - texts[i]);
	}
	(void) pk_index_walk(texts[2], lens[2], look_at_shard, NULL, &err);
	if (pk_config_parse(texts[0], lens[0], &config, &err) != PK_OK)
		return 0;
	(void) pk_config_parse_generation(texts[1], lens[1], &config, &err);
	if (pk_config_check(&config, &err) != PK_OK)
		abort(); /* what was parsed must be within the limits */
	for (int quant = 0; quant < PK_N_QUANT; quant++)
		if (pk_image_size_estimate(&config, (PkQuant) quant) == 0)
			abort(); /* the limits must keep every product small */
	return 0;
}

/*
 * batch.c
 *    Arrays of one step, grown together.
 */
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/infer/batch.h"

PkStatus
pk_batch_reserve(PkBatch *batch, size_t n_tokens, PkError *err)
{
	if (n_tokens <= batch->n_room)
		return PK_OK;

	PkBatch larger = {.n_room = n_tokens};
	void   *parts[6] = {0};
	size_t  sizes[6] = {sizeof(int32_t), sizeof(uint32_t), sizeof(PkKvSeq *),
	                    sizeof(int32_t), sizeof(size_t),   sizeof(size_t)};

	for (size_t i = 0; i < PK_LENGTH(parts); i++)
	{
		PkStatus status = pk_calloc(n_tokens, sizes[i], &parts[i], err);

		if (status != PK_OK)
		{
			for (size_t k = 0; k < i; k++)
				free(parts[k]);
			return status;
		}
	}
	larger.token = parts[0];
	larger.pos = parts[1];
	larger.seq = parts[2];
	larger.capture = parts[3];
	larger.output = parts[4];
	larger.source = parts[5];
	pk_batch_free(batch);
	*batch = larger;
	return PK_OK;
}

void
pk_batch_free(PkBatch *batch)
{
	free(batch->token);
	free(batch->pos);
	free(batch->seq);
	free(batch->capture);
	free(batch->output);
	free(batch->source);
	*batch = (PkBatch){0};
}

void
pk_batch_clear(PkBatch *batch)
{
	batch->n_tokens = 0;
	batch->n_outputs = 0;
}

size_t
pk_batch_add(PkBatch *batch, PkKvSeq *seq, int32_t token, size_t pos, bool wants_logits,
             int32_t capture)
{
	size_t row = batch->n_tokens++;

	PK_ASSERT(row < batch->n_room);
	batch->token[row] = token;
	batch->pos[row] = (uint32_t) pos;
	batch->seq[row] = seq;
	batch->capture[row] = capture;
	batch->output[row] = wants_logits ? batch->n_outputs : PK_NO_OUTPUT;
	if (wants_logits)
		batch->source[batch->n_outputs++] = row;
	return row;
}

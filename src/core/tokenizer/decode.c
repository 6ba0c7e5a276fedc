/*
 * decode.c
 *    Ids to text: a stream that holds back an incomplete character, and decode() on top of it.
 *
 * Wrong bytes become U+FFFD one for each maximal subpart (Unicode 3.9, as Rust's from_utf8_lossy
 * does). Only byte fallback differs from Hugging Face there: its decoder waits for the end of a run
 * of byte tokens and then replaces all of it, which no stream can do.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/blob.h"

#define REPLACEMENT "\xef\xbf\xbd"
#define REPLACEMENT_LEN 3
#define MAX_PENDING 3

static size_t decode_bytes(PkDecodeStream *stream, const char *bytes, size_t len, char *out);
static size_t replace(char *out);

size_t
pk_tokenizer_max_piece(const PkTokenizer *tokenizer)
{
	/* each byte, the joining space, and what was pending may become a replacement */
	return ((size_t) tokenizer->max_piece_len + 1 + MAX_PENDING) * REPLACEMENT_LEN;
}

void
pk_decode_init(PkDecodeStream *stream, const PkTokenizer *tokenizer, bool skip_special)
{
	memset(stream, 0, sizeof(*stream));
	stream->tokenizer = tokenizer;
	stream->skip_special = skip_special;
}

size_t
pk_decode_push(PkDecodeStream *stream, int32_t id, char *out)
{
	const PkTokenizer *tokenizer = stream->tokenizer;
	size_t             len, n = 0;
	const char        *bytes = pk_tokenizer_bytes(tokenizer, id, &len);

	if (id < 0 || (size_t) id >= tokenizer->n_ids)
		return 0;
	if (stream->skip_special && (tokenizer->flags[id] & PK_TOKEN_SKIPPED) != 0)
		return 0;
	if ((tokenizer->header->flags & PK_BLOB_JOIN_SPACES) != 0 && stream->n_state > 0)
		n = decode_bytes(stream, " ", 1, out);
	stream->n_state = 1; /* a token was there */
	return n + decode_bytes(stream, bytes, len, out + n);
}

/* Pending bytes and these, as far as they are certain. */
static size_t
decode_bytes(PkDecodeStream *stream, const char *bytes, size_t len, char *out)
{
	size_t n = 0, i = 0;

	while (stream->n_pending > 0 && i < len)
	{
		char   joined[MAX_PENDING + 1];
		size_t n_joined = (size_t) stream->n_pending + 1;

		memcpy(joined, stream->pending, stream->n_pending);
		joined[stream->n_pending] = bytes[i];
		if (pk_utf8_char_len(joined, n_joined) == n_joined)
		{
			memcpy(out + n, joined, n_joined);
			n += n_joined;
			i++;
			stream->n_pending = 0;
		}
		else if (pk_utf8_partial_len(joined, n_joined) == n_joined)
		{
			stream->pending[stream->n_pending++] = bytes[i++];
		}
		else /* what is pending ends here; the byte begins anew */
		{
			n += replace(out + n);
			stream->n_pending = 0;
		}
	}
	while (i < len)
	{
		size_t char_len = pk_utf8_char_len(bytes + i, len - i);
		size_t partial = char_len == 0 ? pk_utf8_partial_len(bytes + i, len - i) : 0;

		if (char_len > 0 && bytes[i] != '\0')
		{
			memcpy(out + n, bytes + i, char_len);
			n += char_len;
			i += char_len;
		}
		else if (partial > 0 && i + partial == len)
		{
			memcpy(stream->pending, bytes + i, partial);
			stream->n_pending = (uint8_t) partial;
			i = len;
		}
		else
		{
			n += replace(out + n);
			i += partial > 0 ? partial : 1;
		}
	}
	return n;
}

static size_t
replace(char *out)
{
	memcpy(out, REPLACEMENT, REPLACEMENT_LEN);
	return REPLACEMENT_LEN;
}

size_t
pk_decode_finish(PkDecodeStream *stream, char *out)
{
	size_t n = stream->n_pending > 0 ? replace(out) : 0;

	stream->n_pending = 0;
	stream->n_state = 0;
	return n;
}

PkStatus
pk_tokenizer_decode(const PkTokenizer *tokenizer, const int32_t *ids, size_t n, bool skip_special,
                    char **text, size_t *len, PkError *err)
{
	size_t         room = 0, used = 0, per_call = pk_tokenizer_max_piece(tokenizer);
	void          *out = NULL;
	PkDecodeStream stream;
	PkStatus       status = PK_OK;

	pk_decode_init(&stream, tokenizer, skip_special);
	for (size_t i = 0; i < n; i++)
	{
		if (ids[i] < 0 || (size_t) ids[i] >= tokenizer->n_ids)
		{
			status = pk_error(err, PK_BAD_ARGUMENT, "token id %d is out of range", ids[i]);
			pk_error_hint(err, status, "The model has the ids 0 to %zu.", tokenizer->n_ids - 1);
			goto failed;
		}
		PK_FORWARD_TO(failed, pk_grow(&out, &room, used + per_call, 1, err));
		used += pk_decode_push(&stream, ids[i], (char *) out + used);
	}
	PK_FORWARD_TO(failed, pk_grow(&out, &room, used + per_call + 1, 1, err));
	used += pk_decode_finish(&stream, (char *) out + used);
	((char *) out)[used] = '\0';
	*text = out;
	*len = used;
	return PK_OK;

failed:
	free(out);
	return status;
}

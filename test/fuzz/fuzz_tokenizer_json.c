/*
 * fuzz_tokenizer_json.c
 *    tokenizer.json to blob to tokenizer, and blobs that were altered.
 *
 * Input: a tokenizer.json; after a byte 0xff, which JSON never holds, come changes to the blob
 * (4 bytes each: three of an offset, one of a value). What opens must encode and decode without a
 * wrong access, whatever it answers.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/tokenizer.h"

#define MAX_JSON 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use(const PkTokenizer *tokenizer)
{
	static const char text[] =
		"a ab  <|tell|> 12 \xea\xb0\x80\xe1\x84\x80\xe1\x85\xa1 x\xcc\x81\xcc\x96 "
		"'s word\n\n <s>  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \xea\xb0\x80";
	PkTokens tokens = {.want_offsets = true};
	char    *decoded = NULL, *copy = malloc(sizeof(text) - 1);
	size_t   len, piece_len;

	/* no NUL after it, and its last character is long: a read past the end is seen */
	memcpy(copy, text, sizeof(text) - 1);
	if (pk_tokenizer_encode(tokenizer, copy, sizeof(text) - 1, &tokens, NULL, NULL) == PK_OK)
	{
		for (size_t i = 0; i < tokens.n; i++)
			if (tokens.ends[i] > sizeof(text) - 1 || tokens.starts[i] > tokens.ends[i])
				abort();
		if (pk_tokenizer_decode(tokenizer, tokens.ids, tokens.n, false, &decoded, &len, NULL) !=
		    PK_OK)
			abort();
		if (!pk_utf8_is_valid(decoded, len, NULL))
			abort();
	}
	for (size_t id = 0; id < pk_tokenizer_n_ids(tokenizer); id++)
	{
		const char *piece = pk_tokenizer_bytes(tokenizer, (int32_t) id, &piece_len);

		if (pk_tokenizer_find(tokenizer, piece, piece_len) >=
		    (int32_t) pk_tokenizer_n_ids(tokenizer))
			abort();
	}
	free(copy);
	free(decoded);
	pk_tokens_free(&tokens);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *changes = size > 0 ? memchr(data, 0xff, size) : NULL;
	size_t         json_len = changes != NULL ? (size_t) (changes - data) : size;
	char          *json = malloc(json_len + 1);
	void          *blob;
	size_t         blob_size;
	PkTokenizer   *tokenizer;
	PkError        err;

	if (json_len > 0)
		memcpy(json, data, json_len);
	if (json_len <= MAX_JSON &&
	    pk_tokenizer_compile(json, json_len, NULL, &blob, &blob_size, &err) == PK_OK)
	{
		if (changes == NULL) /* what we compile, we open */
		{
			if (pk_tokenizer_open(blob, blob_size, &tokenizer, &err) != PK_OK)
				abort();
			use(tokenizer);
			pk_tokenizer_close(tokenizer);
		}
		else
		{
			for (changes++; data + size - changes >= 4; changes += 4)
			{
				size_t at =
					(size_t) changes[0] | (size_t) changes[1] << 8 | (size_t) changes[2] << 16;

				((uint8_t *) blob)[at % blob_size] = changes[3];
			}
			if (pk_tokenizer_open(blob, blob_size, &tokenizer, &err) == PK_OK)
			{
				use(tokenizer);
				pk_tokenizer_close(tokenizer);
			}
		}
		free(blob);
	}
	free(json);
	return 0;
}

/*
 * tokenizer.h
 *    Byte-level BPE, exact with Hugging Face tokenizers.
 *
 * A tokenizer.json is compiled once into a position-independent blob (it lies in the image and is
 * mapped by every session); opening a blob checks it and costs little. A PkTokenizer never changes
 * after it is opened and may be used by several threads.
 */
#ifndef PK_TOKENIZER_H
#define PK_TOKENIZER_H

#include "core/base/cancel.h"
#include "core/base/status.h"

typedef struct PkTokenizer PkTokenizer;

/*
 * Compile json_len bytes of tokenizer.json to a blob (free() it). PK_BAD_FILE when it is broken
 * (holes in the ids, a merge of unknown tokens, ...), PK_UNSUPPORTED naming a part that we don't
 * run. PK_CANCELLED when cancel (may be NULL) was seen; it is polled every few milliseconds. The
 * same input gives the same bytes on every machine.
 */
PkStatus pk_tokenizer_compile(const char *json, size_t json_len, PkCancel *cancel, void **blob,
                              size_t *blob_size, PkError *err);

/*
 * Use a blob (PK_ALIGNMENT-aligned); it must outlive the tokenizer. Every offset and count in it is
 * checked: PK_BAD_FILE.
 */
PkStatus pk_tokenizer_open(const void *blob, size_t blob_size, PkTokenizer **out, PkError *err);
void     pk_tokenizer_close(PkTokenizer *tokenizer);

/* Ids are 0 to n_ids - 1, without holes. */
size_t      pk_tokenizer_n_ids(const PkTokenizer *tokenizer);
bool        pk_tokenizer_is_special(const PkTokenizer *tokenizer, int32_t id);
/* Id of a token by its vocabulary spelling (special tokens by their text), or -1. */
int32_t     pk_tokenizer_find(const PkTokenizer *tokenizer, const char *text, size_t len);
/* The bytes a token stands for, unmapped from the byte alphabet (special: its text); never NULL. */
const char *pk_tokenizer_bytes(const PkTokenizer *tokenizer, int32_t id, size_t *len);

/* Ids of a text. ids, starts, ends are malloc'ed; pk_tokens_free() frees and clears. */
typedef struct PkTokens
{
	size_t   n;
	size_t   n_room;
	int32_t *ids;
	/*
	 * Only if want_offsets was set before the call: bytes [start, end) of the original text, also
	 * through normalisation, 0-based. Whole characters: tokens that share one, or share what
	 * normalisation composed, all have its bytes, so that together they cover the input. What a
	 * post_processor adds is empty.
	 */
	bool     want_offsets;
	size_t  *starts;
	size_t  *ends;
} PkTokens;

void pk_tokens_free(PkTokens *tokens);

/*
 * Encode text (UTF-8, may hold NUL; PK_BAD_TEXT otherwise; PK_TOO_LONG above 1 GiB, or with a word
 * above 8 MiB) as tokenizers' encode() with
 * add_special_tokens. Special tokens in the text are parsed; <|tell|> and <|tel|> both map to
 * whichever of them the vocabulary has. An empty text gives what the post_processor adds (usually
 * nothing). tokens is zeroed by the caller first, its ids are replaced. Polls cancel.
 */
PkStatus pk_tokenizer_encode(const PkTokenizer *tokenizer, const char *text, size_t len,
                             PkTokens *tokens, PkCancel *cancel, PkError *err);

/*
 * Decode ids to valid UTF-8 (malloc'ed, ends with a NUL that len does not count). Bytes that are
 * no UTF-8, and byte 0, become U+FFFD, as tokenizers' decode() does for the former. Ids out of
 * range: PK_BAD_ARGUMENT with the number.
 */
PkStatus pk_tokenizer_decode(const PkTokenizer *tokenizer, const int32_t *ids, size_t n,
                             bool skip_special, char **text, size_t *len, PkError *err);

/*
 * Streaming decode: push ids one by one; each call appends the text that is certain now to out
 * (nothing while a character is incomplete). The pieces together, with finish, equal decode() of
 * the whole. Special tokens are skipped if skip_special.
 */
typedef struct PkDecodeStream
{
	const PkTokenizer *tokenizer;
	bool               skip_special;
	uint8_t            n_pending; /* bytes of an incomplete character */
	char               pending[4];
	/* byte-level decoding needs no more state; other decoders may use these */
	uint8_t            n_state;
	char               state[16];
} PkDecodeStream;

#define PK_PIECE_ROOM(tokenizer) (pk_tokenizer_max_piece(tokenizer))

/* Most bytes that one push or finish can write. */
size_t pk_tokenizer_max_piece(const PkTokenizer *tokenizer);

void   pk_decode_init(PkDecodeStream *stream, const PkTokenizer *tokenizer, bool skip_special);
/* Writes at most pk_tokenizer_max_piece() bytes to out; returns how many. id must be in range. */
size_t pk_decode_push(PkDecodeStream *stream, int32_t id, char *out);
size_t pk_decode_finish(PkDecodeStream *stream, char *out);

/* Version of the Unicode data in use, "15.0"; static memory. */
const char *pk_unicode_version(void);

#endif

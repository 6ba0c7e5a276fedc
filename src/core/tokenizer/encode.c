/*
 * encode.c
 *    Text to ids: added tokens, normalisation, words, merges, template.
 *
 * In Hugging Face's order: added tokens with normalized = false are cut out of the text as it is;
 * each piece between them is normalised; the other added tokens are cut out of that; what remains
 * is split into words.
 *
 * Offsets cover the input: a token that holds a part of a character, or of a stretch that
 * normalisation changed, has the bytes of the whole of it. So the bytes of a token are always whole
 * characters, and every byte of the input belongs to a token (unless Split removed it). A character
 * that the model drops goes to the token after it; a space that ByteLevel puts before a piece has
 * the bytes of the character after it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/hashtable.h"
#include "core/tokenizer/pretokenize.h"
#include "core/tokenizer/trie.h"

#define POLL_BYTES 8192   /* words between two looks at cancel */
#define SCAN_BYTES 131072 /* the same, for what only looks at bytes */
#define TOKENS_PER_POLL 65536
#define MAX_WORD_BYTES ((size_t) 8 << 20)
#define MAX_TEXT_BYTES ((size_t) 1 << 30)

/* One text on its way. */
typedef struct Encoder
{
	const PkTokenizer *tokenizer;
	const char        *text; /* the input */
	size_t             len;
	PkTokens          *tokens;
	PkCancel          *cancel;
	PkError           *err;
	PkBpe              bpe;
	PkSplitter         splitter;
	size_t             work_bytes; /* since cancel was last looked at */

	/* The piece at work: bytes base to base + source_len of the input, and its normalised text. */
	size_t       base;
	const char  *normal;
	size_t       normal_len;
	PkNormalized forms[PK_MAX_NORMALIZERS]; /* what each normalizer made of it */
	bool         is_same[PK_MAX_NORMALIZERS];
} Encoder;

typedef PkStatus (*PieceFn)(Encoder *encoder, const char *text, size_t start, size_t end,
                            int32_t id);

static PkStatus check_text(Encoder *encoder);
static PkStatus encode_text(Encoder *encoder);
static PkStatus cut_added(Encoder *encoder, const PkTrie *trie, const char *text, size_t len,
                          PieceFn take);
static PkStatus find_added(Encoder *encoder, const PkTrie *trie, const char *text, size_t len,
                           size_t from, int32_t *id, size_t *start, size_t *end);
static bool     stands_alone(const char *text, size_t len, size_t start, size_t end);
static size_t   char_before(const char *text, size_t end);
static PkStatus strip_left(Encoder *encoder, const char *text, size_t *start, size_t least);
static PkStatus strip_right(Encoder *encoder, const char *text, size_t len, size_t *end);
static PkStatus look_at_cancel(Encoder *encoder, size_t n_bytes);
static PkStatus take_raw_piece(Encoder *encoder, const char *text, size_t start, size_t end,
                               int32_t id);
static PkStatus take_normal_piece(Encoder *encoder, const char *text, size_t start, size_t end,
                                  int32_t id);
static PkStatus normalize_piece(Encoder *encoder, const char *text, size_t len);
static PkStatus take_word(void *arg, const PkWord *word);
static int32_t  find_word(const PkTokenizer *tokenizer, const PkWord *word);
static PkStatus add_word_tokens(Encoder *encoder, const PkWord *word);
static PkStatus add_token(Encoder *encoder, uint32_t id, size_t start, size_t end);
static PkStatus make_room(Encoder *encoder, size_t n_more);
static void     to_source(const Encoder *encoder, size_t *start, size_t *end);
static void     whole_characters(const char *text, size_t len, size_t *start, size_t *end);
static PkStatus add_template(Encoder *encoder, const int32_t *ids, size_t n, size_t at);
static PkStatus cancelled(Encoder *encoder);

void
pk_tokens_free(PkTokens *tokens)
{
	bool want_offsets = tokens->want_offsets;

	free(tokens->ids);
	free(tokens->starts);
	free(tokens->ends);
	memset(tokens, 0, sizeof(*tokens));
	tokens->want_offsets = want_offsets;
}

PkStatus
pk_tokenizer_encode(const PkTokenizer *tokenizer, const char *text, size_t len, PkTokens *tokens,
                    PkCancel *cancel, PkError *err)
{
	Encoder encoder = {.tokenizer = tokenizer,
	                   .text = text,
	                   .len = len,
	                   .tokens = tokens,
	                   .cancel = cancel,
	                   .err = err};

	encoder.splitter = (PkSplitter){
		.tokenizer = tokenizer, .take = take_word, .arg = &encoder, .cancel = cancel, .err = err};
	tokens->n = 0;

	PkStatus status = encode_text(&encoder);

	pk_bpe_free(&encoder.bpe);
	pk_splitter_free(&encoder.splitter);
	for (size_t i = 0; i < PK_MAX_NORMALIZERS; i++)
		pk_normalized_free(&encoder.forms[i]);
	return status;
}

static PkStatus
encode_text(Encoder *encoder)
{
	const PkTokenizer *tokenizer = encoder->tokenizer;
	size_t             n_before = tokenizer->header->n_before;

	PK_FORWARD(check_text(encoder));
	PK_FORWARD(make_room(encoder, encoder->len / 4 + 16)); /* a guess; also: never NULL arrays */
	PK_FORWARD(add_template(encoder, tokenizer->template_ids, n_before, 0));
	PK_FORWARD(cut_added(encoder, &tokenizer->raw, encoder->text, encoder->len, take_raw_piece));
	return add_template(encoder, tokenizer->template_ids + n_before, tokenizer->header->n_after,
	                    encoder->len);
}

static PkStatus
check_text(Encoder *encoder)
{
	const char *text = encoder->text;
	size_t      len = encoder->len;

	if (len > MAX_TEXT_BYTES)
		return pk_error(encoder->err, PK_TOO_LONG, "a text of %zu bytes, the limit is %zu", len,
		                MAX_TEXT_BYTES);
	for (size_t i = 0; i < len;)
	{
		size_t block_end = len - i > SCAN_BYTES ? i + SCAN_BYTES : len;
		size_t bad;

		while (block_end < len && ((uint8_t) text[block_end] & 0xc0) == 0x80 && block_end > i + 1)
			block_end--;
		if (!pk_utf8_is_valid(text + i, block_end - i, &bad))
			return pk_error(encoder->err, PK_BAD_TEXT, "the text is not UTF-8 at byte %zu",
			                i + bad);
		i = block_end;
		if (i < len && pk_cancel_poll(encoder->cancel))
			return cancelled(encoder);
	}
	return PK_OK;
}

/*
 * Cut text at the added tokens of a trie: take() gets pieces (id -1) and tokens in order. With
 * rstrip a token may reach past the start of the next one, as in Hugging Face's find_matches().
 */
static PkStatus
cut_added(Encoder *encoder, const PkTrie *trie, const char *text, size_t len, PieceFn take)
{
	size_t done = 0, from = 0, spaces_start = 0, spaces_end = 0;

	for (;;)
	{
		size_t  start, end;
		int32_t id;

		PK_FORWARD(find_added(encoder, trie, text, len, from, &id, &start, &end));
		if (id < 0)
			break;
		from = end;
		if (encoder->work_bytes >= POLL_BYTES && pk_cancel_poll(encoder->cancel))
			return cancelled(encoder);
		encoder->work_bytes %= POLL_BYTES;

		uint8_t flags = encoder->tokenizer->flags[id];

		if ((flags & PK_TOKEN_SINGLE_WORD) != 0 && !stands_alone(text, len, start, end))
			continue;
		if ((flags & PK_TOKEN_LSTRIP) != 0 && start < done)
			start = done;
		if ((flags & PK_TOKEN_LSTRIP) != 0)
			PK_FORWARD(strip_left(encoder, text, &start, done));
		if ((flags & PK_TOKEN_RSTRIP) != 0)
		{
			/* Inside a run of spaces that was walked already its end is known. */
			if (end < spaces_start || end >= spaces_end)
			{
				spaces_start = end;
				spaces_end = end;
				PK_FORWARD(strip_right(encoder, text, len, &spaces_end));
			}
			end = spaces_end;
		}
		if (done < start)
			PK_FORWARD(take(encoder, text, done, start, -1));
		PK_FORWARD(take(encoder, text, start, end, id));
		done = end;
	}
	return done < len ? take(encoder, text, done, len, -1) : PK_OK;
}

/* The next match at or after from; *id is -1 when there is none. */
static PkStatus
find_added(Encoder *encoder, const PkTrie *trie, const char *text, size_t len, size_t from,
           int32_t *id, size_t *start, size_t *end)
{
	*id = -1;
	while (from < len)
	{
		size_t n_starts = SCAN_BYTES / (trie->longest + 1) + 1; /* each may walk a whole pattern */
		size_t limit = len - from > n_starts ? from + n_starts : len;

		*id = pk_trie_find(trie, text, len, from, limit, start, end);
		if (*id >= 0)
		{
			encoder->work_bytes += (*end - from) * (trie->longest > 64 ? trie->longest / 64 : 1);
			return PK_OK;
		}
		from = limit;
		if (from < len && pk_cancel_poll(encoder->cancel))
			return cancelled(encoder);
	}
	return PK_OK;
}

/* No word character on either side. */
static bool
stands_alone(const char *text, size_t len, size_t start, size_t end)
{
	if (start > 0)
	{
		size_t before = char_before(text, start);

		if (pk_char_is_word(pk_utf8_decode(text + before, start - before)))
			return false;
	}
	if (end == len)
		return true;
	return !pk_char_is_word(pk_utf8_decode(text + end, pk_utf8_char_len(text + end, len - end)));
}

/* Start of the character that ends at end (> 0). */
static size_t
char_before(const char *text, size_t end)
{
	size_t start = end - 1;

	while (start > 0 && ((uint8_t) text[start] & 0xc0) == 0x80)
		start--;
	return start;
}

static PkStatus
strip_left(Encoder *encoder, const char *text, size_t *start, size_t least)
{
	while (*start > least)
	{
		size_t before = char_before(text, *start);

		if (!pk_char_is_space(pk_utf8_decode(text + before, *start - before)))
			break;
		PK_FORWARD(look_at_cancel(encoder, *start - before));
		*start = before;
	}
	return PK_OK;
}

static PkStatus
strip_right(Encoder *encoder, const char *text, size_t len, size_t *end)
{
	while (*end < len)
	{
		size_t n = pk_utf8_char_len(text + *end, len - *end);

		if (n == 0 || !pk_char_is_space(pk_utf8_decode(text + *end, n)))
			break;
		PK_FORWARD(look_at_cancel(encoder, n));
		*end += n;
	}
	return PK_OK;
}

static PkStatus
look_at_cancel(Encoder *encoder, size_t n_bytes)
{
	encoder->work_bytes += n_bytes;
	if (encoder->work_bytes < SCAN_BYTES)
		return PK_OK;
	encoder->work_bytes = 0;
	return pk_cancel_poll(encoder->cancel) ? cancelled(encoder) : PK_OK;
}

static PkStatus
take_raw_piece(Encoder *encoder, const char *text, size_t start, size_t end, int32_t id)
{
	if (id >= 0)
		return add_token(encoder, (uint32_t) id, start, end);
	encoder->base = start;
	PK_FORWARD(normalize_piece(encoder, text + start, end - start));
	return cut_added(encoder, &encoder->tokenizer->normal, encoder->normal, encoder->normal_len,
	                 take_normal_piece);
}

static PkStatus
take_normal_piece(Encoder *encoder, const char *text, size_t start, size_t end, int32_t id)
{
	if (id < 0)
		return pk_splitter_run(&encoder->splitter, text, start, end);
	to_source(encoder, &start, &end);
	return add_token(encoder, (uint32_t) id, start, end);
}

static PkStatus
normalize_piece(Encoder *encoder, const char *text, size_t len)
{
	const PkBlobHeader *header = encoder->tokenizer->header;

	encoder->normal = text;
	encoder->normal_len = len;
	for (uint32_t i = 0; i < header->n_normalizers; i++)
	{
		PkNormalized *form = &encoder->forms[i];

		PK_FORWARD(pk_normalize((PkNormalForm) header->normalizers[i], encoder->normal,
		                        encoder->normal_len, form, &encoder->is_same[i], encoder->cancel,
		                        encoder->err));
		if (encoder->is_same[i])
			continue;
		encoder->normal = form->text;
		encoder->normal_len = form->len;
	}
	return PK_OK;
}

static PkStatus
take_word(void *arg, const PkWord *word)
{
	Encoder           *encoder = arg;
	const PkTokenizer *tokenizer = encoder->tokenizer;

	encoder->work_bytes += word->len;
	if (encoder->work_bytes >= POLL_BYTES)
	{
		encoder->work_bytes = 0;
		if (pk_cancel_poll(encoder->cancel))
			return cancelled(encoder);
	}

	/* Matching finds a word that is one token as fast. */
	bool    is_matched = tokenizer->n_match_nodes > 0 && word->len <= PK_MATCH_BYTES;
	int32_t id = is_matched ? -1 : find_word(tokenizer, word);

	if (id >= 0)
	{
		size_t start = word->start;
		size_t end = start + (word->len > word->n_prefix ? word->len - word->n_prefix : 1);

		if (encoder->tokens->want_offsets)
			to_source(encoder, &start, &end);
		return add_token(encoder, (uint32_t) id, start, end);
	}
	if (word->len > MAX_WORD_BYTES)
		return pk_error(encoder->err, PK_TOO_LONG,
		                "a word of %zu bytes without a break, the limit is %zu", word->len,
		                MAX_WORD_BYTES);
	PK_FORWARD(pk_bpe_word(&encoder->bpe, tokenizer, word->bytes, word->len, encoder->cancel,
	                       encoder->err));
	return add_word_tokens(encoder, word);
}

static int32_t
find_word(const PkTokenizer *tokenizer, const PkWord *word)
{
	return pk_text_find(tokenizer->word_table, tokenizer->word_bits, tokenizer->word_offsets,
	                    tokenizer->word_text, word->bytes, word->len,
	                    pk_text_hash(word->bytes, word->len));
}

static PkStatus
add_word_tokens(Encoder *encoder, const PkWord *word)
{
	const PkBpe *bpe = &encoder->bpe;
	PkTokens    *tokens = encoder->tokens;
	size_t       from = 0;

	PK_FORWARD(make_room(encoder, bpe->n));
	for (size_t i = 0; i < bpe->n; i++)
	{
		tokens->ids[tokens->n + i] = (int32_t) bpe->ids[i];
		if (i % TOKENS_PER_POLL == TOKENS_PER_POLL - 1 && pk_cancel_poll(encoder->cancel))
			return cancelled(encoder);
		if (!tokens->want_offsets)
			continue;

		/* The space that was put before the word has the place of the character after it. */
		size_t start = word->start + (from > word->n_prefix ? from - word->n_prefix : 0);
		size_t end = word->start + bpe->ends[i] - word->n_prefix;

		end = end > start ? end : start + (bpe->ends[i] <= word->n_prefix);
		to_source(encoder, &start, &end);
		tokens->starts[tokens->n + i] = start;
		tokens->ends[tokens->n + i] = end;
		from = bpe->ends[i];
	}
	tokens->n += bpe->n;
	return PK_OK;
}

static PkStatus
add_token(Encoder *encoder, uint32_t id, size_t start, size_t end)
{
	PkTokens *tokens = encoder->tokens;

	PK_FORWARD(make_room(encoder, 1));
	tokens->ids[tokens->n] = (int32_t) id;
	if (tokens->want_offsets)
	{
		tokens->starts[tokens->n] = start;
		tokens->ends[tokens->n] = end;
	}
	tokens->n++;
	return PK_OK;
}

static PkStatus
make_room(Encoder *encoder, size_t n_more)
{
	PkTokens *tokens = encoder->tokens;
	size_t    room[3] = {tokens->n_room, tokens->n_room, tokens->n_room};
	void     *arrays[3] = {tokens->ids, tokens->starts, tokens->ends};
	size_t    sizes[3] = {sizeof(int32_t), sizeof(size_t), sizeof(size_t)};
	size_t    n_arrays = tokens->want_offsets ? 3 : 1;
	PkStatus  status = PK_OK;

	if (n_more <= tokens->n_room - tokens->n)
		return PK_OK;
	for (size_t i = 0; i < n_arrays && status == PK_OK; i++)
		status = pk_grow(&arrays[i], &room[i], tokens->n + n_more, sizes[i], encoder->err);
	tokens->ids = arrays[0];
	tokens->starts = arrays[1];
	tokens->ends = arrays[2];
	if (status == PK_OK)
		tokens->n_room = room[0];
	return status;
}

/* Bytes of the normalised piece to bytes of the input. */
static void
to_source(const Encoder *encoder, size_t *start, size_t *end)
{
	whole_characters(encoder->normal, encoder->normal_len, start, end);
	for (size_t i = encoder->tokenizer->header->n_normalizers; i-- > 0;)
		if (!encoder->is_same[i])
			pk_normalized_source(&encoder->forms[i], start, end);
	*start += encoder->base;
	*end += encoder->base;
}

static void
whole_characters(const char *text, size_t len, size_t *start, size_t *end)
{
	while (*start > 0 && *start < len && ((uint8_t) text[*start] & 0xc0) == 0x80)
		(*start)--;
	while (*end < len && ((uint8_t) text[*end] & 0xc0) == 0x80)
		(*end)++;
}

/* What the post_processor puts before (at 0) or after (at len) the text stands for no bytes. */
static PkStatus
add_template(Encoder *encoder, const int32_t *ids, size_t n, size_t at)
{
	for (size_t i = 0; i < n; i++)
		PK_FORWARD(add_token(encoder, (uint32_t) ids[i], at, at));
	return PK_OK;
}

static PkStatus
cancelled(Encoder *encoder)
{
	return pk_error(encoder->err, PK_CANCELLED, "tokenizing was cancelled");
}

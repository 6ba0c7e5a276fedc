/*
 * fuzz_encode.c
 *    Texts through a tokenizer and back.
 *
 * The first byte chooses one of the tokenizers below, the rest is the text. What must hold: broken
 * UTF-8 is refused; offsets are whole characters inside the text; a stream decodes to what decode()
 * gives; where nothing is normalised, decoding gives the text again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/tokenizer.h"

#define MAX_TEXT 65536
#define N_TOKENIZERS 6
#define CHECK(condition)  \
	do                    \
	{                     \
		if (!(condition)) \
			abort();      \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Built from these parts: all 256 byte letters and a few merges. */
typedef struct Parts
{
	const char *normalizer, *pre_tokenizer;
	bool        is_lossless; /* decoding gives the text (but for NUL) */
} Parts;

#define BYTE_LEVEL(prefix, regex) \
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":" prefix ",\"use_regex\":" regex "}"
#define SPLIT(pattern, behavior, next)                                                   \
	"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":" pattern \
	",\"behavior\":\"" behavior "\",\"invert\":false}," next "]}"
#define GPT4                                                                              \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|" \
	" ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const Parts kinds[N_TOKENIZERS] = {
	{"null", BYTE_LEVEL("false", "true"), true},
	{"{\"type\":\"NFC\"}", BYTE_LEVEL("false", "true"), false},
	{"{\"type\":\"NFKD\"}", BYTE_LEVEL("true", "true"), false},
	{"null", SPLIT("{\"Regex\":\"" GPT4 "\"}", "Isolated", BYTE_LEVEL("false", "false")), true},
	{"null", SPLIT("{\"String\":\"ab\"}", "MergedWithNext", BYTE_LEVEL("false", "true")), true},
	{"null", "null", false}, /* characters with byte fallback */
};

static PkTokenizer *tokenizers[N_TOKENIZERS];

static void
append(char **at, const char *text)
{
	size_t len = strlen(text);

	memcpy(*at, text, len);
	*at += len;
}

/* The vocabulary: <0x00> to <0xFF>, byte letters, and what the merges make. */
static PkTokenizer *
make_tokenizer(const Parts *parts)
{
	static const char *const made[] = {"ab", "abab", "ĠĠ", "ê°", "ê°Ģ", "ê°Ģê°Ģ", "11"};
	static const char *const merges =
		"[[\"a\",\"b\"],[\"ê\",\"°\"],[\"ab\",\"ab\"],[\"ê°\",\"Ģ\"],[\"Ġ\",\"Ġ\"],[\"1\",\"1\"],"
		"[\"ê°Ģ\",\"ê°Ģ\"]]";
	bool         is_fallback = strcmp(parts->pre_tokenizer, "null") == 0;
	char        *json = malloc(1 << 20), *at = json;
	int          id = 0;
	void        *blob;
	size_t       size;
	PkTokenizer *tokenizer;

	append(&at, "{\"version\":\"1.0\",\"normalizer\":");
	append(&at, parts->normalizer);
	append(&at, ",\"pre_tokenizer\":");
	append(&at, parts->pre_tokenizer);
	append(&at, is_fallback ? ",\"decoder\":{\"type\":\"ByteFallback\"}"
	                        : ",\"decoder\":{\"type\":\"ByteLevel\"}");
	append(&at, ",\"model\":{\"type\":\"BPE\",\"byte_fallback\":");
	append(&at, is_fallback ? "true" : "false");
	append(&at, ",\"merges\":");
	append(&at, merges);
	append(&at, ",\"vocab\":{");
	for (int byte = 0; byte < 256; byte++)
		at += sprintf(at, "\"<0x%02X>\":%d,", (unsigned int) byte, id++);
	for (uint32_t letter = 0x21; letter < 0x144; letter++)
	{
		char text[5] = {0};

		if ((letter > 0x7e && letter < 0xa1) || letter == 0xad)
			continue;
		pk_utf8_encode(letter, text);
		at += sprintf(at, "\"%s%s\":%d,", letter == '"' || letter == '\\' ? "\\" : "", text, id++);
	}
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		at += sprintf(at, "%s\"%s\":%d", i > 0 ? "," : "", made[i], id + (int) i);
	id += (int) (sizeof(made) / sizeof(made[0]));
	append(&at, "}},\"added_tokens\":[");
	for (int i = 0; i < 4; i++)
	{
		static const char *const contents[] = {"<|tel|>", "<l>", "<r>", "word"};

		at += sprintf(
			at,
			"%s{\"id\":%d,\"content\":\"%s\",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,"
			"\"normalized\":%s,\"special\":%s}",
			i > 0 ? "," : "", id++, contents[i], i == 3 ? "true" : "false",
			i == 1 ? "true" : "false", i == 2 ? "true" : "false", i == 3 ? "true" : "false",
			i == 0 ? "true" : "false");
	}
	append(&at, "]}");
	CHECK(pk_tokenizer_compile(json, (size_t) (at - json), NULL, &blob, &size, NULL) == PK_OK);
	CHECK(pk_tokenizer_open(blob, size, &tokenizer, NULL) == PK_OK);
	free(json);
	return tokenizer; /* blob stays as long as the process */
}

static void
check_offsets(const PkTokens *tokens, const char *text, size_t len)
{
	for (size_t i = 0; i < tokens->n; i++)
	{
		size_t start = tokens->starts[i], end = tokens->ends[i];

		CHECK(start <= end && end <= len);
		CHECK(pk_utf8_is_valid(text + start, end - start, NULL));
		CHECK(i == 0 || (tokens->starts[i - 1] <= start && tokens->ends[i - 1] <= end));
	}
}

/* Every byte of the text belongs to a token. */
static void
check_cover(const PkTokens *tokens, size_t len)
{
	size_t covered = 0;

	for (size_t i = 0; i < tokens->n; i++)
	{
		CHECK(tokens->starts[i] <= covered);
		covered = tokens->ends[i] > covered ? tokens->ends[i] : covered;
	}
	CHECK(covered == len);
}

static void
check_decode(const PkTokenizer *tokenizer, const PkTokens *tokens, const char *text, size_t len,
             bool is_lossless)
{
	PkDecodeStream stream;
	char          *whole, *piece = malloc(pk_tokenizer_max_piece(tokenizer));
	size_t         whole_len, at = 0;

	CHECK(pk_tokenizer_decode(tokenizer, tokens->ids, tokens->n, false, &whole, &whole_len, NULL) ==
	      PK_OK);
	CHECK(pk_utf8_is_valid(whole, whole_len, NULL) && memchr(whole, 0, whole_len) == NULL);
	pk_decode_init(&stream, tokenizer, false);
	for (size_t i = 0; i <= tokens->n; i++)
	{
		size_t n = i < tokens->n ? pk_decode_push(&stream, tokens->ids[i], piece)
		                         : pk_decode_finish(&stream, piece);

		CHECK(n <= pk_tokenizer_max_piece(tokenizer) && at + n <= whole_len);
		CHECK(memcmp(whole + at, piece, n) == 0 && pk_utf8_is_valid(piece, n, NULL));
		at += n;
	}
	CHECK(at == whole_len);
	/* stripped spaces and the other spelling of <|tel|> don't come back */
	if (is_lossless && memchr(text, 0, len) == NULL && memchr(text, '<', len) == NULL)
		CHECK(whole_len == len && memcmp(whole, text, len) == 0);
	free(piece);
	free(whole);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > MAX_TEXT)
		return 0;

	size_t   kind = data[0] % N_TOKENIZERS, len = size - 1;
	char    *text = malloc(len + 1);
	PkTokens tokens = {.want_offsets = (data[0] & 0x80) == 0};

	if (tokenizers[kind] == NULL)
		tokenizers[kind] = make_tokenizer(&kinds[kind]);
	memcpy(text, data + 1, len);

	PkStatus status = pk_tokenizer_encode(tokenizers[kind], text, len, &tokens, NULL, NULL);

	CHECK(status == (pk_utf8_is_valid(text, len, NULL) ? PK_OK : PK_BAD_TEXT));
	if (status == PK_OK)
	{
		if (tokens.want_offsets)
		{
			check_offsets(&tokens, text, len);
			check_cover(&tokens, len);
		}
		check_decode(tokenizers[kind], &tokens, text, len, kinds[kind].is_lossless);
	}
	/* The bytes as ids, in range or not: decoding never breaks. */
	for (size_t i = 0; i < tokens.n && i < len; i++)
		tokens.ids[i] = (int32_t) ((uint8_t) text[i] * 3);

	char  *decoded = NULL;
	size_t decoded_len;

	if (pk_tokenizer_decode(tokenizers[kind], tokens.ids, tokens.n, true, &decoded, &decoded_len,
	                        NULL) == PK_OK)
		CHECK(pk_utf8_is_valid(decoded, decoded_len, NULL));
	free(decoded);
	pk_tokens_free(&tokens);
	free(text);
	return 0;
}

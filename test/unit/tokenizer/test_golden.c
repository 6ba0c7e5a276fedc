/*
 * test_golden.c
 *    Ids, offsets and decoded text against Hugging Face tokenizers, for every part we run.
 */
#include "../tap.h"
#include "golden.h"

#define MAX_TEXTS 1000
#define N_COLUMNS 6

static char  *texts[MAX_TEXTS];
static size_t lens[MAX_TEXTS];
static char  *plain_ids[MAX_TEXTS];
static size_t n_texts;

static void
from_hex(const char *hex, char *out, size_t *len)
{
	*len = strlen(hex) / 2;
	for (size_t i = 0; i < *len; i++)
	{
		unsigned int byte;

		sscanf(hex + 2 * i, "%2x", &byte);
		out[i] = (char) byte;
	}
}

static void
read_texts(void)
{
	size_t len;
	char  *all = read_whole(GOLDEN_DIR "texts.txt", &len);

	for (char *line = all, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
	{
		*end = '\0';
		texts[n_texts] = malloc(strlen(line) / 2 + 1);
		from_hex(line, texts[n_texts], &lens[n_texts]);
		n_texts++;
	}
	free(all);
}

static bool
same_ids(const PkTokens *tokens, const char *expected)
{
	char  *text = malloc(tokens->n * 12 + 1);
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < tokens->n; i++)
		at += (size_t) sprintf(text + at, "%s%d", i > 0 ? "," : "", tokens->ids[i]);

	bool same = strcmp(text, expected) == 0;

	if (!same)
		diag("got ids %s\n#    want %s", text, expected);
	free(text);
	return same;
}

static bool
same_offsets(const PkTokens *tokens, const char *expected)
{
	char  *text = malloc(tokens->n * 44 + 1);
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < tokens->n; i++)
		at += (size_t) sprintf(text + at, "%s%zu-%zu", i > 0 ? "," : "", tokens->starts[i],
		                       tokens->ends[i]);

	bool same = strcmp(text, expected) == 0;

	if (!same)
		diag("got offsets %s\n#        want %s", text, expected);
	free(text);
	return same;
}

/* Decoded at once and piece by piece: both give the expected bytes. */
static bool
same_text(const PkTokenizer *tokenizer, const PkTokens *tokens, bool skip_special,
          const char *expected, size_t expected_len)
{
	char          *whole;
	size_t         len, n = 0;
	PkDecodeStream stream;
	PkError        err;

	if (pk_tokenizer_decode(tokenizer, tokens->ids, tokens->n, skip_special, &whole, &len, &err) !=
	    PK_OK)
		return false;

	char *pieces = malloc(len + 2 * pk_tokenizer_max_piece(tokenizer));

	pk_decode_init(&stream, tokenizer, skip_special);
	for (size_t i = 0; i < tokens->n; i++)
		n += pk_decode_push(&stream, tokens->ids[i], pieces + n);
	n += pk_decode_finish(&stream, pieces + n);

	bool same = len == expected_len && memcmp(whole, expected, len) == 0;
	bool same_stream = n == len && memcmp(whole, pieces, n) == 0;

	if (!same || !same_stream)
		diag("decoded \"%s\", want \"%.*s\"; the stream %s", whole, (int) expected_len, expected,
		     same_stream ? "agrees" : "differs");
	free(whole);
	free(pieces);
	return same && same_stream;
}

static bool
check_line(const PkTokenizer *tokenizer, char *column[N_COLUMNS])
{
	size_t      number = (size_t) atol(column[1]), len[2];
	const char *ids = strcmp(column[4], "=") == 0 ? plain_ids[number] : column[4];
	char       *decoded[2];
	PkTokens    tokens = {.want_offsets = true};
	PkError     err;

	if (number >= n_texts ||
	    pk_tokenizer_encode(tokenizer, texts[number], lens[number], &tokens, NULL, &err) != PK_OK)
	{
		diag("text %zu: %s", number, err.text);
		return false;
	}
	for (int skip = 0; skip < 2; skip++)
	{
		decoded[skip] = malloc(strlen(column[2 + skip]) + lens[number] + 1);
		from_hex(column[2 + skip], decoded[skip], &len[skip]);
	}
	if (strcmp(column[2], "=") == 0)
		memcpy(decoded[0], texts[number], len[0] = lens[number]);
	if (strcmp(column[3], "=") == 0)
	{
		free(decoded[1]);
		decoded[1] = malloc(len[0] + 1);
		memcpy(decoded[1], decoded[0], len[1] = len[0]);
	}

	bool same = same_ids(&tokens, ids);

	same &= strcmp(column[5], "-") == 0 || same_offsets(&tokens, column[5]);
	same &= same_text(tokenizer, &tokens, false, decoded[0], len[0]);
	same &= same_text(tokenizer, &tokens, true, decoded[1], len[1]);
	if (!same)
		diag("%s, text %zu: \"%.*s\"", column[0], number, (int) lens[number], texts[number]);
	free(decoded[0]);
	free(decoded[1]);
	pk_tokens_free(&tokens);
	return same;
}

int
main(void)
{
	size_t       len, n_lines = 0, n_wrong = 0, size;
	char         current[64] = "";
	char        *all = read_whole(GOLDEN_DIR "golden.tsv", &len);
	void        *blob = NULL;
	PkTokenizer *tokenizer = NULL;

	read_texts();
	for (char *line = all, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
	{
		char *column[N_COLUMNS] = {line};

		*end = '\0';
		for (int i = 1; i < N_COLUMNS; i++)
		{
			column[i] = strchr(column[i - 1], '\t');
			if (column[i] == NULL)
				return 1; /* not our file */
			*column[i]++ = '\0';
		}
		if (strcmp(current, column[0]) != 0)
		{
			PkError err = {0};

			if (current[0] != '\0')
				ok(n_wrong == 0, "%s: %zu texts as Hugging Face has them", current, n_lines);
			pk_tokenizer_close(tokenizer);
			free(blob);
			n_lines = n_wrong = 0;
			snprintf(current, sizeof(current), "%s", column[0]);
			tokenizer = strcmp(current, "polyko-tiny") == 0
			                ? open_tiny(&blob, &size, &err)
			                : open_golden(current, &blob, &size, &err);
			if (!ok(tokenizer != NULL, "%s compiles and opens", current))
			{
				diag("%s", err.text);
				return done_testing();
			}
		}
		if (strcmp(current, "plain") == 0)
			plain_ids[atol(column[1])] = column[4];
		n_lines++;
		n_wrong += !check_line(tokenizer, column);
	}
	ok(n_wrong == 0, "%s: %zu texts as Hugging Face has them", current, n_lines);
	pk_tokenizer_close(tokenizer);
	free(blob);
	free(all);
	for (size_t i = 0; i < n_texts; i++)
		free(texts[i]);
	return done_testing();
}

/*
 * test_encode.c
 *    Encoding beyond the golden lines: broken input, cancel, long words, offsets, the two
 * spellings.
 */
#define _GNU_SOURCE /* clock_gettime */
#include "../tap.h"
#include "golden.h"

#include <limits.h>
#include <time.h>

#include "core/base/utf8.h"

#define LONG_WORD 1000000
#define LETTERS_PER_LOOK 4096
#define LIMIT_S \
	5.0 /* a quadratic merge of a million letters takes hours; this leaves room for sanitizers */

typedef struct Polls
{
	int n, limit;
} Polls;

static bool
count_polls(void *arg)
{
	Polls *polls = arg;

	return ++polls->n > polls->limit;
}

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static bool
encode_is(const PkTokenizer *tokenizer, const char *text, const int32_t *ids, size_t n)
{
	PkTokens tokens = {0};
	PkError  err;
	bool same = pk_tokenizer_encode(tokenizer, text, strlen(text), &tokens, NULL, &err) == PK_OK &&
	            tokens.n == n && memcmp(tokens.ids, ids, n * sizeof(*ids)) == 0;

	pk_tokens_free(&tokens);
	return same;
}

static void
test_spellings(const PkTokenizer *tiny)
{
	void        *blob;
	size_t       size;
	PkError      err;
	json_t      *spec = golden_spec("plain");
	json_t      *token = json_deep_copy(json_array_get(json_object_get(spec, "added_tokens"), 0));
	int32_t      id = (int32_t) json_integer_value(json_object_get(token, "id")) + 1;
	PkTokenizer *both;

	ok(encode_is(tiny, "<|tel|>", (int32_t[]){8001}, 1), "<|tel|> is a token of polyko-tiny");
	ok(encode_is(tiny, "<|tell|>", (int32_t[]){8001}, 1), "<|tell|> is the same one");
	json_object_set_new(token, "content", json_string("<|tell|>"));
	json_object_set_new(token, "id", json_integer(id));
	json_array_append(json_object_get(spec, "added_tokens"), token);
	both = open_spec(spec, &blob, &size, &err);
	ok(encode_is(both, "<|tel|>", &id, 1), "<|tel|> is <|tell|> where the vocabulary has that");
	pk_tokenizer_close(both);
	free(blob);
	json_object_set_new(token, "content", json_string("<|tel|>"));
	json_object_set_new(token, "id", json_integer(id + 1));
	json_array_append_new(json_object_get(spec, "added_tokens"), json_deep_copy(token));
	json_object_set_new(token, "content", json_string("<|tell|>"));
	json_object_set_new(token, "id", json_integer(id));
	both = open_spec(spec, &blob, &size, &err);
	ok(encode_is(both, "<|tel|><|tell|>", (int32_t[]){id + 1, id}, 2),
	   "with both in the vocabulary each keeps its id");
	pk_tokenizer_close(both);
	free(blob);
	json_decref(token);
	json_decref(spec);
}

static void
test_broken(const PkTokenizer *tiny)
{
	static const char *const broken[] = {"\xff", "a\xc0\x80", "\xed\xa0\x80", "ab\xea\xb0",
	                                     "\xf4\x90\x80\x80"};
	PkError                  err = {0};
	PkTokens                 tokens = {0};

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		ok(pk_tokenizer_encode(tiny, broken[i], strlen(broken[i]), &tokens, NULL, &err) ==
		       PK_BAD_TEXT,
		   "broken UTF-8 number %zu is refused", i);
	is_str(err.text, "the text is not UTF-8 at byte 0", "the message names the byte, not the text");
	ok(pk_tokenizer_encode(tiny, "", 0, &tokens, NULL, &err) == PK_OK && tokens.n == 0 &&
	       tokens.ids != NULL,
	   "an empty text has no tokens");
	pk_tokens_free(&tokens);
}

/* Cancel is seen in every phase: nothing but a long word, many words, marks to normalise. */
static void
test_cancel(const PkTokenizer *tiny)
{
	static const char *const units[] = {"a", "a b ", "\xcc\x81\xcc\x96", "\xea\xb0\x80", "<|acc|>"};
	PkError                  err;

	for (size_t k = 0; k < sizeof(units) / sizeof(units[0]); k++)
	{
		size_t   len = strlen(units[k]), total = LONG_WORD / len * len;
		char    *text = malloc(total);
		PkTokens tokens = {0};
		Polls    polls = {0, 10};
		PkCancel cancel = {.poll = count_polls, .poll_arg = &polls};

		for (size_t i = 0; i < total; i += len)
			memcpy(text + i, units[k], len);
		ok(pk_tokenizer_encode(tiny, text, total, &tokens, &cancel, &err) == PK_CANCELLED,
		   "a megabyte of \"%s\" is cancelled at the 11th look", units[k]);
		pk_tokens_free(&tokens);
		free(text);
	}
}

/* The symbols of a long word are walked three times before any are merged: found, linked, and their
 * pairs looked up. Each walk looks at cancel. polyko-tiny has no token of two a, so none is merged;
 * looks elsewhere, at added tokens and the words around, are fewer than those of one walk. */
static void
test_looks(const PkTokenizer *tiny)
{
	char    *text = malloc(LONG_WORD);
	PkTokens tokens = {0};
	Polls    polls = {0, INT_MAX};
	PkCancel cancel = {.poll = count_polls, .poll_arg = &polls};
	PkError  err;
	PkStatus status;

	memset(text, 'a', LONG_WORD);
	status = pk_tokenizer_encode(tiny, text, LONG_WORD, &tokens, &cancel, &err);
	ok(status == PK_OK && polls.n >= 3 * LONG_WORD / LETTERS_PER_LOOK,
	   "a word of a megabyte looks at cancel in each walk over its letters: %d times", polls.n);
	pk_tokens_free(&tokens);
	free(text);
}

/* Words without a break: linear-logarithmic, and the same tokens as the words' parts would say. */
static void
test_long_words(const PkTokenizer *tiny)
{
	static const char *const units[] = {
		"a", "ab", "\xec\x98\x81\xed\x99\x94", " ", "\xcc\x81\xcc\x96", "\xe1\x84\x92\xe1\x85\xa1"};
	PkError err;

	for (size_t k = 0; k < sizeof(units) / sizeof(units[0]); k++)
	{
		size_t   len = strlen(units[k]), total = LONG_WORD / len * len, text_len = 0;
		char    *text = malloc(total), *decoded = NULL;
		PkTokens tokens = {.want_offsets = true};
		double   start = now_s(), took;
		bool     is_done;

		for (size_t i = 0; i < total; i += len)
			memcpy(text + i, units[k], len);
		is_done = pk_tokenizer_encode(tiny, text, total, &tokens, NULL, &err) == PK_OK;
		took = now_s() - start;
		if (!ok(is_done && took < LIMIT_S, "a megabyte of \"%s\" in one word takes below %.0f s",
		        units[k], LIMIT_S))
			diag("%.1f s", took);
		is_done = is_done && pk_tokenizer_decode(tiny, tokens.ids, tokens.n, false, &decoded,
		                                         &text_len, &err) == PK_OK;
		ok(is_done && (k >= 4 || (text_len == total && memcmp(decoded, text, total) == 0)) &&
		       tokens.ends[tokens.n - 1] == total,
		   "and decodes to %s", k < 4 ? "the same text" : "its composed text");
		free(decoded);
		free(text);
		pk_tokens_free(&tokens);
	}
}

static void
test_offsets(const PkTokenizer *tiny)
{
	/* U+D55C as three jamo: bytes 1 to 9 of the text */
	static const char text[] = "x\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab y";
	PkTokens          tokens = {.want_offsets = true}, composed = {0};
	PkError           err;
	size_t            covered = 0;

	ok(pk_tokenizer_encode(tiny, text, sizeof(text) - 1, &tokens, NULL, &err) == PK_OK &&
	       pk_tokenizer_encode(tiny, "x\xed\x95\x9c y", 6, &composed, NULL, &err) == PK_OK &&
	       tokens.n == composed.n &&
	       memcmp(tokens.ids, composed.ids, tokens.n * sizeof(int32_t)) == 0,
	   "decomposed Hangul has the ids of the composed");
	for (size_t i = 0; i < tokens.n; i++)
	{
		if (tokens.starts[i] == 1)
			is_int((long long) tokens.ends[i], 10,
			       "a composed syllable has the bytes of all its jamo");
		covered = tokens.starts[i] <= covered ? tokens.ends[i] : covered;
	}
	is_int((long long) covered, sizeof(text) - 1, "the tokens cover the input");
	pk_tokens_free(&tokens);
	pk_tokens_free(&composed);
	ok(tokens.ids == NULL && tokens.n == 0 && tokens.n_room == 0, "freeing clears");
}

/* A space that add_prefix_space made has the bytes of the character after it. */
static void
test_prefix(void)
{
	void        *blob;
	size_t       size;
	PkError      err;
	PkTokenizer *prefix = open_golden("prefix", &blob, &size, &err);
	PkTokens     tokens = {.want_offsets = true};

	ok(pk_tokenizer_encode(prefix, "\t1", 2, &tokens, NULL, &err) == PK_OK && tokens.n == 3 &&
	       tokens.starts[0] == 0 && tokens.ends[0] == 1,
	   "a prefix space that is a token has the bytes of the tab after it");
	ok(pk_tokenizer_encode(prefix, "\xea\xb0\x80", 3, &tokens, NULL, &err) == PK_OK &&
	       tokens.n > 0 && tokens.starts[0] == 0 && tokens.ends[0] == 3,
	   "or of all of the syllable");
	pk_tokens_free(&tokens);
	pk_tokenizer_close(prefix);
	free(blob);
}

/* One PkTokens for text after text. */
static void
test_reuse(const PkTokenizer *tiny)
{
	PkTokens tokens = {.want_offsets = true};
	PkError  err;
	bool     is_right = true;

	for (int i = 0; i < 100; i++)
	{
		char text[400];
		int  len = snprintf(text, sizeof(text), "%*s %d", i * 3, "영화", i);

		is_right &= pk_tokenizer_encode(tiny, text, (size_t) len, &tokens, NULL, &err) == PK_OK &&
		            tokens.n > 0 && tokens.ends[tokens.n - 1] == (size_t) len;
	}
	ok(is_right, "tokens can be used again");
	pk_tokens_free(&tokens);
}

int
main(void)
{
	void        *blob;
	size_t       size;
	PkError      err;
	PkTokenizer *tiny = open_tiny(&blob, &size, &err);

	test_spellings(tiny);
	test_broken(tiny);
	test_cancel(tiny);
	test_looks(tiny);
	test_long_words(tiny);
	test_offsets(tiny);
	test_prefix();
	test_reuse(tiny);
	pk_tokenizer_close(tiny);
	free(blob);
	return done_testing();
}

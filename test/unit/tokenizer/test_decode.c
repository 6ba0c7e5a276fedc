/*
 * test_decode.c
 *    Bytes that are no UTF-8: the number of replacements is Rust's String::from_utf8_lossy, and a
 *    stream never gives half a character.
 */
#include "../tap.h"
#include "golden.h"

#include "core/base/utf8.h"

#define R "\xef\xbf\xbd"

/* bytes and what from_utf8_lossy makes of them (Unicode 3.9, table 3-8, and byte 0 of ours) */
static const struct
{
	const char *bytes;
	size_t      len;
	const char *text;
} cases[] = {
	{"\xf1\x80\x80\xe1\x80\xc2"
     "b\x80"
     "c\x80\xbf"
     "d",
     12, R R R "b" R "c" R R "d"},
	{"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82"
     "A",
     9, R R R R R R R R "A"},
	{"\xed\xa0\x80\xed\xbf\xbf\xed\xaf"
     "A",
     9, R R R R R R R R "A"},
	{"\xf4\x91\x92\x93\xff"
     "A\x80\xbf"
     "B",
     9, R R R R R "A" R R "B"},
	{"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"
     "A",
     9, R R R R "A"},
	{"\xea\xb0\x80", 3, "\xea\xb0\x80"},
	{"\xea\xb0", 2, R},
	{"\xf0\x9f\x98", 3, R},
	{"\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
	{"\xea\xea\xb0\x80", 4, R "\xea\xb0\x80"},
	{"a\0b", 3, "a" R "b"},
	{"", 0, ""},
};

/* The token of one byte. */
static int32_t
byte_id(const PkTokenizer *tokenizer, char byte)
{
	for (int32_t id = 0; id < (int32_t) pk_tokenizer_n_ids(tokenizer); id++)
	{
		size_t      len;
		const char *bytes = pk_tokenizer_bytes(tokenizer, id, &len);

		if (len == 1 && bytes[0] == byte)
			return id;
	}
	return -1;
}

static void
test_lossy(const PkTokenizer *tokenizer)
{
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
	{
		int32_t        ids[16];
		char          *text = NULL, pieces[256];
		size_t         len = 0, n = 0;
		PkDecodeStream stream;
		PkError        err;
		bool           is_whole = true;

		for (size_t i = 0; i < cases[k].len; i++)
			ids[i] = byte_id(tokenizer, cases[k].bytes[i]);
		ok(pk_tokenizer_decode(tokenizer, ids, cases[k].len, false, &text, &len, &err) == PK_OK &&
		       len == strlen(cases[k].text) && strcmp(text, cases[k].text) == 0,
		   "bytes %zu decode as Rust does", k);
		pk_decode_init(&stream, tokenizer, false);
		for (size_t i = 0; i < cases[k].len; i++)
		{
			size_t n_piece = pk_decode_push(&stream, ids[i], pieces + n);

			is_whole &= pk_utf8_is_valid(pieces + n, n_piece, NULL);
			n += n_piece;
		}
		n += pk_decode_finish(&stream, pieces + n);
		ok(is_whole && n == len && memcmp(pieces, text, n) == 0,
		   "and as a stream of whole characters");
		free(text);
	}
}

static void
test_range(const PkTokenizer *tokenizer)
{
	int32_t bad[] = {17, 8003}, negative[] = {-1};
	char   *text = NULL;
	size_t  len;
	PkError err;

	ok(pk_tokenizer_decode(tokenizer, bad, 2, false, &text, &len, &err) == PK_BAD_ARGUMENT,
	   "an id above the last one is refused");
	is_str(err.text, "token id 8003 is out of range", "the message has the number");
	is_str(err.hint, "The model has the ids 0 to 8002.", "the hint has the range");
	ok(pk_tokenizer_decode(tokenizer, negative, 1, false, &text, &len, &err) == PK_BAD_ARGUMENT,
	   "a negative id is refused");
}

static void
test_special(const PkTokenizer *tokenizer)
{
	/* half a character, a special token, the other half */
	int32_t ids[] = {byte_id(tokenizer, '\xea'), byte_id(tokenizer, '\xb0'), 2,
	                 byte_id(tokenizer, '\x80')};
	char   *text = NULL;
	size_t  len;
	PkError err;

	ok(pk_tokenizer_decode(tokenizer, ids, 4, true, &text, &len, &err) == PK_OK &&
	       strcmp(text, "\xea\xb0\x80") == 0,
	   "a skipped special token does not part a character");
	free(text);
	ok(pk_tokenizer_decode(tokenizer, ids, 4, false, &text, &len, &err) == PK_OK &&
	       strcmp(text, R "<|endoftext|>" R) == 0,
	   "one that is kept does");
	free(text);
}

int
main(void)
{
	void        *blob;
	size_t       size;
	PkError      err;
	PkTokenizer *tiny = open_tiny(&blob, &size, &err);

	test_lossy(tiny);
	test_range(tiny);
	test_special(tiny);
	pk_tokenizer_close(tiny);
	free(blob);
	return done_testing();
}

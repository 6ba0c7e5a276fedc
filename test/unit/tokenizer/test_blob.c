/*
 * test_blob.c
 *    A blob is the same each time, works wherever it lies, and is checked when it is opened.
 */
#include "../tap.h"
#include "golden.h"

#include "core/base/hash.h"
#include "core/tokenizer/blob.h"

/* Of polyko-tiny's tables, on any machine and with any ICU from 70 on. */
#define TINY_HASH "0b116cdb4967c7e15f76601f305e7cad"

static uint64_t random_state = 20240607; /* the seed, printed below */

static uint32_t
next_random(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (random_state >> 33);
}

/* A blob at a new place, PK_ALIGNMENT-aligned. */
static char *
copy_of(const void *blob, size_t size)
{
	char *copy = aligned_alloc(PK_ALIGNMENT, size);

	memcpy(copy, blob, size);
	return copy;
}

static void
test_same(void)
{
	PkError      err;
	void        *blob[2];
	size_t       size[2];
	char         hex[PK_HASH_HEX_LEN + 1];
	PkTokenizer *first = open_tiny(&blob[0], &size[0], &err);
	PkTokenizer *second = open_tiny(&blob[1], &size[1], &err);

	ok(size[0] == size[1] && memcmp(blob[0], blob[1], size[0]) == 0,
	   "compiling twice gives one blob");
	pk_hash_to_hex(pk_hash128(blob[0], size[0]), hex);
	is_str(hex, TINY_HASH, "polyko-tiny has the blob of every machine");
	pk_tokenizer_close(first);
	pk_tokenizer_close(second);
	free(blob[0]);
	free(blob[1]);
}

static void
test_moved(void)
{
	PkError      err;
	void        *blob;
	size_t       size;
	PkTokenizer *here = open_tiny(&blob, &size, &err), *there = NULL;
	char        *copy = copy_of(blob, size);
	PkTokens     tokens = {0};

	pk_tokenizer_close(here);
	memset(blob, 0xee, size);
	free(blob);
	ok(pk_tokenizer_open(copy, size, &there, &err) == PK_OK, "a moved blob opens");
	ok(pk_tokenizer_encode(there, "영화", 6, &tokens, NULL, &err) == PK_OK && tokens.n > 0,
	   "and encodes");
	pk_tokens_free(&tokens);
	pk_tokenizer_close(there);
	free(copy);
}

static void
test_accessors(void)
{
	PkError      err;
	void        *blob;
	size_t       size, len;
	PkTokenizer *tiny = open_tiny(&blob, &size, &err);

	is_int((long long) pk_tokenizer_n_ids(tiny), 8003, "polyko-tiny has 8,003 ids");
	is_int(pk_tokenizer_find(tiny, "<|endoftext|>", 13), 2, "<|endoftext|> is 2");
	is_int(pk_tokenizer_find(tiny, ".", 1), 17, "a full stop is 17");
	is_int(pk_tokenizer_find(tiny, "<|tel|>", 7), 8001, "<|tel|> is 8001");
	is_int(pk_tokenizer_find(tiny, "<|tell|>", 8), 8001, "and so is <|tell|>");
	is_int(pk_tokenizer_find(tiny, "<|tall|>", 8), -1, "another text is unknown");
	ok(pk_tokenizer_is_special(tiny, 8001), "<|tel|> is special");
	ok(!pk_tokenizer_is_special(tiny, 17), "a full stop is not");
	ok(!pk_tokenizer_is_special(tiny, -1) && !pk_tokenizer_is_special(tiny, 8003),
	   "nor are ids out of range");
	ok(memcmp(pk_tokenizer_bytes(tiny, 2, &len), "<|endoftext|>", 13) == 0 && len == 13,
	   "a special token's bytes are its text");
	ok(pk_tokenizer_bytes(tiny, 8003, &len) != NULL && len == 0, "an id out of range has no bytes");
	pk_tokenizer_close(tiny);
	free(blob);
}

static void
refused(const char *name, const void *blob, size_t size)
{
	PkError      err = {0};
	PkTokenizer *tokenizer = NULL;

	ok(pk_tokenizer_open(blob, size, &tokenizer, &err) == PK_BAD_FILE && tokenizer == NULL, "%s",
	   name);
}

static void
test_refused(void)
{
	PkError       err;
	void         *blob;
	size_t        size;
	PkTokenizer  *tokenizer = open_golden("added", &blob, &size, &err);
	PkBlobHeader *header = blob, saved = *header;

	pk_tokenizer_close(tokenizer);
	refused("an empty blob", blob, 0);
	refused("half a header", blob, sizeof(*header) / 2);
	refused("a blob cut short", blob, size - PK_ALIGNMENT);
	header->magic++;
	refused("another format", blob, size);
	*header = saved;
	header->version++;
	refused("another version", blob, size);
	*header = saved;
	header->n_ids++;
	refused("an id too many", blob, size);
	*header = saved;
	header->n_steps = PK_MAX_STEPS + 1;
	refused("too many steps", blob, size);
	*header = saved;
	header->byte_ids[7] = (int32_t) header->n_ids;
	refused("a byte with an unknown id", blob, size);
	*header = saved;
	for (size_t i = 0; i < PK_N_SECTIONS; i++)
	{
		char name[64];

		if (header->sections[i].count == 0)
			continue;
		snprintf(name, sizeof(name), "section %zu beyond the end", i);
		header->sections[i].offset = size;
		refused(name, blob, size);
		*header = saved;
		snprintf(name, sizeof(name), "section %zu with 2^61 items", i);
		header->sections[i].count = UINT64_C(1) << 61;
		refused(name, blob, size);
		*header = saved;
	}
	memset((char *) blob + header->sections[PK_SECTION_MERGE_TABLE].offset, 0,
	       header->sections[PK_SECTION_MERGE_TABLE].count * 8);
	refused("a merge table without a free slot", blob, size);
	free(blob);
}

/* Whatever bytes change: refused, or usable. Sanitizers see a wrong access. */
static void
test_altered(void)
{
	PkError      err;
	void        *blob;
	size_t       size, n_open = 0, n_refused = 0;
	PkTokenizer *tokenizer = open_golden("added", &blob, &size, &err);

	pk_tokenizer_close(tokenizer);
	diag("seed %llu", (unsigned long long) random_state);
	for (int round = 0; round < 2000; round++)
	{
		char    *copy = copy_of(blob, size);
		PkTokens tokens = {.want_offsets = true};
		size_t   span = round % 2 == 0 ? sizeof(PkBlobHeader) : size;

		copy[next_random() % span] = (char) next_random();
		tokenizer = NULL;
		if (pk_tokenizer_open(copy, size, &tokenizer, &err) == PK_OK)
		{
			n_open++;
			(void) pk_tokenizer_encode(tokenizer, "한글 word <s> 12 영화", 23, &tokens, NULL, &err);
		}
		else
			n_refused++;
		pk_tokens_free(&tokens);
		pk_tokenizer_close(tokenizer);
		free(copy);
	}
	ok(n_open > 100 && n_refused > 100, "of 2,000 altered blobs %zu open and %zu are refused",
	   n_open, n_refused);
	free(blob);
}

int
main(void)
{
	test_same();
	test_moved();
	test_accessors();
	test_refused();
	test_altered();
	return done_testing();
}

/*
 * test_match.c
 *    Matching a word gives the tokens that merging gives: with the vocabulary of polyko-tiny, and
 *    with random lists of merges.
 */
#include "../tap.h"
#include "golden.h"

#include "core/base/utf8.h"
#include "core/tokenizer/alphabet.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/match.h"

#define N_VOCABS 300
#define N_WORDS 400
#define MAX_MERGES 120

static uint64_t random_state = 20261123; /* the seed, printed below */

static uint32_t
next_random(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (random_state >> 33) % limit;
}

/* How many of the words that random_word() makes were matched, and how many of them wrongly. */
typedef struct Tally
{
	size_t n_matched, n_wrong;
} Tally;

typedef size_t (*WordFn)(char *out);

static void
compare_word(const PkTokenizer *tokenizer, PkBpe *bpe, const char *word, size_t len, Tally *tally)
{
	PkTokenizer merging = *tokenizer;
	uint32_t    ids[PK_MATCH_BYTES], ends[PK_MATCH_BYTES];
	PkError     err;
	size_t      n = pk_match_word(tokenizer, word, len, ids, ends);

	merging.n_match_nodes = 0;
	if (n == 0)
		return;
	tally->n_matched++;
	if (pk_bpe_word(bpe, &merging, word, len, NULL, &err) != PK_OK || bpe->n != n ||
	    memcmp(bpe->ids, ids, n * sizeof(*ids)) != 0 ||
	    memcmp(bpe->ends, ends, n * sizeof(*ends)) != 0)
		tally->n_wrong++;
}

static void
compare_words(const PkTokenizer *tokenizer, WordFn random_word, size_t n_words, Tally *tally)
{
	PkBpe bpe = {0};
	char  word[PK_MATCH_BYTES];

	for (size_t i = 0; i < n_words; i++)
	{
		size_t len = random_word(word);

		compare_word(tokenizer, &bpe, word, len, tally);
	}
	pk_bpe_free(&bpe);
}

/* Syllables that are frequent, and parts of them. */
static size_t
korean_word(char *out)
{
	static const char text[] =
		" 이 영화는 정말 재미있었습니다 그리고 배우들의 연기가 너무 좋아요ㅋㅋㅋ!!";
	size_t n = 0, limit = 1 + next_random(PK_MATCH_BYTES);

	while (n < limit)
	{
		size_t from = next_random(sizeof(text) - 1), len = 1 + next_random(9);

		while (next_random(4) > 0 && from > 0 && ((uint8_t) text[from] & 0xc0) == 0x80)
			from--;
		for (size_t i = 0; i < len && from + i < sizeof(text) - 1 && n < limit; i++)
			out[n++] = text[from + i];
	}
	return n;
}

static size_t
short_alphabet_word(char *out)
{
	size_t n = 1 + next_random(PK_MATCH_BYTES), n_letters = 1 + next_random(3);

	for (size_t i = 0; i < n; i++)
		out[i] = (char) ('a' + next_random((uint32_t) n_letters));
	return n;
}

static size_t
any_word(char *out)
{
	size_t n = 1 + next_random(PK_MATCH_BYTES);

	for (size_t i = 0; i < n; i++)
		out[i] = (char) next_random(256);
	return n;
}

static void
test_tiny(void)
{
	PkError      err;
	void        *blob;
	size_t       size;
	PkTokenizer *tiny = open_tiny(&blob, &size, &err);
	Tally        tally = {0, 0};
	uint32_t     ids[PK_MATCH_BYTES + 1], ends[PK_MATCH_BYTES + 1];
	char         word[PK_MATCH_BYTES + 1];

	ok(tiny->n_match_nodes > 0, "polyko-tiny has tables for matching");
	compare_words(tiny, korean_word, 20000, &tally);
	compare_words(tiny, short_alphabet_word, 5000, &tally);
	compare_words(tiny, any_word, 5000, &tally);
	is_int((long long) tally.n_matched, 30000, "all words are matched");
	is_int((long long) tally.n_wrong, 0, "and have the tokens that merging gives");
	memset(word, 'a', sizeof(word));
	is_int((long long) pk_match_word(tiny, word, sizeof(word), ids, ends), 0,
	       "a word that is too long is left to merging");
	is_int((long long) pk_match_word(tiny, word, 0, ids, ends), 0, "an empty one, too");
	pk_tokenizer_close(tiny);
	free(blob);
}

/*
 * A byte-level vocabulary with random merges over few letters, so that texts repeat and come about
 * in more than one way. The merges are in the order in which their parts are made, or shuffled.
 */
static json_t *
random_spec(bool is_shuffled)
{
	static char spellings[256 + MAX_MERGES][2 * PK_MATCH_BYTES];
	json_t     *spec = golden_spec("plain"), *model = json_object_get(spec, "model");
	json_t     *vocab = json_object(), *merges = json_array();
	size_t      n_letters = 1 + next_random(3), n_made = n_letters,
		   n_merges = 1 + next_random(MAX_MERGES);

	for (unsigned int byte = 0; byte < 256; byte++)
	{
		char letter[5] = {0};

		pk_utf8_encode(pk_alphabet_letter((uint8_t) byte), letter);
		json_object_set_new(vocab, letter, json_integer((json_int_t) byte));
	}
	for (size_t i = 0; i < n_letters; i++)
		snprintf(spellings[i], sizeof(spellings[i]), "%c", (int) ('a' + i));
	for (size_t i = 0; i < n_merges; i++)
	{
		char left[2 * PK_MATCH_BYTES], right[2 * PK_MATCH_BYTES];

		strcpy(left, spellings[next_random((uint32_t) n_made)]);
		strcpy(right, spellings[next_random((uint32_t) n_made)]);

		if (strlen(left) + strlen(right) > PK_MATCH_BYTES)
			continue;
		strcat(strcpy(spellings[n_made], left), right);
		json_array_append_new(merges, json_pack("[ss]", left, right));
		if (json_object_get(vocab, spellings[n_made]) == NULL)
			json_object_set_new(vocab, spellings[n_made],
			                    json_integer((json_int_t) json_object_size(vocab)));
		n_made++;
	}
	for (size_t i = json_array_size(merges); is_shuffled && i > 1; i--)
	{
		size_t  k = next_random((uint32_t) i);
		json_t *one = json_incref(json_array_get(merges, i - 1));
		json_t *other = json_incref(json_array_get(merges, k));

		json_array_set_new(merges, i - 1, other);
		json_array_set_new(merges, k, one);
	}
	json_object_set_new(model, "vocab", vocab);
	json_object_set_new(model, "merges", merges);
	json_object_set_new(spec, "added_tokens", json_array());
	return spec;
}

static void
test_random_merges(bool is_shuffled)
{
	Tally  tally = {0, 0};
	size_t n_tables = 0, n_opened = 0;

	for (size_t i = 0; i < N_VOCABS; i++)
	{
		PkError      err;
		void        *blob;
		size_t       size;
		json_t      *spec = random_spec(is_shuffled);
		PkTokenizer *tokenizer = open_spec(spec, &blob, &size, &err);

		json_decref(spec);
		if (tokenizer == NULL)
			continue;
		n_opened++;
		n_tables += tokenizer->n_match_nodes > 0;
		compare_words(tokenizer, short_alphabet_word, N_WORDS, &tally);
		pk_tokenizer_close(tokenizer);
		free(blob);
	}
	is_int((long long) n_opened, N_VOCABS,
	       is_shuffled ? "shuffled vocabularies open" : "random vocabularies open");
	ok(n_tables > N_VOCABS / 10, "%zu have tables", n_tables);
	if (is_shuffled)
		ok(n_tables < N_VOCABS, "those whose parts come late have none");
	is_int((long long) tally.n_matched, (long long) (n_tables * N_WORDS),
	       "their words are matched");
	is_int((long long) tally.n_wrong, 0, "and have the tokens that merging gives");
}

int
main(void)
{
	diag("seed %llu", (unsigned long long) random_state);
	test_tiny();
	test_random_merges(false);
	test_random_merges(true);
	return done_testing();
}

/*
 * test_skip.c
 *    Skipping stops where a plain reading of the characters says, whatever the place of a character
 *    in a vector and in the text, and skips no digit.
 */
#include "../tap.h"
#include "core/pii/chars.h"
#include "core/pii/skip.h"

#define N_ROUNDS 20000
#define MAX_PIECES 24
#define MAX_TEXT (MAX_PIECES * 16)
#define MAX_FILL 40

static uint64_t random_state = 20261125; /* the seed, printed below */

static uint32_t
next_random(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (random_state >> 33) % limit;
}

static size_t
random_text(char *out)
{
	static const char *const pieces[] = {
		"가", "영화", "영", "공", "공일", "공1", "영 ", "a",    " ",  "3",  "７", "٣", "۳",    "߃",
		"३",  "๓",    "᧓",  "@",  "…",    "ᄀ",  "韓",  "가나", "으", "힣", "꩑",  "𝟛", "🙂", "꘣"};
	size_t n = 0, n_pieces = next_random(MAX_PIECES);

	for (size_t i = 0; i < n_pieces; i++)
	{
		const char *piece = pieces[next_random(PK_LENGTH(pieces))];

		memcpy(out + n, piece, strlen(piece));
		n += strlen(piece);
	}
	return n;
}

/* A number begins here: a digit, @, or a zero in Hangul that 일 or no Hangul follows. */
static bool
must_stop(const char *text, size_t len, size_t at, bool has_email)
{
	PkPiiChar c = pk_pii_char(text, len, at), next = pk_pii_char(text, len, at + c.n);

	if (c.class == PK_PII_DIGIT || (c.code == '@' && has_email))
		return true;
	return pk_pii_spelled(c.code) == 0 && (next.code < 0xac00 || pk_pii_spelled(next.code) == 1);
}

static void
test_random(void)
{
	char   text[MAX_TEXT];
	size_t n_jumped = 0, n_inside = 0, n_stops = 0;

	for (int round = 0; round < N_ROUNDS; round++)
	{
		size_t len = random_text(text), at = 0;
		bool   has_email = next_random(2) == 1;

		while (at < len)
		{
			size_t stop = pk_pii_skip(text, len, at, len, has_email);

			for (; at < stop && at < len; at += pk_pii_char(text, len, at).n)
				n_jumped += must_stop(text, len, at, has_email);
			n_inside += at != stop;
			n_stops += stop < len;
			at = stop < len ? stop + pk_pii_char(text, len, stop).n : len;
		}
	}
	ok(n_stops > N_ROUNDS, "%zu stops in %d random texts", n_stops, N_ROUNDS);
	is_int((long long) n_jumped, 0, "nothing is jumped over");
	is_int((long long) n_inside, 0, "stops are at whole characters");
}

/* One digit behind n letters and before m. */
static void
test_places(void)
{
	char text[2 * MAX_FILL + 1];
	int  n_wrong = 0;

	for (size_t n = 0; n <= MAX_FILL; n++)
		for (size_t m = 0; m <= MAX_FILL; m++)
		{
			memset(text, 'a', sizeof(text));
			text[n] = '5';
			n_wrong += pk_pii_skip(text, n + 1 + m, 0, n + 1 + m, false) != n;
			n_wrong += pk_pii_skip(text, n + 1 + m, n + 1, n + 1 + m, false) != n + 1 + m;
		}
	is_int(n_wrong, 0, "a digit is seen at each place of a vector and of a text's end");
}

static void
test_short_runs(void)
{
	static const struct
	{
		const char *text;
		size_t      end;
	} cases[] = {{"123456회", 6}, {"1234567회", 0}, {"3회", 1},     {"3", 0},   {"3-4 ", 0},
	             {"3 명도", 1},   {"3. 명", 0},     {"3.명", 1},    {"0명", 0}, {"3x명", 0},
	             {"3a명", 1},     {"12*", 0},       {"12 3456", 0}, {"9!!", 1}};

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
		is_int((long long) pk_pii_short_run(cases[i].text, strlen(cases[i].text), 0),
		       (long long) cases[i].end, cases[i].text);
	is_int((long long) pk_pii_short_run("M123명", 7, 1), 0, "a letter before: M123");
}

int
main(void)
{
	diag("seed %llu", (unsigned long long) random_state);
	test_random();
	test_places();
	test_short_runs();
	return done_testing();
}

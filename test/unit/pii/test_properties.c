/*
 * test_properties.c
 *    What holds for any text: spans are whole characters, in order and apart, and what is redacted
 *    stays as it is when it is redacted again, in each style. Random Unicode with parts of numbers
 *    in it.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/base/utf8.h"
#include "core/pii/pii.h"

#define N_ROUNDS 20000
#define MAX_SHOWN 5
#define MAX_PIECES 40
#define MAX_DIGITS 9
#define MAX_TEXT 2048
#define MAX_OUT (MAX_TEXT * (PK_PII_MAX_MARK + 1))

static uint64_t random_state = 20261124; /* the seed, printed below */

static uint32_t
next_random(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (random_state >> 33) % limit;
}

static size_t
put_random_char(char *out)
{
	static const uint32_t planes[][2] = {{0x20, 0x7f},       {0xa0, 0x800},      {0x1100, 0x1200},
	                                     {0x2000, 0x2100},   {0x3000, 0x3200},   {0xac00, 0xd7a4},
	                                     {0xff00, 0xfff0},   {0x1d7c0, 0x1d800}, {0x1f300, 0x1f700},
	                                     {0x10000, 0x110000}};
	const uint32_t       *plane = planes[next_random(PK_LENGTH(planes))];

	return pk_utf8_encode(plane[0] + next_random(plane[1] - plane[0]), out);
}

static size_t
put_random_digits(char *out)
{
	size_t n = 1 + next_random(MAX_DIGITS);

	for (size_t i = 0; i < n; i++)
		out[i] = (char) ('0' + next_random(10));
	return n;
}

/* Parts of numbers, words and marks, and any characters between. */
static size_t
random_text(char *out)
{
	static const char *const parts[] = {"010",
	                                    "-",
	                                    "1234",
	                                    "5678",
	                                    "880312",
	                                    "-1345678",
	                                    "110-234-567890",
	                                    "신한은행 ",
	                                    "계좌",
	                                    "전화",
	                                    "☎ ",
	                                    "+82 ",
	                                    "(02)",
	                                    "공일공 ",
	                                    "일이삼사 ",
	                                    "오육칠팔",
	                                    "<|tell|>",
	                                    "[전화번호]",
	                                    "010-****-5678",
	                                    "주문번호 ",
	                                    "０１０",
	                                    "－",
	                                    " ",
	                                    "\n",
	                                    ".",
	                                    "1588-1588",
	                                    "901231-1******",
	                                    "a@b.kr",
	                                    "*",
	                                    "M12345678",
	                                    "11-22-333333-44",
	                                    "4539",
	                                    ") ",
	                                    ")",
	                                    "(0)",
	                                    "82",
	                                    " - ",
	                                    "·",
	                                    "***",
	                                    "**",
	                                    "팩스 "};
	size_t                   n = 0;

	for (uint32_t k = 1 + next_random(MAX_PIECES); k > 0; k--)
	{
		const char *part = parts[next_random(PK_LENGTH(parts))];

		uint32_t way = next_random(6);

		if (way < 2)
			n += put_random_char(out + n);
		else if (way == 2)
			n += put_random_digits(out + n);
		else
		{
			memcpy(out + n, part, strlen(part));
			n += strlen(part);
		}
	}
	return n;
}

/* False if a span is not what it should be. */
static bool
redact(const char *text, size_t len, uint32_t kinds, PkPiiStyle style, char *out, size_t *n,
       size_t *n_spans)
{
	PkPiiScan  scan;
	PkPiiMatch match;
	PkError    err;
	size_t     done = 0;
	bool       found;

	*n = *n_spans = 0;
	pk_pii_begin(&scan, text, len, kinds, style, NULL);
	for (;;)
	{
		if (pk_pii_next(&scan, &match, &found, &err) != PK_OK)
			return false;
		if (!found)
			break;
		if (match.start < done || match.end <= match.start || match.end > len ||
		    !pk_utf8_is_valid(text + done, match.start - done, NULL) ||
		    !pk_utf8_is_valid(text + match.start, match.end - match.start, NULL) ||
		    match.confidence <= 0 || match.confidence > 1)
			return false;
		memcpy(out + *n, text + done, match.start - done);
		*n += match.start - done;
		*n += pk_pii_replace(text, &match, style, out + *n);
		done = match.end;
		(*n_spans)++;
	}
	memcpy(out + *n, text + done, len - done);
	*n += len - done;
	return pk_utf8_is_valid(text + done, len - done, NULL);
}

static void
test_kinds(uint32_t kinds, const char *name)
{
	static char text[MAX_TEXT * 4], once[MAX_OUT], twice[MAX_OUT];
	size_t      n_bad = 0, n_changed = 0, n_found = 0;

	for (int round = 0; round < N_ROUNDS; round++)
	{
		size_t len = random_text(text);

		for (int style = 0; style < PK_N_PII_STYLES; style++)
		{
			size_t n, again, n_spans, n_again;

			n_bad += !redact(text, len, kinds, (PkPiiStyle) style, once, &n, &n_spans);
			n_bad += !redact(once, n, kinds, (PkPiiStyle) style, twice, &again, &n_again);
			n_found += n_spans;
			if ((again != n || memcmp(once, twice, n) != 0) && n_changed++ < MAX_SHOWN)
				diag("%.*s | %.*s | %.*s", (int) len, text, (int) n, once, (int) again, twice);
		}
	}
	ok(n_found > N_ROUNDS, "%s: %zu spans in %d random texts, in 3 styles", name, n_found,
	   N_ROUNDS);
	is_int((long long) n_bad, 0, "they are whole characters, in order, apart");
	is_int((long long) n_changed, 0, "redacting again changes nothing");
}

/* Texts that changed twice once: what was left of a number looked like another. */
static void
test_known(void)
{
	static const struct
	{
		const char *text;
		PkPiiStyle  style;
		const char *redacted;
	} known[] = {
		{"전화 2231588 1234", PK_PII_MASK, "전화 ****588 1234"},
		{"전화 (02)3451588 1234", PK_PII_MASK, "전화 (02)****588 1234"},
		{"t.34482620 022526923", PK_PII_MASK, "t.34482620 *****6923"},
		{"9012315251031-공일공84191470", PK_PII_MASK, "9012315******-공일공84191470"},
		{"전화 02-345-(0)1588 1234", PK_PII_MASK, "전화 02-345-(0)****-1234"},
		{"팩스 089)8409)0409)8409 0409", PK_PII_MASK, "팩스 089)8409)0409)****-0409"},
		{"접수 062523 - 0505 6740984", PK_PII_MASK, "접수 ******-0505 6740984"},
		{"계좌 123.456.7771588 1234", PK_PII_MASK, "계좌 ***-***-***1588 1234"},
		{"팩스 54842285 - ***22676567", PK_PII_TOKEN, "팩스 <|tell|> - ***<|tell|>"},
		{"전화 8522510.***57432589", PK_PII_TOKEN, "전화 <|tell|>.***<|tell|>"},
		{"**전화**·**010-1234-5678**", PK_PII_MASK, "**전화**·**010-****-5678**"},
		{"계좌 53058716048 - *-46968246", PK_PII_TOKEN, "계좌 <|acc|> - *-46968246"},
		{"**전화**-010-1234-5678", PK_PII_MASK, "**전화**-010-****-5678"},
		{"김**-공일공일이삼사오육칠팔", PK_PII_TOKEN, "김**-<|tell|>"},
		{"**02-345-6789**·**1588-1234**", PK_PII_MASK, "**02-***-6789**·******-1234**"},
	};

	for (size_t i = 0; i < PK_LENGTH(known); i++)
	{
		char   once[MAX_TEXT], twice[MAX_TEXT];
		size_t n, again, n_spans;

		(void) redact(known[i].text, strlen(known[i].text), PK_PII_DEFAULT, known[i].style, once,
		              &n, &n_spans);
		(void) redact(once, n, PK_PII_DEFAULT, known[i].style, twice, &again, &n_spans);
		once[n] = twice[again] = '\0';
		is_str(once, known[i].redacted, known[i].text);
		is_str(twice, known[i].redacted, "the same when it is redacted again");
	}
}

int
main(void)
{
	diag("seed %llu", (unsigned long long) random_state);
	test_kinds(PK_PII_DEFAULT, "the usual kinds");
	/* an e-mail address may begin in the middle of another number: see doc/architecture.md */
	test_kinds(((1u << PK_N_PII_KINDS) - 1) & ~PK_PII_BIT(PK_PII_EMAIL), "all but e-mail");
	test_known();
	return done_testing();
}

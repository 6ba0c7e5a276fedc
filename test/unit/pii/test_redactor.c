/*
 * test_redactor.c
 *    Output that comes in pieces is redacted as the whole is, and what was settled stays.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/base/utf8.h"
#include "core/pii/redactor.h"

#define MAX_OUT 4096

static uint64_t random_state = 20261123; /* the seed, printed below */

static uint32_t
next_random(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (random_state >> 33) % limit;
}

/* The output in pieces of at most most characters (0: whole); *n_late: characters that waited. */
static size_t
redact(const char *prompt, const char *output, size_t most, char *out, size_t *n_late)
{
	PkRedactor *redactor = NULL;
	PkError     err;
	size_t      len = strlen(output), done = 0, n = 0;
	bool        is_redacted;

	*n_late = 0;
	if (pk_redactor_create(prompt, strlen(prompt), &redactor, &err) != PK_OK)
		return 0;
	for (size_t at = 0, next; at < len || len == 0; at = next)
	{
		next = most == 0 ? len : at;
		for (size_t i = 0, limit = most == 0 ? 0 : 1 + next_random((uint32_t) most);
		     i < limit && next < len; i++)
			next += pk_utf8_char_len(output + next, len - next);
		if (pk_redactor_push(redactor, output + at, next - at, next == len, &err) != PK_OK)
			break;

		size_t settled = pk_redactor_settled(redactor);

		*n_late = next - settled > *n_late ? next - settled : *n_late;
		n += pk_redactor_piece(redactor, done, settled, out + n, &is_redacted);
		done = settled;
		if (len == 0)
			break;
	}
	pk_redactor_free(redactor);
	out[n] = '\0';
	return n;
}

static void
redacts(const char *prompt, const char *output, const char *want, const char *name)
{
	static char out[MAX_OUT];
	size_t      n_late, n_different = 0;

	redact(prompt, output, 0, out, &n_late);
	is_str(out, want, name);
	for (int i = 0; i < 200; i++)
	{
		redact(prompt, output, 1 + (size_t) i % 5, out, &n_late);
		n_different += strcmp(out, want) != 0;
	}
	is_int((long long) n_different, 0, "the same in pieces");
}

/* Pieces of numbers and words in any order. */
static void
test_random(void)
{
	static const char *const parts[] = {
		"010",       "-1234",  "-5678",         " ",        "신한은행 ", "110-", "234-",
		"567890",    "계좌",   "전화 ",         "880312",   "-1345678",  "+82 ", "(02)",
		" 345-6789", "공일공", "일이삼사",      "오육칠팔", "이에요",    "영화", "\n",
		"주문번호 ", "원",     "1588",          "*",        "x",         "O",    ", ",
		"<|tell|>",  ".",      "로 보내 주세요"};
	static char output[MAX_OUT], whole[2 * MAX_OUT], pieces[2 * MAX_OUT];
	size_t      n_different = 0, n_redacted = 0;

	for (int i = 0; i < 3000; i++)
	{
		size_t n_late;

		output[0] = '\0';
		for (size_t k = 1 + next_random(30); k > 0; k--)
			strcat(output, parts[next_random(PK_LENGTH(parts))]);
		redact("안녕하세요. 전화 ", output, 0, whole, &n_late);
		redact("안녕하세요. 전화 ", output, 1 + next_random(6), pieces, &n_late);
		n_redacted += strcmp(whole, output) != 0;
		if (strcmp(whole, pieces) != 0 && n_different++ == 0)
			diag("%s | %s | %s", output, whole, pieces);
	}
	ok(n_redacted > 300, "%zu of 3000 random outputs are redacted", n_redacted);
	is_int((long long) n_different, 0, "in pieces as whole");
}

static void
test_waiting(void)
{
	static char out[MAX_OUT];
	size_t      n_late;

	redact("", "10점 만점에 10점! 2시간이 짧았다. 영화는 2019년작", 1, out, &n_late);
	ok(n_late <= 8, "ordinary numbers don't wait: %zu bytes at most", n_late);
	redact(
		"",
		"010-1234-5678은 제 번호이고 이 문장은 그 뒤로도 스물다섯 자가 넘게 이어지는 문장입니다. 끝",
		1, out, &n_late);
	ok(n_late <= 13 + 25 * 3 + 16, "a number waits for the words after it: %zu bytes at most",
	   n_late);
}

int
main(void)
{
	diag("seed %llu", (unsigned long long) random_state);
	redacts("연락처 알려줘.", "네, 010-1234-5678로 전화 주세요.", "네, <|tell|>로 전화 주세요.",
	        "a phone in the output");
	redacts("제 전화는 010-1234-", "5678입니다", "<|tell|>입니다", "one that begins in the prompt");
	redacts("계좌번호는 ", "11023456789012번", "<|acc|>번", "words of the prompt count");
	redacts("010-1234-5678로 전화해", "알겠습니다.", "알겠습니다.", "the prompt itself does not");
	redacts("", "110-234-567890 신한은행으로", "<|acc|> 신한은행으로", "words that come after");
	redacts("", "(02) 345-6789, +82 10-1234-5678", "<|tell|>, <|tell|>", "signs before the digits");
	redacts("", "", "", "nothing");
	redacts("", "공일공 일이삼사 오육칠팔이에요", "<|tell|>이에요", "spelled");
	test_random();
	test_waiting();
	return done_testing();
}

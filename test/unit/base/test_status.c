/*
 * test_status.c
 *    Errors are filled, hinted, cut and quoted as status.h says.
 */
#include <errno.h>

#include "../tap.h"
#include "core/base/status.h"
#include "core/base/utf8.h"

static void
test_names(void)
{
	bool has_names = true;

	for (int i = 0; i < PK_N_STATUS; i++)
		has_names &= strncmp(pk_status_name((PkStatus) i), "PK_", 3) == 0 &&
		             strcmp(pk_status_name((PkStatus) i), "PK_?") != 0;
	ok(has_names, "each status has a name");
	is_str(pk_status_name(PK_BAD_FILE), "PK_BAD_FILE", "a name is the enum's");
	is_str(pk_status_name(PK_N_STATUS), "PK_?", "a number beyond the last has none");
}

static void
test_fill(void)
{
	PkError err;
	char    long_text[1000];

	memset(&err, 'x', sizeof(err));
	memset(long_text, 'y', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	is_int(pk_error(&err, PK_TOO_LONG, "%d of %d", 3, 2), PK_TOO_LONG,
	       "pk_error returns the status");
	is_int(err.status, PK_TOO_LONG, "and keeps it");
	is_str(err.text, "3 of 2", "with its text");
	is_str(err.hint, "", "and no hint");
	is_int(pk_error_hint(&err, PK_TOO_LONG, "Take %s.", "less"), PK_TOO_LONG,
	       "a hint returns the status");
	is_str(err.hint, "Take less.", "and is kept");
	is_str(err.text, "3 of 2", "beside the text");
	pk_error(&err, PK_IO, "%s", long_text);
	is_int((long long) strlen(err.text), sizeof(err.text) - 1, "a long text is cut");
	is_str(err.hint, "", "a new error forgets the old hint");
	pk_error_hint(&err, PK_IO, "%s", long_text);
	is_int((long long) strlen(err.hint), sizeof(err.hint) - 1, "a long hint is cut");
	is_int(pk_error(NULL, PK_IO, "nobody asks"), PK_IO, "nobody needs to ask for the text");
	is_int(pk_error_hint(NULL, PK_IO, "nobody asks"), PK_IO, "nor for the hint");
	is_int(pk_error_errno(NULL, ENOENT, "nobody asks"), PK_NO_FILE, "nor for errno");
}

static void
test_errno(void)
{
	static const struct
	{
		int      number;
		PkStatus want;
	} cases[] = {{ENOENT, PK_NO_FILE},      {ENOTDIR, PK_NO_FILE}, {EACCES, PK_NO_PERMISSION},
	             {EPERM, PK_NO_PERMISSION}, {ENOSPC, PK_NO_DISK},  {EDQUOT, PK_NO_DISK},
	             {ENOMEM, PK_NO_MEMORY},    {EIO, PK_IO},          {EISDIR, PK_IO}};
	PkError err;
	char    long_text[1000];

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
		is_int(pk_error_errno(&err, cases[i].number, "x"), cases[i].want,
		       strerror(cases[i].number));
	pk_error_errno(&err, ENOENT, "could not open %s", "a");
	is_str(err.text, "could not open a: No such file or directory", "the system's words follow");
	memset(long_text, 'y', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	pk_error_errno(&err, ENOENT, "%s", long_text);
	is_int((long long) strlen(err.text), sizeof(err.text) - 1, "unless there is no room");
}

static void
test_quote(void)
{
	static const char control[] = "a\n\t\x7f\0b";
	char              out[64], exact[9];
	bool              is_whole = true;

	is_str(pk_error_quote(out, sizeof(out), "한국어 abc", strlen("한국어 abc")), "한국어 abc",
	       "plain text is quoted as it is");
	is_str(pk_error_quote(out, sizeof(out), control, sizeof(control) - 1), "a????b",
	       "control bytes become question marks");
	is_str(pk_error_quote(out, sizeof(out), "a\xed\xa0\x80z\xff", 6), "a???z?",
	       "broken UTF-8 becomes question marks");
	is_str(pk_error_quote(out, sizeof(out), "", 0), "", "nothing stays nothing");
	for (size_t size = 4; size < sizeof(out); size++)
	{
		char cut[64];

		memset(cut, 'z', sizeof(cut));
		pk_error_quote(cut, size, "가나다라마바사아자차카타파하가나다라마바사", 63);
		is_whole &= strlen(cut) < size && pk_utf8_is_valid(cut, strlen(cut), NULL) &&
		            strcmp(cut + strlen(cut) - 3, "...") == 0;
		for (size_t i = size; i < sizeof(cut); i++)
			is_whole &= cut[i] == 'z';
	}
	ok(is_whole, "a long text is cut at a character, ends in dots, and nothing beyond is written");
	is_str(pk_error_quote(exact, sizeof(exact), "abcde", 5), "abcde", "what fits is not cut");
}

int
main(void)
{
	test_names();
	test_fill();
	test_errno();
	test_quote();
	return done_testing();
}

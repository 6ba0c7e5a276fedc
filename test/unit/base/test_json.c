/*
 * test_json.c
 *    What is refused, and what the accessors say of each type.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/base/json.h"

static PkJsonDoc *
parse(const char *text, size_t len, PkStatus want, const char *name)
{
	PkJsonDoc *doc = NULL;
	PkError    err = {.text = ""};
	PkStatus   status = pk_json_parse(text, len, "config.json", &doc, &err);

	if (!ok(status == want && (want == PK_OK) == (doc != NULL), "%s", name))
		diag("%s: %s", pk_status_name(status), err.text);
	if (want != PK_OK && strstr(err.text, "config.json") == NULL)
		ok(false, "the error of \"%s\" names the file", name);
	return doc;
}

static void
refuse(const char *text, const char *name)
{
	pk_json_free(parse(text, strlen(text), PK_BAD_FILE, name));
}

static void
test_refused(void)
{
	refuse("", "no text is no JSON");
	refuse("  \n", "nor is white space");
	refuse("{\"a\":1,\"a\":2}", "a key that is there twice");
	refuse("{\"a\":{\"b\":1,\"b\":1}}", "also inside, also with the same value");
	refuse("{\"a\":1,\"\\u0061\":2}", "also when it is written in another way");
	refuse("{} x", "bytes after the end");
	refuse("{}{}", "a second document");
	refuse("{\"a\":1,}", "a comma too many");
	refuse("[1 2]", "a comma too few");
	refuse("{a:1}", "a key without quotes");
	refuse("'a'", "single quotes");
	refuse("[01]", "a leading zero");
	refuse("[+1]", "a plus sign");
	refuse("[.5]", "a number that begins with its point");
	refuse("[NaN]", "NaN");
	refuse("[Infinity]", "Infinity");
	refuse("[1e999]", "a number too large for a double");
	refuse("[9223372036854775808]", "an integer of 64 bits and one more");
	refuse("[-9223372036854775809]", "and its negative");
	refuse("\"\xff\"", "invalid UTF-8");
	refuse("\"\xed\xa0\x80\"", "a surrogate as UTF-8");
	refuse("\"\\ud800\"", "half a surrogate pair");
	refuse("\"a\nb\"", "a control byte in a string");
	refuse("\"abc", "a string without an end");
	refuse("\"abc\\", "nor after a backslash");
	refuse("{\"a\\u0000b\":1}", "NUL in a key");
	pk_json_free(parse("{}\0", 3, PK_BAD_FILE, "NUL after the end"));
	pk_json_free(parse("[\0]", 3, PK_BAD_FILE, "NUL between"));
}

static void
repeat(size_t n, const char *unit, const char *tail, PkStatus want, const char *name)
{
	size_t unit_len = strlen(unit), len = n * unit_len + strlen(tail);
	char  *text = malloc(len + 1);

	for (size_t i = 0; i < n; i++)
		memcpy(text + i * unit_len, unit, unit_len);
	memcpy(text + n * unit_len, tail, strlen(tail) + 1);
	pk_json_free(parse(text, len, want, name));
	free(text);
}

static void
test_bombs(void)
{
	repeat(1000000, "[", "", PK_BAD_FILE, "a million open brackets");
	repeat(5000, "{\"a\":", "", PK_BAD_FILE, "5,000 objects inside each other");
	repeat(3000000, "[", "", PK_BAD_FILE, "three million brackets are not even read");
	repeat(5000000, ",", "", PK_BAD_FILE, "nor five million commas");
	repeat(1, "[\"", "[[[[,,,,\\\"[[,\"]", PK_OK, "brackets and commas of a string are text");

	size_t n = 2100000;
	char  *text = malloc(n + 3);

	memset(text, '[', n + 3);
	text[0] = '"', text[n + 1] = '"';
	pk_json_free(parse(text, n + 2, PK_OK, "however many"));
	free(text);
}

static const char mixed[] =
	"{\"i\":-9223372036854775808,\"big\":9223372036854775807,\"r\":1.5,\"t\":true,\"f\":false,"
	"\"n\":null,\"s\":\"a\\u0000b\",\"k\":\"\\ud55c\",\"a\":[1,2.0,\"x\"],\"o\":{\"z\":1,\"b\":2},"
	"\"e\":[]}";

static void
test_types(const PkJson *root)
{
	static const struct
	{
		const char *key;
		PkJsonType  want;
	} types[] = {{"i", PK_JSON_INT},   {"r", PK_JSON_REAL},   {"t", PK_JSON_BOOL},
	             {"f", PK_JSON_BOOL},  {"n", PK_JSON_NULL},   {"s", PK_JSON_STRING},
	             {"a", PK_JSON_ARRAY}, {"o", PK_JSON_OBJECT}, {"none", PK_JSON_MISSING}};

	for (size_t i = 0; i < PK_LENGTH(types); i++)
		ok(pk_json_type(pk_json_get(root, types[i].key)) == types[i].want, "type of \"%s\"",
		   types[i].key);
}

static void
test_values(const PkJson *root)
{
	int64_t i = 0;
	double  r = 0;
	bool    b = false;
	size_t  len = 0;

	ok(pk_json_int(pk_json_get(root, "i"), &i) && i == INT64_MIN, "the least integer");
	ok(pk_json_int(pk_json_get(root, "big"), &i) && i == INT64_MAX, "the greatest integer");
	ok(pk_json_real(pk_json_get(root, "r"), &r) && r == 1.5, "a real");
	ok(pk_json_real(pk_json_at(pk_json_get(root, "a"), 0), &r) && r == 1, "an integer as a real");
	ok(!pk_json_int(pk_json_at(pk_json_get(root, "a"), 1), &i), "2.0 is no integer");
	ok(pk_json_bool(pk_json_get(root, "t"), &b) && b, "true");
	ok(pk_json_bool(pk_json_get(root, "f"), &b) && !b, "false");

	const char *s = pk_json_string(pk_json_get(root, "s"), &len);

	ok(s != NULL && len == 3 && memcmp(s, "a\0b", 4) == 0, "a string may hold NUL");
	ok(!pk_json_string_is(pk_json_get(root, "s"), "a"), "and is not its first part");
	ok(pk_json_string_is(pk_json_get(root, "k"), "한"), "an escape is UTF-8");
	ok(pk_json_string(pk_json_get(root, "k"), NULL) != NULL, "nobody needs to ask for the length");
	is_int((long long) pk_json_size(pk_json_get(root, "a")), 3, "items of an array");
	is_int((long long) pk_json_size(pk_json_get(root, "o")), 2, "keys of an object");
	is_int((long long) pk_json_size(pk_json_get(root, "e")), 0, "an empty array");
	ok(pk_json_at(pk_json_get(root, "a"), 3) == NULL, "nothing lies beyond the end");
	ok(pk_json_at(pk_json_get(root, "a"), SIZE_MAX) == NULL, "however far");
}

static void
test_order(const PkJson *root)
{
	char   keys[64] = "";
	size_t len;

	for (const PkJsonMember *it = pk_json_first(root); it != NULL; it = pk_json_next(root, it))
	{
		strcat(keys, pk_json_member_key(it, &len));
		strcat(keys, pk_json_member_value(it) == pk_json_get(root, pk_json_member_key(it, NULL))
		                 ? " "
		                 : "? ");
	}
	is_str(keys, "i big r t f n s k a o e ", "members come in the order of the file");
}

/* Every accessor on every type that is not its own, and on NULL. */
static void
test_wrong_types(const PkJson *root)
{
	static const char *const keys[] = {"i", "r", "t", "n", "s", "a", "o", "none"};
	bool                     is_no = true;

	for (size_t k = 0; k < PK_LENGTH(keys); k++)
	{
		const PkJson *node = pk_json_get(root, keys[k]);
		PkJsonType    type = pk_json_type(node);
		int64_t       i = 77;
		double        r = 77;
		bool          b = true;
		size_t        len = 77;

		if (type != PK_JSON_INT)
			is_no &= !pk_json_int(node, &i) && i == 77;
		if (type != PK_JSON_INT && type != PK_JSON_REAL)
			is_no &= !pk_json_real(node, &r) && r == 77;
		if (type != PK_JSON_BOOL)
			is_no &= !pk_json_bool(node, &b) && b;
		if (type != PK_JSON_STRING)
			is_no &= pk_json_string(node, &len) == NULL && len == 77 &&
			         !pk_json_string_is(node, "") && !pk_json_string_is(node, "true");
		if (type != PK_JSON_ARRAY)
			is_no &= pk_json_at(node, 0) == NULL;
		if (type != PK_JSON_OBJECT)
			is_no &= pk_json_get(node, "z") == NULL && pk_json_first(node) == NULL;
		if (type != PK_JSON_ARRAY && type != PK_JSON_OBJECT)
			is_no &= pk_json_size(node) == 0;
	}
	ok(is_no, "each accessor says no to other types and to nothing, and writes nothing");
}

int
main(void)
{
	PkJsonDoc *doc = parse(mixed, strlen(mixed), PK_OK, "an object of all types");

	if (doc != NULL)
	{
		test_types(pk_json_root(doc));
		test_values(pk_json_root(doc));
		test_order(pk_json_root(doc));
		test_wrong_types(pk_json_root(doc));
	}
	pk_json_free(doc);
	pk_json_free(NULL);
	doc = parse("3", 1, PK_OK, "a number alone is a document");
	ok(doc != NULL && pk_json_type(pk_json_root(doc)) == PK_JSON_INT, "of its type");
	pk_json_free(doc);
	test_refused();
	test_bombs();
	return done_testing();
}

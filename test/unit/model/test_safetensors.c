/*
 * test_safetensors.c
 *    Headers of safetensors files, good and broken.
 */
#include "maker.h"

#include "core/model/safetensors.h"

#define N_DATA 64 /* bytes after the header, unless a case says otherwise */
#define ENTRY(name, dtype, shape, begin, end)                                                    \
	"\"" name "\": {\"dtype\": \"" dtype "\", \"shape\": [" shape "], \"data_offsets\": [" begin \
	", " end "]}"

static PkStatus
parse(const char *json, size_t n_data, PkTensorList *list, PkError *err)
{
	memset(list, 0, sizeof(*list));
	memset(err, 0, sizeof(*err));
	return pk_safetensors_parse(json, strlen(json), 8 + strlen(json) + n_data, 3, "a.safetensors",
	                            list, err);
}

static void
test_good(void)
{
	static const char both[] = "{\"__metadata__\": {\"format\": \"pt\"}, " ENTRY(
		"b", "BF16", "2, 6", "40", "64") ", " ENTRY("a", "F32", "10", "0", "40") "}   ";
	PkTensorList list;
	PkError      err;
	char         text[40];

	ok(parse(both, N_DATA, &list, &err) == PK_OK && list.n == 2, "two tensors are read");
	ok(strcmp(list.items[0].name, "a") == 0 && strcmp(list.items[1].name, "b") == 0,
	   "they come in the order of their data");
	ok(list.items[0].dtype == PK_DTYPE_F32 && list.items[1].dtype == PK_DTYPE_BF16 &&
	       list.items[1].n_dims == 2 && list.items[1].shape[1] == 6,
	   "with dtype and shape");
	ok(list.items[0].begin == 8 + strlen(both) && list.items[1].end == 8 + strlen(both) + N_DATA &&
	       list.items[0].file == 3,
	   "and their places in the file");
	is_str(pk_tensor_shape_text(&list.items[1], text, sizeof(text)), "(2, 6)", "a shape is text");
	pk_tensor_list_free(&list);
	ok(parse("{\"__metadata__\": {}}", 0, &list, &err) == PK_OK && list.n == 0,
	   "a file without tensors is read");
	pk_tensor_list_free(&list);
	ok(parse("{" ENTRY("s", "F32", "", "0", "4") ", " ENTRY("z", "F16", "0, 5", "4", "4") "}", 4,
	         &list, &err) == PK_OK &&
	       list.n == 2,
	   "a scalar and an empty tensor are read");
	pk_tensor_list_free(&list);
}

static void
test_broken(void)
{
	static const struct
	{
		const char *json;
		size_t      n_data;
		const char *culprit;
		const char *name;
	} cases[] = {
		{"[1]", 0, "not a JSON object", "a list is no header"},
		{"{\"a\": 1", 0, "not valid JSON", "a header cut short"},
		{"", 0, "not valid JSON", "an empty header"},
		{"{\"a\": 1}", 0, "tensor a", "an entry that is no object"},
		{"{" ENTRY("a", "F32", "10", "0", "40") ", " ENTRY("a", "F32", "6", "40", "64") "}", 64,
	     "duplicate", "a name that stands twice"},
		{"{" ENTRY("a", "F12", "10", "0", "40") "}", 40, "F12", "an unknown dtype"},
		{"{\"a\": {\"shape\": [1], \"data_offsets\": [0, 4]}}", 4, "no dtype", "no dtype"},
		{"{\"a\": {\"dtype\": \"F32\", \"data_offsets\": [0, 4]}}", 4, "no shape", "no shape"},
		{"{\"a\": {\"dtype\": \"F32\", \"shape\": [1]}}", 4, "no data_offsets", "no data_offsets"},
		{"{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4, 8]}}", 4,
	     "no data_offsets", "three data_offsets"},
		{"{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4.0]}}", 4,
	     "no data_offsets", "an offset that is no integer"},
		{"{" ENTRY("a", "F32", "1,1,1,1,1,1,1,1,1", "0", "4") "}", 4, "no shape",
	     "nine dimensions"},
		{"{" ENTRY("a", "F32", "-1", "0", "4") "}", 4, "dimension 1", "a negative dimension"},
		{"{" ENTRY("a", "F32", "1, \"2\"", "0", "4") "}", 4, "dimension 2",
	     "a dimension in quotes"},
		{"{" ENTRY("a", "F32", "4294967296, 4294967296, 4", "0", "64") "}", 64, "dimension 2",
	     "dimensions whose product overflows"},
		{"{" ENTRY("a", "F32", "4611686018427387904", "0", "0") "}", 0, "which is not its shape",
	     "a size in bytes that overflows"},
		{"{" ENTRY("a", "F32", "10", "0", "36") "}", 36, "36 bytes",
	     "bytes that are not the shape's"},
		{"{" ENTRY("a", "F4", "3", "0", "1") "}", 1, "which is not its shape", "half a byte"},
		{"{" ENTRY("a", "F32", "16", "4", "0") "}", 64, "from 4 to 0", "an end before its begin"},
		{"{" ENTRY("a", "F32", "1", "-4", "0") "}", 64, "from -4", "a negative offset"},
		{"{" ENTRY("a", "F32", "16", "0", "64") "}", 60, "only 60 bytes", "a file cut short"},
		{"{" ENTRY("a", "F32", "16", "0", "9223372036854775807") "}", 64, "only 64 bytes",
	     "an offset far outside"},
		{"{" ENTRY("a", "F32", "10", "0", "40") ", " ENTRY("b", "F32", "10", "24", "64") "}", 64,
	     "overlapping", "two tensors that overlap"},
		{"{" ENTRY("a", "F32", "4", "0", "16") ", " ENTRY("b", "F32", "10", "24", "64") "}", 64,
	     "hole", "a hole between tensors"},
		{"{" ENTRY("a", "F32", "15", "4", "64") "}", 64, "hole", "a hole before the first"},
		{"{" ENTRY("a", "F32", "15", "0", "60") "}", 64, "has", "bytes after the last"},
	};

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
	{
		PkTensorList list;
		PkError      err;

		refused(parse(cases[i].json, cases[i].n_data, &list, &err), &err, PK_BAD_FILE,
		        cases[i].culprit, cases[i].name);
		pk_tensor_list_free(&list);
	}
}

static void
test_header_len(void)
{
	static const struct
	{
		unsigned char prefix[8];
		uint64_t      file_size;
		const char   *culprit; /* NULL: good */
		const char   *name;
	} cases[] = {
		{{2}, 10, NULL, "a header that ends with the file is accepted"},
		{{3}, 10, "header of 3 bytes", "one that ends after it is refused"},
		{{0}, 7, "only 7 bytes", "a file of 7 bytes is refused"},
		{{0, 0xe1, 0xf5, 0x05}, UINT64_MAX, NULL, "a header of 100 MB is accepted"},
		{{1, 0xe1, 0xf5, 0x05}, UINT64_MAX, "at most 100000000", "a longer one is refused"},
		{{255, 255, 255, 255, 255, 255, 255, 255},
	     UINT64_MAX,
	     "18446744073709551615",
	     "the largest number is refused"},
	};

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
	{
		PkError  err = {0};
		size_t   len = 0;
		PkStatus status =
			pk_safetensors_header_len(cases[i].prefix, cases[i].file_size, "a", &len, &err);

		if (cases[i].culprit == NULL)
			ok(status == PK_OK, "%s", cases[i].name);
		else
			refused(status, &err, PK_BAD_FILE, cases[i].culprit, cases[i].name);
	}
}

/* Names come from outside: they must not break a message or a log line. */
static void
test_names(void)
{
	PkTensorList list;
	PkError      err;

	refused(parse("{\"a\\n\\u001b[31m\": 1}", 0, &list, &err), &err, PK_BAD_FILE, "tensor a??[31m",
	        "control characters of a name are not in the message");
	pk_tensor_list_free(&list);
}

int
main(void)
{
	test_good();
	test_broken();
	test_header_len();
	test_names();
	return done_testing();
}

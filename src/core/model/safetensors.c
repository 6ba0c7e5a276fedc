/*
 * safetensors.c
 *    Reading a header that may be anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/json.h"
#include "core/model/safetensors.h"

typedef struct DtypeInfo
{
	const char *name;
	uint32_t    bits;
	PkDtype     dtype;
} DtypeInfo;

/* All of the format; those that are PK_DTYPE_OTHER occur in buffers that are skipped. */
static const DtypeInfo dtypes[] = {
	{"F16", 16, PK_DTYPE_F16},      {"BF16", 16, PK_DTYPE_BF16},    {"F32", 32, PK_DTYPE_F32},
	{"BOOL", 8, PK_DTYPE_OTHER},    {"U8", 8, PK_DTYPE_OTHER},      {"I8", 8, PK_DTYPE_OTHER},
	{"I16", 16, PK_DTYPE_OTHER},    {"U16", 16, PK_DTYPE_OTHER},    {"I32", 32, PK_DTYPE_OTHER},
	{"U32", 32, PK_DTYPE_OTHER},    {"I64", 64, PK_DTYPE_OTHER},    {"U64", 64, PK_DTYPE_OTHER},
	{"F64", 64, PK_DTYPE_OTHER},    {"C64", 64, PK_DTYPE_OTHER},    {"F4", 4, PK_DTYPE_OTHER},
	{"F6_E2M3", 6, PK_DTYPE_OTHER}, {"F6_E3M2", 6, PK_DTYPE_OTHER}, {"F8_E5M2", 8, PK_DTYPE_OTHER},
	{"F8_E4M3", 8, PK_DTYPE_OTHER}, {"F8_E8M0", 8, PK_DTYPE_OTHER},
};

/* What messages about one tensor name. */
typedef struct Place
{
	const char *file;
	char        name[120];
	uint64_t    data_begin; /* of the file's data section */
	uint64_t    file_size;
} Place;

static PkStatus parse_tensors(const PkJson *root, Place *place, uint32_t file_index,
                              PkTensorList *list, PkError *err);
static PkStatus append_tensor(const char *name, const PkJson *entry, const Place *place,
                              uint32_t file_index, PkTensorList *list, PkError *err);
static PkStatus parse_tensor(const PkJson *entry, const Place *place, PkTensor *out, PkError *err);
static PkStatus parse_dtype(const PkJson *entry, const Place *place, PkTensor *out, uint32_t *bits,
                            PkError *err);
static PkStatus parse_shape(const PkJson *entry, const Place *place, PkTensor *out,
                            uint64_t *n_items, PkError *err);
static PkStatus parse_offsets(const PkJson *entry, const Place *place, PkTensor *out, PkError *err);
static PkStatus check_coverage(PkTensorList *list, size_t first, const Place *place, PkError *err);
static int      compare_begin(const void *a, const void *b);

PkStatus
pk_safetensors_header_len(const unsigned char prefix[PK_SAFETENSORS_PREFIX], uint64_t file_size,
                          const char *file, size_t *len, PkError *err)
{
	static const unsigned char zip[] = {'P', 'K', 3, 4};
	uint64_t                   n = 0;

	if (memcmp(prefix, zip, sizeof(zip)) == 0)
	{
		pk_error(err, PK_BAD_FILE, "%s is a PyTorch file, not safetensors", file);
		return pk_error_hint(err, PK_BAD_FILE, PK_HINT_PYTORCH);
	}
	for (int i = PK_SAFETENSORS_PREFIX - 1; i >= 0; i--)
		n = n << 8 | prefix[i];
	if (n > PK_SAFETENSORS_HEADER_MAX)
	{
		pk_error(err, PK_BAD_FILE, "%s has a header of %llu bytes, at most %llu are allowed", file,
		         (unsigned long long) n, (unsigned long long) PK_SAFETENSORS_HEADER_MAX);
		return pk_error_hint(err, PK_BAD_FILE, PK_HINT_DAMAGED);
	}
	if (file_size < PK_SAFETENSORS_PREFIX || n > file_size - PK_SAFETENSORS_PREFIX)
	{
		pk_error(err, PK_BAD_FILE, "%s has a header of %llu bytes, but only %llu bytes in all",
		         file, (unsigned long long) n, (unsigned long long) file_size);
		return pk_error_hint(err, PK_BAD_FILE, PK_HINT_DAMAGED);
	}
	*len = (size_t) n;
	return PK_OK;
}

PkStatus
pk_safetensors_parse(const char *json, size_t len, uint64_t file_size, uint32_t file_index,
                     const char *file, PkTensorList *list, PkError *err)
{
	Place      place = {.file = file, .data_begin = PK_SAFETENSORS_PREFIX + (uint64_t) len};
	PkJsonDoc *doc;
	char       what[300];

	place.file_size = file_size;
	snprintf(what, sizeof(what), "the header of %s", file);

	size_t   n_before = list->n;
	PkStatus status = pk_json_parse(json, len, what, &doc, err);

	if (status == PK_BAD_FILE) /* such as a download whose room was only reserved: zeros */
		pk_error_hint(err, status, PK_HINT_DAMAGED);
	PK_FORWARD(status);
	status = parse_tensors(pk_json_root(doc), &place, file_index, list, err);

	pk_json_free(doc);
	if (status != PK_OK)
		return status;
	return check_coverage(list, n_before, &place, err);
}

static PkStatus
parse_tensors(const PkJson *root, Place *place, uint32_t file_index, PkTensorList *list,
              PkError *err)
{
	if (pk_json_type(root) != PK_JSON_OBJECT)
		return pk_error(err, PK_BAD_FILE, "the header of %s is not a JSON object", place->file);
	for (const PkJsonMember *it = pk_json_first(root); it != NULL; it = pk_json_next(root, it))
	{
		size_t      len;
		const char *name = pk_json_member_key(it, &len);

		if (strcmp(name, "__metadata__") == 0)
			continue;
		pk_error_quote(place->name, sizeof(place->name), name, len);
		if (list->n >= PK_TENSORS_MAX)
			return pk_error(err, PK_BAD_FILE, "%s has more than %d tensors", place->file,
			                PK_TENSORS_MAX);
		PK_FORWARD(append_tensor(name, pk_json_member_value(it), place, file_index, list, err));
	}
	return PK_OK;
}

static PkStatus
append_tensor(const char *name, const PkJson *entry, const Place *place, uint32_t file_index,
              PkTensorList *list, PkError *err)
{
	PkTensor tensor = {.file = file_index, .file_name = place->file};

	PK_FORWARD(parse_tensor(entry, place, &tensor, err));

	void    *items = list->items;
	PkStatus status = pk_grow(&items, &list->n_room, list->n + 1, sizeof(PkTensor), err);

	list->items = items;
	if (status != PK_OK)
		return status;

	void *copy;

	PK_FORWARD(pk_calloc(strlen(name) + 1, 1, &copy, err));
	tensor.name = memcpy(copy, name, strlen(name) + 1);
	list->items[list->n++] = tensor;
	return PK_OK;
}

static PkStatus
parse_tensor(const PkJson *entry, const Place *place, PkTensor *out, PkError *err)
{
	uint32_t bits_per_item = 0;
	uint64_t n_items = 0, bits;

	if (pk_json_type(entry) != PK_JSON_OBJECT)
		return pk_error(err, PK_BAD_FILE, "tensor %s in %s is not described by a JSON object",
		                place->name, place->file);
	PK_FORWARD(parse_dtype(entry, place, out, &bits_per_item, err));
	PK_FORWARD(parse_shape(entry, place, out, &n_items, err));
	PK_FORWARD(parse_offsets(entry, place, out, err));
	if (__builtin_mul_overflow(n_items, (uint64_t) bits_per_item, &bits) || bits % 8 != 0 ||
	    bits / 8 != out->end - out->begin)
	{
		char shape[120];

		return pk_error(err, PK_BAD_FILE,
		                "tensor %s in %s has %llu bytes, which is not its shape %s in %s",
		                place->name, place->file, (unsigned long long) (out->end - out->begin),
		                pk_tensor_shape_text(out, shape, sizeof(shape)), out->dtype_name);
	}
	return PK_OK;
}

static PkStatus
parse_dtype(const PkJson *entry, const Place *place, PkTensor *out, uint32_t *bits, PkError *err)
{
	const PkJson *node = pk_json_get(entry, "dtype");

	for (size_t i = 0; i < PK_LENGTH(dtypes); i++)
	{
		if (pk_json_string_is(node, dtypes[i].name))
		{
			out->dtype = dtypes[i].dtype;
			*bits = dtypes[i].bits;
			snprintf(out->dtype_name, sizeof(out->dtype_name), "%s", dtypes[i].name);
			return PK_OK;
		}
	}

	char        quoted[60];
	size_t      len = 0;
	const char *name = pk_json_string(node, &len);

	if (name == NULL)
		return pk_error(err, PK_BAD_FILE, "tensor %s in %s has no dtype", place->name, place->file);
	return pk_error(err, PK_BAD_FILE, "tensor %s in %s has an unknown dtype \"%s\"", place->name,
	                place->file, pk_error_quote(quoted, sizeof(quoted), name, len));
}

static PkStatus
parse_shape(const PkJson *entry, const Place *place, PkTensor *out, uint64_t *n_items, PkError *err)
{
	const PkJson *shape = pk_json_get(entry, "shape");

	if (pk_json_type(shape) != PK_JSON_ARRAY || pk_json_size(shape) > PK_TENSOR_DIMS_MAX)
		return pk_error(err, PK_BAD_FILE, "tensor %s in %s has no shape of at most %d dimensions",
		                place->name, place->file, PK_TENSOR_DIMS_MAX);
	out->n_dims = (uint32_t) pk_json_size(shape);
	*n_items = 1;
	for (uint32_t i = 0; i < out->n_dims; i++)
	{
		int64_t n;

		if (!pk_json_int(pk_json_at(shape, i), &n) || n < 0 ||
		    __builtin_mul_overflow(*n_items, (uint64_t) n, n_items))
			return pk_error(err, PK_BAD_FILE, "dimension %u of tensor %s in %s is out of range",
			                i + 1, place->name, place->file);
		out->shape[i] = (uint64_t) n;
	}
	return PK_OK;
}

static PkStatus
parse_offsets(const PkJson *entry, const Place *place, PkTensor *out, PkError *err)
{
	const PkJson *offsets = pk_json_get(entry, "data_offsets");
	uint64_t      n_data = place->file_size - place->data_begin;
	int64_t       begin, end;

	if (pk_json_size(offsets) != 2 || !pk_json_int(pk_json_at(offsets, 0), &begin) ||
	    !pk_json_int(pk_json_at(offsets, 1), &end))
		return pk_error(err, PK_BAD_FILE, "tensor %s in %s has no data_offsets", place->name,
		                place->file);
	if (begin < 0 || end < begin)
		return pk_error(err, PK_BAD_FILE, "tensor %s in %s has data_offsets from %lld to %lld",
		                place->name, place->file, (long long) begin, (long long) end);
	if ((uint64_t) end > n_data)
	{
		pk_error(err, PK_BAD_FILE,
		         "tensor %s ends at byte %llu of the data of %s, which has only %llu bytes",
		         place->name, (unsigned long long) end, place->file, (unsigned long long) n_data);
		return pk_error_hint(err, PK_BAD_FILE, PK_HINT_DAMAGED);
	}
	out->begin = place->data_begin + (uint64_t) begin;
	out->end = place->data_begin + (uint64_t) end;
	return PK_OK;
}

/*
 * Tensors of one file, those of list from first on, cover its data: no overlap, no hole. Leaves
 * them sorted by place.
 */
static PkStatus
check_coverage(PkTensorList *list, size_t first, const Place *place, PkError *err)
{
	uint64_t at = place->data_begin;
	char     name[120];

	if (list->n > first)
		qsort(list->items + first, list->n - first, sizeof(PkTensor), compare_begin);
	for (size_t i = first; i < list->n; i++)
	{
		const PkTensor *tensor = &list->items[i];

		pk_error_quote(name, sizeof(name), tensor->name, strlen(tensor->name));
		if (tensor->begin != at)
			return pk_error(err, PK_BAD_FILE, "tensor %s in %s begins at byte %llu, %s byte %llu",
			                name, place->file, (unsigned long long) tensor->begin,
			                tensor->begin < at ? "overlapping the one that ends at"
			                                   : "leaving a hole after",
			                (unsigned long long) at);
		at = tensor->end;
	}
	if (at != place->file_size)
		return pk_error(err, PK_BAD_FILE,
		                "the tensors of %s end at byte %llu, but it has %llu bytes", place->file,
		                (unsigned long long) at, (unsigned long long) place->file_size);
	return PK_OK;
}

static int
compare_begin(const void *a, const void *b)
{
	const PkTensor *left = a, *right = b;

	if (left->begin != right->begin)
		return left->begin < right->begin ? -1 : 1;
	if (left->end != right->end)
		return left->end < right->end ? -1 : 1;
	return strcmp(left->name, right->name);
}

void
pk_tensor_list_free(PkTensorList *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i].name);
	free(list->items);
	memset(list, 0, sizeof(*list));
}

size_t
pk_dtype_size(PkDtype dtype)
{
	return dtype == PK_DTYPE_F32 ? 4 : 2;
}

const char *
pk_tensor_shape_text(const PkTensor *tensor, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < tensor->n_dims && len < size; i++)
	{
		int n = snprintf(out + len, size - len, "%s%llu", i == 0 ? "(" : ", ",
		                 (unsigned long long) tensor->shape[i]);

		len += n > 0 ? (size_t) n : 0;
	}
	if (len + 1 < size)
		snprintf(out + len, size - len, "%s", tensor->n_dims == 0 ? "()" : ")");
	return out;
}

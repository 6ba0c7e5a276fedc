/*
 * json.c
 *    jansson behind opaque nodes.
 *
 * jansson's own depth limit (2,048 levels) bounds recursion. Callers limit the size of a text, but
 * three bytes of it ("{},") cost some 250 bytes of nodes, so their number is limited too, before
 * jansson sees the text.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/json.h"

/* More than the tokenizer.json of any published model has (about half a million merges as pairs).
 */
#define CONTAINERS_MAX ((size_t) 1 << 20)
#define ITEMS_MAX ((size_t) 1 << 22)
/* Of a text that is read without looking at cancel: a header of 16,384 tensors, and not more than
 * some 50 ms of work. */
#define SHORT_CONTAINERS_MAX ((size_t) 1 << 16)
#define SHORT_ITEMS_MAX ((size_t) 1 << 17)

struct PkJsonDoc
{
	json_t *root;
};

/* What is left of a text. */
typedef struct Reading
{
	const char *text;
	size_t      len;
	PkCancel   *cancel;
} Reading;

static size_t   read_more(void *buffer, size_t room, void *arg);
static bool     is_bomb(const char *text, size_t len, bool is_short);
static PkStatus parse(const char *text, size_t len, const char *what, bool is_short,
                      PkCancel *cancel, PkJsonDoc **out, PkError *err);

static json_t *
as_json(const PkJson *node)
{
	return (json_t *) (uintptr_t) node; /* jansson's read functions take non-const pointers */
}

static const PkJson *
as_node(const json_t *json)
{
	return (const PkJson *) json;
}

PkStatus
pk_json_parse(const char *text, size_t len, const char *what, PkJsonDoc **out, PkError *err)
{
	return parse(text, len, what, true, NULL, out, err);
}

PkStatus
pk_json_parse_long(const char *text, size_t len, const char *what, PkCancel *cancel,
                   PkJsonDoc **out, PkError *err)
{
	return parse(text, len, what, false, cancel, out, err);
}

static PkStatus
parse(const char *text, size_t len, const char *what, bool is_short, PkCancel *cancel,
      PkJsonDoc **out, PkError *err)
{
	Reading      reading = {text, len, cancel};
	json_error_t problem;
	void        *doc;

	if (is_bomb(text, len, is_short))
		return pk_error(err, PK_BAD_FILE, "%s has too many items", what);
	PK_FORWARD(pk_calloc(1, sizeof(PkJsonDoc), &doc, err));

	json_t *root = json_load_callback(
		read_more, &reading, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &problem);

	if (root == NULL)
	{
		free(doc);
		if (pk_cancel_is_set(cancel))
			return pk_error(err, PK_CANCELLED, "reading %s was cancelled", what);
		/* where malloc() failed jansson often says nothing at all, not even where */
		if (json_error_code(&problem) == json_error_out_of_memory || problem.text[0] == '\0')
			return pk_error(err, PK_NO_MEMORY, "out of memory while reading %s", what);

		char quoted[200];

		pk_error_quote(quoted, sizeof(quoted), problem.text, strlen(problem.text));
		return pk_error(err, PK_BAD_FILE, "%s is not valid JSON: line %d, byte %d: %s", what,
		                problem.line, problem.position, quoted);
	}
	*out = doc;
	(*out)->root = root;
	return PK_OK;
}

/* What jansson asks for, 1 kB at a time. */
static size_t
read_more(void *buffer, size_t room, void *arg)
{
	Reading *reading = arg;
	size_t   n = reading->len < room ? reading->len : room;

	if (pk_cancel_poll(reading->cancel))
		return (size_t) -1;
	if (n > 0)
		memcpy(buffer, reading->text, n);
	reading->text += n;
	reading->len -= n;
	return n;
}

/* Counts brackets and commas outside of strings: at least as many as jansson would make nodes. */
static bool
is_bomb(const char *text, size_t len, bool is_short)
{
	size_t n_containers = 0, n_items = 0;
	bool   in_string = false;

	for (size_t i = 0; i < len; i++)
	{
		char c = text[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '[' || c == '{'))
			n_containers++;
		else if (!in_string && c == ',')
			n_items++;
	}
	return n_containers > (is_short ? SHORT_CONTAINERS_MAX : CONTAINERS_MAX) ||
	       n_items > (is_short ? SHORT_ITEMS_MAX : ITEMS_MAX);
}

const PkJson *
pk_json_root(const PkJsonDoc *doc)
{
	return as_node(doc->root);
}

void
pk_json_free(PkJsonDoc *doc)
{
	if (doc == NULL)
		return;
	json_decref(doc->root);
	free(doc);
}

PkJsonType
pk_json_type(const PkJson *node)
{
	if (node == NULL)
		return PK_JSON_MISSING;
	switch (json_typeof(as_json(node)))
	{
		case JSON_OBJECT:
			return PK_JSON_OBJECT;
		case JSON_ARRAY:
			return PK_JSON_ARRAY;
		case JSON_STRING:
			return PK_JSON_STRING;
		case JSON_INTEGER:
			return PK_JSON_INT;
		case JSON_REAL:
			return PK_JSON_REAL;
		case JSON_TRUE:
		case JSON_FALSE:
			return PK_JSON_BOOL;
		case JSON_NULL:
			return PK_JSON_NULL;
	}
	return PK_JSON_MISSING;
}

const PkJson *
pk_json_get(const PkJson *object, const char *key)
{
	return as_node(json_object_get(as_json(object), key));
}

size_t
pk_json_size(const PkJson *node)
{
	return pk_json_type(node) == PK_JSON_ARRAY ? json_array_size(as_json(node))
	                                           : json_object_size(as_json(node));
}

const PkJson *
pk_json_at(const PkJson *array, size_t i)
{
	return as_node(json_array_get(as_json(array), i));
}

const PkJsonMember *
pk_json_first(const PkJson *object)
{
	return (const PkJsonMember *) json_object_iter(as_json(object));
}

const PkJsonMember *
pk_json_next(const PkJson *object, const PkJsonMember *it)
{
	return (const PkJsonMember *) json_object_iter_next(as_json(object), (void *) (uintptr_t) it);
}

const char *
pk_json_member_key(const PkJsonMember *it, size_t *len)
{
	void       *iter = (void *) (uintptr_t) it;
	const char *key = json_object_iter_key(iter);

	if (len != NULL)
		*len = strlen(key); /* jansson refuses keys that hold NUL */
	return key;
}

const PkJson *
pk_json_member_value(const PkJsonMember *it)
{
	return as_node(json_object_iter_value((void *) (uintptr_t) it));
}

const char *
pk_json_string(const PkJson *node, size_t *len)
{
	if (node == NULL || !json_is_string(as_json(node)))
		return NULL;
	if (len != NULL)
		*len = json_string_length(as_json(node));
	return json_string_value(as_json(node));
}

bool
pk_json_string_is(const PkJson *node, const char *text)
{
	size_t      len;
	const char *value = pk_json_string(node, &len);

	return value != NULL && len == strlen(text) && memcmp(value, text, len) == 0;
}

bool
pk_json_int(const PkJson *node, int64_t *out)
{
	if (node == NULL || !json_is_integer(as_json(node)))
		return false;
	*out = json_integer_value(as_json(node));
	return true;
}

bool
pk_json_real(const PkJson *node, double *out)
{
	if (node == NULL || !json_is_number(as_json(node)))
		return false;
	*out = json_number_value(as_json(node));
	return true;
}

bool
pk_json_bool(const PkJson *node, bool *out)
{
	if (node == NULL || !json_is_boolean(as_json(node)))
		return false;
	*out = json_is_true(as_json(node));
	return true;
}

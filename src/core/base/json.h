/*
 * json.h
 *    Reading JSON: the only user of jansson. Duplicate keys, trailing bytes, deep nesting and
 *    invalid UTF-8 are refused; integers are 64-bit.
 *
 * Nodes belong to the document and live until pk_json_free(). Accessors take NULL and nodes of
 * the wrong type and answer "no", so a chain of look-ups needs one check at its end.
 */
#ifndef PK_JSON_H
#define PK_JSON_H

#include "core/base/cancel.h"
#include "core/base/status.h"

typedef struct PkJsonDoc PkJsonDoc;
typedef struct PkJson    PkJson; /* one node */

typedef enum PkJsonType
{
	PK_JSON_MISSING, /* no such node */
	PK_JSON_NULL,
	PK_JSON_BOOL,
	PK_JSON_INT,
	PK_JSON_REAL,
	PK_JSON_STRING,
	PK_JSON_ARRAY,
	PK_JSON_OBJECT
} PkJsonType;

/* Parse text; what names the file in messages. PK_BAD_FILE when it is not JSON. */
PkStatus pk_json_parse(const char *text, size_t len, const char *what, PkJsonDoc **out,
                       PkError *err);
/* The same for long texts: PK_CANCELLED when cancel (may be NULL; polled all the time) was seen. */
PkStatus pk_json_parse_long(const char *text, size_t len, const char *what, PkCancel *cancel,
                            PkJsonDoc **out, PkError *err);

const PkJson *pk_json_root(const PkJsonDoc *doc);
void          pk_json_free(PkJsonDoc *doc);

PkJsonType pk_json_type(const PkJson *node);

const PkJson *pk_json_get(const PkJson *object, const char *key);
size_t        pk_json_size(const PkJson *node); /* items of an array, keys of an object, else 0 */
const PkJson *pk_json_at(const PkJson *array, size_t i);

/* Walk an object: it = pk_json_first(o); it != NULL; it = pk_json_next(o, it). File order. */
typedef struct PkJsonMember PkJsonMember;
const PkJsonMember         *pk_json_first(const PkJson *object);
const PkJsonMember         *pk_json_next(const PkJson *object, const PkJsonMember *it);
const char                 *pk_json_member_key(const PkJsonMember *it, size_t *len);
const PkJson               *pk_json_member_value(const PkJsonMember *it);

/* String bytes (UTF-8, may hold NUL, ends with one) or NULL; len may be NULL. */
const char *pk_json_string(const PkJson *node, size_t *len);
bool        pk_json_string_is(const PkJson *node, const char *text);

/* true and *out when the node is of that type; real also takes an integer. */
bool pk_json_int(const PkJson *node, int64_t *out);
bool pk_json_real(const PkJson *node, double *out);
bool pk_json_bool(const PkJson *node, bool *out);

#endif

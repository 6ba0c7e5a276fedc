/*
 * hash.h
 *    XXH3-128 (libxxhash): the identity of content. Not a defence against forgery.
 */
#ifndef PK_HASH_H
#define PK_HASH_H

#include "core/base/status.h"

typedef struct PkHash128
{
	uint8_t bytes[16]; /* canonical (big-endian) order */
} PkHash128;

#define PK_HASH_HEX_LEN 32

typedef struct PkHasher PkHasher;

PkStatus  pk_hasher_create(PkHasher **out, PkError *err);
void      pk_hasher_reset(PkHasher *hasher);
void      pk_hasher_update(PkHasher *hasher, const void *data, size_t len);
PkHash128 pk_hasher_digest(const PkHasher *hasher);
void      pk_hasher_destroy(PkHasher *hasher);

PkHash128 pk_hash128(const void *data, size_t len);

/* 32 lower-case hexadecimal digits and an end mark. */
void pk_hash_to_hex(PkHash128 hash, char out[PK_HASH_HEX_LEN + 1]);
/* false unless text is exactly 32 hexadecimal digits. */
bool pk_hash_from_hex(const char *text, PkHash128 *out);
bool pk_hash_equal(PkHash128 a, PkHash128 b);

#endif

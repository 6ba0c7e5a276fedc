/*
 * hash.c
 *    libxxhash behind an opaque state.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/hash.h"

struct PkHasher
{
	XXH3_state_t *state;
};

static PkHash128 canonical(XXH128_hash_t hash);
static int       hex_value(char c);

PkStatus
pk_hasher_create(PkHasher **out, PkError *err)
{
	PkHasher     *hasher = malloc(sizeof(*hasher));
	XXH3_state_t *state = XXH3_createState();

	if (hasher == NULL || state == NULL)
	{
		free(hasher);
		XXH3_freeState(state);
		return pk_error(err, PK_NO_MEMORY, "out of memory for a hash state");
	}
	hasher->state = state;
	pk_hasher_reset(hasher);
	*out = hasher;
	return PK_OK;
}

void
pk_hasher_reset(PkHasher *hasher)
{
	(void) XXH3_128bits_reset(hasher->state);
}

void
pk_hasher_update(PkHasher *hasher, const void *data, size_t len)
{
	(void) XXH3_128bits_update(hasher->state, data, len);
}

PkHash128
pk_hasher_digest(const PkHasher *hasher)
{
	return canonical(XXH3_128bits_digest(hasher->state));
}

void
pk_hasher_destroy(PkHasher *hasher)
{
	if (hasher == NULL)
		return;
	XXH3_freeState(hasher->state);
	free(hasher);
}

PkHash128
pk_hash128(const void *data, size_t len)
{
	return canonical(XXH3_128bits(data, len));
}

static PkHash128
canonical(XXH128_hash_t hash)
{
	XXH128_canonical_t form;
	PkHash128          out;

	XXH128_canonicalFromHash(&form, hash);
	memcpy(out.bytes, form.digest, sizeof(out.bytes));
	return out;
}

void
pk_hash_to_hex(PkHash128 hash, char out[PK_HASH_HEX_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(hash.bytes); i++)
	{
		out[2 * i] = digits[hash.bytes[i] >> 4];
		out[2 * i + 1] = digits[hash.bytes[i] & 15];
	}
	out[PK_HASH_HEX_LEN] = '\0';
}

bool
pk_hash_from_hex(const char *text, PkHash128 *out)
{
	if (strlen(text) != PK_HASH_HEX_LEN)
		return false;
	for (size_t i = 0; i < sizeof(out->bytes); i++)
	{
		int high = hex_value(text[2 * i]);
		int low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out->bytes[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
pk_hash_equal(PkHash128 a, PkHash128 b)
{
	return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

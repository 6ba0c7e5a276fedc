/*
 * test_hash.c
 *    XXH3-128: published values, streaming, and hexadecimal.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/base/hash.h"

#define N_BYTES 5000

static void
test_known(void)
{
	char hex[PK_HASH_HEX_LEN + 1];

	pk_hash_to_hex(pk_hash128("", 0), hex);
	is_str(hex, "99aa06d3014798d86001c324468d497f",
	       "the hash of nothing is xxHash's published one");
	pk_hash_to_hex(pk_hash128("abc", 3), hex);
	is_str(hex, "06b05ab6733a618578af5f94892f3950", "the hash of abc is xxhsum -H2's");
}

static void
test_streaming(void)
{
	unsigned char data[N_BYTES];
	PkHasher     *hasher;
	PkError       err;
	bool          is_same = true;

	for (size_t i = 0; i < N_BYTES; i++)
		data[i] = (unsigned char) (i * 31 + i / 7);
	if (!ok(pk_hasher_create(&hasher, &err) == PK_OK, "a hasher is made"))
		return;
	ok(pk_hash_equal(pk_hasher_digest(hasher), pk_hash128("", 0)), "a new hasher has seen nothing");
	for (size_t step = 1; step < N_BYTES; step = step * 3 + 1)
	{
		pk_hasher_reset(hasher);
		for (size_t i = 0; i < N_BYTES; i += step)
			pk_hasher_update(hasher, data + i, N_BYTES - i < step ? N_BYTES - i : step);
		is_same &= pk_hash_equal(pk_hasher_digest(hasher), pk_hash128(data, N_BYTES));
		is_same &= pk_hash_equal(pk_hasher_digest(hasher), pk_hash128(data, N_BYTES));
	}
	ok(is_same, "pieces of any length give the hash of the whole, twice");
	pk_hasher_destroy(hasher);
	pk_hasher_destroy(NULL);
}

static void
test_hex(void)
{
	PkHash128 hash = pk_hash128("abc", 3), back;
	char      hex[PK_HASH_HEX_LEN + 1], changed[PK_HASH_HEX_LEN + 2];
	bool      is_refused = true;

	pk_hash_to_hex(hash, hex);
	ok(pk_hash_from_hex(hex, &back) && pk_hash_equal(hash, back), "hexadecimal digits come back");
	for (size_t i = 0; hex[i] != '\0'; i++)
		changed[i] = (char) (hex[i] >= 'a' ? hex[i] - 32 : hex[i]);
	changed[PK_HASH_HEX_LEN] = '\0';
	ok(pk_hash_from_hex(changed, &back) && pk_hash_equal(hash, back), "capitals too");
	for (size_t i = 0; i < PK_HASH_HEX_LEN; i++)
	{
		for (const char *bad = "g/:@G` "; *bad != '\0'; bad++)
		{
			memcpy(changed, hex, sizeof(hex));
			changed[i] = *bad;
			is_refused &= !pk_hash_from_hex(changed, &back);
		}
		memcpy(changed, hex, sizeof(hex));
		changed[i] = '\0';
		is_refused &= !pk_hash_from_hex(changed, &back);
	}
	ok(is_refused, "other characters and short texts are refused at any place");
	memcpy(changed, hex, PK_HASH_HEX_LEN);
	memcpy(changed + PK_HASH_HEX_LEN, "0", 2);
	ok(!pk_hash_from_hex(changed, &back), "33 digits are refused");
	back = hash;
	back.bytes[15] ^= 1;
	ok(!pk_hash_equal(hash, back), "one bit makes another hash");
}

int
main(void)
{
	test_known();
	test_streaming();
	test_hex();
	return done_testing();
}

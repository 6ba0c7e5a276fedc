/*
 * hashtable.h
 *    Open addressing over 64-bit slots, for tables that are built once and mapped.
 *
 * A text slot holds 32 bits of the hash above id + 1; a pair slot holds two ids and a rank. At
 * least half of the slots are free, so probing is short and always ends. The hash is part of the
 * blob's format: it reads bytes one machine-independent way.
 */
#ifndef PK_HASHTABLE_H
#define PK_HASHTABLE_H

#include <string.h>

#include "core/tokenizer/blob.h"

#define PK_TABLE_MIN_BITS 4
#define PK_PAIR_FREE UINT64_MAX
/*
 * Most slots a search may look at. Half-full tables of a million entries need some hundred; a file
 * made to need more would take quadratic time.
 */
#define PK_MAX_PROBES 4096u

PK_INLINE uint64_t
pk_load_le64(const char *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word)); /* the blob's magic admits little-endian machines only */
	return word;
}

PK_INLINE uint64_t
pk_mix64(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 29;
	x *= UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 32;
}

PK_INLINE uint64_t
pk_text_hash(const char *text, size_t len)
{
	uint64_t hash = len * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t tail = 0;
	size_t   i = 0;

	for (; i + 8 <= len; i += 8)
	{
		hash = (hash ^ pk_load_le64(text + i)) * UINT64_C(0xff51afd7ed558ccd);
		hash ^= hash >> 31;
	}
	if (len >= 8 && i < len)
		tail = pk_load_le64(text + len - 8); /* overlaps what was read: harmless */
	else
		for (size_t k = 0; i + k < len; k++)
			tail |= (uint64_t) (unsigned char) text[i + k] << 8 * k;
	return pk_mix64(hash ^ tail);
}

PK_INLINE uint64_t
pk_pair_key(uint32_t left, uint32_t right)
{
	return (uint64_t) left << 2 * PK_ID_BITS | (uint64_t) right << PK_ID_BITS;
}

PK_INLINE size_t
pk_pair_slot(uint64_t key, uint32_t bits)
{
	return (size_t) ((key ^ key >> 31) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits));
}

/* Rank of the merge of two ids, or UINT32_MAX. */
PK_INLINE uint32_t
pk_pair_find(const uint64_t *table, uint32_t bits, uint32_t left, uint32_t right)
{
	uint64_t key = pk_pair_key(left, right);
	size_t   mask = ((size_t) 1 << bits) - 1;

	for (size_t slot = pk_pair_slot(key, bits);; slot = (slot + 1) & mask)
	{
		uint64_t entry = table[slot];

		if ((entry & ~PK_ID_MASK) == key)
			return (uint32_t) (entry & PK_ID_MASK);
		if (entry == PK_PAIR_FREE)
			return UINT32_MAX;
	}
}

/* Id of a text in a text table whose texts are described by offsets and texts, or -1. */
PK_INLINE int32_t
pk_text_find(const uint64_t *table, uint32_t bits, const uint32_t *offsets, const char *texts,
             const char *text, size_t len, uint64_t hash)
{
	size_t mask = ((size_t) 1 << bits) - 1;

	for (size_t slot = (size_t) hash & mask;; slot = (slot + 1) & mask)
	{
		uint64_t entry = table[slot];

		if (entry == 0)
			return -1;
		if (entry >> 32 != hash >> 32)
			continue;

		uint32_t id = (uint32_t) entry - 1;

		if (offsets[id + 1] - offsets[id] == len && memcmp(texts + offsets[id], text, len) == 0)
			return (int32_t) id;
	}
}

/* Slots for n entries: a power of two, at least twice n; returned as its logarithm. */
static inline uint32_t
pk_table_bits(size_t n)
{
	uint32_t bits = PK_TABLE_MIN_BITS;

	while (((size_t) 1 << bits) < 2 * n)
		bits++;
	return bits;
}

/* False: the table is clustered beyond PK_MAX_PROBES. */
static inline bool
pk_text_insert(uint64_t *table, uint32_t bits, uint64_t hash, uint32_t id)
{
	size_t mask = ((size_t) 1 << bits) - 1;
	size_t slot = (size_t) hash & mask;

	size_t n_probes = 0;

	while (table[slot] != 0 && n_probes++ < PK_MAX_PROBES)
		slot = (slot + 1) & mask;
	if (table[slot] != 0)
		return false;
	table[slot] = hash >> 32 << 32 | (id + 1);
	return true;
}

/* Insert or replace. table was filled with PK_PAIR_FREE. */
static inline bool
pk_pair_insert(uint64_t *table, uint32_t bits, uint32_t left, uint32_t right, uint32_t rank)
{
	uint64_t key = pk_pair_key(left, right);
	size_t   mask = ((size_t) 1 << bits) - 1;
	size_t   slot = pk_pair_slot(key, bits);

	size_t n_probes = 0;

	while (table[slot] != PK_PAIR_FREE && (table[slot] & ~PK_ID_MASK) != key &&
	       n_probes++ < PK_MAX_PROBES)
		slot = (slot + 1) & mask;
	if (table[slot] != PK_PAIR_FREE && (table[slot] & ~PK_ID_MASK) != key)
		return false;
	table[slot] = key | rank;
	return true;
}

#endif

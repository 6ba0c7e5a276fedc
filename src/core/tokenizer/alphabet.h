/*
 * alphabet.h
 *    The byte alphabet of byte-level BPE: one printable letter for each of the 256 bytes.
 *
 * As in GPT-2 (Radford et al., 2019): printable Latin-1 bytes are their own letter, the other 68
 * bytes take U+0100 onwards in order. A space is U+0120.
 */
#ifndef PK_ALPHABET_H
#define PK_ALPHABET_H

#include "core/base/platform.h"

uint32_t pk_alphabet_letter(uint8_t byte);

/* The byte a letter stands for, or -1. */
int pk_alphabet_byte(uint32_t letter);

/*
 * Replace the letters of spelling (UTF-8, len bytes) by their bytes in out (room for len bytes).
 * False, with out undefined, when it holds a character that is no letter of the alphabet.
 */
bool pk_alphabet_unmap(const char *spelling, size_t len, char *out, size_t *out_len);

#endif

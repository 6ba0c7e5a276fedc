/*
 * alphabet.c
 *    Byte to letter and back, by ranges.
 */
#include "core/tokenizer/alphabet.h"

#include "core/base/utf8.h"

#define FIRST_EXTRA 0x100u /* letter of byte 0 */
#define N_LOW 33u          /* bytes 0 to 32 */
#define MIDDLE_FIRST 127u  /* bytes 127 to 160 */
#define N_MIDDLE 34u
#define SOFT_HYPHEN 173u

uint32_t
pk_alphabet_letter(uint8_t byte)
{
	if (byte < N_LOW)
		return FIRST_EXTRA + byte;
	if (byte >= MIDDLE_FIRST && byte < MIDDLE_FIRST + N_MIDDLE)
		return FIRST_EXTRA + N_LOW + (byte - MIDDLE_FIRST);
	if (byte == SOFT_HYPHEN)
		return FIRST_EXTRA + N_LOW + N_MIDDLE;
	return byte;
}

int
pk_alphabet_byte(uint32_t letter)
{
	if (letter < FIRST_EXTRA)
		return pk_alphabet_letter((uint8_t) letter) == letter ? (int) letter : -1;
	letter -= FIRST_EXTRA;
	if (letter < N_LOW)
		return (int) letter;
	letter -= N_LOW;
	if (letter < N_MIDDLE)
		return (int) (letter + MIDDLE_FIRST);
	return letter == N_MIDDLE ? (int) SOFT_HYPHEN : -1;
}

bool
pk_alphabet_unmap(const char *spelling, size_t len, char *out, size_t *out_len)
{
	size_t n = 0;

	for (size_t i = 0; i < len;)
	{
		size_t char_len = pk_utf8_char_len(spelling + i, len - i);
		int    byte = char_len > 0 ? pk_alphabet_byte(pk_utf8_decode(spelling + i, char_len)) : -1;

		if (byte < 0)
			return false;
		out[n++] = (char) byte;
		i += char_len;
	}
	*out_len = n;
	return true;
}

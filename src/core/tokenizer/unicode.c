/*
 * unicode.c
 *    Character classes from ICU, as of one version of Unicode whatever ICU is installed.
 */
#include <stdlib.h>
#include <unicode/uchar.h>

#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/unicode.h"

#define CLASS_UNICODE 16

static const PkCharRange new_letters[] = {
	{0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3},
	{0x10d4a, 0x10d65}, {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x1123f, 0x11240},
	{0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5},
	{0x113b7, 0x113b7}, {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0},
	{0x11f02, 0x11f02}, {0x11f04, 0x11f10}, {0x11f12, 0x11f33}, {0x1342f, 0x1342f},
	{0x13441, 0x13446}, {0x13460, 0x143fa}, {0x16100, 0x1611d}, {0x16d40, 0x16d6c},
	{0x18cff, 0x18cff}, {0x1b132, 0x1b132}, {0x1b155, 0x1b155}, {0x1df25, 0x1df2a},
	{0x1e030, 0x1e06d}, {0x1e4d0, 0x1e4eb}, {0x1e5d0, 0x1e5ed}, {0x1e5f0, 0x1e5f0},
	{0x2b739, 0x2b739}, {0x2ebf0, 0x2ee5d}, {0x31350, 0x323af},
};

static const PkCharRange new_numbers[] = {
	{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x11f50, 0x11f59},
	{0x16130, 0x16139}, {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1d2c0, 0x1d2d3},
	{0x1e4f0, 0x1e4f9}, {0x1e5f1, 0x1e5fa},
};

/* Numbers of Unicode 17, which Rust's char::is_numeric knows and the classes don't. */
static const PkCharRange newer_numbers[] = {{0x11de0, 0x11de9}, {0x16ff4, 0x16ff6}};

static bool is_in(const PkCharRange *ranges, size_t n, uint32_t code);

PkCharClass
pk_char_class(uint32_t code)
{
	PkCharClass class = PK_CHAR_OTHER;

	switch (u_charType((UChar32) code))
	{
		case U_UNASSIGNED:
			if (is_in(new_letters, PK_LENGTH(new_letters), code))
				return PK_CHAR_LETTER;
			return is_in(new_numbers, PK_LENGTH(new_numbers), code) ? PK_CHAR_NUMBER
			                                                        : PK_CHAR_OTHER;
		case U_UPPERCASE_LETTER:
		case U_LOWERCASE_LETTER:
		case U_TITLECASE_LETTER:
		case U_MODIFIER_LETTER:
		case U_OTHER_LETTER:
			class = PK_CHAR_LETTER;
			break;
		case U_DECIMAL_DIGIT_NUMBER:
		case U_LETTER_NUMBER:
		case U_OTHER_NUMBER:
			class = PK_CHAR_NUMBER;
			break;
		case U_SPACE_SEPARATOR:
		case U_LINE_SEPARATOR:
		case U_PARAGRAPH_SEPARATOR:
			return PK_CHAR_SPACE;
		case U_CONTROL_CHAR:
			return pk_char_is_space(code) ? PK_CHAR_SPACE : PK_CHAR_OTHER;
		default:
			return PK_CHAR_OTHER;
	}
	if (atoi(U_UNICODE_VERSION) > CLASS_UNICODE && pk_char_is_newer(code, CLASS_UNICODE))
		return PK_CHAR_OTHER;
	return class;
}

const PkCharRange *
pk_late_chars(PkCharClass class, size_t *n)
{
	*n = class == PK_CHAR_LETTER ? PK_LENGTH(new_letters) : PK_LENGTH(new_numbers);
	return class == PK_CHAR_LETTER ? new_letters : new_numbers;
}

static bool
is_in(const PkCharRange *ranges, size_t n, uint32_t code)
{
	for (size_t i = 0; i < n; i++)
		if (code <= ranges[i].last)
			return code >= ranges[i].first;
	return false;
}

bool
pk_char_is_newer(uint32_t code, int version)
{
	UVersionInfo age;

	u_charAge((UChar32) code, age);
	return age[0] > version;
}

bool
pk_char_is_space(uint32_t code)
{
	return u_isUWhiteSpace((UChar32) code);
}

bool
pk_char_is_numeric(uint32_t code)
{
	if (code < 0x80)
		return code >= '0' && code <= '9';
	if (code >= 0xac00 && code <= 0xd7a3)
		return false;
	return pk_char_class(code) == PK_CHAR_NUMBER ||
	       is_in(newer_numbers, PK_LENGTH(newer_numbers), code);
}

bool
pk_char_is_word(uint32_t code)
{
	UChar32 c = (UChar32) code;

	if (u_isUAlphabetic(c) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
	    is_in(new_letters, PK_LENGTH(new_letters), code))
		return true;
	return (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

const char *
pk_unicode_version(void)
{
	return U_UNICODE_VERSION;
}

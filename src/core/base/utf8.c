/*
 * utf8.c
 *    Well-formed UTF-8 after table 3-7 of the Unicode standard.
 */
#include "core/base/utf8.h"

/* What may follow a lead byte: its length, and the range of the second byte. */
typedef struct Lead
{
	uint8_t n, low, high;
} Lead;

static Lead lead_of(unsigned char byte);

size_t
pk_utf8_any_char_len(const char *text, size_t len)
{
	if (len == 0)
		return 0;

	const unsigned char *s = (const unsigned char *) text;
	Lead                 lead = lead_of(s[0]);

	if (lead.n <= 1 || len < lead.n)
		return lead.n <= 1 ? lead.n : 0;
	if (s[1] < lead.low || s[1] > lead.high)
		return 0;
	for (size_t i = 2; i < lead.n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return lead.n;
}

static Lead
lead_of(unsigned char byte)
{
	if (byte < 0x80)
		return (Lead){1, 0, 0};
	if (byte >= 0xc2 && byte <= 0xdf)
		return (Lead){2, 0x80, 0xbf};
	if (byte >= 0xe0 && byte <= 0xef)
		return (Lead){3, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf};
	if (byte >= 0xf0 && byte <= 0xf4)
		return (Lead){4, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf};
	return (Lead){0, 0, 0};
}

size_t
pk_utf8_encode(uint32_t code, char *out)
{
	if (code < 0x80)
	{
		out[0] = (char) code;
		return 1;
	}
	if (code < 0x800)
	{
		out[0] = (char) (0xc0 | code >> 6);
		out[1] = (char) (0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000)
	{
		out[0] = (char) (0xe0 | code >> 12);
		out[1] = (char) (0x80 | (code >> 6 & 0x3f));
		out[2] = (char) (0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | code >> 18);
	out[1] = (char) (0x80 | (code >> 12 & 0x3f));
	out[2] = (char) (0x80 | (code >> 6 & 0x3f));
	out[3] = (char) (0x80 | (code & 0x3f));
	return 4;
}

bool
pk_utf8_is_valid(const char *text, size_t len, size_t *bad_offset)
{
	for (size_t i = 0; i < len;)
	{
		size_t n = pk_utf8_char_len(text + i, len - i);

		if (n == 0)
		{
			if (bad_offset != NULL)
				*bad_offset = i;
			return false;
		}
		i += n;
	}
	return true;
}

size_t
pk_utf8_partial_len(const char *text, size_t len)
{
	if (len == 0)
		return 0;

	const unsigned char *s = (const unsigned char *) text;
	Lead                 lead = lead_of(s[0]);

	if (lead.n <= 1)
		return 0;
	if (len > 1 && (s[1] < lead.low || s[1] > lead.high))
		return 1;

	size_t n = len == 1 ? 1 : 2;

	while (n < len && n < lead.n && (s[n] & 0xc0) == 0x80)
		n++;
	return n < lead.n ? n : 0;
}

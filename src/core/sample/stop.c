/*
 * stop.c
 *    One Knuth-Morris-Pratt automaton for each stop string, fed byte by byte.
 *
 * The state of an automaton is how much of its string the output ends with, so the longest state
 * is exactly what must be held back.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/sample/stop.h"

typedef struct StopString
{
	unsigned char *bytes;
	size_t         len;
	size_t        *fallback; /* (len) longest border of the first i + 1 bytes */
	size_t         state;
} StopString;

struct PkStop
{
	size_t      n;
	StopString *strings;
	size_t      n_fed; /* bytes of output so far */
};

static PkStatus string_init(StopString *string, const char *text, size_t len, PkError *err);
static bool     string_feed(StopString *string, unsigned char byte);

PkStatus
pk_stop_check(const size_t *lens, size_t n, PkError *err)
{
	size_t n_bytes = 0;

	if (n > PK_STOP_MAX_STRINGS)
		return pk_error(err, PK_BAD_ARGUMENT, "%zu stop strings, at most %d are allowed", n,
		                PK_STOP_MAX_STRINGS);
	for (size_t i = 0; i < n; i++)
	{
		if (lens[i] == 0)
			return pk_error(err, PK_BAD_ARGUMENT, "a stop string must not be empty");
		if (lens[i] > PK_STOP_MAX_BYTES - n_bytes)
			return pk_error(err, PK_BAD_ARGUMENT,
			                "the stop strings are longer than %d bytes together",
			                PK_STOP_MAX_BYTES);
		n_bytes += lens[i];
	}
	return PK_OK;
}

PkStatus
pk_stop_create(const char *const *strings, const size_t *lens, size_t n, PkStop **out, PkError *err)
{
	void    *room;
	PkStatus status;

	PK_FORWARD(pk_stop_check(lens, n, err));
	PK_FORWARD(pk_calloc(1, sizeof(PkStop), &room, err));

	PkStop *stop = room;

	PK_FORWARD_TO(failed, pk_calloc(n, sizeof(StopString), &room, err));
	stop->strings = room;
	for (; stop->n < n; stop->n++)
		PK_FORWARD_TO(failed,
		              string_init(&stop->strings[stop->n], strings[stop->n], lens[stop->n], err));
	*out = stop;
	return PK_OK;

failed:
	pk_stop_destroy(stop);
	return status;
}

static PkStatus
string_init(StopString *string, const char *text, size_t len, PkError *err)
{
	void    *bytes;
	void    *fallback;
	PkStatus status;

	PK_FORWARD(pk_calloc(len, 1, &bytes, err));
	status = pk_calloc(len, sizeof(size_t), &fallback, err);
	if (status != PK_OK)
	{
		free(bytes);
		return status;
	}
	memcpy(bytes, text, len);
	string->bytes = bytes;
	string->len = len;
	string->fallback = fallback;
	for (size_t i = 1, border = 0; i < len; i++)
	{
		while (border > 0 && string->bytes[i] != string->bytes[border])
			border = string->fallback[border - 1];
		border += string->bytes[i] == string->bytes[border];
		string->fallback[i] = border;
	}
	return PK_OK;
}

void
pk_stop_destroy(PkStop *stop)
{
	if (stop == NULL)
		return;
	for (size_t i = 0; i < stop->n; i++)
	{
		free(stop->strings[i].bytes);
		free(stop->strings[i].fallback);
	}
	free(stop->strings);
	free(stop);
}

bool
pk_stop_feed(PkStop *stop, const char *piece, size_t len, size_t *text_len)
{
	for (size_t i = 0; i < len; i++)
	{
		size_t longest = 0;

		stop->n_fed++;
		for (size_t k = 0; k < stop->n; k++)
			if (string_feed(&stop->strings[k], (unsigned char) piece[i]) &&
			    stop->strings[k].len > longest)
				longest = stop->strings[k].len;
		if (longest > 0) /* of several that end here, the one that began first */
		{
			*text_len = stop->n_fed - longest;
			return true;
		}
	}
	return false;
}

/* True when the string has ended with this byte. */
static bool
string_feed(StopString *string, unsigned char byte)
{
	while (string->state > 0 && string->bytes[string->state] != byte)
		string->state = string->fallback[string->state - 1];
	string->state += string->bytes[string->state] == byte;
	if (string->state < string->len)
		return false;
	string->state = string->fallback[string->len - 1];
	return true;
}

size_t
pk_stop_held(const PkStop *stop)
{
	size_t held = 0;

	for (size_t k = 0; k < stop->n; k++)
		if (stop->strings[k].state > held)
			held = stop->strings[k].state;
	return held;
}

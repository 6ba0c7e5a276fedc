/*
 * lookup.c
 *    Looks for the end of a text in the text.
 */
#include "core/sample/lookup.h"

/* Longer runs draft no better. */
#define LONGEST_RUN 8
/* Counts of a class are halved above it, so that rates follow the text. */
#define MOST_COUNTED 32.0f

static size_t run_length(const int32_t *tokens, size_t n_tokens, size_t end);
static size_t class_of(size_t n_matched);

size_t
pk_lookup(const int32_t *tokens, size_t n_tokens, size_t n_most, int32_t *draft)
{
	size_t longest = 0, after = 0;

	for (size_t end = n_tokens; end-- > 1 && longest < LONGEST_RUN;)
	{
		size_t length = run_length(tokens, n_tokens, end);

		if (length <= longest)
			continue;
		longest = length;
		after = end;
	}
	if (longest == 0)
		return 0;
	for (size_t i = 0; i < n_most; i++)
		draft[i] = after + i < n_tokens ? tokens[after + i] : draft[after + i - n_tokens];
	return longest;
}

/* Tokens before end that are those before n_tokens. */
static size_t
run_length(const int32_t *tokens, size_t n_tokens, size_t end)
{
	size_t length = 0;

	while (length < LONGEST_RUN && length < end &&
	       tokens[end - 1 - length] == tokens[n_tokens - 1 - length])
		length++;
	return length;
}

void
pk_lookup_rates_init(PkLookupRates *rates)
{
	static const float usual[PK_LOOKUP_CLASSES] = {0.4f, 0.6f, 0.65f, 0.7f, 0.8f, 0.85f};

	for (size_t c = 0; c < PK_LOOKUP_CLASSES; c++)
	{
		rates->n_all[c] = 4;
		rates->n_right[c] = usual[c] * rates->n_all[c];
	}
}

void
pk_lookup_learn(PkLookupRates *rates, size_t n_matched, bool is_right)
{
	size_t c = class_of(n_matched);

	rates->n_all[c] += 1;
	rates->n_right[c] += is_right ? 1 : 0;
	if (rates->n_all[c] <= MOST_COUNTED)
		return;
	rates->n_all[c] /= 2;
	rates->n_right[c] /= 2;
}

double
pk_lookup_chance(const PkLookupRates *rates, size_t n_matched)
{
	size_t c = class_of(n_matched);

	return (double) rates->n_right[c] / (double) rates->n_all[c];
}

static size_t
class_of(size_t n_matched)
{
	static const unsigned char classes[] = {0, 0, 1, 2, 3, 3, 4, 4};

	return n_matched < PK_LENGTH(classes) ? classes[n_matched] : PK_LOOKUP_CLASSES - 1;
}

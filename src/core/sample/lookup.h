/*
 * lookup.h
 *    Drafts: tokens that may come next, taken from what the text had before.
 *
 * Prompt lookup decoding (Saxena 2023; in Hugging Face prompt_lookup_num_tokens): the longest run
 * of tokens at the end that occurs earlier, and what followed it there. Text that quotes its
 * prompt, follows its examples or repeats itself is drafted well, other text badly; so what came of
 * earlier drafts is counted, by the length of the run. A draft only says what is worth computing:
 * whoever uses it computes each of its tokens and keeps those that it would have chosen anyway.
 */
#ifndef PK_LOOKUP_H
#define PK_LOOKUP_H

#include "core/base/platform.h"

#define PK_LOOKUP_MAX 15 /* tokens of a draft */
#define PK_LOOKUP_USUAL 10
#define PK_LOOKUP_CLASSES 6 /* of runs: 1, 2, 3, 4 to 5, 6 to 7, 8 and more tokens */

/*
 * The tokens that followed the longest run of tokens (n_tokens) that is also their end, of equally
 * long ones the last; n_most (up to PK_LOOKUP_MAX) tokens to draft. Where the text ends before,
 * it is thought to repeat itself. Returns the run's length as far as it matters, 0: no draft.
 */
size_t pk_lookup(const int32_t *tokens, size_t n_tokens, size_t n_most, int32_t *draft);

/* How many drafted tokens were right, so far; later ones count more. */
typedef struct PkLookupRates
{
	float n_right[PK_LOOKUP_CLASSES];
	float n_all[PK_LOOKUP_CLASSES];
} PkLookupRates;

/* Before anything is known: what greedy answers had on average. */
void pk_lookup_rates_init(PkLookupRates *rates);

/* A token drafted after n_matched that agree was right or wrong. */
void pk_lookup_learn(PkLookupRates *rates, size_t n_matched, bool is_right);

/* The chance of a token that is drafted after n_matched (at least 1) that agree. */
double pk_lookup_chance(const PkLookupRates *rates, size_t n_matched);

#endif

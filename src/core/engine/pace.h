/*
 * pace.h
 *    What a model's steps cost on this machine, from measurement; guessed until then. From this
 *    follows how long a chunk of a prompt may be while others wait for their next token.
 */
#ifndef PK_PACE_H
#define PK_PACE_H

#include "core/base/platform.h"

#define PK_PACE_CLASSES 64 /* of numbers of rows: 1, 2, ... 8, then four for each doubling */

typedef struct PkPace
{
	double ns_rows[PK_PACE_CLASSES];  /* a step of so many decode tokens alone; 0: not known */
	size_t measured[PK_PACE_CLASSES]; /* the last of n_measured that had so many */
	size_t n_measured;                /* steps without prompts */
	double ns_guess;                  /* until one was: the weights are read once */
	double ns_prompt;                 /* what a token of a prompt adds to a step, */
	double ns_prompt_least;           /* and no less than this */
} PkPace;

/* n_weights: multiply-adds of one token. */
void pk_pace_init(PkPace *pace, uint64_t n_weights, size_t n_threads, bool is_scalar);

/* A step took elapsed_ns for n_decode tokens of running sequences and n_prompt of prompts. */
void pk_pace_measure(PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns);

/* Expected ns of a step of n_decode tokens without prompts; 0 for none. */
double pk_pace_decode_ns(const PkPace *pace, size_t n_decode);

/* A step of about so many decode tokens was measured, not long ago. */
bool pk_pace_knows(const PkPace *pace, size_t n_decode);

/* The most decode tokens that are measured together with n_decode: n_decode up to 8. */
size_t pk_pace_same_rows(size_t n_decode);

/*
 * How long a step may take when its decode tokens take decode_ns: 100 ms, or up to 200 ms to let
 * prompts have as much as decoding; half of that where decoding alone takes longer.
 */
double pk_pace_target_ns(double decode_ns);

/* Tokens of prompts that fit into left_ns beside n_decode others: from 1 to max_tokens. */
size_t pk_pace_chunk(const PkPace *pace, size_t n_decode, double left_ns, size_t max_tokens);

#endif

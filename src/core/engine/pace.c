/*
 * pace.c
 *    What steps of a model took, kept up to date by each of them.
 */
#include <math.h>

#include "core/engine/pace.h"

#define STEP_NS 100e6
#define LONG_STEP_NS 200e6
/*
 * Before anything was measured, each nanosecond and thread: multiply-adds of the tiers, and weights
 * read from memory. High rather than low: a step that is too long can still be cancelled within
 * its tiles, but one that is too short reads all weights for a few tokens.
 */
#define GUESS_SCALAR 1.0
#define GUESS_VECTOR 60.0
#define GUESS_MEMORY 15.0
/*
 * Fewer prompt tokens than this do not say that one costs more than was thought, unless the step
 * took too long: beyond some rows kernels take another way, and the first token pays for it.
 */
#define FEW_TOKENS 8
/*
 * One step may be wrong (another program, page faults): it counts by a third, and as no more than
 * these factors. So chunks come back soon.
 */
#define SHARE (1.0 / 3)
#define MOST_DOWN 0.5
#define MOST_UP 3.0

/*
 * A step is not thought to have taken more than this of what was expected: if it is true, the next
 * ones say so, too.
 */
#define MOST_EXPECTED 2.0
/* Steps; the machine may have been busy then, or contexts shorter. */
#define FORGOTTEN_AFTER 50
/* Rows beyond n that cost as much as those before; further ones may be too many for the memory to
 * hide. */
#define NEAR_ROWS(n) ((n) / 4 + 2)
/* A row costs at least so much of what a token of a prompt does, and such a token of its guess. */
#define LEAST_OF_PROMPT (1.0 / 8)
#define LEAST_OF_GUESS (1.0 / 64)

static void   measure_rows(PkPace *pace, size_t n_rows, double elapsed_ns);
static size_t halvings(size_t n_rows);
static size_t class_of(size_t n_rows);
static double prompt_ns(const PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns);
static double from_fewer(const PkPace *pace, size_t n_rows);
static double known_of_more(const PkPace *pace, size_t n_rows, size_t *n);

void
pk_pace_init(PkPace *pace, uint64_t n_weights, size_t n_threads, bool is_scalar)
{
	double n = (double) n_weights;

	*pace =
		(PkPace){.ns_prompt = n / ((is_scalar ? GUESS_SCALAR : GUESS_VECTOR) * (double) n_threads),
	             .ns_guess = n / GUESS_MEMORY};
	pace->ns_prompt_least = pace->ns_prompt * LEAST_OF_GUESS;
}

void
pk_pace_measure(PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns)
{
	if (n_prompt == 0)
		measure_rows(pace, n_decode, elapsed_ns);
	else
		pace->ns_prompt +=
			SHARE * (prompt_ns(pace, n_decode, n_prompt, elapsed_ns) - pace->ns_prompt);
	if (pace->ns_prompt < pace->ns_prompt_least)
		pace->ns_prompt = pace->ns_prompt_least;
}

static void
measure_rows(PkPace *pace, size_t n_rows, double elapsed_ns)
{
	size_t class = class_of(n_rows);
	double *ns = &pace->ns_rows[class];
	double  expected = pk_pace_decode_ns(pace, n_rows);

	if (pace->n_measured > 0 && elapsed_ns > expected * MOST_EXPECTED)
		elapsed_ns = expected * MOST_EXPECTED;
	*ns = *ns > 0 ? (*ns + elapsed_ns) / 2 : elapsed_ns;
	pace->measured[class] = ++pace->n_measured;
	for (size_t c = 0; c < PK_PACE_CLASSES; c++)
		if (pace->n_measured - pace->measured[c] > FORGOTTEN_AFTER)
			pace->ns_rows[c] = 0;
}

static size_t
class_of(size_t n_rows)
{
	size_t n = halvings(n_rows), class = ((n_rows - 1) >> n) + 4 * n;

	return class < PK_PACE_CLASSES ? class : PK_PACE_CLASSES - 1;
}

/* Of the number of the last row, until it is below 8. */
static size_t
halvings(size_t n_rows)
{
	size_t n = 0;

	while ((n_rows - 1) >> n >= 8)
		n++;
	return n;
}

size_t
pk_pace_same_rows(size_t n_decode)
{
	size_t n = halvings(n_decode);

	return (((n_decode - 1) >> n) + 1) << n;
}

bool
pk_pace_knows(const PkPace *pace, size_t n_decode)
{
	return pace->ns_rows[class_of(n_decode)] > 0;
}

/* What a token of this step cost, as far as it is believed. */
static double
prompt_ns(const PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns)
{
	double decode_ns = pk_pace_decode_ns(pace, n_decode);
	double ns = (elapsed_ns - decode_ns) / (double) n_prompt;
	double least = pace->ns_prompt * MOST_DOWN;
	double most = pace->ns_prompt * MOST_UP;

	if (ns < least)
		return least;
	if (ns > pace->ns_prompt && n_prompt < FEW_TOKENS && elapsed_ns < pk_pace_target_ns(decode_ns))
		return pace->ns_prompt;
	/* a step that took little longer than to read the weights does not say that tokens are dear */
	if (ns > pace->ns_prompt && n_decode == 0 && elapsed_ns < 2 * pk_pace_decode_ns(pace, 1))
		return pace->ns_prompt;
	return ns < most ? ns : most;
}

double
pk_pace_decode_ns(const PkPace *pace, size_t n_decode)
{
	double fewer, more;
	size_t n_more;

	if (n_decode == 0)
		return 0;
	if (pk_pace_knows(pace, n_decode))
		return pace->ns_rows[class_of(n_decode)];
	fewer = from_fewer(pace, n_decode);
	more = known_of_more(pace, n_decode, &n_more);
	if (fewer < INFINITY)
		return fewer < more ? fewer : more;
	if (more == INFINITY)
		return pace->ns_guess;
	/* rows cost less than prompts, and less the more they are */
	return fmax(more * (double) n_decode / (double) n_more,
	            more - (double) (n_more - n_decode) * pace->ns_prompt);
}

/*
 * Where two numbers of rows were measured, their difference says what some rows more cost: often
 * much less than tokens of a prompt, as a step waits for memory. Infinite if nothing is known of
 * fewer rows.
 */
static double
from_fewer(const PkPace *pace, size_t n_rows)
{
	double least = INFINITY, first_ns = 0;
	size_t first = 0, n = 1; /* rows of the first class that is known, and of class c */

	for (size_t c = 0, end = class_of(n_rows); c < end; c++, n = pk_pace_same_rows(n + 1))
	{
		double ns = pace->ns_rows[c], row_ns = pace->ns_prompt;
		size_t n_near = n_rows - n < NEAR_ROWS(n) ? n_rows - n : NEAR_ROWS(n);

		if (ns == 0)
			continue;
		if (first > 0)
			row_ns = fmin(row_ns, (ns - first_ns) / (double) (n - first));
		else
			first = n, first_ns = ns;
		row_ns = fmax(row_ns, pace->ns_prompt * LEAST_OF_PROMPT);
		least = fmin(least, ns + (double) n_near * row_ns +
		                        (double) (n_rows - n - n_near) * pace->ns_prompt);
	}
	return least;
}

/* The next larger number of rows that is known: *n of them; infinite if there is none. */
static double
known_of_more(const PkPace *pace, size_t n_rows, size_t *n)
{
	*n = pk_pace_same_rows(n_rows);
	for (size_t c = class_of(n_rows) + 1; c < PK_PACE_CLASSES; c++)
	{
		*n = pk_pace_same_rows(*n + 1);
		if (pace->ns_rows[c] > 0)
			return pace->ns_rows[c];
	}
	return INFINITY;
}

double
pk_pace_target_ns(double decode_ns)
{
	double most = 1.5 * decode_ns > LONG_STEP_NS ? 1.5 * decode_ns : LONG_STEP_NS;
	double target = 2 * decode_ns < most ? 2 * decode_ns : most;

	return target > STEP_NS ? target : STEP_NS;
}

size_t
pk_pace_chunk(const PkPace *pace, size_t n_decode, double left_ns, size_t max_tokens)
{
	/* alone it reads the weights anyway */
	double alone_ns = pk_pace_decode_ns(pace, 1);
	double ns = n_decode == 0 && alone_ns > left_ns ? alone_ns : left_ns;
	double n_tokens = pace->ns_prompt > 0 ? ns / pace->ns_prompt : (double) max_tokens;

	if (n_tokens < 1)
		return 1;
	return n_tokens < (double) max_tokens ? (size_t) n_tokens : max_tokens;
}

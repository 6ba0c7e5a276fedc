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

/* Steps; the machine may have been busy then, or contexts shorter. */
#define FORGOTTEN_AFTER 50
/* A step is not thought to take longer than by this what fewer rows and prompt_ns say. */
#define MOST_BEYOND 1.5
/* A row costs at least so much of what a token of a prompt does. */
#define LEAST_OF_PROMPT (1.0 / 8)

static size_t class_of(size_t n_rows);
static double fewer_ns(const PkPace *pace, size_t n_rows, double *most);
static double prompt_ns(const PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns);

void
pk_pace_init(PkPace *pace, uint64_t n_weights, size_t n_threads, bool is_scalar)
{
	double n = (double) n_weights;

	*pace =
		(PkPace){.ns_prompt = n / ((is_scalar ? GUESS_SCALAR : GUESS_VECTOR) * (double) n_threads),
	             .ns_guess = n / GUESS_MEMORY};
}

void
pk_pace_measure(PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns)
{
	if (n_prompt == 0)
	{
		size_t  class = class_of(n_decode);
		double *ns = &pace->ns_rows[class];

		*ns = *ns > 0 ? (*ns + elapsed_ns) / 2 : elapsed_ns;
		pace->measured[class] = ++pace->n_measured;
		for (size_t c = 0; c < PK_PACE_CLASSES; c++)
			if (pace->n_measured - pace->measured[c] > FORGOTTEN_AFTER)
				pace->ns_rows[c] = 0;
	}
	else
		pace->ns_prompt +=
			SHARE * (prompt_ns(pace, n_decode, n_prompt, elapsed_ns) - pace->ns_prompt);
}

static size_t
class_of(size_t n_rows)
{
	size_t last = n_rows - 1, n_halved = 0;

	while (last >> n_halved >= 8)
		n_halved++;
	last = (last >> n_halved) + 4 * n_halved;
	return last < PK_PACE_CLASSES ? last : PK_PACE_CLASSES - 1;
}

size_t
pk_pace_same_rows(size_t n_decode)
{
	size_t n_halved = 0;

	while ((n_decode - 1) >> n_halved >= 8)
		n_halved++;
	return (((n_decode - 1) >> n_halved) + 1) << n_halved;
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

/* What was measured of as many, within what is known of fewer and of more. */
double
pk_pace_decode_ns(const PkPace *pace, size_t n_decode)
{
	size_t class = n_decode > 0 ? class_of(n_decode) : 0;
	double same = pace->ns_rows[class], more = INFINITY, most;
	double fewer;

	if (n_decode == 0)
		return 0;
	fewer = fewer_ns(pace, n_decode, &most);
	if (same > 0)
		return most * MOST_BEYOND < same ? most * MOST_BEYOND : same;
	for (size_t c = class + 1; c < PK_PACE_CLASSES; c++)
		more = pace->ns_rows[c] > 0 && pace->ns_rows[c] < more ? pace->ns_rows[c] : more;
	if (fewer < more)
		return fewer;
	return more < INFINITY ? more : pace->ns_guess;
}

/*
 * What n_rows take by what fewer took, infinite if nothing is known; *most if each row more costs
 * what a token of a prompt does. Where two numbers of rows were measured, their difference says
 * what a row costs, up to twice as many rows: often much less, as a step waits for memory.
 */
static double
fewer_ns(const PkPace *pace, size_t n_rows, double *most)
{
	double least = INFINITY, first_ns = 0;
	size_t first = 0, known = 1;

	*most = INFINITY;
	for (size_t c = 0; c < class_of(n_rows); c++, known = pk_pace_same_rows(known + 1))
	{
		double ns = pace->ns_rows[c], row_ns = pace->ns_prompt;
		size_t n_near = n_rows < 2 * known ? n_rows - known : known;

		if (ns == 0)
			continue;
		if (first > 0 && (ns - first_ns) / (double) (known - first) < row_ns)
			row_ns = (ns - first_ns) / (double) (known - first);
		if (row_ns < pace->ns_prompt * LEAST_OF_PROMPT)
			row_ns = pace->ns_prompt * LEAST_OF_PROMPT;
		if (first == 0)
			first = known, first_ns = ns;
		*most = fmin(*most, ns + (double) (n_rows - known) * pace->ns_prompt);
		least = fmin(least, ns + (double) n_near * row_ns +
		                        (double) (n_rows - known - n_near) * pace->ns_prompt);
	}
	return least;
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

/*
 * pace.c
 *    Two numbers a model, kept up to date by every step.
 */
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

static double prompt_ns(const PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns);

void
pk_pace_init(PkPace *pace, uint64_t n_weights, size_t n_threads, bool is_scalar)
{
	double n = (double) n_weights;

	pace->ns_prompt = n / ((is_scalar ? GUESS_SCALAR : GUESS_VECTOR) * (double) n_threads);
	pace->ns_step = n / GUESS_MEMORY;
	pace->n_rows = 0;
}

void
pk_pace_measure(PkPace *pace, size_t n_decode, size_t n_prompt, double elapsed_ns)
{
	if (n_prompt == 0)
	{
		bool is_known = pace->n_rows == n_decode;

		pace->ns_step = is_known ? (pace->ns_step + elapsed_ns) / 2 : elapsed_ns;
		pace->n_rows = n_decode;
	}
	else
		pace->ns_prompt +=
			SHARE * (prompt_ns(pace, n_decode, n_prompt, elapsed_ns) - pace->ns_prompt);
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
	if (ns > pace->ns_prompt && n_decode == 0 && elapsed_ns < 2 * pace->ns_step)
		return pace->ns_prompt;
	return ns < most ? ns : most;
}

double
pk_pace_decode_ns(const PkPace *pace, size_t n_decode)
{
	if (n_decode == 0)
		return 0;
	if (n_decode <= pace->n_rows)
		return pace->ns_step;
	return pace->ns_step + (double) (n_decode - pace->n_rows) * pace->ns_prompt;
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
	double ns = n_decode == 0 && pace->ns_step > left_ns ? pace->ns_step : left_ns;
	double n_tokens = pace->ns_prompt > 0 ? ns / pace->ns_prompt : (double) max_tokens;

	if (n_tokens < 1)
		return 1;
	return n_tokens < (double) max_tokens ? (size_t) n_tokens : max_tokens;
}

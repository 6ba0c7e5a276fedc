/*
 * test_sampler.c
 *    The sampler against a slow reference in double that sorts everything.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/base/rng.h"
#include "core/sample/sampler.h"

#define N_VOCAB 400
#define N_TOKENS 390 /* the last rows are never sampled */
#define N_RANDOM 4000
#define N_DRAWS 40000
/* chi-square of 9 degrees of freedom passes this once in 1,000,000 runs; the seed is fixed */
#define CHI_SQUARE_9 46.0
/* exp() in float, against exp() in double */
#define TOL_PROBABILITY 1e-6

static PkKernels kernels;
static float     logits[N_VOCAB] __attribute__((aligned(64)));

static PkSampleParams plain(void);
static int32_t        sample(PkSampleParams params, size_t position, float *logprob);
static void           test_greedy(void);
static void           test_masks(void);
static void           test_penalty(void);
static void           test_limits(void);
static void           test_reference(void);
static void           test_distribution(void);
static void           test_params(void);

int
main(void)
{
	PkError err;

	if (pk_kernels_select(pk_cpu_features(), NULL, &kernels, &err) != PK_OK)
		return 1;
	test_greedy();
	test_masks();
	test_penalty();
	test_limits();
	test_reference();
	test_distribution();
	test_params();
	return done_testing();
}

static PkSampleParams
plain(void)
{
	return (PkSampleParams){.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

/* One draw with 7 and 9 as end tokens, after 3, 5 and 3 were seen. */
static int32_t
sample(PkSampleParams params, size_t position, float *logprob)
{
	static const int32_t eos[] = {7, 9};
	static const int32_t seen[] = {3, 5, 3};
	PkSampler           *sampler = NULL;
	float                ignored;

	if (pk_sampler_create(&params, N_VOCAB, N_TOKENS, eos, 2, &sampler, NULL) != PK_OK)
		return -1;
	for (size_t i = 0; i < PK_LENGTH(seen); i++)
		pk_sampler_see(sampler, seen[i]);

	int32_t id =
		pk_sampler_next(sampler, &kernels, logits, position, logprob != NULL ? logprob : &ignored);

	pk_sampler_destroy(sampler);
	return id;
}

static void
fill(float value)
{
	for (size_t i = 0; i < N_VOCAB; i++)
		logits[i] = value;
}

static void
test_greedy(void)
{
	PkSampleParams params = plain();
	float          logprob;

	params.temperature = 0;
	fill(-1.0f);
	logits[20] = logits[30] = 2.0f;
	is_int(sample(params, 0, &logprob), 20, "greedy takes the lower of two equal ids");
	is_near(logprob, 2.0 - log(2 * exp(2.0) + (N_VOCAB - 2) * exp(-1.0)), TOL_PROBABILITY * 10,
	        "its log-probability counts all rows of the vocabulary");
	logits[N_TOKENS] = 9.0f;
	is_int(sample(params, 0, NULL), 20, "rows beyond the tokenizer's ids are never chosen");
	params.top_k = 1;
	params.top_p = 0.01f;
	params.seed = 77;
	is_int(sample(params, 0, NULL), 20, "greedy ignores top_k, top_p and seed");
}

static void
test_masks(void)
{
	PkSampleParams params = plain();

	params.temperature = 0;
	params.min_tokens = 2;
	fill(0.0f);
	logits[7] = 5.0f;
	logits[9] = 4.0f;
	logits[40] = 1.0f;
	is_int(sample(params, 0, NULL), 40, "no end token comes before min_tokens");
	is_int(sample(params, 1, NULL), 40, "nor as the last of them");
	is_int(sample(params, 2, NULL), 7, "after min_tokens it may");
	params.temperature = 1e-3f;
	is_int(sample(params, 1, NULL), 40, "the mask holds for draws too");
}

static void
test_penalty(void)
{
	PkSampleParams params = plain();

	params.temperature = 0;
	params.repetition_penalty = 2.0f;
	fill(-8.0f);
	logits[3] = 3.0f;
	logits[50] = 1.6f;
	is_int(sample(params, 0, NULL), 50, "a seen token is divided once, though it was seen twice");
	logits[50] = 1.4f;
	is_int(sample(params, 0, NULL), 3, "and not more than once");
	fill(-8.0f);
	logits[5] = -3.0f;
	logits[51] = -5.0f;
	is_int(sample(params, 0, NULL), 51, "a negative logit is multiplied");

	float logprob;

	fill(0.0f);
	logits[3] = 1.0f;
	(void) sample(params, 0, &logprob);
	is_near(logprob, 1.0 - log(exp(1.0) + N_VOCAB - 1), TOL_PROBABILITY * 10,
	        "the log-probability is that of the raw logits");
}

static void
test_limits(void)
{
	PkSampleParams params = plain();
	size_t         n_wrong = 0;

	fill(0.0f);
	logits[100] = logits[101] = logits[102] = 3.0f;
	params.top_k = 2;
	for (params.seed = 0; params.seed < 500; params.seed++)
	{
		int32_t id = sample(params, 0, NULL);

		n_wrong += id != 100 && id != 101;
	}
	is_int((long long) n_wrong, 0, "top_k 2 of three equal logits keeps the two lower ids");

	params = plain();
	params.top_p = 1e-6f;
	for (params.seed = 0; params.seed < 100; params.seed++)
		n_wrong += sample(params, 0, NULL) != 100;
	is_int((long long) n_wrong, 0, "a tiny top_p keeps one token");

	params = plain();
	params.top_k = 1000000;
	params.top_p = 1.0f;
	params.seed = 5;

	PkSampleParams no_top_k = params;

	no_top_k.top_k = 0;
	for (size_t i = 0; i < 200; i++)
		n_wrong += sample(params, i, NULL) != sample(no_top_k, i, NULL);
	is_int((long long) n_wrong, 0, "a top_k beyond the vocabulary is none");

	params.temperature = 1e-38f;
	ok(sample(params, 0, NULL) >= 100, "a temperature near 0 does not overflow");
	params.temperature = 1e30f;
	ok(sample(params, 0, NULL) >= 0, "nor does a huge one");
	n_wrong = 0;
	params = plain();
	for (params.seed = 0; params.seed < 2000; params.seed++)
	{
		int32_t id = sample(params, 3, NULL);

		n_wrong += id < 0 || id >= N_TOKENS;
	}
	is_int((long long) n_wrong, 0, "draws stay within the tokenizer's ids");
}

typedef struct Choice
{
	int32_t id;
	float   logit;
	double  weight;
} Choice;

static int
by_logit(const void *a, const void *b)
{
	const Choice *x = a;
	const Choice *y = b;

	if (x->logit != y->logit)
		return x->logit > y->logit ? -1 : 1;
	return x->id < y->id ? -1 : 1;
}

/*
 * The semantics written down once more, naively. Returns the id; *slack is how far the draw was
 * from the nearest border, in probability.
 */
static int32_t
reference(const PkSampleParams *params, size_t position, double *slack)
{
	Choice choices[N_TOKENS];
	size_t n = N_TOKENS;
	double mass = 0;
	double sum = 0;

	for (size_t i = 0; i < n; i++)
	{
		float x = logits[i];

		if (i == 3 || i == 5)
			x = x < 0 ? x * params->repetition_penalty : x / params->repetition_penalty;
		if ((i == 7 || i == 9) && position < (size_t) params->min_tokens)
			x = -INFINITY;
		choices[i] = (Choice){(int32_t) i, x, 0};
	}
	qsort(choices, n, sizeof(Choice), by_logit);
	for (size_t i = 0; i < n; i++)
		choices[i].weight = exp(((double) choices[i].logit - (double) choices[0].logit) /
		                        (double) params->temperature);
	if (params->top_k > 0 && (size_t) params->top_k < n)
		n = (size_t) params->top_k;
	for (size_t i = 0; i < n; i++)
		mass += choices[i].weight;
	*slack = 1;
	if (params->top_p < 1)
	{
		size_t kept = 0;

		do
		{
			sum += choices[kept++].weight;
			*slack = fmin(*slack, fabs(sum / mass - (double) params->top_p));
		} while (kept < n && sum < (double) params->top_p * mass);
		n = kept;
		mass = sum;
	}

	double goal = pk_rng_uniform(params->seed, position) * mass;

	sum = 0;
	for (size_t i = 0; i < n; i++)
	{
		sum += choices[i].weight;
		if (fabs(sum - goal) / mass < *slack)
			*slack = fabs(sum - goal) / mass;
		if (sum > goal)
			return choices[i].id;
	}
	return choices[n - 1].id;
}

/* Where the draw is not on a border, sampler and reference choose the same. */
static void
test_reference(void)
{
	unsigned seed = 4711;
	size_t   n_wrong = 0;
	size_t   n_close = 0;

	diag("seed %u", seed);
	srand(seed);
	for (size_t round = 0; round < N_RANDOM; round++)
	{
		PkSampleParams params = plain();
		size_t         position = (size_t) rand() % 5;
		double         slack;
		int            steps = 1 + rand() % 40; /* few steps make many ties */

		for (size_t i = 0; i < N_VOCAB; i++)
			logits[i] = (float) (rand() % (steps + 1)) / (float) steps * 12.0f - 6.0f;
		params.temperature = 0.1f + (float) (rand() % 30) / 10.0f;
		params.top_k = rand() % 3 == 0 ? rand() % N_TOKENS : 0;
		params.top_p = rand() % 2 == 0 ? (float) (1 + rand() % 100) / 100.0f : 1.0f;
		params.repetition_penalty = rand() % 2 == 0 ? 1.3f : 1.0f;
		params.min_tokens = rand() % 4;
		params.seed = (uint64_t) rand();

		int32_t want = reference(&params, position, &slack);

		if (slack < TOL_PROBABILITY)
			n_close++;
		else
			n_wrong += sample(params, position, NULL) != want;
	}
	is_int((long long) n_wrong, 0, "4,000 random settings choose what the reference chooses");
	ok(n_close < N_RANDOM / 20, "few of them were too close to call (%zu)", n_close);
}

static void
test_distribution(void)
{
	PkSampleParams params = plain();
	double         weights[10];
	double         total = 0;
	double         chi_square = 0;
	size_t         counts[10] = {0};
	size_t         n_other = 0;

	fill(-200.0f);
	for (size_t i = 0; i < 10; i++)
	{
		logits[20 + i] = (float) i * 0.3f;
		weights[i] = exp((double) logits[20 + i] / 1.5);
		total += weights[i];
	}
	params.temperature = 1.5f;
	params.seed = 31337;
	for (size_t n = 0; n < N_DRAWS; n++)
	{
		int32_t id = sample(params, n, NULL);

		if (id >= 20 && id < 30)
			counts[id - 20]++;
		else
			n_other++;
	}
	for (size_t i = 0; i < 10; i++)
	{
		double want = weights[i] / total * N_DRAWS;

		chi_square += ((double) counts[i] - want) * ((double) counts[i] - want) / want;
	}
	is_int((long long) n_other, 0, "what has no mass is not drawn");
	ok(chi_square < CHI_SQUARE_9, "40,000 draws have the distribution (chi-square %.1f)",
	   chi_square);
}

static void
refused(PkSampleParams params, const char *option)
{
	PkError err;

	ok(pk_sample_params_check(&params, &err) == PK_BAD_ARGUMENT && strstr(err.text, option) != NULL,
	   "a bad %s is refused by name", option);
}

static void
test_params(void)
{
	PkSampleParams params = plain();

	is_int(pk_sample_params_check(&params, NULL), PK_OK, "the defaults are good");
	params.temperature = -1;
	refused(params, "temperature");
	params.temperature = NAN;
	refused(params, "temperature");
	params = plain();
	params.top_k = -1;
	refused(params, "top_k");
	params = plain();
	params.top_p = 2;
	refused(params, "top_p");
	params.top_p = 0;
	refused(params, "top_p");
	params = plain();
	params.repetition_penalty = 0;
	refused(params, "repetition_penalty");
	params = plain();
	params.min_tokens = -1;
	refused(params, "min_tokens");
}

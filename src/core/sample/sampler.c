/*
 * sampler.c
 *    Greedy is one pass. Otherwise candidates leave a heap in (logit descending, id ascending), and
 *    only as many as top_k, top_p or the draw need: a sharp distribution costs a few of 30,000.
 *
 * Every sum runs in double in a fixed order, and exp() is the kernels', so a draw is the same on
 * every machine.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/rng.h"
#include "core/sample/sampler.h"

/* Candidates whose probability is below exp(-8) of the best wait outside the heap at first. */
#define NEAR_LOGIT (-8.0f)

struct PkSampler
{
	PkSampleParams params;
	size_t         n_vocab;
	size_t         n_tokens;
	int32_t       *eos;
	size_t         n_eos;
	uint8_t       *is_seen; /* (n_vocab) */
	int32_t       *seen;    /* distinct ids of prompt and output */
	size_t         n_seen;
	float         *logits;  /* (n_tokens) after penalty and mask */
	float         *weights; /* (n_tokens) exp((logit - best) / temperature) */
	int32_t       *heap;    /* ids, best first */
	size_t         n_heap;
	bool           has_far; /* candidates outside the heap are left */
	float          far_logit;
	int32_t       *popped; /* ids in order */
	size_t         n_popped;
};

static PkStatus sampler_allocate(PkSampler *sampler, const int32_t *eos, PkError *err);
static bool     is_plain_greedy(const PkSampler *sampler, size_t position);
static int32_t  first_best(const PkKernels *kernels, const float *logits, size_t n);
static void     adjust(PkSampler *sampler, const float *logits, size_t position);
static int32_t  draw(PkSampler *sampler, const PkKernels *kernels, size_t position);
static double   weigh(PkSampler *sampler, const PkKernels *kernels);
static double   keep_top_k(PkSampler *sampler);
static double   keep_top_p(PkSampler *sampler, double mass, size_t *n_kept);
static int32_t  pick(PkSampler *sampler, double goal, size_t n_kept);
static bool     candidate(PkSampler *sampler, size_t i, int32_t *id);
static void     heap_fill(PkSampler *sampler, bool is_near);
static void     heap_sift(PkSampler *sampler, size_t i);
static int32_t  heap_pop(PkSampler *sampler);
static bool     is_before(const PkSampler *sampler, int32_t a, int32_t b);

PkStatus
pk_sample_params_check(const PkSampleParams *params, PkError *err)
{
	if (!(params->temperature >= 0.0f) || isinf(params->temperature))
		return pk_error(err, PK_BAD_ARGUMENT, "temperature is %g, it must be finite and 0 or more",
		                (double) params->temperature);
	if (params->top_k < 0)
		return pk_error(err, PK_BAD_ARGUMENT, "top_k is %d, it must be 0 or more",
		                (int) params->top_k);
	if (!(params->top_p > 0.0f && params->top_p <= 1.0f))
		return pk_error(err, PK_BAD_ARGUMENT, "top_p is %g, it must be above 0 and at most 1",
		                (double) params->top_p);
	if (!(params->repetition_penalty > 0.0f) || isinf(params->repetition_penalty))
		return pk_error(err, PK_BAD_ARGUMENT,
		                "repetition_penalty is %g, it must be finite and above 0",
		                (double) params->repetition_penalty);
	if (params->min_tokens < 0)
		return pk_error(err, PK_BAD_ARGUMENT, "min_tokens is %d, it must be 0 or more",
		                (int) params->min_tokens);
	return PK_OK;
}

PkStatus
pk_sampler_create(const PkSampleParams *params, size_t n_vocab, size_t n_tokens, const int32_t *eos,
                  size_t n_eos, PkSampler **out, PkError *err)
{
	void *room;

	PK_FORWARD(pk_sample_params_check(params, err));
	if (n_tokens == 0 || n_tokens > n_vocab)
		return pk_error(err, PK_INTERNAL, "%zu tokens of a vocabulary of %zu rows", n_tokens,
		                n_vocab);
	PK_FORWARD(pk_calloc(1, sizeof(PkSampler), &room, err));

	PkSampler *sampler = room;

	sampler->params = *params;
	sampler->n_vocab = n_vocab;
	sampler->n_tokens = n_tokens;
	sampler->n_eos = n_eos;

	PkStatus status = sampler_allocate(sampler, eos, err);

	if (status != PK_OK)
	{
		pk_sampler_destroy(sampler);
		return status;
	}
	*out = sampler;
	return PK_OK;
}

/* Plain greedy needs none of the large arrays. */
static PkStatus
sampler_allocate(PkSampler *sampler, const int32_t *eos, PkError *err)
{
	const PkSampleParams *params = &sampler->params;
	void                 *room;

	PK_FORWARD(pk_calloc(sampler->n_eos, sizeof(int32_t), &room, err));
	sampler->eos = room;
	if (sampler->n_eos > 0)
		memcpy(sampler->eos, eos, sampler->n_eos * sizeof(int32_t));
	if (is_plain_greedy(sampler, 0))
		return PK_OK;
	PK_FORWARD(pk_calloc(sampler->n_tokens, sizeof(float), &room, err));
	sampler->logits = room;
	if (params->repetition_penalty != 1.0f)
	{
		PK_FORWARD(pk_calloc(sampler->n_vocab, sizeof(uint8_t), &room, err));
		sampler->is_seen = room;
		PK_FORWARD(pk_calloc(sampler->n_vocab, sizeof(int32_t), &room, err));
		sampler->seen = room;
	}
	if (params->temperature == 0.0f)
		return PK_OK;
	PK_FORWARD(pk_calloc(sampler->n_tokens, sizeof(float), &room, err));
	sampler->weights = room;
	PK_FORWARD(pk_calloc(sampler->n_tokens, sizeof(int32_t), &room, err));
	sampler->heap = room;
	PK_FORWARD(pk_calloc(sampler->n_tokens, sizeof(int32_t), &room, err));
	sampler->popped = room;
	return PK_OK;
}

void
pk_sampler_destroy(PkSampler *sampler)
{
	if (sampler == NULL)
		return;
	free(sampler->eos);
	free(sampler->is_seen);
	free(sampler->seen);
	free(sampler->logits);
	free(sampler->weights);
	free(sampler->heap);
	free(sampler->popped);
	free(sampler);
}

void
pk_sampler_see(PkSampler *sampler, int32_t id)
{
	if (sampler->is_seen == NULL || id < 0 || (size_t) id >= sampler->n_vocab ||
	    sampler->is_seen[id])
		return;
	sampler->is_seen[id] = 1;
	sampler->seen[sampler->n_seen++] = id;
}

int32_t
pk_sampler_next(PkSampler *sampler, const PkKernels *kernels, const float *logits, size_t position,
                float *logprob)
{
	int32_t id;

	if (is_plain_greedy(sampler, position))
		id = first_best(kernels, logits, sampler->n_tokens);
	else
	{
		adjust(sampler, logits, position);
		id = sampler->params.temperature == 0.0f
		         ? first_best(kernels, sampler->logits, sampler->n_tokens)
		         : draw(sampler, kernels, position);
	}
	pk_sampler_see(sampler, id);
	*logprob = pk_log_probability(kernels, logits, sampler->n_vocab, id);
	return id;
}

static bool
is_plain_greedy(const PkSampler *sampler, size_t position)
{
	const PkSampleParams *params = &sampler->params;

	return params->temperature == 0.0f && params->repetition_penalty == 1.0f &&
	       position >= (size_t) params->min_tokens;
}

static int32_t
first_best(const PkKernels *kernels, const float *logits, size_t n)
{
	float best = kernels->max(logits, n);

	for (size_t i = 0; i < n; i++)
		if (logits[i] == best)
			return (int32_t) i;
	return 0; /* only NaN gets here */
}

/* Copy, repetition penalty, mask of the end tokens. */
static void
adjust(PkSampler *sampler, const float *logits, size_t position)
{
	float penalty = sampler->params.repetition_penalty;

	memcpy(sampler->logits, logits, sampler->n_tokens * sizeof(float));
	for (size_t i = 0; i < sampler->n_seen; i++)
	{
		size_t id = (size_t) sampler->seen[i];

		if (id < sampler->n_tokens)
			sampler->logits[id] = logits[id] < 0.0f ? logits[id] * penalty : logits[id] / penalty;
	}
	if (position >= (size_t) sampler->params.min_tokens)
		return;
	for (size_t i = 0; i < sampler->n_eos; i++)
		if (sampler->eos[i] >= 0 && (size_t) sampler->eos[i] < sampler->n_tokens)
			sampler->logits[sampler->eos[i]] = -INFINITY;
}

static int32_t
draw(PkSampler *sampler, const PkKernels *kernels, size_t position)
{
	double mass = weigh(sampler, kernels);
	size_t n_kept = sampler->n_tokens;

	if (sampler->params.top_k > 0 && (size_t) sampler->params.top_k < sampler->n_tokens)
	{
		mass = keep_top_k(sampler);
		n_kept = sampler->n_popped;
	}
	if (sampler->params.top_p < 1.0f)
		mass = keep_top_p(sampler, mass, &n_kept);
	return pick(sampler, pk_rng_uniform(sampler->params.seed, position) * mass, n_kept);
}

/* Probabilities up to a factor; returns their sum in id order. Starts the heap. */
static double
weigh(PkSampler *sampler, const PkKernels *kernels)
{
	size_t n = sampler->n_tokens;
	float  best = kernels->max(sampler->logits, n);
	double mass = 0;

	/* the best is subtracted first: a low temperature would overflow */
	for (size_t i = 0; i < n; i++)
		sampler->weights[i] = (sampler->logits[i] - best) / sampler->params.temperature;
	kernels->exp_shifted(sampler->weights, sampler->weights, 0.0f, n);
	for (size_t i = 0; i < n; i++)
		mass += (double) sampler->weights[i];

	sampler->n_popped = 0;
	sampler->far_logit = best + NEAR_LOGIT * sampler->params.temperature;
	sampler->has_far = true;
	heap_fill(sampler, true);
	return mass;
}

/* Pops top_k candidates; returns their mass. */
static double
keep_top_k(PkSampler *sampler)
{
	double  mass = 0;
	int32_t id;

	for (size_t i = 0; i < (size_t) sampler->params.top_k && candidate(sampler, i, &id); i++)
		mass += (double) sampler->weights[id];
	return mass;
}

/* The smallest set with top_p of the mass, at least one; returns its mass and size. */
static double
keep_top_p(PkSampler *sampler, double mass, size_t *n_kept)
{
	double  goal = (double) sampler->params.top_p * mass;
	double  sum = 0;
	size_t  n = 0;
	int32_t id;

	while (n < *n_kept && (n == 0 || sum < goal) && candidate(sampler, n, &id))
	{
		sum += (double) sampler->weights[id];
		n++;
	}
	*n_kept = n;
	return sum;
}

/* Inverse CDF: the first candidate at which the sum passes goal. */
static int32_t
pick(PkSampler *sampler, double goal, size_t n_kept)
{
	double  sum = 0;
	int32_t id;
	int32_t chosen = 0;

	for (size_t i = 0; i < n_kept && candidate(sampler, i, &id); i++)
	{
		/* the last with a weight, if rounding leaves the sum below goal */
		if (i == 0 || sampler->weights[id] > 0.0f)
			chosen = id;
		sum += (double) sampler->weights[id];
		if (sum > goal)
			break;
	}
	return chosen;
}

/* Candidate number i in (logit descending, id ascending); false when there are no more. */
static bool
candidate(PkSampler *sampler, size_t i, int32_t *id)
{
	while (i >= sampler->n_popped)
	{
		if (sampler->n_heap == 0 && sampler->has_far)
		{
			sampler->has_far = false;
			heap_fill(sampler, false);
		}
		if (sampler->n_heap == 0)
			return false;
		sampler->popped[sampler->n_popped++] = heap_pop(sampler);
	}
	*id = sampler->popped[i];
	return true;
}

static void
heap_fill(PkSampler *sampler, bool is_near)
{
	sampler->n_heap = 0;
	for (size_t i = 0; i < sampler->n_tokens; i++)
	{
		float logit = sampler->logits[i];

		if (logit > -INFINITY && (logit >= sampler->far_logit) == is_near)
			sampler->heap[sampler->n_heap++] = (int32_t) i;
	}
	for (size_t i = sampler->n_heap / 2; i-- > 0;)
		heap_sift(sampler, i);
}

static void
heap_sift(PkSampler *sampler, size_t i)
{
	int32_t *heap = sampler->heap;
	int32_t  id = heap[i];

	for (;;)
	{
		size_t child = 2 * i + 1;

		if (child >= sampler->n_heap)
			break;
		if (child + 1 < sampler->n_heap && is_before(sampler, heap[child + 1], heap[child]))
			child++;
		if (!is_before(sampler, heap[child], id))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = id;
}

static int32_t
heap_pop(PkSampler *sampler)
{
	int32_t best = sampler->heap[0];

	sampler->heap[0] = sampler->heap[--sampler->n_heap];
	if (sampler->n_heap > 0)
		heap_sift(sampler, 0);
	return best;
}

static bool
is_before(const PkSampler *sampler, int32_t a, int32_t b)
{
	float logit_a = sampler->logits[a];
	float logit_b = sampler->logits[b];

	return logit_a > logit_b || (logit_a == logit_b && a < b);
}

float
pk_log_probability(const PkKernels *kernels, const float *logits, size_t n_vocab, int32_t id)
{
	float  best = kernels->max(logits, n_vocab);
	double sum = (double) kernels->sum_exp(logits, best, n_vocab);

	return (float) ((double) logits[id] - (double) best - log(sum));
}

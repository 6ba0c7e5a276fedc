/*
 * sampler.h
 *    From logits to the next token.
 *
 * Order: repetition_penalty (as Hugging Face: each distinct token of prompt and output once),
 * min_tokens mask (all end tokens), temperature, top_k, top_p (smallest set with mass >= p, at
 * least one). Ties: lower id first. The draw is the inverse CDF in (logit descending, id
 * ascending). temperature 0 is greedy and ignores top_k, top_p and seed.
 */
#ifndef PK_SAMPLER_H
#define PK_SAMPLER_H

#include "core/base/status.h"
#include "core/kernels/kernels.h"

typedef struct PkSampleParams
{
	float    temperature;        /* >= 0; 0: greedy */
	int32_t  top_k;              /* >= 0; 0: all */
	float    top_p;              /* (0, 1] */
	float    repetition_penalty; /* > 0; 1: none */
	int32_t  min_tokens;         /* >= 0 */
	uint64_t seed;
} PkSampleParams;

/* PK_BAD_ARGUMENT naming the option and its value. */
PkStatus pk_sample_params_check(const PkSampleParams *params, PkError *err);

typedef struct PkSampler PkSampler;

/* n_tokens: ids from n_tokens on are never sampled. eos (n_eos): masked until min_tokens. */
PkStatus pk_sampler_create(const PkSampleParams *params, size_t n_vocab, size_t n_tokens,
                           const int32_t *eos, size_t n_eos, PkSampler **out, PkError *err);
void     pk_sampler_destroy(PkSampler *sampler);

/* Tell it a token of the prompt (for repetition_penalty). */
void pk_sampler_see(PkSampler *sampler, int32_t id);

/*
 * Next token from logits (V), which are left unchanged; the sampler also sees it. position counts
 * generated tokens from 0 (the counter of the random draw). *logprob is the log-softmax of the raw
 * logits over the whole vocabulary (V), as Hugging Face has it.
 */
int32_t pk_sampler_next(PkSampler *sampler, const PkKernels *kernels, const float *logits,
                        size_t position, float *logprob);

/* Log-softmax at id of raw logits (V). */
float pk_log_probability(const PkKernels *kernels, const float *logits, size_t n_vocab, int32_t id);

#endif

/*
 * config.h
 *    Hyperparameters of a model, from config.json and generation_config.json. Field names are
 *    Hugging Face's. The struct lies in the image as it is: fixed-size fields only.
 */
#ifndef PK_CONFIG_H
#define PK_CONFIG_H

#include "core/base/json.h"
#include "core/base/status.h"

#define PK_MAX_EOS 16

typedef enum PkAct
{
	PK_ACT_GELU = 0,     /* "gelu": exact, erf */
	PK_ACT_GELU_TANH = 1 /* "gelu_new", "gelu_fast", "gelu_pytorch_tanh" */
} PkAct;

typedef struct PkConfig
{
	uint32_t hidden_size;
	uint32_t intermediate_size;
	uint32_t num_hidden_layers;
	uint32_t num_attention_heads;
	uint32_t max_position_embeddings;
	uint32_t vocab_size; /* rows of the tensors once they are known (may be padded) */
	uint32_t n_tokens; /* ids the tokenizer knows, at most vocab_size; the rest is never sampled */
	uint32_t rotary_dims; /* dimensions of each head that are rotated, even */
	float    rope_theta;
	float    layer_norm_eps;
	uint32_t hidden_act; /* PkAct */
	uint32_t use_parallel_residual;
	uint32_t attention_bias;
	uint32_t tie_word_embeddings;
	uint32_t n_eos;
	int32_t  eos_token_ids[PK_MAX_EOS]; /* every id that ends a generation */
	int32_t  bos_token_id;              /* -1: none */
	int32_t  endoftext_id;              /* of <|endoftext|>, -1: none; stands for an empty prompt */
	uint32_t reserved[8];
} PkConfig;

/* Read config.json; both generations of keys. vocab_size is the file's, eos ids are the file's. */
PkStatus pk_config_parse(const char *json, size_t len, PkConfig *out, PkError *err);

/* Add the eos ids of generation_config.json. */
PkStatus pk_config_parse_generation(const char *json, size_t len, PkConfig *config, PkError *err);

/* Let id end a generation; an id beyond the vocabulary, or one that does already, is left out. */
PkStatus pk_config_add_eos(PkConfig *config, int64_t id, PkError *err);

/* The vocabulary has n_rows rows in the tensors; ids beyond them are dropped. */
PkStatus pk_config_set_vocab(PkConfig *config, uint64_t n_rows, PkError *err);

/* Check every field against its limits and each other (also of a config read from an image). */
PkStatus pk_config_check(const PkConfig *config, PkError *err);

/* Number of weights, biases and norms. */
uint64_t pk_config_n_parameters(const PkConfig *config);

#endif

/*
 * config.c
 *    config.json and generation_config.json to PkConfig.
 *
 * Keys that are absent have the defaults of transformers' GPTNeoXConfig, whose two generations of
 * names for the rotary embedding are both read: rotary_pct and rotary_emb_base at top level
 * (transformers 4), rope_parameters (transformers 5; wins where both are given).
 */
#include <math.h>
#include <string.h>

#include "core/model/config.h"

/* Limits keep every product of dimensions far below 2^63. */
#define MAX_HIDDEN 65536
#define MAX_INTERMEDIATE 262144
#define MAX_LAYERS 1024
#define MAX_HEADS 4096
#define MAX_POSITIONS 1048576
#define MAX_VOCAB 16777216
#define MAX_ROPE_ITEMS (UINT64_C(1) << 25) /* cos and sin together: 128 MiB */

static PkStatus read_object(const char *json, size_t len, const char *file, PkJsonDoc **doc,
                            PkError *err);
static PkStatus read_config(const PkJson *root, PkConfig *out, PkError *err);
static PkStatus check_architecture(const PkJson *root, PkError *err);
static PkStatus read_act(const PkJson *root, uint32_t *act, PkError *err);
static PkStatus read_rotary(const PkJson *root, PkConfig *config, PkError *err);
static PkStatus check_rope_type(const PkJson *object, const char *where, PkError *err);
static PkStatus read_count(const PkJson *root, const char *key, uint32_t fallback, uint32_t max,
                           uint32_t *out, PkError *err);
static PkStatus read_flag(const PkJson *root, const char *key, bool fallback, uint32_t *out,
                          PkError *err);
static PkStatus read_real(const PkJson *object, const char *key, double fallback, double *out,
                          PkError *err);
static PkStatus read_eos(const PkJson *root, const char *file, PkConfig *config, PkError *err);
static PkStatus add_eos(const PkJson *node, const char *file, PkConfig *config, PkError *err);
static PkStatus read_bos(const PkJson *root, PkConfig *config, PkError *err);
static PkStatus check_range(uint32_t value, uint32_t max, const char *name, PkError *err);
static PkStatus check_ids(const PkConfig *config, PkError *err);
static bool     is_given(const PkJson *node);

PkStatus
pk_config_parse(const char *json, size_t len, PkConfig *out, PkError *err)
{
	PkJsonDoc *doc;

	PK_FORWARD(read_object(json, len, "config.json", &doc, err));

	PkStatus status = read_config(pk_json_root(doc), out, err);

	pk_json_free(doc);
	return status;
}

static PkStatus
read_object(const char *json, size_t len, const char *file, PkJsonDoc **doc, PkError *err)
{
	PK_FORWARD(pk_json_parse(json, len, file, doc, err));
	if (pk_json_type(pk_json_root(*doc)) != PK_JSON_OBJECT)
	{
		pk_json_free(*doc);
		return pk_error(err, PK_BAD_FILE, "%s is not a JSON object", file);
	}
	return PK_OK;
}

static PkStatus
read_config(const PkJson *root, PkConfig *out, PkError *err)
{
	PkConfig config = {.endoftext_id = -1};
	double   eps;

	PK_FORWARD(check_architecture(root, err));
	PK_FORWARD(read_count(root, "hidden_size", 6144, MAX_HIDDEN, &config.hidden_size, err));
	PK_FORWARD(read_count(root, "intermediate_size", 24576, MAX_INTERMEDIATE,
	                      &config.intermediate_size, err));
	PK_FORWARD(
		read_count(root, "num_hidden_layers", 44, MAX_LAYERS, &config.num_hidden_layers, err));
	PK_FORWARD(
		read_count(root, "num_attention_heads", 64, MAX_HEADS, &config.num_attention_heads, err));
	PK_FORWARD(read_count(root, "max_position_embeddings", 2048, MAX_POSITIONS,
	                      &config.max_position_embeddings, err));
	PK_FORWARD(read_count(root, "vocab_size", 50432, MAX_VOCAB, &config.vocab_size, err));
	PK_FORWARD(read_act(root, &config.hidden_act, err));
	PK_FORWARD(read_flag(root, "use_parallel_residual", true, &config.use_parallel_residual, err));
	PK_FORWARD(read_flag(root, "attention_bias", true, &config.attention_bias, err));
	PK_FORWARD(read_flag(root, "tie_word_embeddings", false, &config.tie_word_embeddings, err));
	PK_FORWARD(read_real(root, "layer_norm_eps", 1e-5, &eps, err));
	config.layer_norm_eps = (float) eps;
	PK_FORWARD(read_rotary(root, &config, err));
	PK_FORWARD(read_bos(root, &config, err));
	PK_FORWARD(read_eos(root, "config.json", &config, err));
	PK_FORWARD(pk_config_check(&config, err));
	*out = config;
	return PK_OK;
}

/* What kind of model it is; everything that would change the arithmetic is refused by name. */
static PkStatus
check_architecture(const PkJson *root, PkError *err)
{
	char        quoted[80];
	size_t      len;
	const char *type = pk_json_string(pk_json_get(root, "model_type"), &len);

	if (type == NULL)
		return pk_error(err, PK_UNSUPPORTED,
		                "config.json names no model_type; \"gpt_neox\" is run");
	if (!pk_json_string_is(pk_json_get(root, "model_type"), "gpt_neox"))
	{
		pk_error(err, PK_UNSUPPORTED, "model_type \"%s\" is not supported",
		         pk_error_quote(quoted, sizeof(quoted), type, len));
		return pk_error_hint(err, PK_UNSUPPORTED,
		                     "Models of the type \"gpt_neox\", such as Polyglot-Ko, can be run.");
	}
	if (is_given(pk_json_get(root, "quantization_config")))
	{
		pk_error(err, PK_UNSUPPORTED,
		         "the checkpoint is quantized (config.json has quantization_config)");
		return pk_error_hint(err, PK_UNSUPPORTED,
		                     "Use the original checkpoint in float16, bfloat16 or float32; the "
		                     "option \"quantization\" quantizes it.");
	}
	return PK_OK;
}

static PkStatus
read_act(const PkJson *root, uint32_t *act, PkError *err)
{
	static const struct
	{
		const char *name;
		PkAct       act;
	} known[] = {
		{"gelu", PK_ACT_GELU},
		{"gelu_python", PK_ACT_GELU},
		{"gelu_new", PK_ACT_GELU_TANH},
		{"gelu_fast", PK_ACT_GELU_TANH},
		{"gelu_pytorch_tanh", PK_ACT_GELU_TANH},
	};
	const PkJson *node = pk_json_get(root, "hidden_act");
	char          quoted[80];
	size_t        len;
	const char   *name = pk_json_string(node, &len);

	*act = PK_ACT_GELU;
	if (node == NULL)
		return PK_OK;
	if (name == NULL)
		return pk_error(err, PK_BAD_FILE, "hidden_act in config.json is not a string");
	for (size_t i = 0; i < PK_LENGTH(known); i++)
	{
		if (pk_json_string_is(node, known[i].name))
		{
			*act = (uint32_t) known[i].act;
			return PK_OK;
		}
	}
	return pk_error(err, PK_UNSUPPORTED, "hidden_act \"%s\" is not supported",
	                pk_error_quote(quoted, sizeof(quoted), name, len));
}

static PkStatus
read_rotary(const PkJson *root, PkConfig *config, PkError *err)
{
	const PkJson *rope = pk_json_get(root, "rope_parameters");
	double        share, theta;
	int64_t       head_dim;

	if (is_given(rope) && pk_json_type(rope) != PK_JSON_OBJECT)
		return pk_error(err, PK_BAD_FILE, "rope_parameters in config.json is not an object");
	PK_FORWARD(check_rope_type(pk_json_get(root, "rope_scaling"), "rope_scaling", err));
	PK_FORWARD(check_rope_type(rope, "rope_parameters", err));

	PK_FORWARD(read_real(root, "rotary_pct", 0.25, &share, err));
	PK_FORWARD(read_real(root, "rotary_emb_base", 10000, &theta, err));
	PK_FORWARD(read_real(root, "partial_rotary_factor", share, &share, err));
	PK_FORWARD(read_real(root, "rope_theta", theta, &theta, err));
	PK_FORWARD(read_real(rope, "partial_rotary_factor", share, &share, err));
	PK_FORWARD(read_real(rope, "rope_theta", theta, &theta, err));

	if (config->hidden_size % config->num_attention_heads != 0)
		return pk_error(err, PK_BAD_FILE,
		                "hidden_size %u in config.json is no multiple of num_attention_heads %u",
		                config->hidden_size, config->num_attention_heads);

	uint32_t head_size = config->hidden_size / config->num_attention_heads;

	if (pk_json_int(pk_json_get(root, "head_dim"), &head_dim) && head_dim != (int64_t) head_size)
		return pk_error(err, PK_UNSUPPORTED,
		                "head_dim %lld in config.json differs from %u, the share "
		                "of each head in hidden_size",
		                (long long) head_dim, head_size);
	if (!(share >= 0 && share <= 1))
		return pk_error(err, PK_BAD_FILE,
		                "the rotary share %g of each head in config.json is not between 0 and 1",
		                share);
	config->rotary_dims = (uint32_t) (head_size * share); /* cut off, as transformers' int() */
	config->rope_theta = (float) theta;
	return PK_OK;
}

static PkStatus
check_rope_type(const PkJson *object, const char *where, PkError *err)
{
	static const char *const keys[] = {"rope_type", "type"};
	char                     quoted[80];

	if (!is_given(object))
		return PK_OK;
	if (pk_json_type(object) != PK_JSON_OBJECT)
		return pk_error(err, PK_BAD_FILE, "%s in config.json is not an object", where);
	for (size_t i = 0; i < PK_LENGTH(keys); i++)
	{
		const PkJson *node = pk_json_get(object, keys[i]);
		size_t        len = 0;
		const char   *type = pk_json_string(node, &len);

		if (is_given(node) && !pk_json_string_is(node, "default"))
			return pk_error(err, PK_UNSUPPORTED, "%s \"%s\" of %s in config.json is not supported",
			                keys[i],
			                pk_error_quote(quoted, sizeof(quoted), type != NULL ? type : "?",
			                               type != NULL ? len : 1),
			                where);
	}
	return PK_OK;
}

/* A number from 1 to max. */
static PkStatus
read_count(const PkJson *root, const char *key, uint32_t fallback, uint32_t max, uint32_t *out,
           PkError *err)
{
	const PkJson *node = pk_json_get(root, key);
	int64_t       value = fallback;

	if (node != NULL && !pk_json_int(node, &value))
		return pk_error(err, PK_BAD_FILE, "%s in config.json is not an integer", key);
	if (value < 1 || value > (int64_t) max)
		return pk_error(err, PK_BAD_FILE, "%s %lld in config.json is not between 1 and %u", key,
		                (long long) value, max);
	*out = (uint32_t) value;
	return PK_OK;
}

static PkStatus
read_flag(const PkJson *root, const char *key, bool fallback, uint32_t *out, PkError *err)
{
	const PkJson *node = pk_json_get(root, key);
	bool          value = fallback;

	/* null is false to Python, so it is the default where that is false; elsewhere it is refused:
	 * transformers 4 would take it for the contrary of the default, transformers 5 refuses it */
	if (pk_json_type(node) == PK_JSON_NULL && !fallback)
		node = NULL;
	if (node != NULL && !pk_json_bool(node, &value))
		return pk_error(err, PK_BAD_FILE, "%s in config.json is not true or false", key);
	*out = value;
	return PK_OK;
}

static PkStatus
read_real(const PkJson *object, const char *key, double fallback, double *out, PkError *err)
{
	const PkJson *node = pk_json_get(object, key);

	*out = fallback;
	if (is_given(node) && !pk_json_real(node, out))
		return pk_error(err, PK_BAD_FILE, "%s in config.json is not a number", key);
	return PK_OK;
}

static PkStatus
read_bos(const PkJson *root, PkConfig *config, PkError *err)
{
	const PkJson *node = pk_json_get(root, "bos_token_id");
	int64_t       id = 0;

	config->bos_token_id = -1;
	if (pk_json_type(node) == PK_JSON_NULL)
		return PK_OK;
	if (node != NULL && !pk_json_int(node, &id))
		return pk_error(err, PK_BAD_FILE, "bos_token_id in config.json is not an integer");
	if (id >= 0 && id < (int64_t) config->vocab_size)
		config->bos_token_id = (int32_t) id;
	return PK_OK;
}

PkStatus
pk_config_parse_generation(const char *json, size_t len, PkConfig *config, PkError *err)
{
	PkJsonDoc *doc;

	PK_FORWARD(read_object(json, len, "generation_config.json", &doc, err));

	const PkJson *root = pk_json_root(doc);
	PkStatus      status = PK_OK;

	if (pk_json_get(root, "eos_token_id") != NULL)
		status = read_eos(root, "generation_config.json", config, err);
	pk_json_free(doc);
	return status;
}

/* eos_token_id is a number, a list of numbers or null. */
static PkStatus
read_eos(const PkJson *root, const char *file, PkConfig *config, PkError *err)
{
	const PkJson *node = pk_json_get(root, "eos_token_id");

	switch (pk_json_type(node))
	{
		case PK_JSON_MISSING:
			return pk_config_add_eos(config, 2, err);
		case PK_JSON_NULL:
			return PK_OK;
		case PK_JSON_ARRAY:
			for (size_t i = 0; i < pk_json_size(node); i++)
				PK_FORWARD(add_eos(pk_json_at(node, i), file, config, err));
			return PK_OK;
		default:
			return add_eos(node, file, config, err);
	}
}

static PkStatus
add_eos(const PkJson *node, const char *file, PkConfig *config, PkError *err)
{
	int64_t id;

	if (!pk_json_int(node, &id))
		return pk_error(err, PK_BAD_FILE,
		                "eos_token_id in %s is neither an integer nor a list of "
		                "integers",
		                file);
	return pk_config_add_eos(config, id, err);
}

PkStatus
pk_config_add_eos(PkConfig *config, int64_t id, PkError *err)
{
	if (id < 0 || id >= (int64_t) config->vocab_size)
		return PK_OK;
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos_token_ids[i] == (int32_t) id)
			return PK_OK;
	if (config->n_eos == PK_MAX_EOS)
		return pk_error(err, PK_UNSUPPORTED, "the model has more than %d end tokens", PK_MAX_EOS);
	config->eos_token_ids[config->n_eos++] = (int32_t) id;
	return PK_OK;
}

PkStatus
pk_config_set_vocab(PkConfig *config, uint64_t n_rows, PkError *err)
{
	uint32_t n_kept = 0;

	if (n_rows < 1 || n_rows > MAX_VOCAB)
		return pk_error(err, PK_BAD_FILE, "the vocabulary has %llu rows, not between 1 and %d",
		                (unsigned long long) n_rows, MAX_VOCAB);
	config->vocab_size = (uint32_t) n_rows;
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos_token_ids[i] < (int64_t) n_rows)
			config->eos_token_ids[n_kept++] = config->eos_token_ids[i];
	for (uint32_t i = n_kept; i < config->n_eos; i++)
		config->eos_token_ids[i] = 0; /* the struct is written to images as it is */
	config->n_eos = n_kept;
	if (config->bos_token_id >= (int64_t) n_rows)
		config->bos_token_id = -1;
	return PK_OK;
}

PkStatus
pk_config_check(const PkConfig *config, PkError *err)
{
	PK_FORWARD(check_range(config->hidden_size, MAX_HIDDEN, "hidden_size", err));
	PK_FORWARD(check_range(config->intermediate_size, MAX_INTERMEDIATE, "intermediate_size", err));
	PK_FORWARD(check_range(config->num_hidden_layers, MAX_LAYERS, "num_hidden_layers", err));
	PK_FORWARD(check_range(config->num_attention_heads, MAX_HEADS, "num_attention_heads", err));
	PK_FORWARD(check_range(config->max_position_embeddings, MAX_POSITIONS,
	                       "max_position_embeddings", err));
	PK_FORWARD(check_range(config->vocab_size, MAX_VOCAB, "vocab_size", err));

	if (config->hidden_size % config->num_attention_heads != 0)
		return pk_error(err, PK_BAD_FILE, "hidden_size %u is no multiple of num_attention_heads %u",
		                config->hidden_size, config->num_attention_heads);
	if (config->rotary_dims < 2 || config->rotary_dims % 2 != 0 ||
	    config->rotary_dims > config->hidden_size / config->num_attention_heads)
		return pk_error(err, PK_BAD_FILE,
		                "%u rotary dimensions of heads of size %u: an even number from 2 is needed",
		                config->rotary_dims, config->hidden_size / config->num_attention_heads);
	if ((uint64_t) config->max_position_embeddings * config->rotary_dims > MAX_ROPE_ITEMS)
		return pk_error(err, PK_UNSUPPORTED, "%u positions of %u rotary dimensions are too many",
		                config->max_position_embeddings, config->rotary_dims);
	if (!(config->rope_theta >= 1 && isfinite(config->rope_theta)))
		return pk_error(err, PK_BAD_FILE, "the rotary base %g is not a number from 1 up",
		                (double) config->rope_theta);
	if (!(config->layer_norm_eps > 0 && config->layer_norm_eps < 1))
		return pk_error(err, PK_BAD_FILE, "layer_norm_eps %g is not between 0 and 1",
		                (double) config->layer_norm_eps);
	if (config->hidden_act > PK_ACT_GELU_TANH || config->use_parallel_residual > 1 ||
	    config->attention_bias > 1 || config->tie_word_embeddings > 1)
		return pk_error(err, PK_BAD_FILE, "a flag of the model's configuration is out of range");
	return check_ids(config, err);
}

static PkStatus
check_range(uint32_t value, uint32_t max, const char *name, PkError *err)
{
	if (value < 1 || value > max)
		return pk_error(err, PK_BAD_FILE, "%s %u is not between 1 and %u", name, value, max);
	return PK_OK;
}

static PkStatus
check_ids(const PkConfig *config, PkError *err)
{
	int64_t vocab_size = config->vocab_size;

	if (config->n_tokens > config->vocab_size)
		return pk_error(err, PK_BAD_FILE, "the tokenizer has %u tokens, the model only %u rows",
		                config->n_tokens, config->vocab_size);
	if (config->n_eos > PK_MAX_EOS)
		return pk_error(err, PK_BAD_FILE, "%u end tokens, at most %d are possible", config->n_eos,
		                PK_MAX_EOS);
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos_token_ids[i] < 0 || config->eos_token_ids[i] >= vocab_size)
			return pk_error(err, PK_BAD_FILE, "end token %d is not in the vocabulary",
			                (int) config->eos_token_ids[i]);
	if (config->bos_token_id < -1 || config->bos_token_id >= vocab_size ||
	    config->endoftext_id < -1 || config->endoftext_id >= vocab_size)
		return pk_error(err, PK_BAD_FILE, "a special token is not in the vocabulary");
	return PK_OK;
}

uint64_t
pk_config_n_parameters(const PkConfig *config)
{
	uint64_t E = config->hidden_size, F = config->intermediate_size, V = config->vocab_size;
	uint64_t attention = 4 * E * E + (config->attention_bias ? 4 * E : 0);
	uint64_t mlp = 2 * E * F + F + E;
	uint64_t norms = 4 * E;
	uint64_t embeddings = (config->tie_word_embeddings ? 1 : 2) * V * E;

	return config->num_hidden_layers * (attention + mlp + norms) + 2 * E + embeddings;
}

static bool
is_given(const PkJson *node)
{
	PkJsonType type = pk_json_type(node);

	return type != PK_JSON_MISSING && type != PK_JSON_NULL;
}

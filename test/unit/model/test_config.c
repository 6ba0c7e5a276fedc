/*
 * test_config.c
 *    config.json and generation_config.json: both generations of keys, defaults, limits.
 */
#include "maker.h"

#define BASE "{\"model_type\": \"gpt_neox\", \"hidden_size\": 256, \"num_attention_heads\": 4"

static PkStatus
parse(const char *json, PkConfig *config, PkError *err)
{
	memset(err, 0, sizeof(*err));
	return pk_config_parse(json, strlen(json), config, err);
}

static void
test_generations(void)
{
	PkConfig old, new;
	PkError  err;

	ok(parse(BASE ", \"rotary_pct\": 0.5, \"rotary_emb_base\": 5000, \"rope_scaling\": null}", &old,
	         &err) == PK_OK,
	   "keys of transformers 4 are read");
	ok(parse(BASE ", \"rope_parameters\": {\"partial_rotary_factor\": 0.5, \"rope_theta\": 5000.0, "
	              "\"rope_type\": \"default\"}}",
	         &new, &err) == PK_OK,
	   "keys of transformers 5 are read");
	is_int(old.rotary_dims, 32, "half of a head of 64 is 32 rotary dimensions");
	is_near(old.rope_theta, 5000, 0, "rotary_emb_base is the base");
	ok(memcmp(&old, &new, sizeof(old)) == 0, "both generations give the same configuration");
	ok(parse(BASE ", \"rotary_pct\": 1.0, \"rope_parameters\": {\"partial_rotary_factor\": 0.25}}",
	         &new, &err) == PK_OK &&
	       new.rotary_dims == 16,
	   "where both are given, the new keys win");
	ok(parse(BASE ", \"rope_parameters\": null, \"rotary_pct\": 0.5}", &new, &err) == PK_OK &&
	       new.rotary_dims == 32,
	   "rope_parameters may be null");
}

/* Expected: GPTNeoXConfig() of transformers 5.12.1. */
static void
test_defaults(void)
{
	PkConfig config;
	PkError  err;

	ok(parse("{\"model_type\": \"gpt_neox\"}", &config, &err) == PK_OK, "all keys may be absent");
	is_int(config.hidden_size, 6144, "hidden_size is 6144 by default");
	is_int(config.intermediate_size, 24576, "intermediate_size is 24576 by default");
	is_int(config.num_hidden_layers, 44, "num_hidden_layers is 44 by default");
	is_int(config.num_attention_heads, 64, "num_attention_heads is 64 by default");
	is_int(config.max_position_embeddings, 2048, "max_position_embeddings is 2048 by default");
	is_int(config.vocab_size, 50432, "vocab_size is 50432 by default");
	is_int(config.rotary_dims, 24, "a quarter of each head of 96 is rotated by default");
	is_near(config.rope_theta, 10000, 0, "the rotary base is 10000 by default");
	is_near(config.layer_norm_eps, 1e-5f, 0, "layer_norm_eps is 1e-5 by default");
	is_int(config.hidden_act, PK_ACT_GELU, "the activation is exact GELU by default");
	is_int(config.use_parallel_residual, 1, "the residual is parallel by default");
	is_int(config.attention_bias, 1, "attention has biases by default");
	is_int(config.tie_word_embeddings, 0, "embeddings are not tied by default");
	ok(config.n_eos == 1 && config.eos_token_ids[0] == 2, "the end token is 2 by default");
	is_int(config.bos_token_id, 0, "the begin token is 0 by default");
}

static void
test_values(void)
{
	static const struct
	{
		const char *name;
		uint32_t    act;
	} acts[] = {
		{"gelu", PK_ACT_GELU},
		{"gelu_python", PK_ACT_GELU},
		{"gelu_new", PK_ACT_GELU_TANH},
		{"gelu_fast", PK_ACT_GELU_TANH},
		{"gelu_pytorch_tanh", PK_ACT_GELU_TANH},
	};
	PkConfig config;
	PkError  err;
	char     json[300];

	for (size_t i = 0; i < PK_LENGTH(acts); i++)
	{
		snprintf(json, sizeof(json), BASE ", \"hidden_act\": \"%s\"}", acts[i].name);
		ok(parse(json, &config, &err) == PK_OK && config.hidden_act == acts[i].act,
		   "hidden_act %s is known", acts[i].name);
	}
	ok(parse(BASE ", \"use_parallel_residual\": false, \"attention_bias\": false, "
	              "\"tie_word_embeddings\": true, \"layer_norm_eps\": 1e-6}",
	         &config, &err) == PK_OK &&
	       !config.use_parallel_residual && !config.attention_bias && config.tie_word_embeddings &&
	       config.layer_norm_eps == 1e-6f,
	   "flags and layer_norm_eps are read");
	ok(parse(BASE ", \"tie_word_embeddings\": null}", &config, &err) == PK_OK &&
	       !config.tie_word_embeddings,
	   "null is false where false is the default");
}

static void
test_eos(void)
{
	static const char generation[] = "{\"eos_token_id\": [0, 5], \"bos_token_id\": 7}";
	static const char none[] = "{\"max_length\": 20}";
	PkConfig          config;
	PkError           err;

	ok(parse(BASE ", \"eos_token_id\": [3, 0, 3]}", &config, &err) == PK_OK && config.n_eos == 2 &&
	       config.eos_token_ids[0] == 3 && config.eos_token_ids[1] == 0,
	   "eos_token_id may be a list; an id counts once");
	ok(pk_config_parse_generation(generation, strlen(generation), &config, &err) == PK_OK &&
	       config.n_eos == 3 && config.eos_token_ids[2] == 5,
	   "the ids of generation_config.json come to those of config.json");
	ok(pk_config_parse_generation(none, strlen(none), &config, &err) == PK_OK && config.n_eos == 3,
	   "a generation_config.json without eos_token_id adds none");
	ok(parse(BASE ", \"eos_token_id\": null, \"bos_token_id\": null}", &config, &err) == PK_OK &&
	       config.n_eos == 0 && config.bos_token_id == -1,
	   "null is no token");
	ok(parse(BASE ", \"vocab_size\": 10, \"eos_token_id\": [9, 10, -1], \"bos_token_id\": 10}",
	         &config, &err) == PK_OK &&
	       config.n_eos == 1 && config.bos_token_id == -1,
	   "ids beyond the vocabulary are dropped");
	ok(pk_config_set_vocab(&config, 9, &err) == PK_OK && config.n_eos == 0 &&
	       config.vocab_size == 9,
	   "ids beyond the rows of the tensors are dropped too");
	refused(parse(BASE ", \"eos_token_id\": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", &config,
	              &err),
	        &err, PK_UNSUPPORTED, "16 end tokens", "too many end tokens are refused");
}

static void
test_refused(void)
{
	static const struct
	{
		const char *rest; /* after BASE */
		PkStatus    status;
		const char *culprit;
	} cases[] = {
		{", \"hidden_act\": \"relu\"}", PK_UNSUPPORTED, "relu"},
		{", \"hidden_act\": 3}", PK_BAD_FILE, "hidden_act"},
		{", \"quantization_config\": {\"bits\": 4}}", PK_UNSUPPORTED, "quantization_config"},
		{", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}", PK_UNSUPPORTED, "linear"},
		{", \"rope_parameters\": {\"rope_type\": \"yarn\"}}", PK_UNSUPPORTED, "yarn"},
		{", \"rope_parameters\": [1]}", PK_BAD_FILE, "rope_parameters"},
		{", \"rope_scaling\": 2}", PK_BAD_FILE, "rope_scaling"},
		{", \"rotary_pct\": 1.5}", PK_BAD_FILE, "1.5"},
		{", \"rotary_pct\": -0.5}", PK_BAD_FILE, "-0.5"},
		{", \"rotary_pct\": \"half\"}", PK_BAD_FILE, "rotary_pct"},
		{", \"rotary_pct\": 0.05}", PK_BAD_FILE, "3 rotary dimensions"},
		{", \"rotary_pct\": 0}", PK_BAD_FILE, "0 rotary dimensions"},
		{", \"rotary_emb_base\": 0}", PK_BAD_FILE, "rotary base"},
		{", \"rotary_emb_base\": 1e300}", PK_BAD_FILE, "rotary base"},
		{", \"head_dim\": 32}", PK_UNSUPPORTED, "head_dim"},
		{", \"num_hidden_layers\": 0}", PK_BAD_FILE, "num_hidden_layers"},
		{", \"num_hidden_layers\": 1025}", PK_BAD_FILE, "num_hidden_layers"},
		{", \"num_hidden_layers\": 2.5}", PK_BAD_FILE, "num_hidden_layers"},
		{", \"intermediate_size\": -1}", PK_BAD_FILE, "intermediate_size"},
		{", \"intermediate_size\": 9223372036854775807}", PK_BAD_FILE, "intermediate_size"},
		{", \"intermediate_size\": 99999999999999999999}", PK_BAD_FILE, "config.json"},
		{", \"vocab_size\": \"many\"}", PK_BAD_FILE, "vocab_size"},
		{", \"max_position_embeddings\": 1048576, \"rotary_pct\": 1}", PK_UNSUPPORTED, "1048576"},
		{", \"layer_norm_eps\": 0}", PK_BAD_FILE, "layer_norm_eps"},
		{", \"layer_norm_eps\": 1}", PK_BAD_FILE, "layer_norm_eps"},
		{", \"use_parallel_residual\": 1}", PK_BAD_FILE, "use_parallel_residual"},
		{", \"use_parallel_residual\": null}", PK_BAD_FILE, "use_parallel_residual"},
		{", \"attention_bias\": null}", PK_BAD_FILE, "attention_bias"},
		{", \"eos_token_id\": \"end\"}", PK_BAD_FILE, "eos_token_id"},
		{", \"eos_token_id\": [1, null]}", PK_BAD_FILE, "eos_token_id"},
		{", \"bos_token_id\": [1]}", PK_BAD_FILE, "bos_token_id"},
		{", \"hidden_size\": 256}", PK_BAD_FILE, "hidden_size"}, /* twice */
		{"", PK_BAD_FILE, "config.json"},                        /* cut short */
		{"} x", PK_BAD_FILE, "config.json"},
	};
	PkConfig config;
	PkError  err;
	char     json[500], name[600];

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
	{
		snprintf(json, sizeof(json), BASE "%s", cases[i].rest);
		snprintf(name, sizeof(name), "refused: %s", json);
		refused(parse(json, &config, &err), &err, cases[i].status, cases[i].culprit, name);
	}
}

static void
test_other_models(void)
{
	PkConfig config;
	PkError  err;

	refused(parse("{\"model_type\": \"llama\"}", &config, &err), &err, PK_UNSUPPORTED, "\"llama\"",
	        "another model_type is refused by name");
	refused(parse("{\"model_type\": \"gpt_neox\\u0000x\"}", &config, &err), &err, PK_UNSUPPORTED,
	        "gpt_neox?x", "byte 0 does not end a model_type");
	refused(parse("{\"hidden_size\": 4}", &config, &err), &err, PK_UNSUPPORTED, "model_type",
	        "a missing model_type is refused");
	refused(parse("[1]", &config, &err), &err, PK_BAD_FILE, "not a JSON object",
	        "a list is no configuration");
	refused(
		parse("{\"model_type\": \"gpt_neox\", \"hidden_size\": 100, \"num_attention_heads\": 3}",
	          &config, &err),
		&err, PK_BAD_FILE, "num_attention_heads 3", "heads must divide hidden_size");
}

static void
test_bomb(void)
{
	size_t   n = 5000000;
	char    *json = malloc(n + 1);
	PkConfig config;
	PkError  err;

	memset(json, '[', n);
	json[n] = '\0';
	refused(parse(json, &config, &err), &err, PK_BAD_FILE, "config.json",
	        "five million open brackets are refused");
	for (size_t i = 0; i + 3 <= n; i += 3)
		memcpy(json + i, "{},", 3);
	json[0] = '[';
	refused(parse(json, &config, &err), &err, PK_BAD_FILE, "too many items",
	        "a list of a million empty objects is refused before it takes memory");
	free(json);
}

/* Parameter counts as published on the model cards of Polyglot-Ko. */
static void
test_parameters(void)
{
	static const struct
	{
		uint32_t layers, hidden, heads;
		uint64_t n_parameters;
	} cases[] = {
		{24, 2048, 16, 1331810304},
		{32, 3072, 24, 3809974272},
		{28, 4096, 16, 5885059072},
	};

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
	{
		PkConfig config = {.num_hidden_layers = cases[i].layers,
		                   .hidden_size = cases[i].hidden,
		                   .intermediate_size = 4 * cases[i].hidden,
		                   .vocab_size = 30080,
		                   .num_attention_heads = cases[i].heads,
		                   .attention_bias = 1};

		is_int((long long) pk_config_n_parameters(&config), (long long) cases[i].n_parameters,
		       "the parameters are as many as published");
	}
}

int
main(void)
{
	test_generations();
	test_defaults();
	test_values();
	test_eos();
	test_refused();
	test_other_models();
	test_bomb();
	test_parameters();
	return done_testing();
}

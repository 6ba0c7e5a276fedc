/*
 * test_convert.c
 *    From a checkpoint to an image: values, order, fingerprint, and everything that can go wrong.
 */
#include "maker.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "core/base/mapfile.h"
#include "core/base/threads.h"

/* Values are below 1. Half a step of 127, and what rounding the scale loses: */
#define TOL_Q8 (0.5 / 127 + 1.0 / 1024)
/* q4 takes the scale with the smallest squared error, which may cut off the extremes: it tries
 * steps down to 1/9.2 of the largest value, of which seven are there. */
#define TOL_Q4 (1 - 7 / 9.2 + 1.0 / 1024)
#define TOL_ROPE 1e-6 /* powf of torch and our pow() may differ in the last bit of a frequency */

static char image_path[300];

static PkConvert
arguments(const Maker *m, PkQuant quant)
{
	snprintf(image_path, sizeof(image_path), "%s/image", scratch_root());
	return (PkConvert){.source_dir = m->dir, .quant = quant, .image_path = image_path};
}

static PkModel *
open_or_die(void)
{
	PkModel *model;
	PkError  err;

	if (pk_model_open(image_path, &model, &err) != PK_OK)
	{
		fprintf(stderr, "%s\n", err.text);
		exit(2);
	}
	return model;
}

static PkModel *
convert_or_die(const Maker *m, PkQuant quant, PkHash128 *fingerprint)
{
	PkConvert args = arguments(m, quant);
	PkError   err;

	if (try_convert(&args, fingerprint, &err) != PK_OK)
	{
		fprintf(stderr, "%s\n", err.text);
		exit(2);
	}
	return open_or_die();
}

/* Largest difference between row `row` of w and row `source` of a checkpoint's tensor. */
static double
row_error(const PkMatrix *w, size_t row, const char *tensor, size_t source)
{
	float    x[MAKER_F];
	double   worst = 0;
	uint64_t seed = maker_seed(tensor);

	pk_matrix_unpack_row(w, row, x);
	for (size_t i = 0; i < w->n_cols; i++)
	{
		double d = fabs(x[i] - maker_value(seed, source * w->n_cols + i));

		worst = d > worst ? d : worst;
	}
	return worst;
}

static double
matrix_error(const PkMatrix *w, const char *tensor)
{
	double worst = 0;

	for (size_t row = 0; row < w->n_rows; row++)
	{
		double d = row_error(w, row, tensor, row);

		worst = d > worst ? d : worst;
	}
	return worst;
}

static double
vector_error(const float *x, size_t n, const char *tensor)
{
	double   worst = 0;
	uint64_t seed = maker_seed(tensor);

	for (size_t i = 0; i < n; i++)
	{
		double d = fabs(x[i] - maker_value(seed, i));

		worst = d > worst ? d : worst;
	}
	return worst;
}

/*
 * The definition in transformers' GPTNeoXAttention: view(heads, 3 * D) of the rows, then chunks of
 * q, k and v. So row d of head h of part p is row h * 3 * D + p * D + d.
 */
static double
qkv_error(const PkLayer *layer)
{
	uint64_t bias_seed = maker_seed("layers.1.attention.query_key_value.bias");
	double   worst = 0;

	for (size_t part = 0; part < 3; part++)
		for (size_t h = 0; h < MAKER_H; h++)
			for (size_t d = 0; d < MAKER_D; d++)
			{
				size_t row = part * MAKER_E + h * MAKER_D + d;
				size_t source = h * 3 * MAKER_D + part * MAKER_D + d;
				double e = row_error(&layer->qkv, row, "layers.1.attention.query_key_value.weight",
				                     source);
				double b = fabs(layer->qkv_bias[row] - maker_value(bias_seed, source));

				worst = e > worst ? e : worst;
				worst = b > worst ? b : worst;
			}
	return worst;
}

/* Every tensor of an image against the checkpoint it was made of. */
static void
check_weights(const PkModel *model, double tolerance, const char *what)
{
	const PkWeights *w = pk_model_weights(model);
	const PkLayer   *layer = &w->layers[1];
	char             name[200];

	snprintf(name, sizeof(name), "%s: query_key_value is all q, then k, then v", what);
	is_near(qkv_error(layer), 0, tolerance, name);
	snprintf(name, sizeof(name), "%s: attention.dense", what);
	is_near(matrix_error(&layer->dense, "layers.1.attention.dense.weight"), 0, tolerance, name);
	snprintf(name, sizeof(name), "%s: mlp.dense_h_to_4h", what);
	is_near(matrix_error(&layer->h_to_4h, "layers.1.mlp.dense_h_to_4h.weight"), 0, tolerance, name);
	snprintf(name, sizeof(name), "%s: mlp.dense_4h_to_h", what);
	is_near(matrix_error(&layer->h4_to_h, "layers.1.mlp.dense_4h_to_h.weight"), 0, tolerance, name);
	snprintf(name, sizeof(name), "%s: embed_out", what);
	is_near(matrix_error(&w->embed_out, "embed_out.weight"), 0, tolerance, name);

	double worst = 0;

	worst = fmax(worst, vector_error(layer->ln1_gain, MAKER_E, "layers.1.input_layernorm.weight"));
	worst = fmax(worst, vector_error(layer->ln1_bias, MAKER_E, "layers.1.input_layernorm.bias"));
	worst = fmax(
		worst, vector_error(layer->ln2_gain, MAKER_E, "layers.1.post_attention_layernorm.weight"));
	worst = fmax(worst,
	             vector_error(layer->ln2_bias, MAKER_E, "layers.1.post_attention_layernorm.bias"));
	worst = fmax(worst, vector_error(layer->dense_bias, MAKER_E, "layers.1.attention.dense.bias"));
	worst =
		fmax(worst, vector_error(layer->h_to_4h_bias, MAKER_F, "layers.1.mlp.dense_h_to_4h.bias"));
	worst =
		fmax(worst, vector_error(layer->h4_to_h_bias, MAKER_E, "layers.1.mlp.dense_4h_to_h.bias"));
	worst = fmax(worst, vector_error(w->ln_gain, MAKER_E, "final_layer_norm.weight"));
	worst = fmax(worst, vector_error(w->ln_bias, MAKER_E, "final_layer_norm.bias"));
	ok(worst == 0, "%s: biases and norms are exact", what);
}

static double
embed_in_error(const PkModel *model)
{
	const uint16_t *halves = pk_model_weights(model)->embed_in;
	const float    *floats = pk_model_weights(model)->embed_in;
	uint64_t        seed = maker_seed("embed_in.weight");
	double          n_wrong = 0;

	for (size_t i = 0; i < (size_t) MAKER_V * MAKER_E; i++)
	{
		float want = maker_value(seed, i);
		bool  is_equal = pk_model_info(model)->quant == PK_QUANT_F32 ? floats[i] == want
		                                                             : halves[i] == maker_half(want);

		n_wrong += !is_equal;
	}
	return n_wrong;
}

static void
test_values(void)
{
	static const char *const dtypes[] = {"F16", "BF16", "F32"};
	static const struct
	{
		PkQuant quant;
		double  tolerance;
	} formats[] = {
		{PK_QUANT_F32, 0}, {PK_QUANT_F16, 0}, {PK_QUANT_Q8, TOL_Q8}, {PK_QUANT_Q4, TOL_Q4}};
	Maker     m;
	PkHash128 fingerprint;

	for (size_t i = 0; i < PK_LENGTH(dtypes); i++)
		for (size_t k = 0; k < PK_LENGTH(formats); k++)
		{
			char what[60];

			maker_init(&m, "values");
			m.dtype = dtypes[i];
			maker_write(&m);
			snprintf(what, sizeof(what), "%s to %s", dtypes[i], pk_quant_name(formats[k].quant));

			PkModel *model = convert_or_die(&m, formats[k].quant, &fingerprint);

			check_weights(model, formats[k].tolerance, what);
			ok(embed_in_error(model) == 0, "%s: embed_in is exact", what);
			pk_model_release(model);
		}
}

static void
test_config(void)
{
	Maker           m;
	PkHash128       fingerprint;
	PkModel        *model;
	const PkConfig *config;

	maker_init(&m, "config");
	m.generation = "{\"eos_token_id\": [7, 9999]}";
	maker_write(&m);
	model = convert_or_die(&m, PK_QUANT_Q8, &fingerprint);
	config = pk_model_config(model);
	is_int(config->n_tokens, MAKER_N_TOKENS, "the tokenizer's ids are counted");
	is_int(config->endoftext_id, 2, "<|endoftext|> is found");
	ok(config->n_eos == 3 && config->eos_token_ids[0] == 0 && config->eos_token_ids[1] == 7 &&
	       config->eos_token_ids[2] == 2,
	   "end tokens are those of config, generation_config and <|endoftext|>, in the vocabulary");
	ok(pk_hash_equal(pk_model_info(model)->fingerprint, fingerprint) &&
	       pk_model_info(model)->quant == PK_QUANT_Q8 &&
	       pk_model_info(model)->layout == PK_IMAGE_LAYOUT(PK_QUANT_Q8) &&
	       pk_model_info(model)->numerics == PK_NUMERICS,
	   "the image knows what it is");
	is_str(pk_model_info(model)->unicode_version, pk_unicode_version(), "and its Unicode version");
	ok(pk_tokenizer_n_ids(pk_model_tokenizer(model)) == MAKER_N_TOKENS, "it has its tokenizer");
	pk_model_release(model);
}

/* Expected: GPTNeoXRotaryEmbedding of transformers 5.12.1 on torch, 32 dimensions, base 10000. */
static void
test_rope(void)
{
	static const struct
	{
		size_t pos, i;
		float  cosine, sine;
	} known[] = {
		{0, 0, 1.0f, 0.0f},
		{0, 15, 1.0f, 0.0f},
		{1, 0, 0.540302277f, 0.841470957f},
		{1, 1, 0.846009135f, 0.533168435f},
		{1, 5, 0.998419285f, 0.0562044941f},
		{1, 15, 1.0f, 0.00017782794f},
		{7, 0, 0.753902256f, 0.656986594f},
		{7, 1, -0.700429797f, -0.713721275f},
		{7, 5, 0.923519492f, 0.383551538f},
		{100, 0, 0.862318873f, -0.506365657f},
		{100, 1, 0.950940967f, -0.309372485f},
		{100, 5, 0.790131867f, -0.612936914f},
		{100, 15, 0.999841928f, 0.0177818574f},
		{511, 0, -0.471678853f, 0.881770372f},
		{511, 5, -0.89547205f, -0.445117682f},
		{511, 15, 0.995874166f, 0.0907450691f},
	};
	PkConvert args = arguments(&(Maker){.dir = "models/polyko-tiny"}, PK_QUANT_F16);
	PkHash128 fingerprint;
	PkError   err;

	if (try_convert(&args, &fingerprint, &err) != PK_OK)
		exit(2);

	PkModel         *model = open_or_die();
	const PkWeights *w = pk_model_weights(model);
	double           worst = 0;

	for (size_t k = 0; k < PK_LENGTH(known); k++)
	{
		worst = fmax(worst, fabs(w->rope_cos[known[k].pos * 16 + known[k].i] - known[k].cosine));
		worst = fmax(worst, fabs(w->rope_sin[known[k].pos * 16 + known[k].i] - known[k].sine));
	}
	is_near(worst, 0, TOL_ROPE, "polyko-tiny's rotary tables are those of transformers");
	pk_model_release(model);
}

static PkHash128
fingerprint_of(const Maker *m)
{
	PkHash128 fingerprint;
	PkError   err;

	if (pk_fingerprint(m->dir, NULL, NULL, NULL, &fingerprint, &err) != PK_OK)
	{
		fprintf(stderr, "%s\n", err.text);
		exit(2);
	}
	return fingerprint;
}

static void
test_fingerprint(void)
{
	Maker     m;
	PkHash128 plain, other;

	maker_init(&m, "plain");
	maker_write(&m);
	plain = fingerprint_of(&m);
	pk_model_release(convert_or_die(&m, PK_QUANT_Q4, &other));
	ok(pk_hash_equal(plain, other), "pk_fingerprint gives what a conversion gives");
	pk_model_release(convert_or_die(&m, PK_QUANT_F32, &other));
	ok(pk_hash_equal(plain, other), "whatever the quantization is");

	maker_init(&m, "sharded");
	maker_shard(&m, 3);
	maker_write(&m);
	ok(pk_hash_equal(plain, fingerprint_of(&m)), "three shards have the fingerprint of one file");

	maker_init(&m, "old");
	maker_add(&m, "gpt_neox.layers.0.attention.rotary_emb.inv_freq", 3, 0);
	maker_write(&m);
	ok(pk_hash_equal(plain, fingerprint_of(&m)), "buffers that are skipped do not count");

	maker_init(&m, "f32");
	m.dtype = "F32";
	maker_write(&m);
	ok(!pk_hash_equal(plain, fingerprint_of(&m)), "another dtype is another content");

	maker_init(&m, "value");
	maker_find(&m, "gpt_neox.layers.1.attention.query_key_value.bias")->poison = 0.25;
	maker_write(&m);
	ok(!pk_hash_equal(plain, fingerprint_of(&m)), "one other value is another content");

	maker_init(&m, "generation");
	m.generation = "{}";
	maker_write(&m);
	ok(!pk_hash_equal(plain, fingerprint_of(&m)), "so is another generation_config.json");
}

static void
refuses_to_convert(Maker *m, PkQuant quant, PkStatus want, const char *culprit, const char *name)
{
	PkConvert args;
	PkHash128 fingerprint;
	PkError   err;

	maker_write(m);
	args = arguments(m, quant);
	refused(try_convert(&args, &fingerprint, &err), &err, want, culprit, name);
	if (exists(image_path))
		ok(false, "and leaves nothing: %s", name);
}

static void
test_bad_values(void)
{
	static const double      bad[] = {NAN, INFINITY, -INFINITY};
	static const char *const dtypes[] = {"F16", "BF16", "F32"};
	static const PkQuant     quants[] = {PK_QUANT_F32, PK_QUANT_F16, PK_QUANT_Q8, PK_QUANT_Q4};
	Maker                    m;
	char                     name[200];

	for (size_t i = 0; i < PK_LENGTH(bad); i++)
		for (size_t k = 0; k < PK_LENGTH(quants); k++)
		{
			maker_init(&m, "nan");
			m.dtype = dtypes[i];

			MakerTensor *t = maker_find(&m, "gpt_neox.layers.1.mlp.dense_4h_to_h.weight");

			t->poison = bad[i];
			t->poison_at = 17 * MAKER_F + 5;
			snprintf(name, sizeof(name), "%g in %s is found by '%s' and named", bad[i], dtypes[i],
			         pk_quant_name(quants[k]));
			refuses_to_convert(&m, quants[k], PK_BAD_FILE,
			                   isnan(bad[i])
			                       ? "dense_4h_to_h.weight has NaN at row 17, column 5"
			                       : "dense_4h_to_h.weight has an infinite value at row 17, "
			                         "column 5",
			                   name);
		}
	maker_init(&m, "nan");
	maker_find(&m, "gpt_neox.embed_in.weight")->poison = NAN;
	maker_find(&m, "gpt_neox.embed_in.weight")->poison_at = 6000 * MAKER_E + 1;
	refuses_to_convert(&m, PK_QUANT_Q8, PK_BAD_FILE,
	                   "embed_in.weight has NaN at row 6000, column 1",
	                   "NaN in the embedding is named");
	maker_init(&m, "nan");
	maker_find(&m, "gpt_neox.final_layer_norm.bias")->poison = NAN;
	maker_find(&m, "gpt_neox.final_layer_norm.bias")->poison_at = 3;
	refuses_to_convert(&m, PK_QUANT_Q8, PK_BAD_FILE, "final_layer_norm.bias has NaN at row 3",
	                   "NaN in a bias is named");
	maker_init(&m, "nan");
	maker_find(&m, "gpt_neox.layers.0.attention.query_key_value.weight")->poison = NAN;
	maker_find(&m, "gpt_neox.layers.0.attention.query_key_value.weight")->poison_at = 40 * MAKER_E;
	refuses_to_convert(&m, PK_QUANT_Q8, PK_BAD_FILE, "has NaN at row 40, column 0",
	                   "in query_key_value the row is the file's, not the image's");
}

static void
test_large_values(void)
{
	Maker     m;
	PkHash128 fingerprint;

	maker_init(&m, "large");
	m.dtype = "F32";
	maker_find(&m, "gpt_neox.layers.0.attention.dense.weight")->poison = 1e5;
	refuses_to_convert(&m, PK_QUANT_F16, PK_UNSUPPORTED, "too large for 16-bit floats",
	                   "a value that f16 can't hold is refused");
	PkModel *model = convert_or_die(&m, PK_QUANT_F32, &fingerprint);

	ok(pk_model_info(model)->quant == PK_QUANT_F32, "f32 can hold it");
	pk_model_release(model);
	maker_init(&m, "large");
	m.dtype = "F32";
	maker_find(&m, "gpt_neox.embed_in.weight")->poison = -65520;
	refuses_to_convert(&m, PK_QUANT_Q8, PK_UNSUPPORTED, "has -65520 at row 0, column 0",
	                   "an embedding that f16 can't hold is refused with q8 too");
}

static void
test_tokenizer(void)
{
	Maker m;

	maker_init(&m, "few-rows");
	maker_find(&m, "embed_out.weight")->shape[0] = 200;
	maker_find(&m, "gpt_neox.embed_in.weight")->shape[0] = 200;
	refuses_to_convert(&m, PK_QUANT_Q8, PK_BAD_FILE, "259 tokens",
	                   "a tokenizer with more tokens than rows is refused");
}

/* ---- cancel ---- */

typedef struct Countdown
{
	int n_left;
	int n_polls;
} Countdown;

static bool
count_down(void *arg)
{
	Countdown *countdown = arg;

	countdown->n_polls++;
	return countdown->n_left-- <= 0;
}

static void
test_cancel(void)
{
	Maker     m;
	PkHash128 fingerprint;
	PkError   err;
	int       n_polls = 0, n_wrong = 0;

	maker_init(&m, "cancel");
	maker_write(&m);
	for (int n = 0; n <= n_polls; n += n_polls > 20 ? n_polls / 20 : 1)
	{
		Countdown countdown = {.n_left = n == 0 ? 1000000 : n - 1};
		PkCancel  cancel = {.poll = count_down, .poll_arg = &countdown};
		PkConvert args = arguments(&m, PK_QUANT_Q8);
		PkStatus  status;

		args.cancel = &cancel;
		status = try_convert(&args, &fingerprint, &err);
		if (n == 0)
		{
			n_polls = countdown.n_polls;
			ok(status == PK_OK && n_polls > 20, "a conversion looks at its cancel flag often");
			unlink(image_path);
		}
		else
			n_wrong += status != PK_CANCELLED || err.status != PK_CANCELLED || exists(image_path);
	}
	is_int(n_wrong, 0, "a cancel at any point is seen and leaves no file");

	Countdown countdown = {.n_left = 3};
	PkCancel  cancel = {.poll = count_down, .poll_arg = &countdown};

	ok(pk_fingerprint(m.dir, &cancel, NULL, NULL, &fingerprint, &err) == PK_CANCELLED,
	   "so it is while a fingerprint is taken");
}

/* ---- progress ---- */

typedef struct Seen
{
	uint64_t done, total;
	int      n_calls, n_backward;
} Seen;

static void
see(void *arg, uint64_t done, uint64_t total)
{
	Seen *seen = arg;

	seen->n_calls++;
	seen->n_backward += done < seen->done;
	seen->done = done;
	seen->total = total;
}

static void
test_progress(void)
{
	Maker     m;
	PkHash128 fingerprint;
	PkError   err;
	Seen      seen = {0};

	maker_init(&m, "progress");
	maker_write(&m);

	PkConvert args = arguments(&m, PK_QUANT_Q8);

	args.progress = see;
	args.progress_arg = &seen;
	ok(try_convert(&args, &fingerprint, &err) == PK_OK && seen.n_calls > 10 &&
	       seen.n_backward == 0 && seen.done == seen.total,
	   "progress goes from nothing to all, never back");

	PkConfig config;

	if (try_config(m.dir, &config, &err) != PK_OK)
		exit(2);
	ok(seen.total == 2 * pk_config_n_parameters(&config), "all are the bytes of the weights");
}

/* ---- threads ---- */

static void
test_threads(void)
{
	Maker     m;
	PkHash128 one, two;
	PkError   err;
	char     *before, *after;
	size_t    n_before, n_after;
	PkPool   *pool;

	maker_init(&m, "threads");
	maker_write(&m);
	pk_model_release(convert_or_die(&m, PK_QUANT_Q8, &one));

	if (pk_file_load(image_path, NULL, (size_t) 1 << 30, &before, &n_before, &err) != PK_OK ||
	    pk_pool_create(2, &pool, &err) != PK_OK)
		exit(2);

	PkConvert args = arguments(&m, PK_QUANT_Q8);

	args.pool = pool;
	ok(try_convert(&args, &two, &err) == PK_OK && pk_hash_equal(one, two),
	   "two threads give the same fingerprint");
	if (pk_file_load(image_path, NULL, (size_t) 1 << 30, &after, &n_after, &err) != PK_OK)
		exit(2);
	ok(n_before == n_after && memcmp(before, after, n_before) == 0, "and the same bytes");
	free(before);
	free(after);

	maker_find(&m, "embed_out.weight")->poison = NAN;
	maker_find(&m, "embed_out.weight")->poison_at = 7000 * MAKER_E;
	maker_write(&m);
	refused(try_convert(&args, &two, &err), &err, PK_BAD_FILE, "row 7000, column 0",
	        "the error of any thread comes through");
	pk_pool_destroy(pool);
}

/* ---- files that change, disks that are full ---- */

typedef struct Saboteur
{
	const Maker *maker;
	int          n_left;
} Saboteur;

/* Replaces the weights while they are read. */
static bool
replace_weights(void *arg)
{
	Saboteur *saboteur = arg;

	if (saboteur->n_left-- == 0)
	{
		const char *path = path_in(saboteur->maker->dir, "model.safetensors");

		if (rename(path, path_in(saboteur->maker->dir, "away")) != 0)
			exit(2);
		maker_write(saboteur->maker);
	}
	return false;
}

/* Touches them: the open file is still the same inode. */
static bool
touch_weights(void *arg)
{
	Saboteur       *saboteur = arg;
	struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	if (saboteur->n_left-- == 0 &&
	    utimensat(AT_FDCWD, path_in(saboteur->maker->dir, "model.safetensors"), times, 0) != 0)
		exit(2);
	return false;
}

/* Cuts them short. */
static bool
cut_weights(void *arg)
{
	Saboteur *saboteur = arg;

	if (saboteur->n_left-- == 0 &&
	    truncate(path_in(saboteur->maker->dir, "model.safetensors"), 5000) != 0)
		exit(2);
	return false;
}

static void
test_changes(void)
{
	static bool (*const acts[])(void *) = {replace_weights, touch_weights, cut_weights};
	static const char *const names[] = {"replaced", "touched", "cut short"};
	Maker                    m;
	PkHash128                fingerprint;
	PkError                  err;
	char                     name[200];

	for (size_t i = 0; i < PK_LENGTH(acts); i++)
	{
		maker_init(&m, "changing");
		maker_write(&m);

		Saboteur  saboteur = {.maker = &m, .n_left = 8};
		PkCancel  cancel = {.poll = acts[i], .poll_arg = &saboteur};
		PkConvert args = arguments(&m, PK_QUANT_Q8);

		args.cancel = &cancel;
		snprintf(name, sizeof(name), "weights that are %s during the conversion are noticed",
		         names[i]);
		refused(try_convert(&args, &fingerprint, &err), &err, PK_BAD_FILE, "model.safetensors",
		        name);
		ok(saboteur.n_left < 0 && !exists(image_path), "and no image is left");
	}

	maker_init(&m, "stale");
	maker_write(&m);

	PkConvert args = arguments(&m, PK_QUANT_Q8);

	refused(pk_convert(&args, (PkHash128){{1}}, &fingerprint, &err), &err, PK_BAD_FILE,
	        "changed since", "sources other than the expected ones are refused");
}

/* In a child: a small file system of its own, which only root can make. */
static int
convert_on_small_disk(const Maker *m, bool keep_free, const char *size)
{
	PkHash128 fingerprint;
	PkError   err;
	PkConvert args = arguments(m, PK_QUANT_F32);
	char      options[40], path[320];

	snprintf(options, sizeof(options), "size=%s", size);
	snprintf(path, sizeof(path), "%s/small-disk", scratch_root());
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    (mkdir(path, 0700) != 0 && errno != EEXIST) ||
	    mount("tmpfs", path, "tmpfs", 0, options) != 0)
		return 77;
	snprintf(path, sizeof(path), "%s/small-disk/image", scratch_root());
	args.image_path = path;
	args.keep_free = keep_free;

	PkStatus status = try_convert(&args, &fingerprint, &err);

	if (status != PK_OK)
		diag("%s", err.text);
	if (exists(path) == (status == PK_OK))
		return status == PK_NO_DISK && err.hint[0] == '\0' ? 88 : (int) status;
	return 99;
}

static int
in_child(const Maker *m, bool keep_free, const char *size)
{
	int   status;
	pid_t child = fork();

	if (child == 0)
		_exit(convert_on_small_disk(m, keep_free, size));
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static void
test_disk(void)
{
	Maker m;
	int   answer;

	maker_init(&m, "disk");
	maker_write(&m);
	answer = in_child(&m, false, "64m");
	if (answer == 77)
	{
		skip("no privilege to mount a small file system");
		return;
	}
	is_int(answer, PK_OK, "a disk that is large enough is enough");
	is_int(in_child(&m, false, "1m"), PK_NO_DISK,
	       "a full disk is PK_NO_DISK with a hint, and leaves no file");
	is_int(in_child(&m, true, "900m"), PK_NO_DISK,
	       "less than 1 GiB left is refused with keep_free");
	is_int(in_child(&m, true, "1200m"), PK_OK, "more is accepted");
}

static void
test_image_path(void)
{
	Maker     m;
	PkHash128 fingerprint;
	PkError   err;

	maker_init(&m, "path");
	maker_write(&m);

	PkConvert   args = arguments(&m, PK_QUANT_Q8);
	struct stat info;

	write_text(image_path, "what an earlier builder left");
	ok(try_convert(&args, &fingerprint, &err) == PK_OK && stat(image_path, &info) == 0 &&
	       (info.st_mode & 0777) == 0600,
	   "an old temporary file is replaced, mode 0600");

	int         fd = open(image_path, O_RDWR | O_TRUNC);
	struct stat made;

	args.is_made = true;
	ok(fd >= 0 && try_convert(&args, &fingerprint, &err) == PK_OK && fstat(fd, &made) == 0 &&
	       made.st_size == info.st_size && made.st_nlink == 1,
	   "one that the caller made is filled");
	close(fd);
	unlink(image_path);
	refused(try_convert(&args, &fingerprint, &err), &err, PK_NO_FILE, "image",
	        "and not made anew when it was taken away");
	args.is_made = false;
	args.image_path = path_in(m.dir, "model.safetensors");
	refused(try_convert(&args, &fingerprint, &err), &err, PK_BAD_ARGUMENT, "file of the checkpoint",
	        "a file of the checkpoint is no image to write");
	ok(exists(args.image_path), "and is still there");
	args.image_path = path_in(scratch_root(), "nowhere/image");
	refused(try_convert(&args, &fingerprint, &err), &err, PK_NO_FILE, "nowhere",
	        "a missing image directory is named");
}

static void
test_estimate(void)
{
	Maker     m;
	PkHash128 fingerprint;
	PkError   err;
	PkConfig  config;

	maker_init(&m, "estimate");
	maker_write(&m);
	for (int quant = 0; quant < PK_N_QUANT; quant++)
	{
		PkModel *model = convert_or_die(&m, (PkQuant) quant, &fingerprint);

		if (try_config(m.dir, &config, &err) != PK_OK)
			exit(2);

		uint64_t estimate = pk_image_size_estimate(&config, (PkQuant) quant);
		uint64_t size = pk_model_info(model)->size_bytes;

		ok(estimate <= size && size - estimate < (uint64_t) 64 << 20,
		   "the size of '%s' is estimated, but for the tokenizer", pk_quant_name((PkQuant) quant));
		pk_model_release(model);
	}
}

int
main(void)
{
	test_values();
	test_config();
	test_rope();
	test_fingerprint();
	test_bad_values();
	test_large_values();
	test_tokenizer();
	test_cancel();
	test_progress();
	test_threads();
	test_changes();
	test_disk();
	test_image_path();
	test_estimate();
	scratch_remove();
	return done_testing();
}

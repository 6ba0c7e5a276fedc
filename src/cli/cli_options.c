/*
 * cli_options.c
 *    The options of polyko_cli, their defaults and the usage text.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/threads.h"
#include "core/sample/lookup.h"

enum
{
	OPT_KERNELS = 256,
	OPT_KV_CACHE,
	OPT_BATCH,
	OPT_TEMPERATURE,
	OPT_TOP_K,
	OPT_TOP_P,
	OPT_PENALTY,
	OPT_LOOKUP,
	OPT_MIN_TOKENS,
	OPT_SEED,
	OPT_STOP,
	OPT_DETAILS,
	OPT_POOLING,
	OPT_RAW,
	OPT_LAYER,
	OPT_PREFILL,
	OPT_DECODE,
	OPT_ROWS,
	OPT_TEXTS,
	OPT_LINES
};

static const struct option long_options[] = {
	{"quantization", required_argument, NULL, 'q'},
	{"threads", required_argument, NULL, 't'},
	{"output", required_argument, NULL, 'o'},
	{"max-tokens", required_argument, NULL, 'n'},
	{"kernels", required_argument, NULL, OPT_KERNELS},
	{"kv-cache", required_argument, NULL, OPT_KV_CACHE},
	{"max-batch-tokens", required_argument, NULL, OPT_BATCH},
	{"temperature", required_argument, NULL, OPT_TEMPERATURE},
	{"top-k", required_argument, NULL, OPT_TOP_K},
	{"top-p", required_argument, NULL, OPT_TOP_P},
	{"repetition-penalty", required_argument, NULL, OPT_PENALTY},
	{"prompt-lookup", required_argument, NULL, OPT_LOOKUP},
	{"min-tokens", required_argument, NULL, OPT_MIN_TOKENS},
	{"seed", required_argument, NULL, OPT_SEED},
	{"stop", required_argument, NULL, OPT_STOP},
	{"details", no_argument, NULL, OPT_DETAILS},
	{"pooling", required_argument, NULL, OPT_POOLING},
	{"raw", no_argument, NULL, OPT_RAW},
	{"layer", required_argument, NULL, OPT_LAYER},
	{"prefill", required_argument, NULL, OPT_PREFILL},
	{"decode", required_argument, NULL, OPT_DECODE},
	{"rows", required_argument, NULL, OPT_ROWS},
	{"texts", required_argument, NULL, OPT_TEXTS},
	{"lines", required_argument, NULL, OPT_LINES},
	{NULL, 0, NULL, 0},
};

static bool take_option(CliOptions *options, int option, const char *value);
static bool take_sampling(CliOptions *options, int option, const char *value);
static bool read_integer(const char *text, long long low, long long high, long long *out);
static bool read_size(const char *text, size_t low, size_t high, size_t *out);
static bool read_int32(const char *text, int32_t low, int32_t *out);
static bool read_float(const char *text, float *out);

void
cli_usage(FILE *out)
{
	fputs("Usage: polyko_cli COMMAND [OPTIONS] ARGUMENTS\n"
	      "\n"
	      "MODEL is an image made by convert, or a checkpoint directory as Hugging Face ships it.\n"
	      "\n"
	      "Commands:\n"
	      "  convert DIR -o IMAGE       convert a checkpoint to an image\n"
	      "  generate MODEL PROMPT      continue PROMPT (run is the same)\n"
	      "  tokenize MODEL TEXT        token ids, one line for each\n"
	      "  embed MODEL TEXT           the embedding, one number a line\n"
	      "  perplexity MODEL FILE      of the texts in FILE, one a line (- reads stdin)\n"
	      "  info MODEL                 what a model is\n"
	      "  bench MODEL                tokens/s of prefill and decode\n"
	      "\n"
	      "Options of all commands:\n"
	      "  -q, --quantization Q       f32, f16, q8 or q4 for a directory (q8)\n"
	      "  -t, --threads N            threads (the processors this process may use)\n"
	      "      --kernels TIER         scalar, avx2, avx512, vnni, amx, neon (the best)\n"
	      "      --kv-cache MB          most memory of keys and values (2048)\n"
	      "      --max-batch-tokens N   tokens of one step (by time)\n"
	      "  -o, --output IMAGE         convert: the image to write\n"
	      "\n"
	      "Options of generate:\n"
	      "  -n, --max-tokens N         (64)\n"
	      "      --min-tokens N         (0)\n"
	      "      --temperature T        0 is greedy (0)\n"
	      "      --top-k K              0 is off (0)\n"
	      "      --top-p P              1 is off (1)\n"
	      "      --repetition-penalty R 1 is off (1)\n"
	      "      --seed N               (0)\n"
	      "      --stop TEXT            may be given several times\n"
	      "      --prompt-lookup N      most tokens drafted from the text so far, 0 is off (10)\n"
	      "      --details              one line a token, then the counts\n"
	      "\n"
	      "Options of embed:\n"
	      "      --pooling mean|last    (mean)\n"
	      "      --layer N              -1 is after the final LayerNorm (-1)\n"
	      "      --raw                  do not scale to length 1\n"
	      "\n"
	      "Options of bench and perplexity:\n"
	      "      --prefill N            prompt tokens (128)\n"
	      "      --decode N             generated tokens (32)\n"
	      "      --rows N               sequences that are decoded together (1)\n"
	      "      --texts FILE           instead, embed the lines of FILE in one batch\n"
	      "      --lines N              read at most N lines (all)\n"
	      "\n"
	      "Exit code: 0 done, 1 failed, 2 wrong usage.\n",
	      out);
}

bool
cli_options_parse(int argc, char **argv, CliOptions *out)
{
	int option;

	*out = (CliOptions){.quant = PK_QUANT_Q8,
	                    .kv_cache_bytes = (size_t) 2048 << 20,
	                    .sample = {.top_p = 1.0f, .repetition_penalty = 1.0f},
	                    .max_tokens = 64,
	                    .prompt_lookup = PK_LOOKUP_USUAL,
	                    .normalize = true,
	                    .layer = -1,
	                    .n_prefill = 128,
	                    .n_decode = 32,
	                    .n_rows = 1};
	while ((option = getopt_long(argc, argv, "q:t:o:n:", long_options, NULL)) != -1)
	{
		if (option == '?')
			return false; /* getopt has said why */
		if (!take_option(out, option, optarg))
		{
			fprintf(stderr, "polyko_cli: bad value \"%s\" of an option; see polyko_cli --help\n",
			        optarg);
			return false;
		}
	}
	out->args = argv + optind;
	out->n_args = (size_t) (argc - optind);
	return true;
}

static bool
take_option(CliOptions *options, int option, const char *value)
{
	size_t megabytes;

	switch (option)
	{
		case 'q':
			return pk_quant_from_name(value, &options->quant);
		case 't':
			return read_size(value, 1, PK_MAX_THREADS, &options->n_threads);
		case 'o':
			options->output = value;
			return true;
		case OPT_KERNELS:
			options->kernels = value;
			return true;
		case OPT_KV_CACHE:
			if (!read_size(value, 1, (size_t) 1 << 24, &megabytes))
				return false;
			options->kv_cache_bytes = megabytes << 20;
			return true;
		case OPT_BATCH:
			return read_size(value, 1, (size_t) 1 << 16, &options->max_batch_tokens);
		case OPT_POOLING:
			options->pooling = strcmp(value, "last") == 0 ? PK_POOLING_LAST : PK_POOLING_MEAN;
			return options->pooling == PK_POOLING_LAST || strcmp(value, "mean") == 0;
		case OPT_RAW:
			options->normalize = false;
			return true;
		case OPT_LAYER:
			return read_int32(value, -1, &options->layer);
		case OPT_PREFILL:
			return read_size(value, 1, (size_t) 1 << 20, &options->n_prefill);
		case OPT_DECODE:
			return read_size(value, 1, (size_t) 1 << 20, &options->n_decode);
		case OPT_ROWS:
			return read_size(value, 1, 1024, &options->n_rows);
		case OPT_TEXTS:
			options->texts = value;
			return true;
		case OPT_LINES:
			return read_size(value, 1, (size_t) 1 << 40, &options->n_lines);
		default:
			return take_sampling(options, option, value);
	}
}

static bool
take_sampling(CliOptions *options, int option, const char *value)
{
	PkSampleParams *sample = &options->sample;
	long long       seed;

	switch (option)
	{
		case 'n':
			return read_int32(value, 1, &options->max_tokens);
		case OPT_TEMPERATURE:
			return read_float(value, &sample->temperature);
		case OPT_TOP_K:
			return read_int32(value, 0, &sample->top_k);
		case OPT_TOP_P:
			return read_float(value, &sample->top_p);
		case OPT_PENALTY:
			return read_float(value, &sample->repetition_penalty);
		case OPT_MIN_TOKENS:
			return read_int32(value, 0, &sample->min_tokens);
		case OPT_SEED:
			if (!read_integer(value, INT64_MIN, INT64_MAX, &seed))
				return false;
			sample->seed = (uint64_t) seed;
			return true;
		case OPT_LOOKUP:
			return read_size(value, 0, PK_LOOKUP_MAX, &options->prompt_lookup);
		case OPT_STOP:
			if (options->n_stop == PK_LENGTH(options->stop))
				return false;
			options->stop[options->n_stop++] = value;
			return true;
		case OPT_DETAILS:
			options->is_detailed = true;
			return true;
		default:
			return false;
	}
}

static bool
read_integer(const char *text, long long low, long long high, long long *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *out >= low && *out <= high;
}

static bool
read_size(const char *text, size_t low, size_t high, size_t *out)
{
	long long value;

	if (!read_integer(text, (long long) low, (long long) high, &value))
		return false;
	*out = (size_t) value;
	return true;
}

static bool
read_int32(const char *text, int32_t low, int32_t *out)
{
	long long value;

	if (!read_integer(text, low, INT32_MAX, &value))
		return false;
	*out = (int32_t) value;
	return true;
}

/* The range is checked by the sampler, which names the option. */
static bool
read_float(const char *text, float *out)
{
	char *end;

	*out = strtof(text, &end);
	return end != text && *end == '\0' && !isnan(*out);
}

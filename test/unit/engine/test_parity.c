/*
 * test_parity.c
 *    The committed checkpoints against what transformers computed from them in float32.
 *    Directories given as arguments are tested instead.
 */
#define _GNU_SOURCE
#include "golden.h"

/* float32 sums in another order; the logits of these checkpoints reach 30 */
#define TOL_LOGPROB 1e-3
#define TOL_NLL_RELATIVE 1e-3
#define MIN_COSINE_F32 0.99999
#define MIN_COSINE_F16 0.9999
#define MIN_COSINE_Q8 0.995
/* below this two tokens may change places in float32 */
#define MIN_MARGIN 1e-3

typedef struct Parity
{
	PkEngine     *engine;
	PkModel      *model;
	const PkJson *golden;
	int32_t      *ids;
	size_t        n_ids;
	double        max_logprob_error, max_nll_error, min_cosine;
	size_t        n_wrong_top5, n_wrong_ids, n_wrong_greedy, n_greedy;
} Parity;

static void test_checkpoint(const char *dir);
static void test_quant(const char *dir, PkQuant quant, const PkJson *goldens);
static void check_tokenizer(Parity *parity);
static void check_nll(Parity *parity);
static void check_top5(Parity *parity);
static void check_embeddings(Parity *parity);
static void check_greedy(Parity *parity);

static const char *const committed[] = {
	"test/golden/neox",      "test/golden/neox-seq",    "test/golden/neox-old",
	"test/golden/neox-bf16", "test/golden/neox-shards",
};

int
main(int argc, char **argv)
{
	if (argc > 1)
		for (int i = 1; i < argc; i++)
			test_checkpoint(argv[i]);
	else
		for (size_t i = 0; i < PK_LENGTH(committed); i++)
			test_checkpoint(committed[i]);
	return done_testing();
}

static void
test_checkpoint(const char *dir)
{
	PkJsonDoc *doc = golden_json(dir);

	ok(pk_json_size(pk_json_root(doc)) > 0, "%s has golden outputs", dir);
	test_quant(dir, PK_QUANT_F32, pk_json_root(doc));
	test_quant(dir, PK_QUANT_F16, pk_json_root(doc));
	test_quant(dir, PK_QUANT_Q8, pk_json_root(doc));
	pk_json_free(doc);
}

static void
test_quant(const char *dir, PkQuant quant, const PkJson *goldens)
{
	Parity parity = {.engine = golden_engine(NULL, 2, 0, KV_BYTES),
	                 .model = golden_model(dir, quant),
	                 .min_cosine = 1};
	double min_cosine = quant == PK_QUANT_F32   ? MIN_COSINE_F32
	                    : quant == PK_QUANT_F16 ? MIN_COSINE_F16
	                                            : MIN_COSINE_Q8;

	for (size_t i = 0; i < pk_json_size(goldens); i++)
	{
		parity.golden = pk_json_at(goldens, i);
		parity.ids = golden_ids(pk_json_get(parity.golden, "ids"), &parity.n_ids);
		check_tokenizer(&parity);
		check_nll(&parity);
		check_top5(&parity);
		check_embeddings(&parity);
		check_greedy(&parity);
		free(parity.ids);
	}
	diag("%s %s: top-5 log-probability off by %.2g, nll by %.2g of its value, cosine %.8f, "
	     "greedy %zu of %zu differ",
	     dir, pk_quant_name(quant), parity.max_logprob_error, parity.max_nll_error,
	     parity.min_cosine, parity.n_wrong_greedy, parity.n_greedy);
	ok(parity.n_wrong_ids == 0, "%s %s: prompts have the ids of tokenizers", dir,
	   pk_quant_name(quant));
	ok(parity.min_cosine >= min_cosine, "%s %s: embeddings have cosine %g or more", dir,
	   pk_quant_name(quant), min_cosine);
	if (quant == PK_QUANT_F32)
	{
		ok(parity.n_wrong_top5 == 0, "%s f32: the five best tokens are those of transformers", dir);
		ok(parity.max_logprob_error <= TOL_LOGPROB, "%s f32: their log-probabilities agree", dir);
		ok(parity.max_nll_error <= TOL_NLL_RELATIVE, "%s f32: nll of the prompts agrees", dir);
		ok(parity.n_greedy > 0 && parity.n_wrong_greedy == 0,
		   "%s f32: greedy text is the same where the margin decides", dir);
	}
	pk_engine_destroy(parity.engine);
	pk_model_release(parity.model);
}

static void
check_tokenizer(Parity *parity)
{
	size_t      len;
	const char *prompt = pk_json_string(pk_json_get(parity->golden, "prompt"), &len);
	PkTokens    tokens = {0};
	PkError     err;

	must(pk_tokenizer_encode(pk_model_tokenizer(parity->model), prompt, len, &tokens, NULL, &err),
	     &err);
	if (tokens.n != parity->n_ids ||
	    memcmp(tokens.ids, parity->ids, tokens.n * sizeof(int32_t)) != 0)
		parity->n_wrong_ids++;
	pk_tokens_free(&tokens);
}

static void
check_nll(Parity *parity)
{
	PkRequestSpec spec = {.kind = PK_REQUEST_SCORE,
	                      .model = parity->model,
	                      .tokens = parity->ids,
	                      .n_tokens = parity->n_ids};
	PkRequest    *request = golden_run(parity->engine, &spec);
	double        want = golden_real(parity->golden, "nll");
	double        got = 0;
	size_t        n = 0;
	const float  *logprobs = pk_request_floats(request, &n);

	for (size_t i = 0; i < n; i++)
		got -= (double) logprobs[i];

	double error = want > 0 ? fabs(got - want) / want : fabs(got - want);

	if (!(error <= parity->max_nll_error))
		parity->max_nll_error = error;
	pk_request_free(request);
}

/* Each of the five is scored as the next token; the best five of the whole row come by greedy. */
static void
check_top5(Parity *parity)
{
	size_t   n_top;
	int32_t *top = golden_ids(pk_json_get(parity->golden, "top5_ids"), &n_top);
	int32_t *ids = calloc(parity->n_ids + 1, sizeof(int32_t));
	double   before = INFINITY;

	memcpy(ids, parity->ids, parity->n_ids * sizeof(int32_t));
	for (size_t i = 0; i < n_top; i++)
	{
		PkRequestSpec spec = {.kind = PK_REQUEST_SCORE,
		                      .model = parity->model,
		                      .tokens = ids,
		                      .n_tokens = parity->n_ids + 1};
		double        want = NAN;

		ids[parity->n_ids] = top[i];
		(void) pk_json_real(pk_json_at(pk_json_get(parity->golden, "top5_logprobs"), i), &want);

		PkRequest   *request = golden_run(parity->engine, &spec);
		size_t       n = 0;
		const float *logprobs = pk_request_floats(request, &n);
		double       got = n == parity->n_ids ? (double) logprobs[n - 1] : NAN;

		if (!(fabs(got - want) <= parity->max_logprob_error))
			parity->max_logprob_error = fabs(got - want);
		if (got > before)
			parity->n_wrong_top5++;
		before = got;
		pk_request_free(request);
	}
	free(ids);
	free(top);
}

static const float *
embed(Parity *parity, PkPooling pooling, int32_t layer, PkRequest **request, size_t *n)
{
	PkRequestSpec spec = {.kind = PK_REQUEST_EMBED,
	                      .model = parity->model,
	                      .tokens = parity->ids,
	                      .n_tokens = parity->n_ids,
	                      .pooling = pooling,
	                      .normalize = true,
	                      .layer = layer};

	*request = golden_run(parity->engine, &spec);
	return pk_request_floats(*request, n);
}

static void
check_embedding(Parity *parity, PkPooling pooling, int32_t layer, const char *key)
{
	const PkJson *want = pk_json_get(parity->golden, key);
	PkRequest    *request;
	size_t        n;

	if (want == NULL)
		return; /* golden files of other tools have the mean alone */

	const float *got = embed(parity, pooling, layer, &request, &n);
	double       cosine = golden_cosine(got, n, want);

	if (!(cosine >= parity->min_cosine))
		parity->min_cosine = cosine;
	pk_request_free(request);
}

static void
check_embeddings(Parity *parity)
{
	int64_t inner = 0;

	(void) pk_json_int(pk_json_get(parity->golden, "inner_layer"), &inner);
	check_embedding(parity, PK_POOLING_MEAN, -1, "embedding_mean_normalized");
	check_embedding(parity, PK_POOLING_LAST, -1, "embedding_last_normalized");
	check_embedding(parity, PK_POOLING_MEAN, (int32_t) inner, "embedding_inner_mean");
	check_embedding(parity, PK_POOLING_MEAN, 0, "embedding_input_mean");
}

/* transformers keeps byte 0, which no PostgreSQL text can hold: U+FFFD here. malloc'ed. */
static char *
without_nul(const char *text, size_t *len)
{
	char  *out = malloc(3 * *len + 1);
	size_t n = 0;

	for (size_t i = 0; i < *len; i++)
		if (text[i] == '\0')
			n += (size_t) sprintf(out + n, "\xef\xbf\xbd");
		else
			out[n++] = text[i];
	*len = n;
	return out;
}

/* The golden file has only the smallest margin: where that is too small, nothing is compared. */
static void
check_greedy(Parity *parity)
{
	size_t        n_want;
	int32_t      *want = golden_ids(pk_json_get(parity->golden, "greedy_ids"), &n_want);
	PkRequestSpec spec = {.kind = PK_REQUEST_GENERATE,
	                      .model = parity->model,
	                      .tokens = parity->ids,
	                      .n_tokens = parity->n_ids,
	                      .max_tokens = 24,
	                      .sample = golden_greedy()};

	if (golden_real(parity->golden, "min_margin") >= MIN_MARGIN)
	{
		PkRequest  *request = golden_run(parity->engine, &spec);
		size_t      text_len;
		size_t      want_len;
		const char *text = pk_request_text(request, &text_len);
		const char *golden_text =
			pk_json_string(pk_json_get(parity->golden, "greedy_text"), &want_len);
		char *want_text = without_nul(golden_text, &want_len);
		bool  same = pk_request_n_completion(request) == n_want && text_len == want_len &&
		            memcmp(text, want_text, text_len) == 0;

		for (size_t i = 0; same && i < n_want; i++)
			same = pk_request_piece(request, i).id == want[i];
		parity->n_greedy++;
		parity->n_wrong_greedy += !same;
		free(want_text);
		pk_request_free(request);
	}
	free(want);
}

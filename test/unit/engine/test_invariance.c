/*
 * test_invariance.c
 *    The promise of q8 and q4: the same bits for every chunk size, thread count, CPU tier and
 *    company in the batch, also when keys and values run out and sequences are computed again.
 */
#define _GNU_SOURCE
#include "golden.h"

#define N_ROWS 20
#define MAX_TOKENS 24

/* What one way of computing gave. */
typedef struct Answers
{
	float *embeddings[N_ROWS];
	size_t n_floats;
	char  *texts[N_ROWS];
	double logprobs[N_ROWS];
	float *scores[N_ROWS];
	size_t n_scores[N_ROWS];
} Answers;

typedef struct Question
{
	PkModel *model;
	PkTokens prompts[N_ROWS];
} Question;

static void test_model(const char *dir, PkQuant quant);
static void compare(const Question *question, const Answers *want, const char *kernels,
                    size_t n_threads, size_t chunk, size_t kv_bytes, const char *name);
static void ask(const Question *question, PkEngine *engine, size_t first, size_t n, Answers *out);
static bool same(const Question *question, const Answers *a, const Answers *b);
static void answers_free(Answers *answers);

/* Built with a sanitizer, or run by an emulator as other processors are. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#define IS_SLOW true
#elif defined(__has_feature)
#define IS_SLOW (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define IS_SLOW false
#endif

static const char *const texts[] = {
	"이 영화는 정말 ",
	"서울에서 부산까지 기차를 타고 가면 세 시간쯤 걸린다. 바다를 보러 가는 길에 점심을 먹었다.",
	"a",
	"데이터베이스에 질문을 보내면 모델이 문장을 이어서 써 준다. 최고! 최고! 최고!",
};

int
main(void)
{
	test_model("test/golden/neox", PK_QUANT_Q8);
	test_model("test/golden/neox-seq", PK_QUANT_Q4);
	test_model("test/golden/neox-bf16", PK_QUANT_Q4); /* heads of whole groups */
	if (IS_SLOW)
		skip("polyko-tiny takes minutes here; the small checkpoints go the same ways");
	else
	{
		test_model("models/polyko-tiny", PK_QUANT_Q8);
		test_model("models/polyko-tiny", PK_QUANT_Q4);
	}
	return done_testing();
}

static void
test_model(const char *dir, PkQuant quant)
{
	static const size_t chunks[] = {1, 7, 64, 4096};
	Question            question = {.model = golden_model(dir, quant)};
	Answers             alone = {0};
	PkEngine           *engine = golden_engine("scalar", 1, 4096, KV_BYTES);
	char                name[200];
	PkError             err;
	const char         *tier;

	for (size_t i = 0; i < N_ROWS; i++)
	{
		const char *text = texts[i % PK_LENGTH(texts)];
		size_t      cut = i < PK_LENGTH(texts) ? strlen(text) : strcspn(text, " ");

		must(pk_tokenizer_encode(pk_model_tokenizer(question.model), text, cut,
		                         &question.prompts[i], NULL, &err),
		     &err);
	}
	for (size_t i = 0; i < N_ROWS; i++)
		ask(&question, engine, i, 1, &alone);
	pk_engine_destroy(engine);

	for (size_t t = 0; (tier = pk_kernels_tier_name(t)) != NULL; t++)
	{
		PkKernels kernels;

		if (pk_kernels_select(pk_cpu_claim(), tier, &kernels, NULL) != PK_OK)
		{
			skip(tier);
			continue;
		}
		for (size_t c = 0; c < PK_LENGTH(chunks); c++)
		{
			size_t n_threads = 1 + (c + t) % 2;

			if (c % 2 == 0 && strstr(dir, "tiny") != NULL)
				continue; /* slow, and the small checkpoints have it */
			snprintf(name, sizeof(name), "%s %s: chunks of %zu, %zu threads, %s, among %d rows",
			         dir, pk_quant_name(quant), chunks[c], n_threads, tier, N_ROWS);
			compare(&question, &alone, tier, n_threads, chunks[c], KV_BYTES, name);
		}
	}

	/* room for two or three sequences of these lengths: the youngest are put back many times */
	size_t hidden = pk_model_config(question.model)->hidden_size;
	size_t layers = pk_model_config(question.model)->num_hidden_layers;
	size_t block = (16 * 4 * hidden * layers + 4095) / 4096 * 4096;

	snprintf(name, sizeof(name), "%s %s: when keys and values run out", dir, pk_quant_name(quant));
	compare(&question, &alone, NULL, 2, 64, 8 * block, name);
	snprintf(name, sizeof(name), "%s %s: and with chunks of 7", dir, pk_quant_name(quant));
	compare(&question, &alone, NULL, 1, 7, 8 * block, name);

	answers_free(&alone);
	for (size_t i = 0; i < N_ROWS; i++)
		pk_tokens_free(&question.prompts[i]);
	pk_model_release(question.model);
}

static void
compare(const Question *question, const Answers *want, const char *kernels, size_t n_threads,
        size_t chunk, size_t kv_bytes, const char *name)
{
	PkEngine *engine = golden_engine(kernels, n_threads, chunk, kv_bytes);
	Answers   got = {0};

	ask(question, engine, 0, N_ROWS, &got);
	ok(same(question, want, &got), "%s", name);
	answers_free(&got);
	pk_engine_destroy(engine);
}

/* Rows first to first + n - 1, all at once: embedding, text at temperature 1, scores. */
static void
ask(const Question *question, PkEngine *engine, size_t first, size_t n, Answers *out)
{
	PkRequest *requests[3 * N_ROWS];
	size_t     k = 0;

	for (size_t i = first; i < first + n; i++)
	{
		PkRequestSpec spec = {.kind = PK_REQUEST_EMBED,
		                      .model = question->model,
		                      .tokens = question->prompts[i].ids,
		                      .n_tokens = question->prompts[i].n,
		                      .pooling = i % 3 == 2 ? PK_POOLING_LAST : PK_POOLING_MEAN,
		                      .normalize = i % 2 == 0,
		                      .layer = (int32_t) (i % 4) - 1,
		                      .max_tokens = MAX_TOKENS,
		                      .prompt_lookup_num_tokens = n > 1 ? 15 : 0,
		                      .sample = {.temperature = 1.0f,
		                                 .top_p = i % 2 == 0 ? 1.0f : 0.9f,
		                                 .repetition_penalty = i % 3 == 0 ? 1.2f : 1.0f,
		                                 .min_tokens = 12,
		                                 .seed = i}};

		if (spec.layer > (int32_t) pk_model_config(question->model)->num_hidden_layers)
			spec.layer = -1;
		requests[k++] = golden_submit(engine, &spec);
		spec.kind = PK_REQUEST_GENERATE;
		requests[k++] = golden_submit(engine, &spec);
		spec.kind = PK_REQUEST_SCORE;
		requests[k++] = golden_submit(engine, &spec);
	}
	golden_finish(engine);
	for (size_t i = first, r = 0; i < first + n; i++, r += 3)
	{
		size_t       len;
		const float *values = pk_request_floats(requests[r], &out->n_floats);
		const char  *text = pk_request_text(requests[r + 1], &len);
		const float *scores = pk_request_floats(requests[r + 2], &out->n_scores[i]);

		out->embeddings[i] = malloc(out->n_floats * sizeof(float));
		memcpy(out->embeddings[i], values, out->n_floats * sizeof(float));
		out->texts[i] = strndup(text, len);
		out->logprobs[i] = pk_request_logprob(requests[r + 1]);
		out->scores[i] = malloc(out->n_scores[i] * sizeof(float) + 1);
		memcpy(out->scores[i], scores, out->n_scores[i] * sizeof(float));
	}
	while (k > 0)
		pk_request_free(requests[--k]);
}

static bool
same(const Question *question, const Answers *a, const Answers *b)
{
	for (size_t i = 0; i < N_ROWS; i++)
	{
		size_t n_scores = question->prompts[i].n - 1;

		if (memcmp(a->embeddings[i], b->embeddings[i], a->n_floats * sizeof(float)) != 0)
			diag("embedding of row %zu differs", i);
		else if (strcmp(a->texts[i], b->texts[i]) != 0 || a->logprobs[i] != b->logprobs[i])
			diag("text of row %zu differs: \"%s\" and \"%s\"", i, a->texts[i], b->texts[i]);
		else if (a->n_scores[i] != n_scores || b->n_scores[i] != n_scores ||
		         memcmp(a->scores[i], b->scores[i], n_scores * sizeof(float)) != 0)
			diag("scores of row %zu differ", i);
		else
			continue;
		return false;
	}
	return true;
}

static void
answers_free(Answers *answers)
{
	for (size_t i = 0; i < N_ROWS; i++)
	{
		free(answers->embeddings[i]);
		free(answers->texts[i]);
		free(answers->scores[i]);
	}
}

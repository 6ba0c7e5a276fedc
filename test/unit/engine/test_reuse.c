/*
 * test_reuse.c
 *    Prompts that begin alike: computed once, and the same bits as if each was computed alone, with
 *    chunks of any size, little memory, pauses, cancelled steps and requests that are dropped.
 */
#define _GNU_SOURCE
#include "core/base/alloc.h"
#include "golden.h"

#define DIR "test/golden/neox"
#define CONTEXT 128
#define N_QUESTIONS 40
#define N_ROUNDS 12
#define KEY 16384
/* f32 goes through sgemm, which gives other last bits in other company (DESIGN 5) */
#define F32_TOLERANCE 1e-4

/* A request and its answer when it is computed alone. */
typedef struct Question
{
	PkRequestSpec spec;
	int32_t       tokens[CONTEXT];
	char         *text;
	double        logprob;
	float        *floats;
	size_t        n_floats;
} Question;

static void test_bits(PkQuant quant);
static void test_together(void);
static void test_keys(void);
static void test_owner_goes(void);
static void test_outranked(void);
static void test_idle(void);

static PkModel *model;

int
main(void)
{
	test_bits(PK_QUANT_Q8);
	test_bits(PK_QUANT_Q4);
	test_bits(PK_QUANT_F16);
	test_bits(PK_QUANT_F32);
	model = golden_model(DIR, PK_QUANT_Q8);
	test_together();
	test_keys();
	test_owner_goes();
	test_outranked();
	test_idle();
	pk_model_release(model);
	return done_testing();
}

static size_t
block_bytes(PkQuant quant)
{
	const PkConfig *config = pk_model_config(model);
	size_t          value_bytes = quant == PK_QUANT_F32 ? 4 : 2;

	return pk_round_up(2 * PK_KV_BLOCK * value_bytes * config->hidden_size *
	                       config->num_hidden_layers,
	                   (size_t) 4096);
}

static int32_t
random_token(void)
{
	return 4 + rand() % 500;
}

/* One of four beginnings, cut anywhere, and an end of its own. */
static void
make_question(Question *question, int32_t beginnings[4][CONTEXT])
{
	size_t         n_common = (size_t) rand() % 90;
	size_t         n = n_common + 1 + (size_t) rand() % 30;
	const int32_t *beginning = beginnings[rand() % 4];
	int            kind = rand() % 8;

	for (size_t i = 0; i < n; i++)
		question->tokens[i] = i < n_common ? beginning[i] : random_token();
	question->spec = (PkRequestSpec){.kind = kind < 5   ? PK_REQUEST_GENERATE
	                                         : kind < 7 ? PK_REQUEST_EMBED
	                                                    : PK_REQUEST_SCORE,
	                                 .model = model,
	                                 .tokens = question->tokens,
	                                 .n_tokens = n,
	                                 .max_tokens = 1 + rand() % 40,
	                                 .sample = {.temperature = 1.0f,
	                                            .top_p = 1.0f,
	                                            .repetition_penalty = 1.0f,
	                                            .min_tokens = 20,
	                                            .seed = (uint64_t) rand()},
	                                 .pooling = rand() % 4 == 0 ? PK_POOLING_MEAN : PK_POOLING_LAST,
	                                 .layer = rand() % 4 == 0 ? 1 : -1};
}

static void
keep_answer(Question *question, PkEngine *engine)
{
	PkRequest *request = golden_run(engine, &question->spec);
	size_t     len;

	if (question->spec.kind == PK_REQUEST_GENERATE)
	{
		const char *text = pk_request_text(request, &len);

		question->text = strndup(text, len);
		question->logprob = pk_request_logprob(request);
	}
	else
	{
		const float *floats = pk_request_floats(request, &question->n_floats);

		question->floats = malloc(question->n_floats * sizeof(float) + 1);
		memcpy(question->floats, floats, question->n_floats * sizeof(float));
	}
	pk_request_free(request);
}

static bool
is_same(const Question *question, const PkRequest *request, PkQuant quant)
{
	size_t       n;
	const float *floats = pk_request_floats(request, &n);

	if (question->spec.kind == PK_REQUEST_GENERATE)
	{
		const char *text = pk_request_text(request, &n);

		return quant == PK_QUANT_F32 ||
		       (n == strlen(question->text) && memcmp(text, question->text, n) == 0 &&
		        pk_request_logprob(request) == question->logprob);
	}
	for (size_t i = 0; quant == PK_QUANT_F32 && i < n; i++)
		if (fabsf(floats[i] - question->floats[i]) > (float) F32_TOLERANCE)
			return false;
	return quant == PK_QUANT_F32 || memcmp(floats, question->floats, n * sizeof(float)) == 0;
}

static bool
countdown(void *arg)
{
	int *left = arg;

	return --*left < 0;
}

/* Step until nothing has work; sometimes a step is cancelled, a request paused or freed. */
static bool
run_with_troubles(PkEngine *engine, PkRequest **requests, size_t n)
{
	bool is_within = true;

	while (pk_engine_n_running(engine) > 0)
	{
		int           left = rand() % 300;
		PkCancel      cancel = {.poll = countdown, .poll_arg = &left};
		PkRequest    *some = requests[rand() % (int) n];
		PkEngineStats stats;
		PkError       err;
		PkStatus      status;

		if (some != NULL && rand() % 8 == 0)
			pk_request_pause(some, rand() % 2 == 0);
		if (!pk_engine_has_work(engine))
			for (size_t i = 0; i < n; i++)
				if (requests[i] != NULL)
					pk_request_pause(requests[i], false);
		if (rand() % 200 == 0)
			for (size_t i = 0; i < n; i++)
				if (requests[i] == some)
				{
					pk_request_free(some);
					requests[i] = NULL;
					break;
				}
		status = pk_engine_step(engine, rand() % 4 == 0 ? &cancel : NULL, &err);
		if (status != PK_CANCELLED)
			must(status, &err);
		pk_engine_stats(engine, &stats);
		is_within &= stats.kv_used_bytes + stats.kv_cached_bytes <= stats.kv_max_bytes;
	}
	return is_within;
}

static void
test_bits(PkQuant quant)
{
	static const size_t chunks[] = {0, 1, 7, 16, 64, 4096};
	Question            questions[N_QUESTIONS] = {0};
	int32_t             beginnings[4][CONTEXT];
	unsigned            seed = 31 + (unsigned) quant;
	size_t              n_different = 0;
	size_t              n_over = 0;
	size_t              n_left = 0;
	size_t              n_reused = 0;

	diag("seed %u", seed);
	srand(seed);
	model = golden_model(DIR, quant);
	for (size_t b = 0; b < 4; b++)
		for (size_t i = 0; i < CONTEXT; i++)
			beginnings[b][i] = b == 1 && i < 40 ? beginnings[0][i] : random_token();

	PkEngine *alone = golden_engine(NULL, 1, 4096, KV_BYTES);

	for (size_t q = 0; q < N_QUESTIONS; q++)
	{
		make_question(&questions[q], beginnings);
		keep_answer(&questions[q], alone);
	}
	pk_engine_destroy(alone);
	for (size_t round = 0; round < N_ROUNDS; round++)
	{
		size_t     n_blocks = round % 3 == 0 ? 1000 : 9 + (size_t) rand() % 20;
		PkEngine  *engine = golden_engine(NULL, 1 + round % 2, chunks[round % PK_LENGTH(chunks)],
		                                  n_blocks * block_bytes(quant));
		PkRequest *requests[N_QUESTIONS];

		/* the second time most beginnings are there */
		for (size_t time = 0; time < 2; time++)
		{
			PkEngineStats stats;

			for (size_t q = 0; q < N_QUESTIONS; q++)
			{
				questions[q].spec.session = (uint64_t) rand() % 5;
				questions[q].spec.cache_key = (uint64_t) rand() % 8 > 0 ? KEY : 0;
				requests[q] = golden_submit(engine, &questions[q].spec);
			}
			n_over += !run_with_troubles(engine, requests, N_QUESTIONS);
			for (size_t q = 0; q < N_QUESTIONS; q++)
				if (requests[q] != NULL)
				{
					n_different += !is_same(&questions[q], requests[q], quant);
					n_reused += pk_request_n_reused(requests[q]);
					pk_request_free(requests[q]);
				}
			pk_engine_stats(engine, &stats);
			n_left += stats.kv_used_bytes;
		}
		pk_engine_destroy(engine);
	}
	ok(n_different == 0, "%s: answers are those of prompts computed alone", pk_quant_name(quant));
	ok(n_over == 0 && n_left == 0, "%s: memory stays within its limit and is given back",
	   pk_quant_name(quant));
	ok(n_reused > (size_t) N_ROUNDS * 2 * N_QUESTIONS * 10,
	   "%s: %zu tokens were not computed again", pk_quant_name(quant), n_reused);
	for (size_t q = 0; q < N_QUESTIONS; q++)
	{
		free(questions[q].text);
		free(questions[q].floats);
	}
	pk_model_release(model);
}

/* Rows of n_common tokens alike and 4 of their own, one token each. Returns the tokens computed. */
static uint64_t
run_rows(PkEngine *engine, size_t n_rows, size_t n_common, uint64_t key, size_t *n_reused)
{
	PkRequest    *requests[64];
	int32_t       tokens[CONTEXT];
	PkEngineStats before;
	PkEngineStats after;

	*n_reused = 0;
	pk_engine_stats(engine, &before);
	for (size_t r = 0; r < n_rows; r++)
	{
		PkRequestSpec spec = {.kind = PK_REQUEST_GENERATE,
		                      .model = model,
		                      .tokens = tokens,
		                      .n_tokens = n_common + 4,
		                      .max_tokens = 1,
		                      .sample = golden_greedy(),
		                      .session = r % 3,
		                      .cache_key = key};

		for (size_t i = 0; i < spec.n_tokens; i++)
			tokens[i] = (int32_t) (i < n_common ? 10 + i : 100 + 4 * r + i);
		requests[r] = golden_submit(engine, &spec);
	}
	golden_finish(engine);
	for (size_t r = 0; r < n_rows; r++)
	{
		*n_reused += pk_request_n_reused(requests[r]);
		pk_request_free(requests[r]);
	}
	pk_engine_stats(engine, &after);
	return after.n_step_rows - before.n_step_rows;
}

static void
test_together(void)
{
	static const size_t chunks[] = {0, 16, 50};
	size_t              n_reused;

	for (size_t c = 0; c < PK_LENGTH(chunks); c++)
	{
		PkEngine *engine = golden_engine(NULL, 1, chunks[c], KV_BYTES);

		ok(run_rows(engine, 64, 80, KEY, &n_reused) == 80 + 64 * 4,
		   "64 rows that begin together, chunks of %zu: the common part is computed once",
		   chunks[c]);
		is_int((long long) n_reused, 63 * 80, "by one of them");
		pk_engine_destroy(engine);
	}

	PkEngine *engine = golden_engine(NULL, 1, 0, KV_BYTES);

	is_int((long long) run_rows(engine, 2, 90, KEY, &n_reused), 94 + 94 - 80,
	       "whole blocks are shared");
	is_int((long long) run_rows(engine, 1, 90, KEY, &n_reused), 94 - 80, "also afterwards");
	is_int((long long) n_reused, 80, "and counted");
	pk_engine_destroy(engine);
}

static void
test_keys(void)
{
	PkEngine *engine = golden_engine(NULL, 1, 0, KV_BYTES);
	size_t    n_reused;

	is_int((long long) run_rows(engine, 3, 80, 0, &n_reused), 3 * 84, "key 0 shares nothing");
	is_int((long long) run_rows(engine, 1, 80, KEY, &n_reused), 84, "and leaves nothing");
	is_int((long long) run_rows(engine, 1, 80, KEY + 1, &n_reused), 84,
	       "what one key left is not there for another");
	is_int((long long) run_rows(engine, 1, 80, KEY, &n_reused), 4, "but for itself");

	/* all positions of a mean are wanted */
	int32_t tokens[CONTEXT];

	for (size_t i = 0; i < 84; i++)
		tokens[i] = (int32_t) (10 + i);

	PkRequestSpec spec = {.kind = PK_REQUEST_EMBED,
	                      .model = model,
	                      .tokens = tokens,
	                      .n_tokens = 80,
	                      .layer = -1,
	                      .cache_key = KEY};
	PkRequest    *mean = golden_run(engine, &spec);

	is_int((long long) pk_request_n_reused(mean), 0, "a mean takes nothing");
	pk_request_free(mean);
	spec.pooling = PK_POOLING_LAST;

	PkRequest *last = golden_run(engine, &spec);

	is_int((long long) pk_request_n_reused(last), 64, "the last position's embedding does");
	pk_request_free(last);
	pk_engine_destroy(engine);
}

/* Who waits for another's blocks goes on when that one is paused, dropped or pushed out. */
static void
test_owner_goes(void)
{
	for (int how = 0; how < 2; how++)
	{
		PkEngine     *engine = golden_engine(NULL, 1, 16, KV_BYTES);
		int32_t       tokens[100];
		PkRequestSpec spec = {.kind = PK_REQUEST_GENERATE,
		                      .model = model,
		                      .tokens = tokens,
		                      .n_tokens = 100,
		                      .max_tokens = 4,
		                      .sample = golden_greedy(),
		                      .cache_key = KEY};
		PkError       err;

		for (size_t i = 0; i < 100; i++)
			tokens[i] = (int32_t) (10 + i);

		PkRequest *owner = golden_submit(engine, &spec);

		spec.session = 1;

		PkRequest *waiter = golden_submit(engine, &spec);

		for (size_t i = 0; i < 3; i++)
			must(pk_engine_step(engine, NULL, &err), &err);
		ok(pk_request_phase(owner) == PK_PHASE_PREFILL && pk_request_n_cached(owner) == 48 &&
		       pk_request_phase(waiter) == PK_PHASE_WAITING,
		   "one computes, one waits");
		if (how == 0)
			pk_request_pause(owner, true);
		else
		{
			pk_request_free(owner);
			owner = NULL;
		}
		while (pk_engine_has_work(engine))
			must(pk_engine_step(engine, NULL, &err), &err);
		ok(pk_request_finish(waiter) == PK_FINISH_LENGTH, "the other goes on when it is %s",
		   how == 0 ? "paused" : "dropped");
		is_int((long long) pk_request_n_reused(waiter), 48, "from where it was");
		if (owner != NULL)
		{
			pk_request_pause(owner, false);
			golden_finish(engine);
			is_int(pk_request_finish(owner), PK_FINISH_LENGTH, "and so does the first then");
			is_int((long long) pk_request_n_reused(owner), 0, "which took nothing");
		}
		pk_request_free(owner);
		pk_request_free(waiter);
		pk_engine_destroy(engine);
	}
}

/* The oldest is admitted first, but a session that was given less computes first. */
static void
test_outranked(void)
{
	static const size_t lengths[] = {16, 40, 100}, sessions[] = {0, 0, 1};

	PkEngine  *engine = golden_engine(NULL, 1, 16, KV_BYTES);
	PkRequest *requests[3];
	int32_t    tokens[100];
	PkError    err;

	for (size_t r = 0; r < 3; r++)
	{
		PkRequestSpec spec = {.kind = PK_REQUEST_GENERATE,
		                      .model = model,
		                      .tokens = tokens,
		                      .n_tokens = lengths[r],
		                      .max_tokens = 1,
		                      .sample = golden_greedy(),
		                      .session = sessions[r],
		                      .cache_key = KEY};

		for (size_t i = 0; i < lengths[r]; i++)
			tokens[i] = (int32_t) (10 + 100 * r + i);
		requests[r] = golden_submit(engine, &spec);
	}
	for (size_t i = 0; i < 20; i++)
		must(pk_engine_step(engine, NULL, &err), &err);
	for (size_t r = 0; r < 3; r++)
	{
		ok(pk_request_finish(requests[r]) == PK_FINISH_LENGTH,
		   "request %zu of two sessions is answered", r);
		pk_request_free(requests[r]);
	}
	pk_engine_destroy(engine);
}

static void
test_idle(void)
{
	PkEngine     *engine = golden_engine(NULL, 1, 0, KV_BYTES);
	PkModel      *first = model;
	size_t        kept_bytes = 5 * block_bytes(PK_QUANT_Q8);
	size_t        n_reused;
	PkEngineStats stats;

	run_rows(engine, 4, 80, KEY, &n_reused);
	pk_engine_stats(engine, &stats);
	is_int((long long) stats.kv_cached_bytes, (long long) kept_bytes, "beginnings are kept");
	model = golden_model("test/golden/neox-seq", PK_QUANT_Q8);
	run_rows(engine, 1, 80, KEY, &n_reused);
	is_int((long long) n_reused, 0, "another model has its own");
	pk_engine_forget(engine, model);
	pk_engine_stats(engine, &stats);
	is_int((long long) stats.kv_cached_bytes, (long long) kept_bytes, "which go with it");
	pk_model_release(model);
	model = first;
	run_rows(engine, 1, 80, KEY, &n_reused);
	is_int((long long) n_reused, 80, "and leave those of the first alone");

	PkRequestSpec spec = {.kind = PK_REQUEST_EMBED,
	                      .model = model,
	                      .tokens = (int32_t[]){5},
	                      .n_tokens = 1,
	                      .layer = -1};
	PkRequest    *alive = golden_run(engine, &spec);

	pk_engine_forget(engine, model);
	pk_engine_stats(engine, &stats);
	is_int((long long) stats.kv_cached_bytes, (long long) kept_bytes,
	       "a model that a request uses is not forgotten");
	pk_request_free(alive);
	pk_engine_idle(engine);
	pk_engine_stats(engine, &stats);
	ok(stats.kv_cached_bytes == 0 && stats.workspace_bytes == 0, "until the engine idles");
	pk_engine_destroy(engine);
}

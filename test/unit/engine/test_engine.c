/*
 * test_engine.c
 *    Requests: their ends, their pieces, cancel, limits, and that nothing is left behind.
 */
#define _GNU_SOURCE
#include <malloc.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "golden.h"

#define DIR_SMALL "test/golden/neox"
#define DIR_TINY "models/polyko-tiny"
#define N_MANY 10000
/* what a heap may grow by rounding, far below one request each */
#define MAX_GROWTH_BYTES (256 << 10)

static PkModel *small_model;
static PkModel *tiny_model;

static void test_ends(void);
static void test_pieces(void);
static void test_cancel(void);
static void test_pause(void);
static void test_limits(void);
static void test_two_models(void);
static void test_nothing_left(void);

int
main(void)
{
	small_model = golden_model(DIR_SMALL, PK_QUANT_Q8);
	tiny_model = golden_model(DIR_TINY, PK_QUANT_Q8);
	test_ends();
	test_pieces();
	test_cancel();
	test_pause();
	test_limits();
	test_two_models();
	test_nothing_left();
	pk_model_release(small_model);
	pk_model_release(tiny_model);
	return done_testing();
}

static PkRequestSpec
generate_spec(PkModel *model, const PkTokens *prompt, int32_t max_tokens)
{
	return (PkRequestSpec){.kind = PK_REQUEST_GENERATE,
	                       .model = model,
	                       .tokens = prompt->ids,
	                       .n_tokens = prompt->n,
	                       .max_tokens = max_tokens,
	                       .sample = golden_greedy()};
}

static char *
text_of(const PkRequest *request)
{
	size_t      len;
	const char *text = pk_request_text(request, &len);

	return strndup(text, len);
}

static void
test_ends(void)
{
	PkEngine     *engine = golden_engine(NULL, 2, 0, KV_BYTES);
	PkTokens      prompt = golden_encode(small_model, "이 영화는 정말");
	PkRequestSpec spec = generate_spec(small_model, &prompt, 5);
	PkRequest    *request = golden_run(engine, &spec);

	is_int(pk_request_finish(request), PK_FINISH_LENGTH, "max_tokens ends with 'length'");
	is_int((long long) pk_request_n_completion(request), 5, "and counts them all");
	pk_request_free(request);

	spec.max_tokens = 100000;
	spec.sample.min_tokens = 100000;
	request = golden_run(engine, &spec);
	is_int(pk_request_finish(request), PK_FINISH_LENGTH, "the context ends with 'length'");
	is_int((long long) (pk_request_n_completion(request) + prompt.n), 128,
	       "when prompt and output fill it");

	double sum = 0;

	for (size_t i = 0; i < pk_request_n_pieces(request); i++)
		sum += (double) pk_request_piece(request, i).logprob;
	is_near(pk_request_logprob(request), sum, 1e-9, "logprob is the sum over the tokens");
	pk_request_free(request);
	pk_tokens_free(&prompt);

	prompt = golden_encode(
		tiny_model, "연기의 신인 이도경 할아버지께서 왜이런 허접한 영화에 출연하셨는지 이해불가");
	spec = generate_spec(tiny_model, &prompt, 64);
	request = golden_run(engine, &spec);
	is_int(pk_request_finish(request), PK_FINISH_STOP, "an end token ends with 'stop'");
	is_int((long long) pk_request_n_completion(request), 0, "and is not counted");
	pk_request_free(request);
	pk_tokens_free(&prompt);
	pk_engine_destroy(engine);
}

/* Pieces seen after each step, joined, are the text; none changes after it was seen. */
static bool
stream(PkEngine *engine, const PkRequestSpec *spec, const char **why)
{
	PkRequest *request = golden_submit(engine, spec);
	char       joined[1 << 14] = "";
	size_t     len = 0;
	size_t     n_seen = 0;
	size_t     n_steps = 0;
	PkError    err;

	*why = NULL;
	while (pk_request_finish(request) == PK_FINISH_NONE)
	{
		must(pk_engine_step(engine, NULL, &err), &err);
		n_steps = pk_request_n_completion(request);
		if (pk_request_finish(request) == PK_FINISH_NONE && n_steps > 0 &&
		    pk_request_n_pieces(request) + 1 < n_steps)
			*why = "row k is not there before token k + 2";
		for (; n_seen < pk_request_n_pieces(request); n_seen++)
		{
			PkPiece piece = pk_request_piece(request, n_seen);

			if (!pk_utf8_is_valid(piece.text, piece.len, NULL))
				*why = "half a character in a piece";
			memcpy(joined + len, piece.text, piece.len);
			len += piece.len;
		}
	}
	joined[len] = '\0';

	char *text = text_of(request);

	if (strcmp(text, joined) != 0)
		*why = "pieces joined are not the text";
	if (pk_request_n_completion(request) > n_seen)
		*why = "a counted token has no piece";
	if (*why != NULL)
		diag("%s: \"%s\" and \"%s\"", *why, text, joined);
	free(text);
	pk_request_free(request);
	return *why == NULL;
}

/* A random model writes broken characters all the time; stop strings come from its own output. */
static void
test_pieces(void)
{
	PkEngine   *engine = golden_engine(NULL, 1, 0, KV_BYTES);
	PkTokens    prompt = golden_encode(small_model, "데이터베이스");
	unsigned    seed = 99;
	size_t      n_bad = 0;
	size_t      n_stopped = 0;
	size_t      n_wrong = 0;
	const char *why;

	diag("seed %u", seed);
	srand(seed);
	for (uint64_t k = 0; k < 300; k++)
	{
		PkRequestSpec spec = generate_spec(small_model, &prompt, 40);

		spec.sample.temperature = 1.0f;
		spec.sample.seed = k;
		n_bad += !stream(engine, &spec, &why);

		PkRequest *request = golden_run(engine, &spec);
		char      *text = text_of(request);
		size_t     len = strlen(text);
		size_t     n_whole = pk_request_n_completion(request);

		pk_request_free(request);
		if (len < 12)
		{
			free(text);
			continue;
		}

		/* a piece of the output, cut at characters, and a decoy that begins like it */
		size_t from = (size_t) rand() % (len - 8);
		size_t to = from + 1 + (size_t) rand() % 7;

		while ((text[from] & 0xc0) == 0x80)
			from--;
		while (to < len && (text[to] & 0xc0) == 0x80)
			to++;

		char  *stop = strndup(text + from, to - from);
		char  *decoy = NULL;
		size_t lens[2] = {to - from, to - from + 3};

		if (asprintf(&decoy, "%s힣", stop) < 0)
			abort();

		const char *stops[2] = {stop, decoy};

		spec.stop = stops;
		spec.stop_lens = lens;
		spec.n_stop = 2;
		request = golden_run(engine, &spec);

		char  *cut = text_of(request);
		size_t want = (size_t) (strstr(text, stop) - text);

		n_stopped++;
		n_wrong += pk_request_finish(request) != PK_FINISH_STOP_STRING || strlen(cut) != want ||
		           memcmp(cut, text, want) != 0 || pk_request_n_completion(request) > n_whole;
		pk_request_free(request);
		n_bad += !stream(engine, &spec, &why);
		free(cut);
		free(stop);
		free(decoy);
		free(text);
	}
	is_int((long long) n_bad, 0, "pieces joined are the text, whole characters, one token late");
	ok(n_stopped > 100 && n_wrong == 0, "%zu stop strings cut where they begin", n_stopped);
	pk_tokens_free(&prompt);
	pk_engine_destroy(engine);
}

static bool
countdown(void *arg)
{
	int *left = arg;

	return --*left < 0;
}

static void
test_cancel(void)
{
	PkEngine     *engine = golden_engine(NULL, 2, 0, KV_BYTES);
	PkTokens      prompt = golden_encode(tiny_model, "이 영화는 정말 처음부터 끝까지");
	PkRequestSpec spec = generate_spec(tiny_model, &prompt, 40);
	PkRequestSpec embed = spec;
	unsigned      seed = 5;
	size_t        n_cancelled = 0;
	size_t        n_wrong = 0;

	diag("seed %u", seed);
	srand(seed);
	spec.sample.temperature = 1.0f;
	spec.sample.min_tokens = 40;
	embed.kind = PK_REQUEST_EMBED;
	embed.layer = -1;

	PkRequest   *want = golden_run(engine, &spec);
	PkRequest   *want_embed = golden_run(engine, &embed);
	char        *want_text = text_of(want);
	size_t       n;
	const float *want_floats = pk_request_floats(want_embed, &n);

	for (int round = 0; round < 5; round++)
	{
		PkRequest *got = golden_submit(engine, &spec);
		PkRequest *got_embed = golden_submit(engine, &embed);

		while (pk_engine_n_running(engine) > 0)
		{
			int      left = rand() % 400;
			PkCancel cancel = {.poll = countdown, .poll_arg = &left};
			PkError  err;
			PkStatus status = pk_engine_step(engine, &cancel, &err);

			if (status == PK_CANCELLED)
				n_cancelled++;
			else
				must(status, &err);
		}

		char *text = text_of(got);

		n_wrong += strcmp(text, want_text) != 0;
		n_wrong += memcmp(pk_request_floats(got_embed, &n), want_floats, n * sizeof(float)) != 0;
		free(text);
		pk_request_free(got);
		pk_request_free(got_embed);
	}
	ok(n_cancelled > 20, "steps were cancelled at random times (%zu)", n_cancelled);
	is_int((long long) n_wrong, 0, "stepped again they give the same text and embedding");
	free(want_text);
	pk_request_free(want);
	pk_request_free(want_embed);

	PkRequest *dropped = golden_submit(engine, &spec);
	PkError    err;

	must(pk_engine_step(engine, NULL, &err), &err);
	pk_request_free(dropped);
	is_int((long long) pk_engine_n_running(engine), 0, "a request may be freed half-way");
	pk_tokens_free(&prompt);
	pk_engine_destroy(engine);
}

/* One step; false when a request computed something although it was paused. */
static bool
step_beside(PkEngine *engine, const PkRequest *paused)
{
	size_t  n = pk_request_n_completion(paused);
	PkError err;

	must(pk_engine_step(engine, NULL, &err), &err);
	return pk_request_n_completion(paused) == n;
}

/* kv_bytes: with little room others push it out, and it is computed again. */
static void
pause_at_random(size_t kv_bytes, const char *name)
{
	PkEngine     *engine = golden_engine(NULL, 1, 0, kv_bytes);
	PkTokens      prompt = golden_encode(small_model, "봄이 되면 꽃이 피고");
	PkRequestSpec spec = generate_spec(small_model, &prompt, 40);
	PkRequestSpec embed = spec;
	PkEngineStats stats;
	size_t        n_moved = 0;
	size_t        n_wrong = 0;
	size_t        n_waited = 0;

	spec.sample.temperature = 1.0f;
	spec.sample.min_tokens = 40;
	embed.kind = PK_REQUEST_EMBED;
	embed.layer = -1;
	embed.session = 1;

	PkRequest *want = golden_run(engine, &spec);
	char      *want_text = text_of(want);

	for (size_t round = 0; round < 100; round++)
	{
		PkRequest *request = golden_submit(engine, &spec);
		PkError    err;

		for (int n = rand() % 30; n > 0; n--)
			must(pk_engine_step(engine, NULL, &err), &err);
		pk_request_pause(request, true);
		n_wrong += pk_engine_has_work(engine);

		PkRequest *others[6];

		for (size_t i = 0; i < PK_LENGTH(others); i++)
			others[i] = golden_submit(engine, &embed);
		while (pk_engine_has_work(engine))
			n_moved += !step_beside(engine, request);
		n_waited += pk_request_phase(request) == PK_PHASE_WAITING;
		for (size_t i = 0; i < PK_LENGTH(others); i++)
			pk_request_free(others[i]);
		n_moved += !step_beside(engine, request);
		n_wrong += pk_engine_n_running(engine) != 1;
		pk_request_pause(request, false);
		golden_finish(engine);

		char *text = text_of(request);

		n_wrong += strcmp(text, want_text) != 0;
		free(text);
		pk_request_free(request);
	}
	pk_engine_stats(engine, &stats);
	ok(n_moved == 0 && n_wrong == 0, "%s a paused request waits and goes on with the same tokens",
	   name);
	diag("%zu lost their keys and values", n_waited);
	ok(stats.kv_used_bytes == 0 && stats.n_running == 0 && stats.n_waiting == 0 &&
	       stats.n_step_rows > stats.n_steps,
	   "and nothing is held afterwards");

	PkRequest *dropped = golden_submit(engine, &spec);

	pk_request_pause(dropped, true);
	pk_request_free(dropped);
	ok(!pk_engine_has_work(engine), "a paused request may be freed");
	free(want_text);
	pk_request_free(want);
	pk_tokens_free(&prompt);
	pk_engine_destroy(engine);
}

static void
test_pause(void)
{
	const PkConfig *config = pk_model_config(small_model);
	size_t block = pk_round_up((size_t) 16 * 4 * config->hidden_size * config->num_hidden_layers,
	                           (size_t) 4096);

	srand(7);
	pause_at_random(KV_BYTES, "with room");
	pause_at_random(5 * block, "without room");
}

static void
test_limits(void)
{
	PkEngine  *engine = golden_engine(NULL, 1, 0, (size_t) 1 << 20);
	int32_t    ids[512];
	PkTokens   prompt = {.ids = ids, .n = 128};
	PkRequest *request;
	PkError    err;

	for (size_t i = 0; i < PK_LENGTH(ids); i++)
		ids[i] = 5;

	PkRequestSpec spec = generate_spec(small_model, &prompt, 1);

	ok(pk_engine_submit(engine, &spec, &request, &err) == PK_TOO_LONG &&
	       strstr(err.text, "128") != NULL && err.hint[0] != '\0',
	   "a prompt that fills the context is refused with the numbers");
	spec.kind = PK_REQUEST_EMBED;
	spec.layer = -1;
	request = golden_run(engine, &spec);
	is_int(pk_request_finish(request), PK_FINISH_DONE, "an embedding may fill it");
	pk_request_free(request);
	spec.n_tokens = 129;
	is_int(pk_engine_submit(engine, &spec, &request, &err), PK_TOO_LONG, "but not exceed it");
	spec.n_tokens = 3;
	spec.layer = 3;
	is_int(pk_engine_submit(engine, &spec, &request, &err), PK_BAD_ARGUMENT,
	       "a layer that is not there is refused");
	spec.kind = PK_REQUEST_GENERATE;
	spec.max_tokens = 0;
	is_int(pk_engine_submit(engine, &spec, &request, &err), PK_BAD_ARGUMENT,
	       "max_tokens 0 is refused");
	spec.max_tokens = 1;
	ids[1] = 608;
	is_int(pk_engine_submit(engine, &spec, &request, &err), PK_BAD_ARGUMENT,
	       "a token beyond the vocabulary is refused");
	ids[1] = 5;

	prompt.n = 400;
	spec = generate_spec(tiny_model, &prompt, 100);
	ok(pk_engine_submit(engine, &spec, &request, &err) == PK_NO_MEMORY &&
	       strstr(err.text, "1 MB") != NULL && strstr(err.hint, "polyko.kv_cache_size") != NULL,
	   "what can never fit the KV cache is refused with numbers and a hint");
	is_int((long long) pk_engine_n_running(engine), 0, "refused requests leave nothing");
	pk_engine_destroy(engine);
}

static void
test_two_models(void)
{
	PkEngine     *engine = golden_engine(NULL, 2, 0, (size_t) 3 << 20);
	PkTokens      a = golden_encode(small_model, "오늘은 비가 내려서");
	PkTokens      b = golden_encode(tiny_model, "오늘은 비가 내려서");
	PkRequestSpec spec_a = generate_spec(small_model, &a, 30);
	PkRequestSpec spec_b = generate_spec(tiny_model, &b, 30);
	PkRequest    *alone_a = golden_run(engine, &spec_a);
	PkRequest    *alone_b = golden_run(engine, &spec_b);
	PkRequest    *both_a = golden_submit(engine, &spec_a);
	PkRequest    *both_b = golden_submit(engine, &spec_b);

	golden_finish(engine);

	char *texts[4] = {text_of(alone_a), text_of(both_a), text_of(alone_b), text_of(both_b)};

	is_str(texts[1], texts[0], "two models in one engine: the first answers as alone");
	is_str(texts[3], texts[2], "and so does the second");
	for (size_t i = 0; i < 4; i++)
		free(texts[i]);
	pk_request_free(alone_a);
	pk_request_free(alone_b);
	pk_request_free(both_a);
	pk_request_free(both_b);
	pk_tokens_free(&a);
	pk_tokens_free(&b);
	pk_engine_destroy(engine);
}

/* Pages in memory now. */
static long
resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long  size = 0;
	long  resident = 0;

	if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	if (file != NULL)
		fclose(file);
	return resident;
}

static void
test_nothing_left(void)
{
	PkEngine     *engine = golden_engine(NULL, 1, 0, KV_BYTES);
	PkTokens      prompt = golden_encode(small_model, "봄이 되면");
	PkRequestSpec spec = generate_spec(small_model, &prompt, 1);
	size_t        before = 0;
	long          resident_before = 0;

	for (size_t i = 0; i < N_MANY; i++)
	{
		spec.kind = (PkRequestKind) (i % 3);
		spec.layer = -1;
		pk_request_free(golden_run(engine, &spec));
		if (i == N_MANY / 10)
		{
			before = mallinfo2().uordblks;
			resident_before = resident_pages();
		}
	}

	long long grown = (long long) mallinfo2().uordblks - (long long) before;
	long long grown_pages = resident_pages() - resident_before;

	(void) grown_pages;

	ok(grown < MAX_GROWTH_BYTES, "10,000 requests leave nothing in the heap (%lld bytes)", grown);
	/* sanitizers keep freed memory for a while; they count what is lost themselves */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip("resident memory under a sanitizer");
#else
	ok(grown_pages * 4096 < 4 * MAX_GROWTH_BYTES, "nor in memory (%lld pages)", grown_pages);
#endif
	pk_engine_idle(engine);
	pk_request_free(golden_run(engine, &spec));
	is_int((long long) pk_engine_n_running(engine), 0, "after idle the engine works on");
	pk_tokens_free(&prompt);
	pk_engine_destroy(engine);
}

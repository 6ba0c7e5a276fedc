/*
 * test_draft.c
 *    Drafted tokens change no bit of an answer, whatever becomes of them; and they are drafted only
 *    where it pays.
 */
#define _GNU_SOURCE
#include "golden.h"
#include "core/engine/engine_internal.h"

#define N_ROWS 8
#define N_NEW 48
#define KEY 7
#define MS 1e6

typedef struct Text
{
	char  *bytes;
	size_t len;
} Text;

/* What a request gave. */
typedef struct Answer
{
	int32_t  ids[N_NEW];
	float    logprobs[N_NEW];
	size_t   n_pieces;
	Text     text;
	PkFinish finish;
} Answer;

/* How all rows are computed. */
typedef struct Way
{
	const char *name;
	size_t      n_lookup;
	size_t      n_threads;
	size_t      kv_blocks; /* 0: enough */
	unsigned    cancel;    /* each poll cancels with this chance of 1000 */
	uint64_t    key;
} Way;

static void test_bits(const char *dir, PkQuant quant);
static void compare(PkModel *model, const Way *way, const Answer *want);
static void ask(PkEngine *engine, PkModel *model, const Way *way, size_t first, size_t n,
                Answer *out, size_t *n_accepted);
static bool same(const Answer *a, const Answer *b);
static void test_ends(void);
static void test_formats(void);
static void test_limits(void);
static void test_choice(void);
static void test_prolonging(void);
static void test_room(void);

int
main(void)
{
	test_bits("test/golden/neox", PK_QUANT_Q8);
	test_bits("test/golden/neox-seq", PK_QUANT_Q4);
	test_ends();
	test_formats();
	test_limits();
	test_choice();
	test_prolonging();
	test_room();
	return done_testing();
}

/* Steps of one row are known to take 1 ms, and each other row row_ns. */
static void
set_pace(PkEngine *engine, double row_ns)
{
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
	{
		size_t n = 1;

		model->pace = (PkPace){.ns_prompt = row_ns};
		for (size_t c = 0; c < PK_PACE_CLASSES; c++, n = pk_pace_same_rows(n + 1))
			model->pace.ns_rows[c] = MS + (double) (n - 1) * row_ns;
	}
}

static void
test_bits(const char *dir, PkQuant quant)
{
	static const Way ways[] = {
		{.name = "15 tokens drafted", .n_lookup = 15, .n_threads = 1},
		{.name = "one", .n_lookup = 1, .n_threads = 2},
		{.name = "while keys and values run out", .n_lookup = 15, .n_threads = 2, .kv_blocks = 9},
		{.name = "while steps are cancelled", .n_lookup = 15, .n_threads = 1, .cancel = 50},
		{.name = "with shared beginnings", .n_lookup = 4, .n_threads = 1, .key = KEY},
	};
	const Way alone = {.n_threads = 1};
	PkModel  *model = golden_model(dir, quant);
	PkEngine *engine = golden_engine(NULL, 1, 4096, KV_BYTES);
	Answer    want[N_ROWS] = {0};
	size_t    n_accepted = 0;

	for (size_t i = 0; i < N_ROWS; i++)
		ask(engine, model, &alone, i, 1, want, &n_accepted);
	ok(n_accepted == 0, "%s: nothing is drafted unless it is asked for", dir);
	pk_engine_destroy(engine);
	for (size_t w = 0; w < PK_LENGTH(ways); w++)
		compare(model, &ways[w], want);
	for (size_t i = 0; i < N_ROWS; i++)
		free(want[i].text.bytes);
	pk_model_release(model);
}

static void
compare(PkModel *model, const Way *way, const Answer *want)
{
	const PkConfig *config = pk_model_config(model);
	size_t block = (16 * 4 * config->hidden_size * config->num_hidden_layers + 4095) / 4096 * 4096;
	size_t n_accepted = 0, n_wrong = 0;
	PkEngine *engine = golden_engine(NULL, way->n_threads, 4096,
	                                 way->kv_blocks > 0 ? way->kv_blocks * block : KV_BYTES);
	/* twice: what the first ones leave serves the others */
	for (size_t again = 0; again < 2; again++)
	{
		Answer got[N_ROWS] = {0};

		ask(engine, model, way, 0, N_ROWS, got, &n_accepted);
		for (size_t i = 0; i < N_ROWS; i++)
		{
			n_wrong += !same(&want[i], &got[i]);
			free(got[i].text.bytes);
		}
	}
	ok(n_wrong == 0 && n_accepted > N_ROWS, "%s: same answers, %zu tokens accepted, %zu wrong",
	   way->name, n_accepted, n_wrong);
	pk_engine_destroy(engine);
}

static bool
dice(void *arg)
{
	const unsigned *chance = arg;

	return (unsigned) rand() % 1000 < *chance;
}

static void
step(PkEngine *engine, unsigned cancel_chance)
{
	PkCancel cancel = {.poll = dice, .poll_arg = &cancel_chance};
	PkError  err;
	PkStatus status;

	set_pace(engine, 0); /* all that can be drafted is */
	status = pk_engine_step(engine, &cancel, &err);
	if (status != PK_CANCELLED)
		must(status, &err);
}

/* Rows that repeat themselves, some with words of their prompt; each sampled in its own way. */
static PkRequest *
submit(PkEngine *engine, PkModel *model, const Way *way, size_t row)
{
	static const char *const texts[] = {"최고! 최고! 최고!", "a b a b a b a", "영화 영화 영화",
	                                    "이 영화는 정말 최고의 영화였다. 이 영화는 정말"};
	static const char *const stops[] = {"!!", "\n\n", "a a a a a a"};
	size_t                   stop_lens[] = {strlen(stops[0]), strlen(stops[1]), strlen(stops[2])};
	PkTokens                 tokens = golden_encode(model, texts[row % PK_LENGTH(texts)]);
	PkRequestSpec            spec = {.kind = PK_REQUEST_GENERATE,
	                                 .model = model,
	                                 .tokens = tokens.ids,
	                                 .n_tokens = tokens.n,
	                                 .session = row % 3,
	                                 .cache_key = way->key,
	                                 .max_tokens = (int32_t) (N_NEW - row),
	                                 .sample = golden_greedy(),
	                                 .stop = stops,
	                                 .stop_lens = stop_lens,
	                                 .n_stop = row % 4,
	                                 .prompt_lookup_num_tokens = (uint32_t) way->n_lookup};
	PkRequest               *request;

	if (spec.n_stop > PK_LENGTH(stops))
		spec.n_stop = PK_LENGTH(stops);
	spec.sample.seed = row;
	spec.sample.temperature = row % 4 == 3 ? 0.05f : 0;
	spec.sample.repetition_penalty = row == 5 ? 1.05f : 1.0f;
	spec.sample.min_tokens = row % 2 == 0 ? N_NEW / 2 : 0;
	request = golden_submit(engine, &spec);
	pk_tokens_free(&tokens);
	return request;
}

static Text
text_of(const PkRequest *request)
{
	Text        text;
	const char *bytes = pk_request_text(request, &text.len);

	text.bytes = malloc(text.len + 1);
	memcpy(text.bytes, bytes, text.len);
	return text;
}

static void
ask(PkEngine *engine, PkModel *model, const Way *way, size_t first, size_t n, Answer *out,
    size_t *n_accepted)
{
	PkRequest *requests[N_ROWS];

	for (size_t i = first; i < first + n; i++)
		requests[i] = submit(engine, model, way, i);
	while (pk_engine_n_running(engine) > 0)
		step(engine, way->cancel);
	for (size_t i = first; i < first + n; i++)
	{
		PkRequest *request = requests[i];

		out[i].n_pieces = pk_request_n_pieces(request);
		out[i].text = text_of(request);
		out[i].finish = pk_request_finish(request);
		for (size_t p = 0; p < out[i].n_pieces; p++)
		{
			out[i].ids[p] = pk_request_piece(request, p).id;
			out[i].logprobs[p] = pk_request_piece(request, p).logprob;
		}
		*n_accepted += pk_request_n_accepted(request);
		pk_request_free(request);
	}
}

static bool
same(const Answer *a, const Answer *b)
{
	if (a->finish == b->finish && a->n_pieces == b->n_pieces && a->text.len == b->text.len &&
	    memcmp(a->text.bytes, b->text.bytes, a->text.len) == 0 &&
	    memcmp(a->ids, b->ids, a->n_pieces * sizeof(int32_t)) == 0 &&
	    memcmp(a->logprobs, b->logprobs, a->n_pieces * sizeof(float)) == 0)
		return true;
	diag("%zu and %zu tokens, %zu and %zu bytes", a->n_pieces, b->n_pieces, a->text.len,
	     b->text.len);
	return false;
}

/* A text that repeats itself, until stop (stop_len bytes; 0: none); bytes may be zero. */
static Text
until(PkEngine *engine, PkModel *model, const char *stop, size_t stop_len, size_t n_lookup)
{
	PkTokens      tokens = golden_encode(model, "a b a b a b a");
	PkRequestSpec spec = {.kind = PK_REQUEST_GENERATE,
	                      .model = model,
	                      .tokens = tokens.ids,
	                      .n_tokens = tokens.n,
	                      .max_tokens = N_NEW,
	                      .sample = golden_greedy(),
	                      .stop = &stop,
	                      .stop_lens = &stop_len,
	                      .n_stop = stop_len > 0 ? 1 : 0,
	                      .prompt_lookup_num_tokens = (uint32_t) n_lookup};
	PkRequest    *request;
	Text          text;

	spec.sample.min_tokens = N_NEW;
	request = golden_submit(engine, &spec);
	while (pk_engine_n_running(engine) > 0)
		step(engine, 0);
	text = text_of(request);
	pk_request_free(request);
	pk_tokens_free(&tokens);
	return text;
}

static void
test_ends(void)
{
	PkModel  *model = golden_model("test/golden/neox", PK_QUANT_Q8);
	PkEngine *engine = golden_engine(NULL, 1, 4096, KV_BYTES);
	Text      whole = until(engine, model, NULL, 0, 0);
	size_t    n_wrong = 0, n_stopped = 0;

	for (size_t begin = 0; begin + 12 <= whole.len; begin++)
	{
		const char *stop = whole.bytes + begin;
		Text        want = until(engine, model, stop, 12, 0);
		Text        got = until(engine, model, stop, 12, 15);

		n_stopped += want.len < whole.len;
		n_wrong += want.len != got.len || memcmp(want.bytes, got.bytes, want.len) != 0;
		free(want.bytes);
		free(got.bytes);
	}
	ok(n_wrong == 0 && n_stopped > 40, "%zu stop strings anywhere in a draft, %zu wrong", n_stopped,
	   n_wrong);
	free(whole.bytes);
	pk_engine_destroy(engine);
	pk_model_release(model);
}

/* Of formats whose bits depend on the company in a step. */
static void
test_formats(void)
{
	static const PkQuant quants[] = {PK_QUANT_F32, PK_QUANT_F16, PK_QUANT_Q8};
	const Way            way = {.n_lookup = 15};

	for (size_t q = 0; q < PK_LENGTH(quants); q++)
	{
		PkModel   *model = golden_model("test/golden/neox", quants[q]);
		PkEngine  *engine = golden_engine(NULL, 1, 4096, KV_BYTES);
		PkRequest *request = submit(engine, model, &way, 0);

		while (pk_engine_n_running(engine) > 0)
			step(engine, 0);
		ok((pk_request_n_drafted(request) > 0) == (quants[q] == PK_QUANT_Q8),
		   "%s: %zu tokens drafted, %zu accepted", pk_quant_name(quants[q]),
		   pk_request_n_drafted(request), pk_request_n_accepted(request));
		ok(pk_request_n_accepted(request) <= pk_request_n_drafted(request),
		   "%s: no more accepted than drafted", pk_quant_name(quants[q]));
		pk_request_free(request);
		pk_engine_destroy(engine);
		pk_model_release(model);
	}
}

static void
test_limits(void)
{
	static const int32_t ids[] = {5, 6, 5, 6, 5, 6};
	PkModel             *model = golden_model("test/golden/neox", PK_QUANT_Q8);
	PkEngine            *engine = golden_engine(NULL, 1, 4096, KV_BYTES);
	PkRequestSpec        spec = {.kind = PK_REQUEST_GENERATE,
	                             .model = model,
	                             .tokens = ids,
	                             .n_tokens = PK_LENGTH(ids),
	                             .sample = golden_greedy(),
	                             .prompt_lookup_num_tokens = PK_LOOKUP_MAX + 1};
	PkRequest           *request;
	PkError              err;

	spec.max_tokens = 4;
	ok(pk_engine_submit(engine, &spec, &request, &err) == PK_BAD_ARGUMENT, "%s", err.text);
	spec.prompt_lookup_num_tokens = PK_LOOKUP_MAX;
	for (spec.max_tokens = 1; spec.max_tokens <= 4; spec.max_tokens++)
	{
		size_t n_steps = 0;

		spec.sample.min_tokens = spec.max_tokens;
		request = golden_submit(engine, &spec);
		for (; pk_engine_n_running(engine) > 0; n_steps++)
			step(engine, 0);
		ok(pk_request_n_completion(request) == (size_t) spec.max_tokens &&
		       n_steps + pk_request_n_accepted(request) == (size_t) spec.max_tokens,
		   "max_tokens %d: %zu steps, and %zu tokens without one", (int) spec.max_tokens, n_steps,
		   pk_request_n_accepted(request));
		pk_request_free(request);
	}
	pk_engine_destroy(engine);
	pk_model_release(model);
}

/*
 * Drafted tokens of a request whose rows cost row_ns; is_known: or a step of more than one row was
 * not measured yet. *n_steps that it took.
 */
static size_t
n_drafted_at(double row_ns, bool is_known, size_t *n_steps)
{
	const Way  way = {.n_lookup = 15};
	PkModel   *model = golden_model("test/golden/neox", PK_QUANT_Q8);
	PkEngine  *engine = golden_engine(NULL, 1, 4096, KV_BYTES);
	PkRequest *request = submit(engine, model, &way, 0);
	size_t     n;
	PkError    err;

	for (*n_steps = 0; pk_engine_n_running(engine) > 0; ++*n_steps)
	{
		set_pace(engine, row_ns);
		if (!is_known)
			engine->models->pace = (PkPace){.ns_rows = {MS}, .ns_prompt = row_ns};
		must(pk_engine_step(engine, NULL, &err), &err);
	}
	n = pk_request_n_drafted(request);
	pk_request_free(request);
	pk_engine_destroy(engine);
	pk_model_release(model);
	return n;
}

static void
test_choice(void)
{
	size_t n_steps, n_plain_steps;
	size_t n_free = n_drafted_at(0, true, &n_steps);
	size_t n_cheap = n_drafted_at(0.1 * MS, true, &n_steps);
	size_t n_dear = n_drafted_at(MS, true, &n_plain_steps);

	is_int((long long) n_dear, 0, "a row that costs a step is not drafted");
	ok(n_cheap > 0 && n_cheap < n_free && n_steps < n_plain_steps,
	   "one that costs a tenth is, if likely: %zu of %zu", n_cheap, n_free);
	n_dear = n_drafted_at(MS, false, &n_steps);
	ok(n_dear > 0 && n_dear < n_steps, "where costs are not known one is tried: %zu in %zu steps",
	   n_dear, n_steps);
}

/* Two requests that repeat themselves, in a step of known costs: rows of it. */
static size_t
rows_at(double base_ns, double row_ns)
{
	const Way  way = {.n_lookup = 15};
	PkModel   *model = golden_model("test/golden/neox", PK_QUANT_Q8);
	PkEngine  *engine = golden_engine(NULL, 1, 4096, KV_BYTES);
	PkRequest *requests[2] = {submit(engine, model, &way, 0), submit(engine, model, &way, 4)};
	size_t     n_most = 0;
	PkError    err;

	while (pk_engine_n_running(engine) == 2)
	{
		PkEngineStats before, after;

		for (size_t i = 0; i < 2; i++) /* as if all drafts were right so far */
			for (size_t c = 0; c < PK_LOOKUP_CLASSES; c++)
				requests[i]->gen.draft.rates.n_right[c] = requests[i]->gen.draft.rates.n_all[c];
		set_pace(engine, 0);
		for (size_t c = 0, n = 1; c < PK_PACE_CLASSES; c++, n = pk_pace_same_rows(n + 1))
			engine->models->pace.ns_rows[c] = base_ns + (double) n * row_ns;
		pk_engine_stats(engine, &before);
		must(pk_engine_step(engine, NULL, &err), &err);
		pk_engine_stats(engine, &after);
		if (requests[0]->gen.n_new > 1 && after.n_step_rows - before.n_step_rows > n_most)
			n_most = after.n_step_rows - before.n_step_rows;
	}
	for (size_t i = 0; i < 2; i++)
		pk_request_free(requests[i]);
	pk_engine_destroy(engine);
	pk_model_release(model);
	return n_most;
}

/* However sure a draft is, where another sequence waits for the step. */
static void
test_prolonging(void)
{
	is_int((long long) rows_at(18 * MS, 2 * MS), 7, "a step of 22 ms becomes at most one of 33");
	is_int((long long) rows_at(146 * MS, 12 * MS), 4, "one of 170 at most one of 200");
	is_int((long long) rows_at(960 * MS, 20 * MS), 7, "one of a second at most a tenth longer");
}

/* A block that only a wrong draft needed is given back before the next step is planned. */
static void
test_room(void)
{
	const Way  way = {.n_lookup = 15};
	PkModel   *model = golden_model("test/golden/neox", PK_QUANT_Q8);
	PkEngine  *engine = golden_engine(NULL, 1, 4096, KV_BYTES);
	PkRequest *request = submit(engine, model, &way, 0);
	size_t     n_held = 0, n_needed = 0;

	while (pk_engine_n_running(engine) > 0 && n_held <= n_needed)
	{
		step(engine, 0);
		n_held = request->seq.n_blocks;
		n_needed = pk_kv_n_blocks(request->n_tokens);
	}
	ok(n_held > n_needed, "a draft takes %zu blocks, of which %zu are needed", n_held, n_needed);
	request->gen.draft.n_most = 0;
	step(engine, 0);
	is_int((long long) request->seq.n_blocks, (long long) n_needed, "the others are given back");
	pk_request_free(request);
	pk_engine_destroy(engine);
	pk_model_release(model);
}

/*
 * test_server.c
 *    The engine program's server with real models: answers, streams, dropping, garbage, limits.
 *
 * Two clocks are asserted, both far apart from what they exclude: a request that was dropped within
 * a step of seconds is gone in FREE_US.
 */
#define _GNU_SOURCE
#include "client.h"

#define FREE_US ((uint64_t) 1000000) /* promised */
#define AHEAD 256                    /* pieces that a stream may be ahead of its reader */
#define N_ASKED 6
#ifdef __SANITIZE_THREAD__
#define N_LONG 1 /* takes a minute there */
#else
#define N_LONG 3
#endif
#define QUIET_MS 300000

static const char *tiny, *small;
static PkModel    *tiny_model, *small_model;
static PkTokens    prompt, long_prompt;

static const PkServeConfig usual = {.kv_cache_bytes = KV_BYTES, .n_threads = 2};

static void test_answers(void);
static void test_failures(void);
static void test_stream(void);
static void test_back_pressure(void);
static void test_drop(void);
static void test_long_step(void);
static void around_a_long_step(Server *server, Client *client, Answer *answers, uint64_t whole_us);
static void test_garbage(void);
static void test_config(void);
static void test_model_memory(void);
static void test_paused_holds_nobody(void);
static void test_reports(void);
static void test_replaced_image(void);

static PkTokens
encode(PkModel *model, const char *text)
{
	PkTokens tokens = {0};
	PkError  err;

	must(pk_tokenizer_encode(pk_model_tokenizer(model), text, strlen(text), &tokens, NULL, &err),
	     &err);
	return tokens;
}

int
main(void)
{
	char text[8000] = "";

	for (int i = 0; i < 300; i++)
		strcat(text, " 영화");
	tiny = image_of("models/polyko-tiny", PK_QUANT_Q8, "tiny");
	small = image_of("test/golden/neox", PK_QUANT_Q4, "small");
	tiny_model = model_at(tiny);
	small_model = model_at(small);
	prompt = encode(tiny_model, "이 영화는 정말");
	long_prompt = encode(tiny_model, text);
	long_prompt.n = long_prompt.n > 200 ? 200 : long_prompt.n;
	test_answers();
	test_failures();
	test_stream();
	test_back_pressure();
	test_drop();
	test_long_step();
	test_garbage();
	test_config();
	test_model_memory();
	test_paused_holds_nobody();
	test_reports();
	test_replaced_image();
	pk_tokens_free(&prompt);
	pk_tokens_free(&long_prompt);
	pk_model_release(tiny_model);
	pk_model_release(small_model);
	image_forget(small);
	image_forget(tiny);
	return done_testing();
}

static PkRequestSpec
generate_spec(const PkTokens *tokens, int32_t max_tokens, uint64_t seed)
{
	PkRequestSpec spec = {.kind = PK_REQUEST_GENERATE,
	                      .model = tiny_model,
	                      .tokens = tokens->ids,
	                      .n_tokens = tokens->n,
	                      .max_tokens = max_tokens,
	                      .sample = golden_greedy()};

	spec.sample.temperature = seed > 0 ? 1.0f : 0.0f;
	spec.sample.seed = seed;
	spec.sample.min_tokens = max_tokens;
	return spec;
}

static PkRequestSpec
embed_spec(const PkTokens *tokens, size_t n)
{
	return (PkRequestSpec){.kind = PK_REQUEST_EMBED,
	                       .model = tiny_model,
	                       .tokens = tokens->ids,
	                       .n_tokens = n,
	                       .layer = -1,
	                       .normalize = true};
}

/* What a client may ask, by number: texts, embeddings, scores; of two models. */
static PkRequestSpec
any_spec(size_t i, const char **image)
{
	static const int32_t     ids[] = {7, 3, 99, 120, 5};
	static const char *const stop[] = {"다"};
	static const size_t      stop_lens[] = {3};
	PkRequestSpec            spec = generate_spec(&prompt, 20 + (int32_t) i, i);

	*image = tiny;
	switch (i % N_ASKED)
	{
		case 1:
			spec.stop = stop;
			spec.stop_lens = stop_lens;
			spec.n_stop = 1;
			spec.sample.min_tokens = 0;
			break;
		case 2:
			spec = embed_spec(&prompt, prompt.n);
			break;
		case 3:
			spec = embed_spec(&long_prompt, 100 + i);
			spec.kind = PK_REQUEST_SCORE;
			break;
		case 4:
			*image = small;
			spec.model = small_model;
			spec.tokens = ids;
			spec.n_tokens = PK_LENGTH(ids);
			break;
		case 5:
			spec = embed_spec(&long_prompt, 60);
			spec.pooling = PK_POOLING_LAST;
			spec.normalize = false;
			spec.layer = 1;
			break;
		default:
			break;
	}
	return spec;
}

/* Bytes of an answer are those of the engine alone. */
static bool
is_same(const Answer *answer, PkEngine *engine, const PkRequestSpec *spec)
{
	PkRequest  *request = golden_run(engine, spec);
	size_t      n = 0;
	const void *data = pk_request_text(request, &n);
	bool        is_equal = answer->has_ended;

	if (data == NULL)
	{
		data = pk_request_floats(request, &n);
		n *= sizeof(float);
	}
	is_equal =
		is_equal && answer->ended.size == n && memcmp(answer->data, data, n) == 0 &&
		answer->ended.finish == (uint32_t) pk_request_finish(request) &&
		answer->ended.n_prompt == pk_request_n_prompt(request) &&
		answer->ended.n_completion == pk_request_n_completion(request) &&
		(spec->kind != PK_REQUEST_GENERATE || answer->ended.logprob == pk_request_logprob(request));
	pk_request_free(request);
	return is_equal;
}

static void
test_answers(void)
{
	enum
	{
		N_CLIENTS = 4,
		N = 12
	};
	Server    server;
	Client    clients[N_CLIENTS];
	Answer   *answers = calloc(N_CLIENTS * N, sizeof(Answer));
	PkEngine *engine = golden_engine(NULL, 1, 0, KV_BYTES);
	size_t    n_wrong = 0, n_strange = 0;

	server_start(&server, &usual);
	ok(server.is_ready, "the server says that it is ready");
	for (size_t c = 0; c < N_CLIENTS; c++)
		clients[c] = client_connect(&server);
	for (size_t i = 0; i < N; i++)
		for (size_t c = 0; c < N_CLIENTS; c++)
		{
			const char   *image;
			PkRequestSpec spec = any_spec(i + c, &image);

			submit(&clients[c], i, image, &spec, false);
		}
	for (size_t c = 0; c < N_CLIENTS; c++)
	{
		ok(receive(&clients[c], answers + c * N, N, QUIET_MS), "session %zu gets all answers", c);
		for (size_t i = 0; i < N; i++)
		{
			const char   *image;
			PkRequestSpec spec = any_spec(i + c, &image);
			const Answer *answer = &answers[c * N + i];

			n_wrong += !is_same(answer, engine, &spec);
			n_strange += answer->ended.n_steps == 0 ||
			             answer->ended.n_step_rows < answer->ended.n_steps ||
			             answer->ended.queue_us > PATIENCE_US || answer->ended.run_us > PATIENCE_US;
		}
	}
	is_int((long long) n_wrong, 0, "each is what the engine alone gives");
	is_int((long long) n_strange, 0, "with times and steps that may be true");
	for (size_t c = 0; c < N_CLIENTS; c++)
		client_close(&clients[c]);
	server_stop(&server);
	is_int(server.status, PK_OK, "the end of its supervisor ends the server in peace");
	answers_free(answers, N_CLIENTS * N);
	free(answers);
	pk_engine_destroy(engine);
}

static void
test_failures(void)
{
	PkRequestSpec spec = generate_spec(&long_prompt, 5, 0);
	Answer        answers[5] = {0};
	int32_t      *many = calloc(3000, sizeof(int32_t)), wild[] = {5, 1 << 20};
	Server        server;
	Client        client;

	server_start(&server, &usual);
	client = client_connect(&server);
	spec.tokens = many;
	spec.n_tokens = 3000;
	submit(&client, 0, tiny, &spec, false);
	spec.tokens = wild;
	spec.n_tokens = 2;
	submit(&client, 1, tiny, &spec, false);
	spec = generate_spec(&prompt, -1, 0);
	submit(&client, 2, tiny, &spec, false);
	spec = generate_spec(&prompt, 3, 0);
	submit(&client, 3, "/nonexistent", &spec, false);
	submit(&client, 4, tiny, &spec, false);
	ok(receive(&client, answers, 5, QUIET_MS), "all are answered");
	is_int(answers[0].error.status, PK_TOO_LONG, "a prompt beyond the context");
	is_int(answers[1].error.status, PK_BAD_ARGUMENT, "a token that the model does not have");
	is_int(answers[2].error.status, PK_BAD_ARGUMENT, "max_tokens of -1");
	is_int(answers[3].error.status, PK_NO_FILE, "an image that is gone");
	ok(answers[4].has_ended, "the good one is computed");
	answers_free(answers, 5);
	client_close(&client);
	server_stop(&server);
	free(many);
}

static void
test_stream(void)
{
	PkRequestSpec spec = generate_spec(&prompt, 100, 3);
	Answer       *answer = calloc(1, sizeof(Answer));
	PkEngine     *engine = golden_engine(NULL, 1, 0, KV_BYTES);
	Server        server;
	Client        client;

	server_start(&server, &usual);
	client = client_connect(&server);
	submit(&client, 0, tiny, &spec, true);
	ok(receive(&client, answer, 1, QUIET_MS), "a stream comes to its end");
	ok(is_same(answer, engine, &spec), "with the text of the engine alone");
	is_int((long long) answer->n_pieces, 100, "a piece a token");
	ok(answer->pieces_len == answer->ended.size &&
	       memcmp(answer->pieces, answer->data, answer->pieces_len) == 0,
	   "which joined are the text");
	answers_free(answer, 1);
	client_close(&client);
	server_stop(&server);
	pk_engine_destroy(engine);
	free(answer);
}

static void
test_back_pressure(void)
{
	PkRequestSpec spec = generate_spec(&prompt, 400, 5);
	Answer       *answers = calloc(2, sizeof(Answer));
	Server        server;
	Client        client, other;

	server_start(&server, &usual);
	client = client_connect(&server);
	other = client_connect(&server);
	submit(&client, 0, tiny, &spec, true);
	while (answers[0].n_pieces < AHEAD && !receive(&client, answers, 1, 2000))
		continue;
	ok(!receive(&client, answers, 1, 500), "a stream whose reader is behind stops");
	is_int((long long) answers[0].n_pieces, AHEAD, "after 256 pieces");
	spec.max_tokens = 10;
	submit(&other, 0, tiny, &spec, false);
	ok(receive(&other, answers + 1, 1, QUIET_MS), "others are served meanwhile");

	tell_read(&client, 0, 100);
	while (answers[0].n_pieces < AHEAD + 100 && !receive(&client, answers, 1, 2000))
		continue;
	(void) receive(&client, answers, 1, 500);
	is_int((long long) answers[0].n_pieces, AHEAD + 100, "who has read 100 gets 100 more");
	tell_read(&client, 0, 1000000); /* more than there are: no reader of ours says that */
	tell_read(&client, 99, 5);      /* of a request that never was */
	tell_read(&client, 0, AHEAD + 100);
	ok(receive(&client, answers, 1, QUIET_MS) && answers[0].n_pieces == 400, "and then the rest");
	answers_free(answers, 2);
	client_close(&client);
	client_close(&other);
	server_stop(&server);
	free(answers);
}

static bool
is_free(const Server *server)
{
	return server->last.kv_used_bytes == 0 && server->last.n_running == 0 &&
	       server->last.n_waiting == 0;
}

static bool
is_running(const Server *server)
{
	return server->last.n_running > 0 && server->last.kv_used_bytes > 0;
}

static void
test_drop(void)
{
	PkRequestSpec spec = generate_spec(&prompt, 480, 1);
	Server        server;
	Client        client;
	Answer        answer = {0};

	server_start(&server, &usual);
	client = client_connect(&server);
	for (uint64_t id = 0; id < 8; id++)
		submit(&client, id, tiny, &spec, id % 2 == 0);
	ok(until(&server, is_running) != UINT64_MAX, "requests run");
	ok(server.activity.pid == 42 && server.activity.database == 5 && server.activity.role == 10 &&
	       server.activity.n_prompt == prompt.n && strcmp(server.activity.model, "model") == 0,
	   "the report says whose");
	for (uint64_t id = 0; id < 8; id++)
		drop(&client, id);
	drop(&client, 3); /* again */
	ok(until(&server, is_free) < FREE_US, "dropped, they are gone with their keys and values");

	for (uint64_t id = 0; id < 8; id++)
		submit(&client, id, tiny, &spec, true); /* unread streams go on for as long as they may */
	ok(until(&server, is_running) != UINT64_MAX, "again some run");
	client_close(&client);
	ok(until(&server, is_free) < FREE_US, "the end of their session ends them, too");
	is_int(server.last.n_sessions, 0, "no session is left");

	client = client_connect(&server);
	spec.max_tokens = 3;
	submit(&client, 0, tiny, &spec, false);
	ok(receive(&client, &answer, 1, QUIET_MS) && answer.has_ended, "the next is served");
	answers_free(&answer, 1);
	client_close(&client);
	server_stop(&server);
}

/* A step of a long prompt on one thread of the slowest kernels: a second or more. */
static void
test_long_step(void)
{
	PkServeConfig slow = {.kv_cache_bytes = KV_BYTES * 4,
	                      .n_threads = 1,
	                      .max_batch_tokens = 65536,
	                      .kernels = "scalar"};
	PkRequestSpec spec = embed_spec(&long_prompt, 0);
	Server        server;
	Client        client, other;
	Answer       *answers = calloc(N_LONG + 1, sizeof(Answer));
	uint64_t      begin_us, whole_us, id;

	server_start(&server, &slow);
	client = client_connect(&server);
	other = client_connect(&server);
	begin_us = pk_clock_us();
	for (id = 0; id < N_LONG; id++)
	{
		spec.n_tokens = long_prompt.n - id;
		submit(&client, id, tiny, &spec, false);
	}
	ok(receive(&client, answers, N_LONG, QUIET_MS), "the long prompts are computed");
	whole_us = pk_clock_us() - begin_us;
	diag("in %.2f s", (double) whole_us / 1e6);
	answers_free(answers, N_LONG);

	for (id = 0; id < N_LONG; id++)
	{
		spec.n_tokens = long_prompt.n - id - 1;
		submit(&client, id, tiny, &spec, false);
	}
	usleep((useconds_t) (whole_us / 10)); /* within the step */
	for (id = 0; id < N_LONG; id++)
		drop(&client, id);
	spec.n_tokens = 4;
	submit(&other, 0, tiny, &spec, false);
	begin_us = pk_clock_us();
	ok(receive(&other, answers, 1, QUIET_MS), "a short one of another session is computed");
	whole_us = whole_us > 2 * FREE_US ? whole_us : 2 * FREE_US;
	ok(pk_clock_us() - begin_us < whole_us / 2,
	   "without waiting for a step that nobody wants: %.3f s",
	   (double) (pk_clock_us() - begin_us) / 1e6);
	ok(until(&server, is_free) < FREE_US, "and all is free");
	answers_free(answers, N_LONG + 1);
	around_a_long_step(&server, &client, answers, whole_us);
	free(answers);
	client_close(&client);
	client_close(&other);
	server_stop(&server);
}

/* What ends in a step that is given up is answered, and what arrives in a step is looked at. */
static void
around_a_long_step(Server *server, Client *client, Answer *answers, uint64_t whole_us)
{
	const char   *image;
	PkRequestSpec short_spec = any_spec(4, &image);
	PkRequestSpec long_spec = embed_spec(&long_prompt, long_prompt.n - N_LONG);
	int           patience_ms = (int) (whole_us / 1000) + 20000;

	short_spec.max_tokens = 1;
	short_spec.sample.min_tokens = 1;
	submit(client, 1, tiny, &long_spec, false);
	submit(client, 0, image, &short_spec, false); /* the model that came last is computed first */
	usleep((useconds_t) (whole_us / N_LONG / 3));
	drop(client, 1);
	ok(receive(client, answers, 1, patience_ms) && answers[0].has_ended,
	   "the end of a request is told though its step was given up");
	ok(until(server, is_free) < FREE_US, "then all is free");
	answers_free(answers, 1);

	submit(client, 0, tiny, &long_spec, false);
	usleep((useconds_t) (whole_us / N_LONG / 3));
	submit(client, 1, image, &short_spec, false);
	ok(receive(client, answers, 2, patience_ms) && answers[1].has_ended,
	   "a request that came within the last step of another is computed");
	answers_free(answers, 2);
}

/* Whether the server hangs up after these bytes. */
static bool
breaks(const Server *server, bool says_hello, const void *bytes, size_t size)
{
	Client client = says_hello ? client_connect(server) : client_connect_silently(server);
	bool   is_broken;

	if (send(client.conn.fd, bytes, size, MSG_NOSIGNAL) < 0)
		abort();
	for (uint64_t begin = pk_clock_us();
	     !client.conn.is_broken && pk_clock_us() - begin < PATIENCE_US;)
	{
		struct pollfd fd = {.fd = client.conn.fd, .events = POLLIN};

		if (poll(&fd, 1, 5000) == 0)
			break;
		(void) pk_conn_receive(&client.conn, NULL);
	}
	is_broken = client.conn.is_broken;
	client_close(&client);
	return is_broken;
}

typedef struct Raw
{
	PkFrameHeader header;
	uint32_t      body[8];
} Raw;

static void
test_garbage(void)
{
	PkRequestSpec spec = generate_spec(&prompt, 300, 9);
	Raw           unknown = {{99, 8}, {0}}, answer = {{PK_MSG_STATUS, 8}, {0}};
	Raw           hello = {{PK_MSG_HELLO, 12}, {PK_SERVE_VERSION, 1, 1}};
	Raw           old = {{PK_MSG_HELLO, 12}, {PK_SERVE_VERSION + 1, 1, 1}};
	Raw           huge = {{PK_MSG_SUBMIT, UINT32_MAX}, {0}}, early = {{PK_MSG_DROP, 16}, {0}};
	Raw           cut = {{PK_MSG_READ, 4}, {0}}, empty = {{PK_MSG_SUBMIT, 0}, {0}};
	char          noise[4096];
	Server        server;
	Client        client, half, talker;
	Answer        answers[2] = {0};

	server_start(&server, &usual);
	client = client_connect(&server);
	half = client_connect(&server);
	submit(&client, 0, tiny, &spec, false);
	if (send(half.conn.fd, &hello, 5, 0) != 5)
		abort();
	ok(breaks(&server, true, &unknown, 16), "an unknown message ends a session");
	ok(breaks(&server, true, &answer, 16), "so does one that only the server sends");
	ok(breaks(&server, true, &hello, 20), "a second HELLO");
	ok(breaks(&server, false, &old, 20), "another version");
	ok(breaks(&server, false, &early, 24), "asking without HELLO");
	ok(breaks(&server, true, &huge, 16), "a length of 4 GB");
	ok(breaks(&server, true, &cut, 12), "READ of 4 bytes");
	for (unsigned round = 0; round < 20; round++)
	{
		srand(round + 1);
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (char) rand();
		/* else it may announce more than comes, and is rightly waited for */
		memcpy(noise + 4, &(uint32_t){(uint32_t) rand() % 1000}, sizeof(uint32_t));
		if (!breaks(&server, round % 2 == 0, noise, sizeof(noise)))
			ok(false, "noise %u ends a session", round);
	}
	/* a SUBMIT without anything in it is answered for request 0 */
	talker = client_connect(&server);
	if (send(talker.conn.fd, &empty, 8, 0) != 8)
		abort();
	ok(receive(&talker, answers + 1, 1, QUIET_MS) && answers[1].error.status == PK_INTERNAL,
	   "an empty SUBMIT fails");
	ok(receive(&client, answers, 1, QUIET_MS) && answers[0].ended.n_completion == 300,
	   "another session notices nothing");
	client_close(&talker);
	client_close(&half);
	client_close(&client);
	answers_free(answers, 2);
	server_stop(&server);
}

static bool
has_half(const Server *server)
{
	return server->last.kv_max_bytes == KV_BYTES / 2;
}

static void
test_config(void)
{
	PkServeConfig config = usual;
	PkRequestSpec spec = generate_spec(&prompt, 400, 1);
	Server        server;
	Client        client;
	Answer        answers[3] = {0};

	server_start(&server, &usual);
	client = client_connect(&server);
	submit(&client, 0, tiny, &spec, true);
	ok(until(&server, is_running) != UINT64_MAX, "a request runs");
	config.kv_cache_bytes = KV_BYTES / 2;
	config.n_threads = 1;
	configure(&server, &config);
	while (answers[0].n_pieces < 256)
		(void) receive(&client, answers, 1, 100);
	tell_read(&client, 0, 256);
	ok(receive(&client, answers, 1, QUIET_MS) && answers[0].has_ended,
	   "it goes on while settings change");
	spec.max_tokens = 3;
	spec.sample.min_tokens = 3;
	for (int i = 0; i < 300 && !has_half(&server);
	     i++) /* without a pause, for more than a report */
	{
		answers_free(answers + 1, 1);
		submit(&client, 1, tiny, &spec, false);
		if (!receive(&client, answers, 2, QUIET_MS) || !answers[1].has_ended)
			abort();
		listen_to(&server);
	}
	ok(has_half(&server), "these count when it has ended, also when the next follows at once");
	ok(answers[1].has_ended, "which is served");
	config.kv_cache_bytes = 1000;
	configure(&server, &config);
	usleep(200000);
	submit(&client, 2, tiny, &spec, false);
	ok(receive(&client, answers, 3, QUIET_MS) && answers[2].error.status == PK_NO_MEMORY,
	   "what can never fit is refused");
	answers_free(answers, 3);
	client_close(&client);
	server_stop(&server);
}

static uint64_t
size_of(const PkModel *model)
{
	return pk_model_info(model)->size_bytes;
}

static void
test_model_memory(void)
{
	PkServeConfig config = usual;
	Server        server;
	Client        clients[2];
	Answer       *answers = calloc(40, sizeof(Answer));
	PkEngine     *engine = golden_engine(NULL, 1, 0, KV_BYTES);
	size_t        n_wrong = 0;

	config.model_memory_bytes = size_of(tiny_model) + size_of(small_model) / 2;
	server_start(&server, &config);
	for (size_t c = 0; c < 2; c++)
		clients[c] = client_connect(&server);
	for (size_t i = 0; i < 20; i++)
		for (size_t c = 0; c < 2; c++)
		{
			const char   *image;
			PkRequestSpec spec = any_spec(c == 0 ? 0 : 4, &image);

			submit(&clients[c], i, image, &spec, false);
		}
	for (size_t c = 0; c < 2; c++)
	{
		ok(receive(&clients[c], answers + 20 * c, 20, QUIET_MS),
		   "two models that do not fit beside each other both answer");
		for (size_t i = 0; i < 20; i++)
		{
			const char   *image;
			PkRequestSpec spec = any_spec(c == 0 ? 0 : 4, &image);

			n_wrong += !is_same(&answers[20 * c + i], engine, &spec);
		}
	}
	is_int((long long) n_wrong, 0, "with the answers of the engine alone");
	listen_to(&server);
	ok(server.n_loaded >= 2 && server.n_unloaded >= 1, "they took turns: %d loaded, %d unloaded",
	   server.n_loaded, server.n_unloaded);
	answers_free(answers, 40);

	config.model_memory_bytes = size_of(tiny_model) - 1;
	configure(&server, &config);
	usleep(100000);
	for (size_t c = 0; c < 2; c++)
	{
		const char   *image;
		PkRequestSpec spec = any_spec(c == 0 ? 0 : 4, &image);

		submit(&clients[c], 0, image, &spec, false);
	}
	/* a model that is mapped is served; let it go first */
	(void) receive(&clients[0], answers, 1, QUIET_MS);
	(void) receive(&clients[1], answers + 1, 1, QUIET_MS);
	ok(answers[1].has_ended, "the smaller one is served under a lower limit");
	answers_free(answers, 2);
	{
		const char   *image;
		PkRequestSpec spec = any_spec(0, &image);

		submit(&clients[0], 0, image, &spec, false);
		(void) receive(&clients[0], answers, 1, QUIET_MS);
		ok(answers[0].has_failed && answers[0].error.status == PK_NO_MEMORY,
		   "the one that is larger than the limit fails");
	}
	answers_free(answers, 2);
	free(answers);
	for (size_t c = 0; c < 2; c++)
		client_close(&clients[c]);
	server_stop(&server);
	pk_engine_destroy(engine);
}

/* A stream that nobody reads holds its model; who needs another one must not hold back the rest. */
static void
test_paused_holds_nobody(void)
{
	PkServeConfig config = usual;
	PkRequestSpec spec = generate_spec(&prompt, 450, 5);
	const char   *image;
	PkRequestSpec of_small = any_spec(4, &image);
	Answer       *answers = calloc(3, sizeof(Answer));
	Answer        own[2] = {0};
	Server        server;
	Client        idle, waiting, other;

	config.model_memory_bytes = size_of(tiny_model) + size_of(small_model) / 2;
	server_start(&server, &config);
	idle = client_connect(&server);
	waiting = client_connect(&server);
	other = client_connect(&server);
	submit(&idle, 0, tiny, &spec, true);
	while (own[0].n_pieces < AHEAD && !receive(&idle, own, 1, 2000))
		continue;
	submit(&waiting, 0, small, &of_small, false);
	ok(!receive(&waiting, answers + 1, 1, 500),
	   "a model that does not fit beside a paused stream waits");
	spec.max_tokens = 5;
	submit(&other, 0, tiny, &spec, false);
	ok(receive(&other, answers + 2, 1, 10000), "requests of the model that is there go by");
	submit(&idle, 1, small, &of_small, false);
	(void) receive(&idle, own, 2, 2000);
	ok(own[1].has_failed && own[1].error.status == PK_NO_MEMORY && !own[0].has_failed,
	   "a session that would wait for its own stream is told");
	answers_free(own, 2);
	client_close(&idle);
	ok(receive(&waiting, answers + 1, 1, QUIET_MS) && answers[1].has_ended,
	   "it is served when the stream has gone");
	answers_free(answers, 3);
	free(answers);
	client_close(&waiting);
	client_close(&other);
	server_stop(&server);
}

static bool
knows_model(const Server *server)
{
	return server->last.n_models == 1 && server->last.weight_bytes == size_of(tiny_model) &&
	       server->last.n_sessions == 1 && is_free(server);
}

static bool
knows_of_none(const Server *server)
{
	return server->last.n_sessions == 0;
}

/* Also what is over before anybody could look is reported, soon. */
static void
test_reports(void)
{
	PkRequestSpec spec = embed_spec(&prompt, 2);
	Answer        answer = {0};
	Server        server;
	Client        client;

	server_start(&server, &usual);
	client = client_connect(&server);
	submit(&client, 0, tiny, &spec, false);
	ok(receive(&client, &answer, 1, QUIET_MS), "one short request is answered");
	ok(until(&server, knows_model) < FREE_US, "the report has its model and session");
	client_close(&client);
	ok(until(&server, knows_of_none) < FREE_US, "and that the session has left");
	answers_free(&answer, 1);
	server_stop(&server);
}

/* What was computed from a file that was replaced is not reused: it may have been damaged. */
static void
test_replaced_image(void)
{
	const char   *image = image_of("models/polyko-tiny", PK_QUANT_Q8, "replaced");
	PkRequestSpec spec = embed_spec(&long_prompt, 100);
	Answer        answers[3] = {0};
	Server        server;
	Client        client;

	spec.pooling = PK_POOLING_LAST;
	server_start(&server, &usual);
	client = client_connect(&server);
	for (uint64_t id = 0; id < 3; id++)
	{
		if (id == 2)
			free((void *) (uintptr_t) image_of("models/polyko-tiny", PK_QUANT_Q8, "replaced"));
		submit(&client, id, image, &spec, false);
		ok(receive(&client, answers, id + 1, QUIET_MS) && answers[id].has_ended,
		   "request %d is answered", (int) id);
	}
	ok(answers[1].ended.n_reused > 0, "the same prompt again is not computed again");
	is_int(answers[2].ended.n_reused, 0, "but from a new file it is");
	listen_to(&server);
	is_int(server.n_loaded, 2, "which was mapped");
	answers_free(answers, 3);
	client_close(&client);
	server_stop(&server);
	image_forget(image);
}

/*
 * test_sessions.c
 *    More sessions than descriptors: idle ones give way, else new ones are told, and nothing spins.
 *
 * The server runs in this process, so a limit of descriptors is a limit for both: sockets of
 * clients are made before the rest is taken away.
 */
#define _GNU_SOURCE
#include "client.h"
#include "limits.h"

#define QUIET_MS 300000
#define MAX_FILES 200
#define AHEAD 256 /* pieces that a stream may be ahead of its reader */
#define WATCH_US 500000

static const char *tiny;
static PkModel    *tiny_model;
static int         taken[MAX_FILES];
static size_t      n_taken;

static const PkServeConfig usual = {.kv_cache_bytes = KV_BYTES, .n_threads = 1};

static void test_idle_give_way(void);
static void test_refused(void);
static void test_no_memory(void);

int
main(void)
{
	struct rlimit limit = {MAX_FILES, MAX_FILES};

	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		abort();
	tiny = image_of("models/polyko-tiny", PK_QUANT_Q8, "tiny");
	tiny_model = model_at(tiny);
	test_idle_give_way();
	test_refused();
	test_no_memory();
	pk_model_release(tiny_model);
	image_forget(tiny);
	return done_testing();
}

static void
take_descriptors(void)
{
	int fd;

	while ((fd = dup(STDERR_FILENO)) >= 0)
		taken[n_taken++] = fd;
}

static void
give_descriptors_back(void)
{
	while (n_taken > 0)
		close(taken[--n_taken]);
}

static PkRequestSpec
text_of(int32_t n_tokens)
{
	static const int32_t ids[] = {7, 3, 99, 120, 5};
	PkRequestSpec        spec = {.kind = PK_REQUEST_GENERATE,
	                             .model = tiny_model,
	                             .tokens = ids,
	                             .n_tokens = PK_LENGTH(ids),
	                             .max_tokens = n_tokens,
	                             .sample = golden_greedy()};

	spec.sample.min_tokens = n_tokens;
	return spec;
}

static Client
connect_with(const Server *server, int fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	PkHello            hello = {.version = PK_SERVE_VERSION, .pid = 42, .database = 5};
	Client             client;

	memcpy(address.sun_path, server->path, sizeof(address.sun_path) - 1);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
		abort();
	pk_conn_init(&client.conn, fd);
	say(&client, PK_MSG_HELLO, &hello, sizeof(hello));
	return client;
}

static bool
is_answered(Client *client)
{
	PkRequestSpec spec = text_of(3);
	Answer        answer = {0};
	bool          is_good;

	submit(client, 0, tiny, &spec, false);
	is_good = receive(client, &answer, 1, QUIET_MS) && answer.has_ended;
	answers_free(&answer, 1);
	return is_good;
}

static bool
is_closed(const Client *client)
{
	char byte;

	return recv(client->conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void
test_idle_give_way(void)
{
	Server server;
	Client oldest, second, third, fourth;
	int    fds[2];

	server_start(&server, &usual);
	oldest = client_connect(&server);
	second = client_connect(&server);
	ok(is_answered(&second) && is_answered(&oldest) && is_answered(&second),
	   "two sessions are served");
	for (int i = 0; i < 2; i++)
		fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
	take_descriptors();
	third = connect_with(&server, fds[0]);
	ok(is_answered(&third), "a third is, too, with no descriptor left");
	ok(is_closed(&oldest) && !is_closed(&second), "since the one that was idle longest gave way");
	fourth = connect_with(&server, fds[1]);
	ok(is_answered(&fourth) && is_closed(&second) && !is_closed(&third), "and so on");
	give_descriptors_back();
	listen_to(&server);
	is_int(server.n_notes, 1, "which is told once");
	client_close(&oldest);
	oldest = client_connect(&server);
	ok(is_answered(&oldest) && !is_closed(&third), "with descriptors nobody has to go");
	client_close(&oldest);
	client_close(&second);
	client_close(&third);
	client_close(&fourth);
	server_stop(&server);
}

/* Of this process, in all its threads. */
static uint64_t
cpu_us(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (uint64_t) (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
	       (uint64_t) (used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* The error that a session gets for all that it asks. */
static bool
is_refused(Client *client)
{
	PkRequestSpec spec = text_of(3);
	PkFrame       frame;
	PkError       failure, err;
	uint64_t      id;
	struct pollfd fd = {.fd = client->conn.fd, .events = POLLIN};

	submit(client, 0, tiny, &spec, false);
	return poll(&fd, 1, 10000) == 1 && pk_conn_receive(&client->conn, NULL) == PK_OK &&
	       pk_conn_next(&client->conn, &frame) && frame.type == PK_MSG_FAILED &&
	       pk_failed_read(&frame, &id, &failure, &err) == PK_OK && id == PK_ALL_REQUESTS &&
	       failure.status == PK_NO_MEMORY && failure.hint[0] != '\0';
}

/* A stream that nobody reads has something to do for ever. */
static void
test_refused(void)
{
	PkRequestSpec spec = text_of(400);
	Answer       *answer = calloc(1, sizeof(Answer));
	Server        server;
	Client        busy, other;
	uint64_t      before_us;
	int           fd;

	server_start(&server, &usual);
	busy = client_connect(&server);
	submit(&busy, 0, tiny, &spec, true);
	while (answer->n_pieces < AHEAD && !receive(&busy, answer, 1, 2000))
		continue;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	take_descriptors();
	other = connect_with(&server, fd);
	ok(is_refused(&other), "where all are busy a new session is told that there is no room");
	before_us = cpu_us();
	usleep(WATCH_US);
	ok(cpu_us() - before_us < WATCH_US / 4, "and then the server rests");
	give_descriptors_back();
	client_close(&other);
	other = client_connect(&server);
	ok(is_answered(&other), "the next is served when there are descriptors");
	tell_read(&busy, 0, AHEAD);
	ok(receive(&busy, answer, 1, QUIET_MS) && answer->n_pieces == 400,
	   "the busy one noticed nothing");
	answers_free(answer, 1);
	free(answer);
	client_close(&busy);
	client_close(&other);
	server_stop(&server);
}

/* A request whose input does not fit the memory fails alone. */
static void
test_no_memory(void)
{
#if !HAS_LIMITS
	skip("a sanitizer needs the address space");
#else
	PkRequestSpec spec = text_of(300), large = text_of(1);
	Answer       *answers = calloc(3, sizeof(Answer));
	Server        server;
	Client        client;

	large.n_tokens = (size_t) 10 << 20;
	large.tokens = calloc(large.n_tokens, sizeof(int32_t));
	server_start(&server, &usual);
	client = client_connect(&server);
	submit(&client, 0, tiny, &spec, false);
	ok(!receive(&client, answers, 1, 20), "a request runs");

	PkSubmit given = {
		.id = 1, .role = 10, .image_path = tiny, .model_name = "model", .spec = large};

	if (pk_submit_send(&client.conn, &given, NULL) != PK_OK)
		abort();
	allow_more((size_t) 8 << 20);
	while (pk_conn_has_output(&client.conn) && !client.conn.is_broken)
		pk_conn_send(&client.conn);
	ok(receive(&client, answers, 2, QUIET_MS), "both have an end");
	allow_more(SIZE_MAX);
	ok(answers[1].has_failed && answers[1].error.status == PK_NO_MEMORY,
	   "one of 40 MB fails where 8 are left");
	ok(answers[0].has_ended, "the other is answered");
	submit(&client, 2, tiny, &spec, false);
	ok(receive(&client, answers, 3, QUIET_MS) && answers[2].has_ended, "and so is the next");
	answers_free(answers, 3);
	free(answers);
	free((void *) (uintptr_t) large.tokens);
	client_close(&client);
	server_stop(&server);
#endif
}

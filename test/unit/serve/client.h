/*
 * client.h
 *    A server in a thread, its supervisor, and sessions that talk to it.
 *
 * The test is the supervisor: it configures the server and keeps the last STATUS.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/base/clock.h"
#include "core/serve/message.h"
#include "core/serve/server.h"
#include "images.h"

/* far beyond what any answer takes, also under sanitizers on a busy machine */
#define PATIENCE_US ((uint64_t) 120 * 1000000)

typedef struct Server
{
	int          listen_fd;
	char         path[sizeof(((struct sockaddr_un *) NULL)->sun_path)];
	PkConn       control;
	int          control_fd; /* the server's end */
	pthread_t    thread;
	PkStatus     status; /* of its run, once it was joined */
	PkStatusHead last;
	PkActivity   activity; /* the first of last */
	int          n_status, n_loaded, n_unloaded, n_notes;
	bool         is_ready;
} Server;

typedef struct Client
{
	PkConn conn;
} Client;

/* What came for a request. */
typedef struct Answer
{
	bool    has_ended, has_failed, was_lost;
	PkEnded ended;
	PkError error;
	char   *data;
	char    pieces[1 << 16];
	size_t  pieces_len, n_pieces;
} Answer;

static void *
server_main(void *arg)
{
	Server   *server = arg;
	PkServer *served;
	PkError   err;

	must(pk_server_create(server->listen_fd, server->control_fd, &served, &err), &err);
	server->status = pk_server_run(served, &err);
	pk_server_destroy(served);
	return NULL;
}

static void
configure(Server *server, const PkServeConfig *config)
{
	if (pk_message_send(&server->control, PK_MSG_CONFIG, config, sizeof(*config), NULL) != PK_OK)
		abort();
	pk_conn_send(&server->control);
}

/* Take in what the server reports. */
static void
listen_to(Server *server)
{
	PkFrame     frame;
	const char *models, *activities;

	(void) pk_conn_receive(&server->control, NULL);
	while (pk_conn_next(&server->control, &frame))
	{
		server->is_ready |= frame.type == PK_MSG_READY;
		server->n_loaded += frame.type == PK_MSG_LOADED;
		server->n_unloaded += frame.type == PK_MSG_UNLOADED;
		server->n_notes += frame.type == PK_MSG_NOTE;
		if (frame.type != PK_MSG_STATUS)
			continue;
		if (!pk_status_read(&frame, &server->last, &models, &activities))
			abort();
		if (server->last.n_activities > 0)
			memcpy(&server->activity, activities, sizeof(server->activity));
		server->n_status++;
	}
}

static void
server_start(Server *server, const PkServeConfig *config)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int                ends[2];

	memset(server, 0, sizeof(*server));
	if (snprintf(server->path, sizeof(server->path), "%s/socket", images_folder) >=
	    (int) sizeof(server->path))
		abort(); /* TMPDIR is too long for a socket */
	unlink(server->path);
	memcpy(address.sun_path, server->path, sizeof(address.sun_path) - 1);
	server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(server->listen_fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
	    listen(server->listen_fd, 100) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
		abort();
	pk_conn_init(&server->control, ends[0]);
	server->control_fd = ends[1];
	configure(server, config);
	if (pthread_create(&server->thread, NULL, server_main, server) != 0)
		abort();
	for (uint64_t begin = pk_clock_us(); !server->is_ready && pk_clock_us() - begin < PATIENCE_US;)
	{
		usleep(1000);
		listen_to(server);
	}
}

/* The end of the control connection ends it. */
static void
server_stop(Server *server)
{
	close(server->control.fd);
	pthread_join(server->thread, NULL);
	pk_conn_free(&server->control);
	close(server->control_fd);
	close(server->listen_fd);
	unlink(server->path);
}

__attribute__((unused)) static Client
client_connect_silently(const Server *server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	Client             client;
	int                fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(address.sun_path, server->path, sizeof(address.sun_path) - 1);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
		abort();
	pk_conn_init(&client.conn, fd);
	return client;
}

static void
say(Client *client, PkMessageType type, const void *body, size_t size)
{
	if (pk_message_send(&client->conn, type, body, size, NULL) != PK_OK)
		abort();
	while (pk_conn_has_output(&client->conn) && !client->conn.is_broken)
		pk_conn_send(&client->conn);
}

static Client
client_connect(const Server *server)
{
	Client  client = client_connect_silently(server);
	PkHello hello = {.version = PK_SERVE_VERSION, .pid = 42, .database = 5};

	say(&client, PK_MSG_HELLO, &hello, sizeof(hello));
	return client;
}

static void
client_close(Client *client)
{
	close(client->conn.fd);
	pk_conn_free(&client->conn);
}

static void
submit(Client *client, uint64_t id, const char *image, const PkRequestSpec *spec, bool wants_pieces)
{
	PkSubmit given = {.id = id,
	                  .role = 10,
	                  .wants_pieces = wants_pieces,
	                  .image_path = image,
	                  .model_name = "model",
	                  .spec = *spec};

	if (pk_submit_send(&client->conn, &given, NULL) != PK_OK)
		abort();
	while (pk_conn_has_output(&client->conn) && !client->conn.is_broken)
		pk_conn_send(&client->conn);
}

__attribute__((unused)) static void
tell_read(Client *client, uint64_t id, uint64_t n)
{
	PkRead read = {id, n};

	say(client, PK_MSG_READ, &read, sizeof(read));
}

__attribute__((unused)) static void
drop(Client *client, uint64_t id)
{
	PkRead read = {id, 0};

	say(client, PK_MSG_DROP, &read, sizeof(read));
}

static void
take_piece(Answer *answer, const PkPiece *piece)
{
	if (answer->pieces_len + piece->len > sizeof(answer->pieces))
		abort();
	memcpy(answer->pieces + answer->pieces_len, piece->text, piece->len);
	answer->pieces_len += piece->len;
	answer->n_pieces++;
}

static void
take_answer(const PkFrame *frame, Answer *answers, size_t n)
{
	uint64_t    id;
	size_t      at = sizeof(PkRead);
	const void *data;
	PkPiece     piece;
	PkError     err;

	memcpy(&id, frame->payload, sizeof(id));
	if (id >= n)
		abort();

	Answer *answer = &answers[id];

	if (frame->type == PK_MSG_PIECES)
		while (pk_piece_read(frame, &at, &piece))
			take_piece(answer, &piece);
	else if (frame->type == PK_MSG_ENDED)
	{
		must(pk_ended_read(frame, &answer->ended, &data, &err), &err);
		answer->data = calloc(1, answer->ended.size + 1);
		memcpy(answer->data, data, answer->ended.size);
		answer->has_ended = true;
	}
	else
	{
		must(pk_failed_read(frame, &id, &answer->error, &err), &err);
		answer->has_failed = true;
	}
}

static bool
is_finished(const Answer *answer)
{
	return answer->has_ended || answer->has_failed || answer->was_lost;
}

/*
 * Take what comes for requests 0 to n - 1 of this client until all are finished, or nothing came
 * for quiet_ms. Whether they are.
 */
static bool
receive(Client *client, Answer *answers, size_t n, int quiet_ms)
{
	for (;;)
	{
		struct pollfd fd = {.fd = client->conn.fd, .events = POLLIN};
		PkFrame       frame;
		size_t        n_finished = 0;

		while (pk_conn_next(&client->conn, &frame))
			take_answer(&frame, answers, n);
		for (size_t i = 0; i < n; i++)
		{
			answers[i].was_lost |= client->conn.is_broken;
			n_finished += is_finished(&answers[i]);
		}
		if (n_finished == n)
			return true;
		if (poll(&fd, 1, quiet_ms) <= 0)
			return false;
		(void) pk_conn_receive(&client->conn, NULL);
	}
}

__attribute__((unused)) static void
answers_free(Answer *answers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(answers[i].data);
	memset(answers, 0, n * sizeof(Answer));
}

/* Wait until a report says what is asked; the microseconds it took, or UINT64_MAX. */
__attribute__((unused)) static uint64_t
until(Server *server, bool (*is_so)(const Server *server))
{
	uint64_t begin = pk_clock_us();

	while (pk_clock_us() - begin < PATIENCE_US)
	{
		listen_to(server);
		if (server->n_status > 0 && is_so(server))
			return pk_clock_us() - begin;
		usleep(2000);
	}
	return UINT64_MAX;
}

#endif

/*
 * host_shared.c
 *    Requests to the engine program: this session's end of a socket.
 *
 * A session connects with its first request and stays so. Waiting answers interrupts at once; the
 * engine is told what was dropped, and a session that ends is seen by the end of its connection.
 * When the engine program is lost, what it had from this session fails; the next request connects
 * anew, and waits while the program starts.
 */
#include "postgres.h"

#include <poll.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "core/serve/message.h"
#include "pg/compat.h"
#include "pg/host/engineconn.h"
#include "pg/host/host_internal.h"
#include "pg/pg_error.h"

#define LOOK_MS 500       /* a waiting session looks whether the engine can be started at all */
#define DROP_WAIT_MS 1000 /* the engine takes what is sent at once; if not, it is given up */
#define READ_EVERY 32     /* pieces after which the engine is told that they were read */

typedef struct Piece
{
	int32  id;
	float  logprob;
	size_t begin, len; /* in text */
} Piece;

/* All of it in TopMemoryContext: it is freed by hand, whatever fails. */
typedef struct Remote
{
	dlist_node node;
	uint64     id;
	bool       is_done, has_failed, was_lost;
	PkError    error;
	PkEnded    ended;
	char      *data; /* of ended */
	Piece     *pieces;
	size_t     n_pieces, n_pieces_room;
	char      *text; /* of the pieces */
	size_t     text_len, text_room;
	size_t     n_told; /* pieces that the engine knows were read */
} Remote;

static PkConn     conn = {.fd = -1};
static dlist_head remotes = DLIST_STATIC_INIT(remotes);
static size_t     n_open = 0; /* remotes that are not done */
static uint64     last_id = 0;

static void    begin(const PkpgAsk *ask, void **out);
static void    free_request(void *request);
static void    step(void);
static bool    is_done(const void *request);
static bool    has_failed(const void *request);
static void    check(const void *request);
static void    answer(const void *request, PkpgAnswer *out);
static bool    piece(void *request, size_t i, PkPiece *out);
static size_t  n_running(void);
static void    connect_engine(void);
static void    wait_for_engine(void);
static bool    take_frames(void);
static void    take_frame(const PkFrame *frame);
static void    fail_all(const PkFrame *frame);
static Remote *find_remote(uint64 id);
static void    take_pieces(Remote *remote, const PkFrame *frame);
static bool    add_piece(Remote *remote, const PkPiece *given);
static void    take_ended(Remote *remote, const PkFrame *frame);
static void    finish(Remote *remote);
static void    fail(Remote *remote, PkStatus status, const char *text);
static void    lose(void);
static bool    drop(const Remote *remote);
static void    flush_soon(void);
static bool    grow(void **array, size_t *n_room, size_t n_needed, size_t size);

const PkpgHost pkpg_shared_host = {begin, free_request, step,  is_done,  has_failed,
                                   check, answer,       piece, n_running};

bool
pkpg_shared_host_is_there(void)
{
	return pkpg_shared != NULL &&
	       (pkpg_shared->engine.supervisor_pid != 0 || pkpg_shared->engine.was_started);
}

static void
begin(const PkpgAsk *ask, void **out)
{
	Remote  *remote;
	PkSubmit submit = {.id = ++last_id,
	                   .role = ask->role,
	                   .wants_pieces = ask->wants_pieces,
	                   .image_path = pk_model_path(ask->spec->model),
	                   .model_name = ask->model_name,
	                   .spec = *ask->spec};
	PkError  err = {0};

	connect_engine();
	remote = MemoryContextAllocZero(TopMemoryContext, sizeof(Remote));
	remote->id = submit.id;
	dlist_push_tail(&remotes, &remote->node);
	n_open++;
	*out = remote;
	pkpg_check(pk_submit_send(&conn, &submit, &err), &err);
	pk_conn_send(&conn);
}

static void
free_request(void *request)
{
	Remote *remote = request;

	dlist_delete(&remote->node);
	if (!remote->is_done)
	{
		finish(remote);
		if (drop(remote))
			flush_soon();
	}
	if (remote->data != NULL)
		pfree(remote->data);
	if (remote->pieces != NULL)
		pfree(remote->pieces);
	if (remote->text != NULL)
		pfree(remote->text);
	pfree(remote);
}

static bool
drop(const Remote *remote)
{
	PkRead message = {.id = remote->id};

	return pk_message_send(&conn, PK_MSG_DROP, &message, sizeof(message), NULL) == PK_OK;
}

/*
 * A session that was cancelled may wait for its client next, and then sends nothing: what the
 * socket does not take is waited for here. An engine that takes nothing for so long is left; it
 * sees the end of the connection.
 */
static void
flush_soon(void)
{
	pk_conn_send(&conn);
	for (int waited_ms = 0; pk_conn_has_output(&conn) && !conn.is_broken; waited_ms += 10)
	{
		struct pollfd fd = {.fd = conn.fd, .events = POLLOUT};

		if (waited_ms >= DROP_WAIT_MS)
			conn.is_broken = true;
		(void) poll(&fd, 1, 10);
		pk_conn_send(&conn);
	}
	if (conn.is_broken)
		lose();
}

static void
step(void)
{
	CHECK_FOR_INTERRUPTS();
	while (n_open > 0 && !take_frames())
		wait_for_engine();
}

static bool
is_done(const void *request)
{
	return ((const Remote *) request)->is_done;
}

static bool
has_failed(const void *request)
{
	return ((const Remote *) request)->has_failed;
}

static void
check(const void *request)
{
	const Remote *remote = request;

	if (remote->was_lost)
		ereport(ERROR,
		        (errcode(ERRCODE_SYSTEM_ERROR),
		         errmsg("the engine program of polyko was lost while it computed this request"),
		         errhint("It is started again; run the statement again. The server's log says "
		                 "how it ended.")));
	if (remote->has_failed)
		pkpg_raise(remote->error.status, &remote->error);
}

static void
answer(const void *request, PkpgAnswer *out)
{
	const Remote  *remote = request;
	const PkEnded *ended = &remote->ended;

	out->finish = (PkFinish) ended->finish;
	out->logprob = ended->logprob;
	out->n_prompt = ended->n_prompt;
	out->n_completion = ended->n_completion;
	out->run = (PkpgRun){.n_prompt = ended->n_prompt,
	                     .n_generated = ended->n_generated,
	                     .n_reused = ended->n_reused,
	                     .n_drafted = ended->n_drafted,
	                     .n_accepted = ended->n_accepted,
	                     .n_steps = ended->n_steps,
	                     .n_step_rows = ended->n_step_rows,
	                     .first_step = ended->last_step - ended->n_steps + 1,
	                     .last_step = ended->last_step,
	                     .queue_us = ended->queue_us,
	                     .run_us = ended->run_us};
	if (out->finish == PK_FINISH_DONE)
	{
		out->floats = (const float *) remote->data;
		out->n_floats = ended->size / sizeof(float);
		return;
	}
	out->text = remote->data;
	out->text_len = ended->size;
}

static bool
piece(void *request, size_t i, PkPiece *out)
{
	Remote *remote = request;

	if (i >= remote->n_pieces)
		return false;
	*out = (PkPiece){.id = remote->pieces[i].id,
	                 .logprob = remote->pieces[i].logprob,
	                 .text = remote->text + remote->pieces[i].begin,
	                 .len = remote->pieces[i].len};
	if (!remote->is_done && i + 1 - remote->n_told >= READ_EVERY)
	{
		PkRead read = {.id = remote->id, .n = i + 1};

		remote->n_told = i + 1;
		if (pk_message_send(&conn, PK_MSG_READ, &read, sizeof(read), NULL) == PK_OK)
			pk_conn_send(&conn);
	}
	return true;
}

static size_t
n_running(void)
{
	return n_open;
}

static void
connect_engine(void)
{
	if (conn.fd >= 0)
		(void) take_frames(); /* it may have been lost while nobody waited */
	if (conn.fd < 0)
		pkpg_engine_connect(&conn);
}

static void
wait_for_engine(void)
{
	static uint32 wait_event = 0;

	int events = WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;

	if (wait_event == 0)
		wait_event = pkpg_wait_event("PolykoEngine");
	if (pk_conn_has_output(&conn))
		events |= WL_SOCKET_WRITEABLE;
	events = WaitLatchOrSocket(MyLatch, events, conn.fd, LOOK_MS, wait_event);
	if ((events & WL_LATCH_SET) != 0)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if ((events & WL_TIMEOUT) != 0)
		pkpg_engine_check_startable();
	pk_conn_send(&conn);
}

/* Take in what the engine has sent; true if it concerned this session's requests. */
static bool
take_frames(void)
{
	PkFrame frame;
	bool    is_any = false;

	(void) pk_conn_receive(&conn, NULL);
	while (pk_conn_next(&conn, &frame))
	{
		take_frame(&frame);
		is_any = true;
	}
	if (conn.is_broken)
		lose();
	return is_any || conn.fd < 0;
}

/* Nothing here raises: a frame is taken once. */
static void
take_frame(const PkFrame *frame)
{
	uint64_t id;
	PkError  failure;
	Remote  *remote;

	if (frame->size < sizeof(id))
	{
		conn.is_broken = true;
		return;
	}
	memcpy(&id, frame->payload, sizeof(id));
	if (id == PK_ALL_REQUESTS && frame->type == PK_MSG_FAILED)
	{
		fail_all(frame);
		return;
	}
	remote = find_remote(id);
	if (remote == NULL)
		return; /* it was dropped */
	if (frame->is_cut)
	{
		fail(remote, PK_NO_MEMORY, "no memory for an answer");
		return;
	}
	switch (frame->type)
	{
		case PK_MSG_PIECES:
			take_pieces(remote, frame);
			break;
		case PK_MSG_ENDED:
			take_ended(remote, frame);
			break;
		case PK_MSG_FAILED:
			if (pk_failed_read(frame, &id, &remote->error, &failure) != PK_OK)
				remote->error = failure;
			remote->has_failed = true;
			finish(remote);
			break;
		default:
			conn.is_broken = true;
	}
}

/* The engine has no room for this session, and closes the connection. */
static void
fail_all(const PkFrame *frame)
{
	dlist_iter it;

	dlist_foreach(it, &remotes)
	{
		Remote  *remote = dlist_container(Remote, node, it.cur);
		PkError  failure;
		uint64_t id;

		if (remote->is_done)
			continue;
		if (pk_failed_read(frame, &id, &remote->error, &failure) != PK_OK)
			remote->error = failure;
		remote->has_failed = true;
		finish(remote);
	}
}

static Remote *
find_remote(uint64 id)
{
	dlist_iter it;

	dlist_foreach(it, &remotes)
	{
		Remote *remote = dlist_container(Remote, node, it.cur);

		if (remote->id == id && !remote->is_done)
			return remote;
	}
	return NULL;
}

static void
take_pieces(Remote *remote, const PkFrame *frame)
{
	size_t  at = sizeof(PkRead);
	PkPiece given;

	while (pk_piece_read(frame, &at, &given))
		if (!add_piece(remote, &given))
		{
			fail(remote, PK_NO_MEMORY, "no memory for a stream of pieces");
			return;
		}
}

static bool
add_piece(Remote *remote, const PkPiece *given)
{
	void *pieces = remote->pieces, *text = remote->text;
	bool  has_room = grow(&pieces, &remote->n_pieces_room, remote->n_pieces + 1, sizeof(Piece));

	remote->pieces = pieces;
	has_room = has_room && grow(&text, &remote->text_room, remote->text_len + given->len, 1);
	remote->text = text;
	if (!has_room)
		return false;
	if (given->len > 0)
		memcpy(remote->text + remote->text_len, given->text, given->len);
	remote->pieces[remote->n_pieces++] =
		(Piece){given->id, given->logprob, remote->text_len, given->len};
	remote->text_len += given->len;
	return true;
}

static bool
grow(void **array, size_t *n_room, size_t n_needed, size_t size)
{
	size_t n = Max(*n_room, 64);
	void  *grown;

	if (*array != NULL && n_needed <= *n_room)
		return true;
	while (n < n_needed)
		n *= 2;
	grown = MemoryContextAllocExtended(TopMemoryContext, n * size, MCXT_ALLOC_NO_OOM);
	if (grown == NULL)
		return false;
	if (*array != NULL)
	{
		memcpy(grown, *array, *n_room * size);
		pfree(*array);
	}
	*array = grown;
	*n_room = n;
	return true;
}

static void
take_ended(Remote *remote, const PkFrame *frame)
{
	const void *data;
	PkError     err;

	if (pk_ended_read(frame, &remote->ended, &data, &err) != PK_OK)
	{
		fail(remote, PK_INTERNAL, err.text);
		return;
	}
	remote->data = MemoryContextAllocExtended(TopMemoryContext, remote->ended.size + 1,
	                                          MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (remote->data == NULL)
	{
		fail(remote, PK_NO_MEMORY, "no memory for an answer");
		return;
	}
	memcpy(remote->data, data, remote->ended.size);
	finish(remote);
}

static void
finish(Remote *remote)
{
	remote->is_done = true;
	n_open--;
}

/* What came is of no use: the engine, which may be computing it still, is told if there is memory
 * for that. */
static void
fail(Remote *remote, PkStatus status, const char *text)
{
	if (drop(remote))
		pk_conn_send(&conn);
	pk_error(&remote->error, status, "%s", text);
	remote->error.hint[0] = '\0';
	remote->has_failed = true;
	finish(remote);
}

/* The connection has ended: all that is open fails with it. */
static void
lose(void)
{
	dlist_iter it;

	pkpg_engine_disconnect(&conn);
	dlist_foreach(it, &remotes)
	{
		Remote *remote = dlist_container(Remote, node, it.cur);

		if (remote->is_done)
			continue;
		remote->was_lost = remote->has_failed = true;
		finish(remote);
	}
}

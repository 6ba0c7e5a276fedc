/*
 * frame.c
 *    Frames over a stream socket, without blocking.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/serve/frame.h"

#define CHUNK ((size_t) 64 << 10)
/* An empty buffer that grew beyond this is given back. */
#define KEPT_ROOM ((size_t) 1 << 20)

static void     cut(PkConn *conn);
static bool     read_cut(PkConn *conn, PkFrame *frame);
static void     receive_bytes(PkConn *conn, size_t n_max);
static PkStatus reserve(PkBuffer *buffer, size_t size, PkError *err);
static bool     read_header(const PkConn *conn, size_t begin, PkFrame *frame);
static void     take(PkBuffer *buffer, size_t size);

void
pk_conn_init(PkConn *conn, int fd)
{
	*conn = (PkConn){.fd = fd};
}

void
pk_conn_free(PkConn *conn)
{
	free(conn->in.bytes);
	free(conn->out.bytes);
	conn->in = conn->out = (PkBuffer){0};
}

/* At most a chunk at a time, so that one busy sender holds up nobody. */
PkStatus
pk_conn_receive(PkConn *conn, PkError *err)
{
	PkBuffer *in = &conn->in;

	if (conn->n_skip > 0)
	{
		size_t room = in->room; /* of the part that was cut; nothing in it is used any more */

		in->begin = in->end = 0;
		receive_bytes(conn, conn->n_skip < room ? conn->n_skip : room);
		conn->n_skip -= in->end;
		in->end = 0;
		return PK_OK;
	}

	conn->is_cut = false; /* if nobody took it, there may be memory now */

	PkStatus status = reserve(in, CHUNK, err);

	if (status == PK_OK)
		receive_bytes(conn, CHUNK);
	else
		cut(conn);
	return status;
}

static void
receive_bytes(PkConn *conn, size_t n_max)
{
	ssize_t n = recv(conn->fd, conn->in.bytes + conn->in.end, n_max, MSG_DONTWAIT);

	if (n > 0)
		conn->in.end += (size_t) n;
	else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
		conn->is_broken = true;
}

/* Whole frames that were not taken yet are to be taken first: that gives room. */
static void
cut(PkConn *conn)
{
	PkFrame frame;

	if (read_header(conn, conn->in.begin, &frame))
		return;
	conn->is_cut = conn->in.end - conn->in.begin >= sizeof(PkFrameHeader) + PK_FRAME_CUT_MIN;
	conn->is_starved = conn->is_broken = !conn->is_cut;
}

bool
pk_conn_next(PkConn *conn, PkFrame *frame)
{
	if (conn->is_cut)
		return read_cut(conn, frame);
	if (!read_header(conn, conn->in.begin, frame))
	{
		PkFrameHeader header;

		if (conn->in.end - conn->in.begin < sizeof(header))
			return false;
		memcpy(&header, conn->in.bytes + conn->in.begin, sizeof(header));
		conn->is_broken |= header.size > PK_FRAME_MAX;
		return false;
	}
	take(&conn->in, sizeof(PkFrameHeader) + frame->size);
	return true;
}

/* What is there of the first frame; it stays in the buffer until the rest is skipped. */
static bool
read_cut(PkConn *conn, PkFrame *frame)
{
	PkFrameHeader header;

	memcpy(&header, conn->in.bytes + conn->in.begin, sizeof(header));
	conn->is_cut = false;
	if (header.size > PK_FRAME_MAX)
	{
		conn->is_broken = true;
		return false;
	}
	frame->type = header.type;
	frame->size = conn->in.end - conn->in.begin - sizeof(header);
	frame->payload = conn->in.bytes + conn->in.begin + sizeof(header);
	frame->is_cut = true;
	conn->n_skip = header.size - frame->size;
	take(&conn->in, sizeof(header) + frame->size);
	return true;
}

bool
pk_conn_peek(const PkConn *conn, size_t *at, PkFrame *frame)
{
	if (!read_header(conn, conn->in.begin + *at, frame))
		return false;
	*at += sizeof(PkFrameHeader) + frame->size;
	return true;
}

/* False unless a whole frame begins there. */
static bool
read_header(const PkConn *conn, size_t begin, PkFrame *frame)
{
	PkFrameHeader header;
	size_t        n = conn->in.end - begin;

	if (n < sizeof(header))
		return false;
	memcpy(&header, conn->in.bytes + begin, sizeof(header));
	if (header.size > PK_FRAME_MAX || n - sizeof(header) < header.size)
		return false;
	frame->type = header.type;
	frame->size = header.size;
	frame->is_cut = false;
	frame->payload = conn->in.bytes + begin + sizeof(header);
	return true;
}

PkFrameWriter
pk_frame_begin(PkConn *conn, uint32_t type)
{
	PkFrameWriter writer = {.conn = conn, .start = conn->out.end - conn->out.begin};
	PkFrameHeader header = {.type = type};

	pk_frame_put(&writer, &header, sizeof(header));
	return writer;
}

void
pk_frame_put(PkFrameWriter *writer, const void *bytes, size_t size)
{
	PkBuffer *out = &writer->conn->out;

	if (writer->status != PK_OK || size == 0)
		return;
	writer->status = reserve(out, size, NULL);
	if (writer->status != PK_OK)
		return;
	memcpy(out->bytes + out->end, bytes, size);
	out->end += size;
}

PkStatus
pk_frame_end(PkFrameWriter *writer, PkError *err)
{
	PkBuffer     *out = &writer->conn->out;
	size_t        start = out->begin + writer->start;
	size_t        size = out->end - start;
	PkFrameHeader header;

	if (writer->status == PK_OK && size - sizeof(header) > PK_FRAME_MAX)
		writer->status = PK_TOO_LONG;
	if (writer->status != PK_OK)
	{
		out->end = start;
		return pk_error(err, writer->status, "a message of %zu bytes does not fit the memory",
		                size);
	}
	memcpy(&header, out->bytes + start, sizeof(header));
	header.size = (uint32_t) (size - sizeof(header));
	memcpy(out->bytes + start, &header, sizeof(header));
	return PK_OK;
}

void
pk_conn_send(PkConn *conn)
{
	while (pk_conn_has_output(conn) && !conn->is_broken)
	{
		ssize_t n = send(conn->fd, conn->out.bytes + conn->out.begin,
		                 conn->out.end - conn->out.begin, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			take(&conn->out, (size_t) n);
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		else
			conn->is_broken = true;
	}
}

/* The bytes stay where they are: a frame that was just taken is still read. */
static void
take(PkBuffer *buffer, size_t size)
{
	buffer->begin += size;
}

/* Room for size more bytes; what was used before is given up. */
static PkStatus
reserve(PkBuffer *buffer, size_t size, PkError *err)
{
	size_t held = buffer->end - buffer->begin;
	size_t needed;
	void  *bytes;

	if (held == 0 && buffer->room > KEPT_ROOM)
	{
		free(buffer->bytes);
		*buffer = (PkBuffer){0};
	}
	if (buffer->begin > 0 && buffer->begin >= held)
	{
		if (held > 0)
			memcpy(buffer->bytes, buffer->bytes + buffer->begin, held);
		buffer->begin = 0;
		buffer->end = held;
	}
	if (!pk_size_add(buffer->end, size, &needed))
		return pk_error(err, PK_NO_MEMORY, "a message is too long");
	bytes = buffer->bytes;

	PkStatus status = pk_grow(&bytes, &buffer->room, needed, 1, err);

	buffer->bytes = bytes;
	return status;
}

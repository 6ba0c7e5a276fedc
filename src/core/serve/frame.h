/*
 * frame.h
 *    Frames over a stream socket, without blocking: what the engine program and its sessions speak.
 *
 * A frame is a PkFrameHeader and its payload, in the byte order of the machine: both ends run on
 * it. A length that is out of range, or an end of the stream inside a frame, breaks the
 * connection; the payload is checked by who reads it (message.h).
 *
 * Nothing here waits. What the other side does not take yet stays in the output buffer.
 *
 * A frame for which there is no memory comes cut, as far as it was received, so that who reads it
 * can answer that; the rest of it is skipped, and what follows comes as always.
 */
#ifndef PK_FRAME_H
#define PK_FRAME_H

#include "core/base/status.h"

/* No message is near this: a context of tokens is 8 KB, an answer a few times that. */
#define PK_FRAME_MAX ((size_t) 64 << 20)
/* An id, with which payloads begin. */
#define PK_FRAME_CUT_MIN sizeof(uint64_t)

typedef struct PkFrameHeader
{
	uint32_t type;
	uint32_t size; /* bytes of the payload */
} PkFrameHeader;

typedef struct PkBuffer
{
	char  *bytes; /* malloc'ed */
	size_t begin; /* of what is not used yet */
	size_t end;
	size_t room;
} PkBuffer;

/* One end of a connection. The owner closes fd; pk_conn_free() frees the buffers. */
typedef struct PkConn
{
	int      fd;
	bool     is_broken;  /* closed by the other side, or it sent what is no frame */
	bool     is_starved; /* broken because there is no memory */
	bool     is_cut;     /* no memory for the first frame of the input */
	size_t   n_skip;     /* bytes to come of a frame that was cut */
	PkBuffer in, out;
} PkConn;

typedef struct PkFrame
{
	uint32_t    type;
	const char *payload; /* in the input buffer, valid until the next pk_conn_receive() */
	size_t      size;
	bool        is_cut; /* size is what is there of it: at least PK_FRAME_CUT_MIN bytes */
} PkFrame;

void pk_conn_init(PkConn *conn, int fd); /* fd does not block, or becomes so by the caller */
void pk_conn_free(PkConn *conn);

/*
 * Take in what the socket has. At the end of the stream, or on failure, is_broken. PK_NO_MEMORY
 * alone is none: then frames are to be taken first, one of them cut.
 */
PkStatus pk_conn_receive(PkConn *conn, PkError *err);

/* The next whole frame; false if there is none yet. Frames received before a break still come. */
bool pk_conn_next(PkConn *conn, PkFrame *frame);

/*
 * Look at frames that were received and not taken: *at is 0 at first, then what the call before
 * left there.
 */
bool pk_conn_peek(const PkConn *conn, size_t *at, PkFrame *frame);

/*
 * Append a frame to the output in parts: begin, any number of puts, end. When memory runs out the
 * frame is dropped as a whole and end says so.
 */
typedef struct PkFrameWriter
{
	PkConn  *conn;
	size_t   start; /* of the frame, from the beginning of what waits */
	PkStatus status;
} PkFrameWriter;

PkFrameWriter pk_frame_begin(PkConn *conn, uint32_t type);
void          pk_frame_put(PkFrameWriter *writer, const void *bytes, size_t size);
PkStatus      pk_frame_end(PkFrameWriter *writer, PkError *err);

/* Send what the socket takes. A closed other side makes is_broken. */
void pk_conn_send(PkConn *conn);

static inline bool
pk_conn_has_output(const PkConn *conn)
{
	return conn->out.end > conn->out.begin;
}

#endif

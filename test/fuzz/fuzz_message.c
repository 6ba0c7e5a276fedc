/*
 * fuzz_message.c
 *    Bytes from a socket, as frames and as the messages in them.
 *
 * What must hold: nothing outside of a frame is read; what is accepted is whole; a stream that is
 * no stream of frames breaks the connection.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/serve/message.h"

#define MAX_INPUT ((size_t) 32 << 10)
#define CHECK(condition)  \
	do                    \
	{                     \
		if (!(condition)) \
			abort();      \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sum;

static void
touch(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum += ((const unsigned char *) bytes)[i];
}

static void
check_submit(const PkFrame *frame)
{
	PkSubmit submit;

	if (pk_submit_read(frame, &submit, NULL) == PK_OK)
	{
		const PkRequestSpec *spec = &submit.spec;

		CHECK(spec->n_tokens > 0 && submit.image_path[0] != '\0');
		CHECK(strlen(submit.model_name) < PK_MODEL_NAME_SIZE);
		touch(submit.image_path, strlen(submit.image_path));
		touch(spec->tokens, spec->n_tokens * sizeof(int32_t));
		for (size_t i = 0; i < spec->n_stop; i++)
			touch(spec->stop[i], spec->stop_lens[i]);
	}
	pk_submit_free(&submit);
}

static void
check_answers(const PkFrame *frame)
{
	PkEnded      ended;
	PkStatusHead head;
	PkError      failure;
	uint64_t     id;
	const void  *data;
	const char  *models, *activities;
	size_t       at = sizeof(PkRead);
	PkPiece      piece;

	if (pk_ended_read(frame, &ended, &data, NULL) == PK_OK)
		touch(data, ended.size);
	if (pk_failed_read(frame, &id, &failure, NULL) == PK_OK)
		CHECK(strlen(failure.text) < sizeof(failure.text) && failure.status != PK_OK);
	if (pk_status_read(frame, &head, &models, &activities))
	{
		touch(models, head.n_models * sizeof(PkServedModelInfo));
		touch(activities, head.n_activities * sizeof(PkActivity));
	}
	while (pk_piece_read(frame, &at, &piece))
		touch(piece.text, piece.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int     ends[2];
	PkConn  conn;
	PkFrame frame;
	size_t  n_bytes = 0;

	if (size > MAX_INPUT || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
		return 0;
	CHECK(write(ends[0], data, size) == (ssize_t) size);
	close(ends[0]);
	pk_conn_init(&conn, ends[1]);
	while (!conn.is_broken)
	{
		(void) pk_conn_receive(&conn, NULL);
		while (pk_conn_next(&conn, &frame))
		{
			/* a copy of just its size, so that ASan sees its end */
			char *payload = malloc(frame.size > 0 ? frame.size : 1);

			memcpy(payload, frame.payload, frame.size);
			frame.payload = payload;
			check_submit(&frame);
			check_answers(&frame);
			n_bytes += sizeof(PkFrameHeader) + frame.size;
			free(payload);
		}
	}
	CHECK(n_bytes <= size);
	pk_conn_free(&conn);
	close(ends[1]);
	return 0;
}

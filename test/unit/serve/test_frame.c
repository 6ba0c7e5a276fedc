/*
 * test_frame.c
 *    Frames over a socket: in parts, broken, closed, huge; buffers that give memory back.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdlib.h>

#include "../tap.h"
#include "core/serve/frame.h"
#include "limits.h"

#define N_FRAMES 2000
#define MAX_PAYLOAD 20000
#define KEPT_ROOM ((size_t) 2 << 20) /* a buffer may keep 1 MiB, and doubles */

static void test_parts(void);
static void test_broken_length(void);
static void test_closed(void);
static void test_peek(void);
static void test_huge(void);
static void test_too_long(void);
static void test_random(void);
static void test_no_memory(void);

static PkConn a, b;

int
main(void)
{
	test_parts();
	test_broken_length();
	test_closed();
	test_peek();
	test_huge();
	test_too_long();
	test_random();
	test_no_memory();
	return done_testing();
}

static void
connect_pair(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0)
		abort();
	pk_conn_init(&a, ends[0]);
	pk_conn_init(&b, ends[1]);
}

static void
disconnect(PkConn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	pk_conn_free(conn);
}

static bool
put_frame(PkConn *conn, uint32_t type, const void *bytes, size_t size)
{
	PkFrameWriter writer = pk_frame_begin(conn, type);

	pk_frame_put(&writer, bytes, size / 2);
	pk_frame_put(&writer, (const char *) bytes + size / 2, size - size / 2);
	return pk_frame_end(&writer, NULL) == PK_OK;
}

static void
write_raw(const void *bytes, size_t size)
{
	if (write(a.fd, bytes, size) != (ssize_t) size)
		abort();
}

static void
test_parts(void)
{
	struct
	{
		PkFrameHeader header;
		char          text[5];
	} raw = {{7, 5}, {'h', 'e', 'l', 'l', 'o'}};
	size_t  size = sizeof(PkFrameHeader) + 5, n_early = 0;
	PkFrame frame = {0};

	connect_pair();
	for (size_t i = 0; i < size; i++)
	{
		n_early += pk_conn_next(&b, &frame);
		write_raw((char *) &raw + i, 1);
		(void) pk_conn_receive(&b, NULL);
	}
	is_int((long long) n_early, 0, "byte by byte there is no frame before the last");
	ok(pk_conn_next(&b, &frame) && frame.type == 7 && frame.size == 5 &&
	       memcmp(frame.payload, "hello", 5) == 0,
	   "then it is whole");
	ok(!pk_conn_next(&b, &frame) && !b.is_broken, "and the only one");
	ok(pk_conn_receive(&b, NULL) == PK_OK && !b.is_broken, "nothing to receive breaks nothing");
	ok(put_frame(&a, 9, "", 0), "a frame may be empty");
	pk_conn_send(&a);
	(void) pk_conn_receive(&b, NULL);
	ok(pk_conn_next(&b, &frame) && frame.type == 9 && frame.size == 0, "and arrives so");
	disconnect(&a);
	disconnect(&b);
}

static void
test_broken_length(void)
{
	static const uint32_t sizes[] = {(uint32_t) PK_FRAME_MAX + 1, UINT32_MAX, (uint32_t) INT32_MAX};

	for (size_t i = 0; i < PK_LENGTH(sizes); i++)
	{
		PkFrameHeader header = {1, sizes[i]};
		PkFrame       frame;
		size_t        at = 0;

		connect_pair();
		write_raw(&header, sizeof(header));
		(void) pk_conn_receive(&b, NULL);
		ok(!pk_conn_peek(&b, &at, &frame), "looking ahead does not follow a length of %u",
		   (unsigned) sizes[i]);
		ok(!pk_conn_next(&b, &frame) && b.is_broken, "which breaks the connection");
		disconnect(&a);
		disconnect(&b);
	}
}

static void
test_closed(void)
{
	PkFrameHeader header = {3, 100};
	PkFrame       frame;

	connect_pair();
	ok(put_frame(&a, 2, "whole", 5), "a whole frame is sent");
	pk_conn_send(&a);
	write_raw(&header, sizeof(header));
	disconnect(&a);
	for (int i = 0; i < 3 && !b.is_broken; i++)
		(void) pk_conn_receive(&b, NULL);
	ok(b.is_broken, "an end of the stream inside the next is seen");
	ok(pk_conn_next(&b, &frame) && frame.type == 2, "the whole one comes all the same");
	ok(!pk_conn_next(&b, &frame), "half a frame does not");
	disconnect(&b);

	connect_pair();
	disconnect(&b);
	(void) put_frame(&a, 2, "whole", 5);
	pk_conn_send(&a);
	ok(a.is_broken, "sending to a closed end breaks the connection, without a signal");
	disconnect(&a);
}

static void
test_peek(void)
{
	PkFrame frame;
	size_t  at = 0, n = 0;

	connect_pair();
	for (uint32_t i = 0; i < 5; i++)
		(void) put_frame(&a, i, "xyz", i % 4);
	pk_conn_send(&a);
	(void) pk_conn_receive(&b, NULL);
	while (pk_conn_peek(&b, &at, &frame))
		n += frame.type == n && frame.size == n % 4;
	is_int((long long) n, 5, "frames can be looked at in their order");
	for (n = 0; pk_conn_next(&b, &frame);)
		n += frame.type == n;
	is_int((long long) n, 5, "and are still there to be taken");
	disconnect(&a);
	disconnect(&b);
}

static void
test_huge(void)
{
	size_t  size = PK_FRAME_MAX;
	char   *bytes = malloc(size);
	PkFrame frame = {0};
	size_t  n_rounds = 0;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char) (i * 2654435761u >> 13);
	connect_pair();
	ok(put_frame(&a, 4, bytes, size), "the largest frame is taken into the output");
	while (!pk_conn_next(&b, &frame) && !b.is_broken && n_rounds++ < 100000)
	{
		pk_conn_send(&a);
		(void) pk_conn_receive(&b, NULL);
	}
	ok(frame.size == size && memcmp(frame.payload, bytes, size) == 0, "and arrives whole");
	ok(!pk_conn_has_output(&a), "nothing is left to send");
	for (int i = 0; i < 2; i++)
	{
		(void) put_frame(&a, 5, "small", 5);
		pk_conn_send(&a);
		(void) pk_conn_receive(&b, NULL);
		ok(pk_conn_next(&b, &frame) && frame.size == 5, "a small one follows");
	}
	ok(a.out.room <= KEPT_ROOM && b.in.room <= KEPT_ROOM, "the memory was given back");
	disconnect(&a);
	disconnect(&b);
	free(bytes);
}

static void
test_too_long(void)
{
	char    *bytes = calloc(1, PK_FRAME_MAX + 1);
	PkFrame  frame;
	PkError  err = {0};
	uint32_t n = 0;

	connect_pair();
	(void) put_frame(&a, 0, "before", 6);

	PkFrameWriter writer = pk_frame_begin(&a, 66);

	pk_frame_put(&writer, bytes, PK_FRAME_MAX + 1);
	is_int(pk_frame_end(&writer, &err), PK_TOO_LONG, "a frame that is too long is refused");
	ok(strstr(err.text, "67108873") != NULL, "with its size: %s", err.text);
	(void) put_frame(&a, 1, "behind", 6);
	pk_conn_send(&a);
	(void) pk_conn_receive(&b, NULL);
	while (pk_conn_next(&b, &frame))
		n += frame.type == n && frame.size == 6;
	is_int(n, 2, "the frames before and behind it are whole");
	disconnect(&a);
	disconnect(&b);
	free(bytes);
}

/* What byte i of frame k is. */
static char
byte_of(size_t k, size_t i)
{
	return (char) (k * 31 + i * 7 + (i >> 8));
}

static void
test_random(void)
{
	uint32_t seed = 20261124;
	size_t   n_sent = 0, n_taken = 0, n_wrong = 0;
	char    *bytes = malloc(MAX_PAYLOAD);
	PkFrame  frame;

	diag("seed %u", (unsigned) seed);
	srand(seed);
	connect_pair();
	while (n_taken < N_FRAMES && !b.is_broken)
	{
		int what = rand() % 4;

		if (what == 0 && n_sent < N_FRAMES)
		{
			size_t size = (size_t) rand() % MAX_PAYLOAD;

			for (size_t i = 0; i < size; i++)
				bytes[i] = byte_of(n_sent, i);
			n_wrong += !put_frame(&a, (uint32_t) n_sent, bytes, size);
			n_sent++;
		}
		else if (what == 1)
			pk_conn_send(&a);
		else if (what == 2)
			(void) pk_conn_receive(&b, NULL);
		else if (pk_conn_next(&b, &frame))
		{
			n_wrong += frame.type != n_taken;
			for (size_t i = 0; i < frame.size; i++)
				n_wrong += frame.payload[i] != byte_of(n_taken, i);
			n_taken++;
		}
	}
	is_int((long long) n_taken, N_FRAMES, "random frames in random steps all arrive");
	is_int((long long) n_wrong, 0, "in order, with their bytes");
	disconnect(&a);
	disconnect(&b);
	free(bytes);
}

/* A large frame for which there is no memory, between two small ones. */
static void
test_no_memory(void)
{
#if !HAS_LIMITS
	skip("a sanitizer needs the address space");
#else
	size_t   size = (size_t) 40 << 20, n_rounds = 0;
	uint64_t id = 77;
	void    *bytes = calloc(1, size);
	PkFrame  frame = {0};
	PkStatus status = PK_OK;

	connect_pair();
	memcpy(bytes, &id, sizeof(id));
	if (!put_frame(&a, 1, "small", 5) || !put_frame(&a, 2, bytes, size) ||
	    !put_frame(&a, 3, "small", 5))
		abort();
	free(bytes);
	allow_more((size_t) 8 << 20);
	pk_conn_send(&a);
	(void) pk_conn_receive(&b, NULL);
	ok(pk_conn_next(&b, &frame) && frame.type == 1 && !frame.is_cut, "a small frame comes");
	while (!pk_conn_next(&b, &frame) && !b.is_broken && n_rounds++ < 100000)
	{
		pk_conn_send(&a);
		status = pk_conn_receive(&b, NULL);
	}
	is_int(status, PK_NO_MEMORY, "one of 40 MB has no room in 8");
	ok(frame.type == 2 && frame.is_cut && frame.size < size &&
	       memcmp(frame.payload, &id, sizeof(id)) == 0,
	   "it comes cut, with its id");
	for (n_rounds = 0; !pk_conn_next(&b, &frame) && !b.is_broken && n_rounds < 100000; n_rounds++)
	{
		pk_conn_send(&a);
		(void) pk_conn_receive(&b, NULL);
	}
	ok(frame.type == 3 && !frame.is_cut && memcmp(frame.payload, "small", 5) == 0,
	   "and what follows it comes as always");
	allow_more(SIZE_MAX);
	disconnect(&a);
	disconnect(&b);
#endif
}

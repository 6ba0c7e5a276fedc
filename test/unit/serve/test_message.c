/*
 * test_message.c
 *    Messages there and back; cut short anywhere, or changed anywhere, they are refused or safe.
 *
 * A payload lies in memory of just its size, so that ASan sees what is read beyond.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "../tap.h"
#include "core/serve/message.h"

#define N_MUTATIONS 20000

static void test_submit(void);
static void test_embed(void);
static void test_bad_submit(void);
static void test_ended(void);
static void test_failed(void);
static void test_status(void);
static void test_pieces(void);
static void test_hostile(void);

static PkConn   conn;
static unsigned sum; /* of all that was read, so that reading is not left out */

int
main(void)
{
	pk_conn_init(&conn, -1);
	test_submit();
	test_embed();
	test_bad_submit();
	test_ended();
	test_failed();
	test_status();
	test_pieces();
	test_hostile();
	diag("sum %u", sum);
	return done_testing();
}

/* The frame that was just written; free(payload). */
static PkFrame
written(void)
{
	PkFrameHeader header;
	PkFrame       frame;
	char         *payload;

	memcpy(&header, conn.out.bytes + conn.out.begin, sizeof(header));
	payload = malloc(header.size > 0 ? header.size : 1);
	memcpy(payload, conn.out.bytes + conn.out.begin + sizeof(header), header.size);
	frame = (PkFrame){.type = header.type, .size = header.size, .payload = payload};
	pk_conn_free(&conn);
	return frame;
}

static void
frame_free(PkFrame *frame)
{
	free((void *) (uintptr_t) frame->payload);
}

static const int32_t     tokens[] = {5, 0, 29999, -1, 7};
static const char *const stops[] = {"다.", "\n\n", "\0x"};
static const size_t      stop_lens[] = {4, 2, 2};

static PkSubmit
a_submit(void)
{
	return (PkSubmit){.id = 0x123456789abcdef0,
	                  .role = 4000000000u,
	                  .wants_pieces = true,
	                  .image_path = "polyko/pgsql_tmp_polyko_x.img",
	                  .model_name = "한국어 model",
	                  .spec = {.kind = PK_REQUEST_GENERATE,
	                           .tokens = tokens,
	                           .n_tokens = PK_LENGTH(tokens),
	                           .max_tokens = 77,
	                           .sample = {.temperature = 0.5f,
	                                      .top_k = 3,
	                                      .top_p = 0.25f,
	                                      .repetition_penalty = 1.5f,
	                                      .min_tokens = 2,
	                                      .seed = UINT64_MAX},
	                           .stop = stops,
	                           .stop_lens = stop_lens,
	                           .n_stop = PK_LENGTH(stops),
	                           .prompt_lookup_num_tokens = 9}};
}

static PkFrame
submit_frame(const PkSubmit *submit)
{
	if (pk_submit_send(&conn, submit, NULL) != PK_OK)
		abort();
	return written();
}

/* Read every byte that a message gives. */
static void
touch(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum = sum * 31 + ((const unsigned char *) bytes)[i];
}

static void
touch_submit(const PkSubmit *submit)
{
	const PkRequestSpec *spec = &submit->spec;

	touch(submit->image_path, strlen(submit->image_path));
	touch(submit->model_name, strlen(submit->model_name));
	touch(spec->tokens, spec->n_tokens * sizeof(int32_t));
	for (size_t i = 0; i < spec->n_stop; i++)
		touch(spec->stop[i], spec->stop_lens[i]);
}

static void
test_submit(void)
{
	PkSubmit given = a_submit(), read;
	PkFrame  frame = submit_frame(&given);
	PkError  err;

	is_int(frame.type, PK_MSG_SUBMIT, "SUBMIT has its type");
	is_int(pk_submit_read(&frame, &read, &err), PK_OK, "and is read");
	frame_free(&frame); /* what was read owns its memory */
	ok(read.id == given.id && read.role == given.role && read.wants_pieces, "who asks");
	is_str(read.image_path, given.image_path, "the image");
	is_str(read.model_name, given.model_name, "the model's name");
	ok(read.spec.n_tokens == PK_LENGTH(tokens) &&
	       memcmp(read.spec.tokens, tokens, sizeof(tokens)) == 0,
	   "the tokens");
	ok(read.spec.max_tokens == 77 && read.spec.kind == PK_REQUEST_GENERATE &&
	       read.spec.prompt_lookup_num_tokens == 9,
	   "what is asked");
	ok(read.spec.sample.temperature == 0.5f && read.spec.sample.top_k == 3 &&
	       read.spec.sample.top_p == 0.25f && read.spec.sample.repetition_penalty == 1.5f &&
	       read.spec.sample.min_tokens == 2 && read.spec.sample.seed == UINT64_MAX,
	   "how it is sampled");
	is_int((long long) read.spec.n_stop, PK_LENGTH(stops), "the stop strings");
	for (size_t i = 0; i < read.spec.n_stop; i++)
		ok(read.spec.stop_lens[i] == stop_lens[i] &&
		       memcmp(read.spec.stop[i], stops[i], stop_lens[i]) == 0,
		   "stop string %zu", i);
	pk_submit_free(&read);
}

/* An embedding has no sampling parameters: they are zero. */
static void
test_embed(void)
{
	PkSubmit given = a_submit(), read;
	PkFrame  frame;
	PkError  err;

	given.wants_pieces = false;
	given.spec = (PkRequestSpec){.kind = PK_REQUEST_EMBED,
	                             .tokens = tokens,
	                             .n_tokens = 2,
	                             .pooling = PK_POOLING_LAST,
	                             .normalize = true,
	                             .layer = -1};
	frame = submit_frame(&given);
	is_int(pk_submit_read(&frame, &read, &err), PK_OK, "an embedding is read");
	ok(read.spec.kind == PK_REQUEST_EMBED && read.spec.pooling == PK_POOLING_LAST &&
	       read.spec.normalize && read.spec.layer == -1 && !read.wants_pieces,
	   "with its options");
	pk_submit_free(&read);
	frame_free(&frame);
}

static void
refused(const PkSubmit *submit, PkStatus status, const char *why)
{
	PkFrame  frame = submit_frame(submit);
	PkSubmit read;
	PkError  err = {0};

	is_int(pk_submit_read(&frame, &read, &err), status, why);
	ok(read.id == submit->id, "and can be answered");
	pk_submit_free(&read);
	frame_free(&frame);
}

static void
test_bad_submit(void)
{
	static const char *const none[] = {""};
	static const size_t      no_len[] = {0};
	char                     name[PK_MODEL_NAME_SIZE + 1];
	PkSubmit                 submit = a_submit();

	submit.spec.n_tokens = 0;
	refused(&submit, PK_INTERNAL, "no token");
	submit = a_submit();
	submit.image_path = "";
	refused(&submit, PK_INTERNAL, "no image");
	submit = a_submit();
	submit.spec.stop = none;
	submit.spec.stop_lens = no_len;
	submit.spec.n_stop = 1;
	refused(&submit, PK_INTERNAL, "an empty stop string");
	submit = a_submit();
	submit.spec.sample.top_p = 0;
	refused(&submit, PK_BAD_ARGUMENT, "an option out of range");
	submit = a_submit();
	submit.spec.kind = (PkRequestKind) 99;
	refused(&submit, PK_INTERNAL, "an unknown kind");
	submit = a_submit();
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	submit.model_name = name;
	refused(&submit, PK_INTERNAL, "a name that is too long");

	submit = a_submit();
	submit.spec.n_tokens = PK_FRAME_MAX + 1;
	is_int(pk_submit_send(&conn, &submit, NULL), PK_TOO_LONG, "more tokens than any frame holds");
	ok(!pk_conn_has_output(&conn), "leave nothing in the output");
	pk_conn_free(&conn);
}

static PkFrame
ended_frame(PkFinish finish, const void *data, size_t size)
{
	PkEnded ended = {.id = 8,
	                 .logprob = -3.25,
	                 .finish = finish,
	                 .n_prompt = 3,
	                 .n_completion = 2,
	                 .n_generated = 4,
	                 .n_reused = 1,
	                 .n_steps = 6,
	                 .n_drafted = 10,
	                 .n_accepted = 9,
	                 .n_step_rows = 12,
	                 .queue_us = 5,
	                 .run_us = 7,
	                 .size = size};

	if (pk_ended_send(&conn, &ended, data, NULL) != PK_OK)
		abort();
	return written();
}

static void
test_ended(void)
{
	PkFrame     frame = ended_frame(PK_FINISH_STOP, "좋다", 6);
	PkEnded     ended;
	const void *data;
	PkError     err;

	is_int(pk_ended_read(&frame, &ended, &data, &err), PK_OK, "ENDED is read");
	ok(ended.id == 8 && ended.logprob == -3.25 && ended.finish == PK_FINISH_STOP &&
	       ended.n_prompt == 3 && ended.n_completion == 2 && ended.n_generated == 4 &&
	       ended.n_reused == 1 && ended.n_steps == 6 && ended.n_drafted == 10 &&
	       ended.n_accepted == 9 && ended.n_step_rows == 12 && ended.queue_us == 5 &&
	       ended.run_us == 7,
	   "with its numbers");
	ok(ended.size == 6 && memcmp(data, "좋다", 6) == 0, "and its text");
	frame_free(&frame);

	frame = ended_frame(PK_FINISH_DONE, "7bytes.", 7);
	is_int(pk_ended_read(&frame, &ended, &data, &err), PK_INTERNAL,
	       "floats of 7 bytes are refused");
	frame_free(&frame);
	frame = ended_frame(PK_FINISH_NONE, "", 0);
	is_int(pk_ended_read(&frame, &ended, &data, &err), PK_INTERNAL, "so is an end that is none");
	frame_free(&frame);
	frame = ended_frame((PkFinish) 99, "", 0);
	is_int(pk_ended_read(&frame, &ended, &data, &err), PK_INTERNAL, "or an unknown one");
	frame_free(&frame);
}

static void
test_failed(void)
{
	PkError  failure = {.status = PK_NO_MEMORY, .text = "no room", .hint = "Make some."}, read, err;
	PkFrame  frame;
	uint64_t id = 0;

	if (pk_failed_send(&conn, 5, &failure, NULL) != PK_OK)
		abort();
	frame = written();
	is_int(pk_failed_read(&frame, &id, &read, &err), PK_OK, "FAILED is read");
	ok(id == 5 && read.status == PK_NO_MEMORY, "whose and what");
	is_str(read.text, "no room", "why");
	is_str(read.hint, "Make some.", "and what to do");
	frame_free(&frame);

	failure.status = PK_OK;
	(void) pk_failed_send(&conn, 5, &failure, NULL);
	frame = written();
	is_int(pk_failed_read(&frame, &id, &read, &err), PK_INTERNAL, "no failure is refused");
	frame_free(&frame);

	failure.status = PK_INTERNAL;
	memset(failure.text, 'x', sizeof(failure.text));
	memset(failure.hint, 'y', sizeof(failure.hint));
	(void) pk_failed_send(&conn, 5, &failure, NULL);
	frame = written();
	is_int(pk_failed_read(&frame, &id, &read, &err), PK_OK, "a text without an end mark");
	ok(strlen(read.text) == sizeof(read.text) - 1 && strlen(read.hint) == sizeof(read.hint) - 1,
	   "gets one");
	frame_free(&frame);
}

static PkFrame
status_frame(uint32_t n_models, uint32_t n_activities)
{
	PkStatusHead head = {.kv_max_bytes = 1, .n_models = n_models, .n_activities = n_activities};
	PkServedModelInfo models[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
	PkActivity        activities[2] = {{.id = 1, .model = "a"}, {.id = 2, .model = "b"}};

	if (pk_status_send(&conn, &head, models, activities, NULL) != PK_OK)
		abort();
	return written();
}

static void
test_status(void)
{
	PkFrame      frame = status_frame(3, 2);
	PkStatusHead head;
	const char  *models, *activities;
	PkActivity   second;

	ok(pk_status_read(&frame, &head, &models, &activities), "STATUS is read");
	memcpy(&second, activities + sizeof(second), sizeof(second));
	ok(head.n_models == 3 && head.n_activities == 2 && second.id == 2 &&
	       strcmp(second.model, "b") == 0,
	   "with all it lists");
	frame_free(&frame);
	frame = status_frame(0, 0);
	ok(pk_status_read(&frame, &head, &models, &activities), "also when it lists nothing");
	frame_free(&frame);
}

static PkFrame
pieces_frame(void)
{
	PkRead        head = {3, 2};
	PkPieceHead   first = {5, -1.0f, 3}, second = {6, -2.0f, 0};
	PkFrameWriter writer = pk_frame_begin(&conn, PK_MSG_PIECES);

	pk_frame_put(&writer, &head, sizeof(head));
	pk_frame_put(&writer, &first, sizeof(first));
	pk_frame_put(&writer, "다", 3);
	pk_frame_put(&writer, &second, sizeof(second));
	if (pk_frame_end(&writer, NULL) != PK_OK)
		abort();
	return written();
}

static void
test_pieces(void)
{
	PkFrame frame = pieces_frame();
	size_t  at = sizeof(PkRead);
	PkPiece piece;

	ok(pk_piece_read(&frame, &at, &piece) && piece.id == 5 && piece.len == 3 &&
	       memcmp(piece.text, "다", 3) == 0,
	   "a piece is read");
	ok(pk_piece_read(&frame, &at, &piece) && piece.id == 6 && piece.len == 0, "and an empty one");
	ok(!pk_piece_read(&frame, &at, &piece), "then no more");
	frame_free(&frame);
}

/* Read frame as what it says it is; all that is accepted is looked at. */
static void
read_any(const PkFrame *frame)
{
	PkSubmit     submit;
	PkEnded      ended;
	PkStatusHead head;
	PkError      failure, err;
	uint64_t     id;
	const void  *data;
	const char  *models, *activities;
	size_t       at = sizeof(PkRead);
	PkPiece      piece;

	switch (frame->type)
	{
		case PK_MSG_SUBMIT:
			if (pk_submit_read(frame, &submit, &err) == PK_OK)
				touch_submit(&submit);
			pk_submit_free(&submit);
			break;
		case PK_MSG_ENDED:
			if (pk_ended_read(frame, &ended, &data, &err) == PK_OK)
				touch(data, ended.size);
			break;
		case PK_MSG_FAILED:
			if (pk_failed_read(frame, &id, &failure, &err) == PK_OK)
				touch(failure.text, strlen(failure.text));
			break;
		case PK_MSG_STATUS:
			if (pk_status_read(frame, &head, &models, &activities))
			{
				touch(models, head.n_models * sizeof(PkServedModelInfo));
				touch(activities, head.n_activities * sizeof(PkActivity));
			}
			break;
		default:
			while (pk_piece_read(frame, &at, &piece))
				touch(piece.text, piece.len);
	}
}

/* frame cut to size, and read. */
static void
read_cut(const PkFrame *frame, size_t size)
{
	PkFrame cut = {.type = frame->type, .size = size};
	char   *payload = malloc(size > 0 ? size : 1);

	memcpy(payload, frame->payload, size);
	cut.payload = payload;
	read_any(&cut);
	free(payload);
}

static void
mutate(PkFrame *frame)
{
	char  *payload = (char *) (uintptr_t) frame->payload;
	size_t at = (size_t) rand() % frame->size;
	char   kept[8];
	size_t n = frame->size - at < sizeof(kept) ? frame->size - at : sizeof(kept);

	memcpy(kept, payload + at, n);
	switch (rand() % 4)
	{
		case 0:
			payload[at] = (char) rand();
			break;
		case 1:
			payload[at] ^= (char) (1 << rand() % 8);
			break;
		case 2:
			memset(payload + at, 0xff, n);
			break;
		default:
			for (size_t i = 0; i < n; i++)
				payload[at + i] = (char) rand();
	}
	read_any(frame);
	if (rand() % 8 != 0) /* a few changes stay, and add up */
		memcpy(payload + at, kept, n);
}

static void
test_hostile(void)
{
	PkSubmit submit = a_submit();
	unsigned seed = 4711;

	diag("seed %u", seed);
	srand(seed);
	for (int kind = 0; kind < 5; kind++)
	{
		for (int round = 0; round < 10; round++)
		{
			PkFrame frame = kind == 0   ? submit_frame(&submit)
			                : kind == 1 ? ended_frame(PK_FINISH_LENGTH, "text", 4)
			                : kind == 2 ? status_frame(2, 2)
			                : kind == 3 ? pieces_frame()
			                            : ended_frame(PK_FINISH_DONE, "8 bytes.", 8);

			for (size_t size = 0; round == 0 && size < frame.size; size++)
				read_cut(&frame, size);
			for (int i = 0; i < N_MUTATIONS / 10; i++)
				mutate(&frame);
			frame_free(&frame);
		}
		ok(true, "message %d is safe to read, cut or changed", kind);
	}

	/* each part of SUBMIT is needed: no shorter frame is one */
	PkFrame frame = submit_frame(&submit);
	size_t  n_accepted = 0;

	for (size_t size = 0; size < frame.size; size++)
	{
		PkFrame  cut = {.type = frame.type, .size = size, .payload = frame.payload};
		PkSubmit read;
		PkError  err;

		n_accepted += pk_submit_read(&cut, &read, &err) == PK_OK;
		pk_submit_free(&read);
	}
	is_int((long long) n_accepted, 0, "no SUBMIT that was cut is accepted");
	frame_free(&frame);
}

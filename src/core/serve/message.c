/*
 * message.c
 *    Messages to frames and back.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/serve/message.h"

/* The fixed part of SUBMIT. Behind it: tokens, lengths of stops, and then bytes, of the path, the
 * name (both with an end mark) and the stops. */
typedef struct SubmitHead
{
	uint64_t       id;
	uint32_t       role;
	uint32_t       wants_pieces;
	uint32_t       kind;
	int32_t        max_tokens;
	PkSampleParams sample;
	uint32_t       pooling;
	uint32_t       normalize;
	int32_t        layer;
	uint32_t       n_tokens;
	uint32_t       n_stop;
	uint32_t       path_size;
	uint32_t       name_size;
	uint32_t       prompt_lookup_num_tokens;
} SubmitHead;

_Static_assert(sizeof(SubmitHead) % 8 == 0, "what follows is aligned for tokens");
_Static_assert(offsetof(SubmitHead, id) == 0, "a frame that was cut has it");

static bool     is_sane(const SubmitHead *head, const PkFrame *frame);
static PkStatus read_lists(const SubmitHead *head, const PkFrame *frame, PkSubmit *out,
                           PkError *err);
static bool     read_stops(const SubmitHead *head, const char *lens, const char *bytes, size_t size,
                           const char **stop, size_t *stop_lens);
static PkStatus malformed(const PkFrame *frame, PkError *err);

PkStatus
pk_submit_send(PkConn *conn, const PkSubmit *submit, PkError *err)
{
	const PkRequestSpec *spec = &submit->spec;
	SubmitHead           head = {.id = submit->id,
	                             .role = submit->role,
	                             .wants_pieces = submit->wants_pieces,
	                             .kind = spec->kind,
	                             .max_tokens = spec->max_tokens,
	                             .sample = spec->sample,
	                             .pooling = spec->pooling,
	                             .normalize = spec->normalize,
	                             .layer = spec->layer,
	                             .prompt_lookup_num_tokens = spec->prompt_lookup_num_tokens,
	                             .n_tokens = (uint32_t) spec->n_tokens,
	                             .n_stop = (uint32_t) spec->n_stop,
	                             .path_size = (uint32_t) strlen(submit->image_path) + 1,
	                             .name_size = (uint32_t) strlen(submit->model_name) + 1};
	PkFrameWriter        writer = pk_frame_begin(conn, PK_MSG_SUBMIT);

	if (spec->n_tokens > PK_FRAME_MAX || spec->n_stop > PK_FRAME_MAX)
		writer.status = PK_TOO_LONG;
	pk_frame_put(&writer, &head, sizeof(head));
	pk_frame_put(&writer, spec->tokens, spec->n_tokens * sizeof(int32_t));
	for (size_t i = 0; i < spec->n_stop; i++)
	{
		uint32_t len = (uint32_t) spec->stop_lens[i];

		pk_frame_put(&writer, &len, sizeof(len));
	}
	pk_frame_put(&writer, submit->image_path, head.path_size);
	pk_frame_put(&writer, submit->model_name, head.name_size);
	for (size_t i = 0; i < spec->n_stop; i++)
		pk_frame_put(&writer, spec->stop[i], spec->stop_lens[i]);
	return pk_frame_end(&writer, err);
}

PkStatus
pk_submit_read(const PkFrame *frame, PkSubmit *out, PkError *err)
{
	SubmitHead head;

	memset(out, 0, sizeof(*out));
	if (frame->is_cut)
	{
		memcpy(&out->id, frame->payload, sizeof(out->id));
		return pk_error(err, PK_NO_MEMORY, "no memory for the input of a request");
	}
	if (frame->size < sizeof(head))
		return malformed(frame, err);
	memcpy(&head, frame->payload, sizeof(head));
	out->id = head.id; /* so that a failure can be answered */
	if (!is_sane(&head, frame))
		return malformed(frame, err);
	if (head.kind == PK_REQUEST_GENERATE)
		PK_FORWARD(pk_sample_params_check(&head.sample, err));
	out->role = head.role;
	out->wants_pieces = head.wants_pieces;
	out->spec = (PkRequestSpec){.kind = (PkRequestKind) head.kind,
	                            .n_tokens = head.n_tokens,
	                            .max_tokens = head.max_tokens,
	                            .sample = head.sample,
	                            .n_stop = head.n_stop,
	                            .prompt_lookup_num_tokens = head.prompt_lookup_num_tokens,
	                            .pooling = (PkPooling) head.pooling,
	                            .normalize = head.normalize,
	                            .layer = head.layer};

	PkStatus status = read_lists(&head, frame, out, err);

	if (status != PK_OK)
		pk_submit_free(out);
	return status;
}

static bool
is_sane(const SubmitHead *head, const PkFrame *frame)
{
	size_t lists = ((size_t) head->n_tokens + head->n_stop) * sizeof(int32_t);
	size_t names = (size_t) head->path_size + head->name_size;

	return head->kind <= PK_REQUEST_SCORE && head->pooling <= PK_POOLING_LAST &&
	       head->wants_pieces <= 1 && head->normalize <= 1 && head->n_tokens > 0 &&
	       head->path_size > 1 && head->name_size > 0 && head->name_size <= PK_MODEL_NAME_SIZE &&
	       lists + names <= frame->size - sizeof(*head);
}

/* One block: pointers to the stops and their lengths, then the payload behind the head. */
static PkStatus
read_lists(const SubmitHead *head, const PkFrame *frame, PkSubmit *out, PkError *err)
{
	size_t      size = frame->size - sizeof(*head);
	size_t      pointers = (size_t) head->n_stop * (sizeof(char *) + sizeof(size_t));
	const char *path, *name;

	PK_FORWARD(pk_calloc(1, pointers + size, &out->memory, err));

	const char **stop = out->memory;
	size_t      *stop_lens = (size_t *) (void *) (stop + head->n_stop);
	char        *copy = (char *) (stop_lens + head->n_stop);
	char        *lens = copy + (size_t) head->n_tokens * sizeof(int32_t);

	memcpy(copy, frame->payload + sizeof(*head), size);
	path = lens + (size_t) head->n_stop * sizeof(uint32_t);
	name = path + head->path_size;
	if (strnlen(path, head->path_size) + 1 != head->path_size ||
	    strnlen(name, head->name_size) + 1 != head->name_size ||
	    !read_stops(head, lens, name + head->name_size,
	                size - (size_t) (name + head->name_size - copy), stop, stop_lens))
		return malformed(frame, err);
	out->image_path = path;
	out->model_name = name;
	out->spec.tokens = (const int32_t *) (const void *) copy;
	out->spec.stop = stop;
	out->spec.stop_lens = stop_lens;
	return PK_OK;
}

/* size bytes are there, of all stops together. */
static bool
read_stops(const SubmitHead *head, const char *lens, const char *bytes, size_t size,
           const char **stop, size_t *stop_lens)
{
	for (uint32_t i = 0; i < head->n_stop; i++)
	{
		uint32_t len;

		memcpy(&len, lens + i * sizeof(len), sizeof(len));
		if (len == 0 || len > size)
			return false;
		stop[i] = bytes;
		stop_lens[i] = len;
		bytes += len;
		size -= len;
	}
	return size == 0;
}

void
pk_submit_free(PkSubmit *submit)
{
	free(submit->memory);
	submit->memory = NULL;
}

static PkStatus
malformed(const PkFrame *frame, PkError *err)
{
	return pk_error(err, PK_INTERNAL, "message %u of %zu bytes is malformed",
	                (unsigned) frame->type, frame->size);
}

PkStatus
pk_pieces_send(PkConn *conn, uint64_t id, const PkRequest *request, size_t first, size_t n,
               PkError *err)
{
	PkRead        head = {id, n};
	PkFrameWriter writer = pk_frame_begin(conn, PK_MSG_PIECES);

	pk_frame_put(&writer, &head, sizeof(head));
	for (size_t i = first; i < first + n; i++)
	{
		PkPiece     piece = pk_request_piece(request, i);
		PkPieceHead item = {piece.id, piece.logprob, (uint32_t) piece.len};

		pk_frame_put(&writer, &item, sizeof(item));
		pk_frame_put(&writer, piece.text, piece.len);
	}
	return pk_frame_end(&writer, err);
}

bool
pk_piece_read(const PkFrame *frame, size_t *at, PkPiece *out)
{
	PkPieceHead head;

	if (*at > frame->size || frame->size - *at < sizeof(head))
		return false;
	memcpy(&head, frame->payload + *at, sizeof(head));
	if (head.len > frame->size - *at - sizeof(head))
		return false;
	*out = (PkPiece){.id = head.id,
	                 .logprob = head.logprob,
	                 .text = frame->payload + *at + sizeof(head),
	                 .len = head.len};
	*at += sizeof(head) + head.len;
	return true;
}

PkStatus
pk_ended_send(PkConn *conn, const PkEnded *ended, const void *data, PkError *err)
{
	PkFrameWriter writer = pk_frame_begin(conn, PK_MSG_ENDED);

	pk_frame_put(&writer, ended, sizeof(*ended));
	pk_frame_put(&writer, data, ended->size);
	return pk_frame_end(&writer, err);
}

PkStatus
pk_ended_read(const PkFrame *frame, PkEnded *out, const void **data, PkError *err)
{
	if (frame->size < sizeof(*out))
		return malformed(frame, err);
	memcpy(out, frame->payload, sizeof(*out));
	if (out->size != frame->size - sizeof(*out) || out->finish > PK_FINISH_DONE ||
	    out->finish == PK_FINISH_NONE ||
	    (out->finish == PK_FINISH_DONE && out->size % sizeof(float) != 0))
		return malformed(frame, err);
	*data = frame->payload + sizeof(*out);
	return PK_OK;
}

typedef struct Failed
{
	uint64_t id;
	PkError  error;
} Failed;

PkStatus
pk_failed_send(PkConn *conn, uint64_t id, const PkError *failure, PkError *err)
{
	Failed body = {.id = id, .error = *failure};

	return pk_message_send(conn, PK_MSG_FAILED, &body, sizeof(body), err);
}

PkStatus
pk_failed_read(const PkFrame *frame, uint64_t *id, PkError *failure, PkError *err)
{
	Failed body;

	if (!pk_message_read(frame, &body, sizeof(body)) || body.error.status <= PK_OK ||
	    body.error.status >= PK_N_STATUS)
		return malformed(frame, err);
	body.error.text[sizeof(body.error.text) - 1] = '\0';
	body.error.hint[sizeof(body.error.hint) - 1] = '\0';
	*id = body.id;
	*failure = body.error;
	return PK_OK;
}

PkStatus
pk_message_send(PkConn *conn, PkMessageType type, const void *body, size_t size, PkError *err)
{
	PkFrameWriter writer = pk_frame_begin(conn, type);

	pk_frame_put(&writer, body, size);
	return pk_frame_end(&writer, err);
}

bool
pk_message_read(const PkFrame *frame, void *body, size_t size)
{
	if (frame->size != size)
		return false;
	memcpy(body, frame->payload, size);
	return true;
}

PkStatus
pk_status_send(PkConn *conn, const PkStatusHead *head, const PkServedModelInfo *models,
               const PkActivity *activities, PkError *err)
{
	PkFrameWriter writer = pk_frame_begin(conn, PK_MSG_STATUS);

	pk_frame_put(&writer, head, sizeof(*head));
	pk_frame_put(&writer, models, head->n_models * sizeof(*models));
	pk_frame_put(&writer, activities, head->n_activities * sizeof(*activities));
	return pk_frame_end(&writer, err);
}

bool
pk_status_read(const PkFrame *frame, PkStatusHead *head, const char **models,
               const char **activities)
{
	if (frame->size < sizeof(*head))
		return false;
	memcpy(head, frame->payload, sizeof(*head));
	if (head->n_models * sizeof(PkServedModelInfo) + head->n_activities * sizeof(PkActivity) !=
	    frame->size - sizeof(*head))
		return false;
	*models = frame->payload + sizeof(*head);
	*activities = *models + head->n_models * sizeof(PkServedModelInfo);
	return true;
}

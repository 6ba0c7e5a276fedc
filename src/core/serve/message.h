/*
 * message.h
 *    What sessions, the engine program and its supervisor tell each other.
 *
 * session -> engine      HELLO once; then SUBMIT, DROP, READ
 * engine -> session      PIECES of a stream; ENDED or FAILED, once for each SUBMIT not dropped
 * supervisor -> engine   CONFIG, at once and whenever a setting changes
 * engine -> supervisor   READY once; LOADED and UNLOADED; STATUS a few times a second while busy;
 *                        NOTE
 *
 * Both ends come from one build; HELLO and READY carry PK_SERVE_VERSION, since a program on disk
 * may be newer than the library of a server that has not been restarted. Every field is checked
 * when it is read, all the same: a mistake of one side must not become a crash of the other.
 */
#ifndef PK_MESSAGE_H
#define PK_MESSAGE_H

#include "core/engine/engine.h"
#include "core/serve/frame.h"

/* Bumped when any message changes. */
#define PK_SERVE_VERSION 3

#define PK_MODEL_NAME_SIZE 64 /* with its end mark: a PostgreSQL name */

typedef enum PkMessageType
{
	PK_MSG_HELLO = 1,
	PK_MSG_SUBMIT,
	PK_MSG_DROP,
	PK_MSG_READ,
	PK_MSG_PIECES,
	PK_MSG_ENDED,
	PK_MSG_FAILED,
	PK_MSG_CONFIG,
	PK_MSG_READY,
	PK_MSG_LOADED,
	PK_MSG_UNLOADED,
	PK_MSG_STATUS,
	PK_MSG_NOTE
} PkMessageType;

/* HELLO: who a connection is, for what the engine reports. */
typedef struct PkHello
{
	uint32_t version;
	int32_t  pid;
	uint32_t database;
} PkHello;

/* SUBMIT. id is the session's; spec.model is left out, the image at image_path is meant. */
typedef struct PkSubmit
{
	uint64_t      id;
	uint32_t      role; /* whose request it is; prefixes are shared within a role */
	bool          wants_pieces;
	const char   *image_path;
	const char   *model_name; /* for reports */
	PkRequestSpec spec;
	void         *memory; /* holds all of the above once it was read */
} PkSubmit;

PkStatus pk_submit_send(PkConn *conn, const PkSubmit *submit, PkError *err);
/* PK_INTERNAL when the frame is none. pk_submit_free() frees; *out may then be empty. */
PkStatus pk_submit_read(const PkFrame *frame, PkSubmit *out, PkError *err);
void     pk_submit_free(PkSubmit *submit);

/* DROP {id}: nobody waits for it. READ {id, n}: that many pieces of the stream were taken. */
typedef struct PkRead
{
	uint64_t id;
	uint64_t n;
} PkRead;

/* PIECES {id, n} and n times PkPieceHead and its text. */
typedef struct PkPieceHead
{
	int32_t  id;
	float    logprob;
	uint32_t len;
} PkPieceHead;

/* n pieces of request from first on. */
PkStatus pk_pieces_send(PkConn *conn, uint64_t id, const PkRequest *request, size_t first, size_t n,
                        PkError *err);
/* The piece at *at (begin with sizeof(PkRead)), which moves on; false at the end. */
bool     pk_piece_read(const PkFrame *frame, size_t *at, PkPiece *out);

/* ENDED, and behind it size bytes: text, or floats. */
typedef struct PkEnded
{
	uint64_t id;
	double   logprob;
	uint32_t finish; /* PkFinish */
	uint32_t n_prompt;
	uint32_t n_completion;
	uint32_t n_generated;
	uint32_t n_reused; /* tokens of the prompt that were not computed again */
	uint32_t n_steps;
	uint32_t n_drafted, n_accepted;
	uint64_t n_step_rows; /* sequences in those steps, summed */
	uint64_t last_step;   /* steps of the program until then; the last n_steps were its own */
	uint64_t queue_us;    /* until its first step */
	uint64_t run_us;      /* since then */
	uint64_t size;
} PkEnded;

PkStatus pk_ended_send(PkConn *conn, const PkEnded *ended, const void *data, PkError *err);
PkStatus pk_ended_read(const PkFrame *frame, PkEnded *out, const void **data, PkError *err);

/* An id that no request has: all that the session asked, or is about to, on this connection. */
#define PK_ALL_REQUESTS UINT64_MAX

/* FAILED {id} and a PkError. */
PkStatus pk_failed_send(PkConn *conn, uint64_t id, const PkError *failure, PkError *err);
PkStatus pk_failed_read(const PkFrame *frame, uint64_t *id, PkError *failure, PkError *err);

/* CONFIG. */
typedef struct PkServeConfig
{
	uint64_t kv_cache_bytes;     /* 0: default */
	uint64_t model_memory_bytes; /* 0: no limit */
	uint32_t n_threads;          /* 0: all processors */
	uint32_t max_batch_tokens;   /* 0: default */
	int32_t  nice;
	char     kernels[16]; /* of the first CONFIG; fixed then */
} PkServeConfig;

/* READY. */
typedef struct PkReady
{
	uint32_t version;
	char     kernels[16];
} PkReady;

/* LOADED, UNLOADED; STATUS has a list of them. */
typedef struct PkServedModelInfo
{
	char     name[PK_MODEL_NAME_SIZE]; /* under which it was asked for last */
	uint64_t bytes;
	uint64_t load_us;
	uint32_t n_requests;
	uint32_t zero;
} PkServedModelInfo;

/* NOTE: a line for the server's log. */
typedef struct PkNote
{
	char text[256];
} PkNote;

typedef struct PkActivity
{
	uint64_t id;
	uint64_t age_us;
	int32_t  pid;
	uint32_t database;
	uint32_t role;
	uint32_t phase; /* PkPhase */
	uint32_t kind;  /* PkRequestKind */
	uint32_t is_paused;
	uint32_t n_prompt, n_cached, n_generated, max_tokens;
	char     model[PK_MODEL_NAME_SIZE];
} PkActivity;

/* STATUS, and behind it its models and activities. */
typedef struct PkStatusHead
{
	uint64_t kv_max_bytes, kv_used_bytes, kv_cached_bytes;
	uint64_t weight_bytes, workspace_bytes;
	uint64_t n_steps, n_step_rows; /* since the start */
	uint32_t n_running, n_waiting;
	uint32_t n_sessions;
	uint32_t n_models, n_activities;
	uint32_t zero;
} PkStatusHead;

/* Messages of one struct. Read: false unless the payload has just this size. */
PkStatus pk_message_send(PkConn *conn, PkMessageType type, const void *body, size_t size,
                         PkError *err);
bool     pk_message_read(const PkFrame *frame, void *body, size_t size);

PkStatus pk_status_send(PkConn *conn, const PkStatusHead *head, const PkServedModelInfo *models,
                        const PkActivity *activities, PkError *err);
/* Pointers into the frame, which is aligned for nothing: copy what they point to. */
bool     pk_status_read(const PkFrame *frame, PkStatusHead *head, const char **models,
                        const char **activities);

#endif

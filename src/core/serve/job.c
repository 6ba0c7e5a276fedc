/*
 * job.c
 *    Requests of sessions: taken in, started, answered, dropped.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/serve/server_internal.h"

/* A session that asks for more at once has a mistake. */
#define MAX_JOBS ((size_t) 4096)

static bool     take_frame(PkServer *server, PkSession *session, const PkFrame *frame);
static void     submit(PkServer *server, PkSession *session, const PkFrame *frame);
static PkStatus job_add(PkServer *server, PkSession *session, const PkSubmit *given, PkJob **out,
                        PkError *err);
static void     job_begin(PkServer *server, PkJob *job);
static PkStatus job_start(PkServer *server, PkJob *job, bool *must_wait, PkError *err);
static void     wait_for_model(PkServer *server, PkJob *job);
static void     stop_waiting(PkServer *server, PkJob *job);
static bool     session_holds_model(const PkSession *session);
static void     job_free(PkServer *server, PkJob *job);
static PkJob   *job_find(const PkSession *session, uint64_t id);
static PkStatus send_pieces(PkJob *job, PkError *err);
static PkStatus send_end(const PkServer *server, PkJob *job, PkError *err);
static void     fail(PkSession *session, uint64_t id, const PkError *failure);

void
pk_session_take_frames(PkServer *server, PkSession *session)
{
	PkFrame frame;

	while (pk_conn_next(&session->conn, &frame))
	{
		session->used_us = pk_clock_us();
		if (!take_frame(server, session, &frame))
		{
			session->conn.is_broken = true;
			return;
		}
	}
}

/* False for what no session of ours sends. */
static bool
take_frame(PkServer *server, PkSession *session, const PkFrame *frame)
{
	PkRead read;
	PkJob *job;

	if (frame->type == PK_MSG_HELLO)
		return session->hello.version == 0 &&
		       pk_message_read(frame, &session->hello, sizeof(session->hello)) &&
		       session->hello.version == PK_SERVE_VERSION;
	if (session->hello.version == 0 || (frame->is_cut && frame->type != PK_MSG_SUBMIT))
		return false;
	switch (frame->type)
	{
		case PK_MSG_SUBMIT:
			submit(server, session, frame);
			return true;
		case PK_MSG_DROP:
		case PK_MSG_READ:
			if (!pk_message_read(frame, &read, sizeof(read)))
				return false;
			job = job_find(session, read.id); /* it may have ended meanwhile */
			if (job == NULL)
				return true;
			if (frame->type == PK_MSG_DROP)
				job_free(server, job);
			else if (job->request != NULL && read.n <= job->n_sent)
			{
				job->n_read = read.n;
				pk_request_pause(job->request, job->n_sent - job->n_read >= PK_STREAM_AHEAD);
			}
			return true;
		default:
			return false;
	}
}

static void
submit(PkServer *server, PkSession *session, const PkFrame *frame)
{
	PkSubmit given;
	PkJob   *job = NULL;
	PkError  err = {0};
	PkStatus status = pk_submit_read(frame, &given, &err);

	if (status == PK_OK)
		status = job_add(server, session, &given, &job, &err);
	if (status != PK_OK)
	{
		pk_submit_free(&given);
		fail(session, given.id, &err);
		return;
	}
	if (server->first_waiting != NULL)
		wait_for_model(server, job);
	else
		job_begin(server, job);
}

/* given's memory becomes the job's. */
static PkStatus
job_add(PkServer *server, PkSession *session, const PkSubmit *given, PkJob **out, PkError *err)
{
	void *room;

	if (session->n_jobs >= MAX_JOBS)
		return pk_error(err, PK_NO_MEMORY, "a session may have %zu requests at a time", MAX_JOBS);
	PK_FORWARD(pk_calloc(1, sizeof(PkJob), &room, err));

	PkJob *job = room;

	job->session = session;
	job->id = given->id;
	job->submit = *given;
	job->arrived_us = pk_clock_us();
	job->prev = session->last;
	if (session->last != NULL)
		session->last->next = job;
	else
		session->first = job;
	session->last = job;
	session->n_jobs++;
	server->n_jobs++;
	server->busy_us = job->arrived_us;
	server->was_busy = true; /* also when it fails or ends before anybody looks */
	server->is_idle = false;
	*out = job;
	return PK_OK;
}

static void
job_begin(PkServer *server, PkJob *job)
{
	bool     must_wait = false;
	PkError  err = {0};
	PkStatus status = job_start(server, job, &must_wait, &err);

	if (status != PK_OK)
	{
		fail(job->session, job->id, &err);
		job_free(server, job);
	}
	else if (must_wait)
		wait_for_model(server, job);
}

static PkStatus
job_start(PkServer *server, PkJob *job, bool *must_wait, PkError *err)
{
	PkRequestSpec  spec = job->submit.spec;
	PkServedModel *model;

	PK_FORWARD(pk_served_model_find(&server->models, job->submit.image_path, job->submit.model_name,
	                                pk_clock_us(), &model, err));
	*must_wait = model == NULL;
	if (model == NULL)
		return PK_OK;
	spec.model = model->model;
	spec.session = job->session->number;
	spec.cache_key = job->submit.role;
	PK_FORWARD(pk_engine_submit(server->engine, &spec, &job->request, err));
	job->model = model;
	pk_served_model_hold(model, pk_clock_us());
	pk_submit_free(&job->submit);
	return PK_OK;
}

static void
wait_for_model(PkServer *server, PkJob *job)
{
	job->later = NULL;
	if (server->last_waiting != NULL)
		server->last_waiting->later = job;
	else
		server->first_waiting = job;
	server->last_waiting = job;
}

/*
 * In order of arrival: who needs a model that does not fit yet holds back all behind it, so that
 * its turn comes. But when nothing is computed, only paused streams hold the room, and these may
 * stay so for ever: then the others go by.
 */
void
pk_jobs_start_waiting(PkServer *server)
{
	PkJob *later;

	for (PkJob *job = server->first_waiting; job != NULL; job = later)
	{
		bool     must_wait = false;
		PkError  err = {0};
		PkStatus status;

		later = job->later;
		status = job_start(server, job, &must_wait, &err);
		if (must_wait && pk_engine_has_work(server->engine))
			return;
		if (must_wait && session_holds_model(job->session))
			status = pk_error(&err, PK_NO_MEMORY,
			                  "the model does not fit beside what this session's open streams use");
		else if (must_wait)
			continue;
		if (status == PK_OK)
		{
			stop_waiting(server, job);
			continue;
		}
		fail(job->session, job->id, &err);
		job_free(server, job);
	}
}

/*
 * When nothing is computed, by streams that wait until the session reads on, which it can't do
 * while it waits itself.
 */
static bool
session_holds_model(const PkSession *session)
{
	for (const PkJob *job = session->first; job != NULL; job = job->next)
		if (job->model != NULL)
			return true;
	return false;
}

static void
stop_waiting(PkServer *server, PkJob *job)
{
	PkJob *before = NULL;

	for (PkJob *other = server->first_waiting; other != job; other = other->later)
	{
		if (other == NULL)
			return; /* it does not wait */
		before = other;
	}
	if (before != NULL)
		before->later = job->later;
	else
		server->first_waiting = job->later;
	if (server->last_waiting == job)
		server->last_waiting = before;
}

static void
job_free(PkServer *server, PkJob *job)
{
	PkSession *session = job->session;

	stop_waiting(server, job);
	pk_request_free(job->request);
	if (job->model != NULL)
		pk_served_model_release(job->model, pk_clock_us());
	pk_submit_free(&job->submit);
	if (job->prev != NULL)
		job->prev->next = job->next;
	else
		session->first = job->next;
	if (job->next != NULL)
		job->next->prev = job->prev;
	else
		session->last = job->prev;
	session->n_jobs--;
	server->n_jobs--;
	server->busy_us = session->used_us = pk_clock_us(); /* from now on its model is idle */
	free(job);
}

void
pk_jobs_free(PkServer *server, PkSession *session)
{
	while (session->first != NULL)
		job_free(server, session->first);
}

static PkJob *
job_find(const PkSession *session, uint64_t id)
{
	for (PkJob *job = session->first; job != NULL; job = job->next)
		if (job->id == id)
			return job;
	return NULL;
}

bool
pk_session_drops(const PkSession *session)
{
	size_t  at = 0;
	PkFrame frame;
	PkRead  drop;

	while (pk_conn_peek(&session->conn, &at, &frame))
	{
		PkJob *job;

		if (frame.type != PK_MSG_DROP || !pk_message_read(&frame, &drop, sizeof(drop)))
			continue;
		job = job_find(session, drop.id);
		if (job != NULL && job->request != NULL &&
		    pk_request_phase(job->request) != PK_PHASE_WAITING)
			return true;
	}
	return false;
}

/* Before results are delivered: who took part in the step that was computed. */
void
pk_jobs_count_step(PkServer *server)
{
	size_t n_rows = 0;

	server->n_steps++;
	for (PkSession *session = server->sessions; session != NULL; session = session->next)
		for (PkJob *job = session->first; job != NULL; job = job->next)
			n_rows += job->request != NULL && pk_request_phase(job->request) != PK_PHASE_WAITING;
	for (PkSession *session = server->sessions; session != NULL; session = session->next)
		for (PkJob *job = session->first; job != NULL; job = job->next)
		{
			if (job->request == NULL || pk_request_phase(job->request) == PK_PHASE_WAITING)
				continue;
			if (job->began_us == 0)
				job->began_us = server->step_began_us;
			job->n_steps++;
			job->n_step_rows += n_rows;
		}
}

void
pk_jobs_deliver(PkServer *server)
{
	for (PkSession *session = server->sessions; session != NULL; session = session->next)
	{
		PkJob *next;

		for (PkJob *job = session->first; job != NULL; job = next)
		{
			PkStatus status = PK_OK;
			bool     has_ended;

			next = job->next;
			if (job->request == NULL)
				continue;
			has_ended = pk_request_finish(job->request) != PK_FINISH_NONE;
			if (job->submit.wants_pieces)
				status = send_pieces(job, NULL);
			if (status == PK_OK && has_ended)
				status = send_end(server, job, NULL);
			if (status != PK_OK)
				session->conn.is_starved = session->conn.is_broken = true;
			if (has_ended)
				job_free(server, job);
		}
	}
}

static PkStatus
send_pieces(PkJob *job, PkError *err)
{
	size_t n = pk_request_n_pieces(job->request);

	if (n == job->n_sent)
		return PK_OK;
	PK_FORWARD(pk_pieces_send(&job->session->conn, job->id, job->request, job->n_sent,
	                          n - job->n_sent, err));
	job->n_sent = n;
	pk_request_pause(job->request, job->n_sent - job->n_read >= PK_STREAM_AHEAD);
	return PK_OK;
}

static PkStatus
send_end(const PkServer *server, PkJob *job, PkError *err)
{
	const PkRequest *request = job->request;
	PkEnded          ended = {.id = job->id,
	                          .logprob = pk_request_logprob(request),
	                          .finish = pk_request_finish(request),
	                          .n_prompt = (uint32_t) pk_request_n_prompt(request),
	                          .n_completion = (uint32_t) pk_request_n_completion(request),
	                          .n_generated = (uint32_t) pk_request_n_pieces(request),
	                          .n_reused = (uint32_t) pk_request_n_reused(request),
	                          .n_steps = (uint32_t) job->n_steps,
	                          .n_drafted = (uint32_t) pk_request_n_drafted(request),
	                          .n_accepted = (uint32_t) pk_request_n_accepted(request),
	                          .n_step_rows = job->n_step_rows,
	                          .last_step = server->n_steps,
	                          .queue_us = job->began_us - job->arrived_us,
	                          .run_us = pk_clock_us() - job->began_us};
	size_t           n;
	const void      *data = pk_request_text(request, &n);

	if (data == NULL)
	{
		data = pk_request_floats(request, &n);
		n = data == NULL ? 0 : n * sizeof(float);
	}
	ended.size = n;
	return pk_ended_send(&job->session->conn, &ended, data, err);
}

/* So that the others can go on: the one that arrived last is given up. */
void
pk_jobs_fail_youngest(PkServer *server, const PkError *failure)
{
	PkJob *youngest = NULL;

	for (PkSession *session = server->sessions; session != NULL; session = session->next)
		for (PkJob *job = session->first; job != NULL; job = job->next)
			if (job->request != NULL &&
			    (youngest == NULL || job->arrived_us >= youngest->arrived_us))
				youngest = job;
	if (youngest == NULL)
		return;
	fail(youngest->session, youngest->id, failure);
	job_free(server, youngest);
}

size_t
pk_jobs_fail_unreadable(PkServer *server)
{
	size_t n = 0;

	for (PkSession *session = server->sessions; session != NULL; session = session->next)
	{
		PkJob *next;

		for (PkJob *job = session->first; job != NULL; job = next)
		{
			PkError failure = {0};

			next = job->next;
			if (job->model == NULL || pk_model_check_read(job->model->model, &failure) == PK_OK)
				continue;
			fail(session, job->id, &failure);
			job_free(server, job);
			n++;
		}
	}
	return n;
}

static void
fail(PkSession *session, uint64_t id, const PkError *failure)
{
	if (pk_failed_send(&session->conn, id, failure, NULL) != PK_OK)
		session->conn.is_starved = session->conn.is_broken = true;
}

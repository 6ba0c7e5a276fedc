/*
 * report.c
 *    What the supervisor is told: models that come and go, how things stand, what went wrong.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/serve/server_internal.h"

/* Requests in a report; the rest is counted only. */
#define MAX_ACTIVITIES ((size_t) 512)

static void       tell_model(void *arg, bool is_loaded, const PkServedModel *model);
static uint32_t   n_served(const PkServer *server);
static void       fill_models(const PkServer *server, PkServedModelInfo *models);
static size_t     fill_activities(const PkServer *server, PkActivity *out, size_t n_room);
static PkActivity activity_of(const PkJob *job, uint64_t now_us);

void
pk_report_models_to(PkServer *server)
{
	server->models.tell = tell_model;
	server->models.tell_arg = server;
}

/* A model that goes is let go of by the engine, too. */
static void
tell_model(void *arg, bool is_loaded, const PkServedModel *model)
{
	PkServer *server = arg;

	(void) pk_message_send(&server->control, is_loaded ? PK_MSG_LOADED : PK_MSG_UNLOADED,
	                       &model->info, sizeof(model->info), NULL);
	if (!is_loaded)
		pk_engine_forget(server->engine, model->model);
}

void
pk_report_note(PkServer *server, const char *text)
{
	PkNote note = {{0}};

	strncpy(note.text, text, sizeof(note.text) - 1);
	(void) pk_message_send(&server->control, PK_MSG_NOTE, &note, sizeof(note), NULL);
}

/* Without memory the report is left out; the next one comes. */
void
pk_report_status(PkServer *server)
{
	PkEngineStats stats;
	uint32_t      n_models = n_served(server);
	size_t        n_room = server->n_jobs < MAX_ACTIVITIES ? server->n_jobs : MAX_ACTIVITIES;
	void         *models, *activities;

	pk_engine_stats(server->engine, &stats);
	if (pk_calloc(n_models, sizeof(PkServedModelInfo), &models, NULL) != PK_OK)
		return;
	if (pk_calloc(n_room, sizeof(PkActivity), &activities, NULL) != PK_OK)
	{
		free(models);
		return;
	}
	fill_models(server, models);

	PkStatusHead head = {.kv_max_bytes = stats.kv_max_bytes,
	                     .kv_used_bytes = stats.kv_used_bytes,
	                     .kv_cached_bytes = stats.kv_cached_bytes,
	                     .weight_bytes = server->models.bytes,
	                     .workspace_bytes = stats.workspace_bytes,
	                     .n_steps = stats.n_steps,
	                     .n_step_rows = stats.n_step_rows,
	                     .n_running = (uint32_t) stats.n_running,
	                     .n_waiting = (uint32_t) (server->n_jobs - stats.n_running),
	                     .n_sessions = (uint32_t) server->n_sessions,
	                     .n_models = n_models,
	                     .n_activities = (uint32_t) fill_activities(server, activities, n_room)};

	(void) pk_status_send(&server->control, &head, models, activities, NULL);
	free(models);
	free(activities);
}

static uint32_t
n_served(const PkServer *server)
{
	uint32_t n = 0;

	for (const PkServedModel *model = server->models.first; model != NULL; model = model->next)
		n++;
	return n;
}

static void
fill_models(const PkServer *server, PkServedModelInfo *models)
{
	for (const PkServedModel *model = server->models.first; model != NULL; model = model->next)
		*models++ = model->info;
}

static size_t
fill_activities(const PkServer *server, PkActivity *out, size_t n_room)
{
	uint64_t now_us = pk_clock_us();
	size_t   n = 0;

	for (const PkSession *session = server->sessions; session != NULL; session = session->next)
		for (const PkJob *job = session->first; job != NULL && n < n_room; job = job->next)
			out[n++] = activity_of(job, now_us);
	return n;
}

static PkActivity
activity_of(const PkJob *job, uint64_t now_us)
{
	const PkRequest *request = job->request;
	PkActivity       out = {.id = job->id,
	                        .age_us = now_us - job->arrived_us,
	                        .pid = job->session->hello.pid,
	                        .database = job->session->hello.database,
	                        .role = job->submit.role,
	                        .phase = PK_PHASE_WAITING,
	                        .kind = job->submit.spec.kind,
	                        .n_prompt = (uint32_t) job->submit.spec.n_tokens,
	                        .max_tokens = (uint32_t) job->submit.spec.max_tokens};

	if (job->model != NULL)
		memcpy(out.model, job->model->info.name, sizeof(out.model));
	else
		memcpy(out.model, job->submit.model_name, strlen(job->submit.model_name));
	if (request == NULL)
		return out;
	out.phase = pk_request_phase(request);
	out.n_cached = (uint32_t) pk_request_n_cached(request);
	out.n_generated = (uint32_t) pk_request_n_completion(request);
	out.is_paused = job->submit.wants_pieces && job->n_sent - job->n_read >= PK_STREAM_AHEAD;
	return out;
}

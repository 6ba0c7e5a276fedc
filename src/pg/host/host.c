/*
 * host.c
 *    Requests of this session, whichever host computes them: tied to memory, counted, limited.
 *
 * A request is tied to the memory context it was made in.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "pg/guc.h"
#include "pg/host/host_internal.h"
#include "pg/modelcache.h"
#include "pg/pg_memory.h"
#include "pg/stats/counters.h"

struct PkpgRequest
{
	const PkpgHost *host;
	void           *request; /* NULL until it was taken in, and once it was freed */
	PkpgTie        *tie;
	Oid             role;
	bool            is_counted; /* among the requests of its role */
	bool            is_ahead;
	bool            was_told;
	size_t          n_read;
	char            model[NAMEDATALEN];
};

static void held_free(void *arg);
static void take_place(PkpgRequest *held);
static void tell_once(PkpgRequest *held);
static void count(PkpgRequest *held);
static void tell(const PkpgAnswer *answer);
static void check_numbers(const PkpgAnswer *answer);
static bool is_number(const PkpgAnswer *answer);

PkpgGeneration *
pkpg_request_generation(PkpgRequest *held)
{
	PkpgGeneration *out;
	PkpgAnswer      answer = {0};

	held->host->check(held->request);
	held->host->answer(held->request, &answer);
	check_numbers(&answer);
	out = palloc0(PKPG_GENERATION_SIZE(answer.text_len));
	out->logprob = answer.logprob;
	out->finish = answer.finish;
	out->n_prompt = (int32_t) answer.n_prompt;
	out->n_completion = (int32_t) answer.n_completion;
	out->text_len = answer.text_len;
	memcpy(out->text, answer.text, answer.text_len);
	tell(&answer);
	pkpg_request_end(held);
	return out;
}

float *
pkpg_request_floats(PkpgRequest *held, size_t *n)
{
	PkpgAnswer answer = {0};
	float     *out;

	held->host->check(held->request);
	held->host->answer(held->request, &answer);
	check_numbers(&answer);
	*n = answer.n_floats;
	out = palloc(*n * sizeof(float));
	memcpy(out, answer.floats, *n * sizeof(float));
	tell(&answer);
	pkpg_request_end(held);
	return out;
}

static void
check_numbers(const PkpgAnswer *answer)
{
	if (!is_number(answer))
		ereport(ERROR,
		        (errcode(ERRCODE_DATA_CORRUPTED), errmsg("the model computes what is no number"),
		         errhint("Its weights are damaged or too large; compare the checkpoint with "
		                 "the original.")));
}

/* Weights that are finite each may still be such that nothing computed from them is. */
static bool
is_number(const PkpgAnswer *answer)
{
	bool are_finite = isfinite(answer->logprob);

	for (size_t i = 0; i < answer->n_floats; i++)
		are_finite &= isfinite(answer->floats[i]);
	return are_finite;
}

bool
pkpg_request_is_done(const PkpgRequest *held)
{
	return held->host->is_done(held->request);
}

bool
pkpg_request_has_failed(const PkpgRequest *held)
{
	PkpgAnswer answer = {0};

	if (held->host->has_failed(held->request))
		return true;
	if (!held->host->is_done(held->request))
		return false;
	held->host->answer(held->request, &answer);
	return !is_number(&answer);
}

void
pkpg_request_count(const PkpgRequest *held, PkpgRun *run)
{
	PkpgAnswer answer = {0};

	if (held->host->has_failed(held->request))
		return;
	held->host->answer(held->request, &answer);
	pkpg_run_add(run, &answer.run);
}

PkpgRequest *
pkpg_request_begin(const PkRequestSpec *spec, bool wants_pieces, bool is_ahead)
{
	PkpgRequest *held = palloc0(sizeof(PkpgRequest));
	PkpgAsk      ask = {.spec = spec, .wants_pieces = wants_pieces, .role = GetUserId()};

	/* what may fail comes after the tie: what exists then is freed */
	held->tie = pkpg_tie(CurrentMemoryContext, held_free, held);
	held->host = pkpg_shared_host_is_there() ? &pkpg_shared_host : &pkpg_local_host;
	held->role = ask.role;
	held->is_ahead = is_ahead;
	strlcpy(held->model, pkpg_model_name(spec->model), sizeof(held->model));
	ask.model_name = held->model;
	take_place(held);
	PG_TRY();
	{
		held->host->begin(&ask, &held->request);
	}
	PG_CATCH();
	{
		pkpg_untie(held->tie); /* the error may be caught, and then its place is free */
		PG_RE_THROW();
	}
	PG_END_TRY();
	return held;
}

static void
take_place(PkpgRequest *held)
{
	held->is_counted = pkpg_requests_add(held->role, held->is_ahead, pkpg_max_concurrent_requests);
	if (!held->is_counted)
		ereport(ERROR,
		        (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		         errmsg("role \"%s\" has %d requests at work, polyko.max_concurrent_requests "
		                "allows %d",
		                GetUserNameFromId(held->role, true),
		                pkpg_requests_of(held->role, held->is_ahead), pkpg_max_concurrent_requests),
		         errhint("Wait until others have ended, or let a superuser raise "
		                 "polyko.max_concurrent_requests.")));
}

bool
pkpg_has_room(void)
{
	return pkpg_max_concurrent_requests == 0 ||
	       pkpg_requests_of(GetUserId(), true) < pkpg_max_concurrent_requests;
}

bool
pkpg_request_next(PkpgRequest *held, PkPiece *piece)
{
	if (held->request == NULL)
		return false;
	while (!held->host->piece(held->request, held->n_read, piece))
	{
		held->host->check(held->request);
		if (held->host->is_done(held->request))
		{
			tell_once(held);
			return false;
		}
		held->host->step();
	}
	check_numbers(&(PkpgAnswer){.logprob = piece->logprob});
	held->n_read++;
	return true;
}

static void
tell_once(PkpgRequest *held)
{
	PkpgAnswer answer = {0};

	if (held->was_told)
		return;
	held->was_told = true;
	held->host->answer(held->request, &answer);
	tell(&answer);
}

/* A session may have requests in both hosts for a while: when the engine program came or went. */
void
pkpg_step(void)
{
	if (pkpg_local_host.n_running() > 0)
		pkpg_local_host.step();
	else
		pkpg_shared_host.step();
}

void
pkpg_request_end(PkpgRequest *held)
{
	pkpg_untie(held->tie);
}

static void
held_free(void *arg)
{
	PkpgRequest *held = arg;

	if (held->request != NULL)
	{
		count(held);
		held->host->free(held->request);
	}
	held->request = NULL;
	if (held->is_counted)
		pkpg_requests_remove(held->is_ahead);
	held->is_counted = false;
}

/* Counted once, when it has ended one way or another. Nothing here fails. */
static void
count(PkpgRequest *held)
{
	PkpgAnswer  answer = {0};
	PkpgOutcome outcome = PKPG_CANCELLED;

	if (held->host->has_failed(held->request))
		outcome = PKPG_FAILED;
	else if (held->host->is_done(held->request))
	{
		outcome = PKPG_ANSWERED;
		held->host->answer(held->request, &answer);
	}
	pkpg_count_run(held->role, held->model, outcome, &answer.run);
}

/* Lets tests and curious users count; never with text. */
static void
tell(const PkpgAnswer *answer)
{
	ereport(DEBUG1,
	        (errmsg_internal("polyko: model run, %zu prompt tokens, %llu generated",
	                         answer->n_prompt, (unsigned long long) answer->run.n_generated),
	         errhidestmt(true)));
}

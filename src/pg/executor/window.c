/*
 * window.c
 *    Rows that were read ahead, and the questions that they ask the model.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "pg/callcache.h"
#include "pg/executor/window.h"

struct PkpgQuestion
{
	dlist_node    node;
	MemoryContext context;
	uint64        hash;
	int           n_rows; /* that wait for it or may */
	PkpgCall      call;
};

static PkpgQuestion *find_question(PkpgWindow *window, const PkpgCall *call, uint64 hash);
static void          release_question(PkpgQuestion *question);
static void          grow(PkpgWindow *window, PkpgRow *row, size_t n_bytes);
static void          finish(PkpgWindow *window, PkpgQuestion *question);

PkpgWindow *
pkpg_window_create(MemoryContext parent, PkpgSite *sites, int n_sites)
{
	PkpgWindow *window = MemoryContextAllocZero(parent, sizeof(PkpgWindow));

	window->context = AllocSetContextCreate(parent, "polyko batch", ALLOCSET_DEFAULT_SIZES);
	dlist_init(&window->rows);
	dlist_init(&window->questions);
	window->sites = sites;
	window->n_sites = n_sites;
	return window;
}

void
pkpg_window_clear(PkpgWindow *window)
{
	MemoryContextReset(window->context);
	dlist_init(&window->rows);
	dlist_init(&window->questions);
	window->n_rows = 0;
	window->size_bytes = 0;
}

PkpgRow *
pkpg_window_add(PkpgWindow *window, TupleTableSlot *slot)
{
	MemoryContext context =
		AllocSetContextCreate(window->context, "polyko row", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	PkpgRow      *row = palloc0(sizeof(PkpgRow));

	row->context = context;
	row->user = GetUserId();
	row->tuple = ExecCopySlotMinimalTuple(slot);
	row->questions = palloc0_array(PkpgQuestion *, window->n_sites);
	row->results = palloc0_array(Datum, window->n_sites);
	row->nulls = palloc_array(bool, window->n_sites);
	memset(row->nulls, true, (size_t) window->n_sites * sizeof(bool));
	MemoryContextSwitchTo(caller);
	dlist_push_tail(&window->rows, &row->node);
	window->n_rows++;
	grow(window, row, row->tuple->t_len);
	return row;
}

static void
grow(PkpgWindow *window, PkpgRow *row, size_t n_bytes)
{
	row->size_bytes += n_bytes;
	window->size_bytes += n_bytes;
}

PkpgRow *
pkpg_window_first(PkpgWindow *window)
{
	return dlist_is_empty(&window->rows) ? NULL : dlist_head_element(PkpgRow, node, &window->rows);
}

void
pkpg_window_remove(PkpgWindow *window, PkpgRow *row)
{
	pkpg_window_restart(window, row);
	dlist_delete(&row->node);
	window->n_rows--;
	window->size_bytes -= row->size_bytes;
	MemoryContextDelete(row->context);
}

void
pkpg_window_restart(PkpgWindow *window, PkpgRow *row)
{
	for (int i = 0; i < row->n_started; i++)
		if (row->questions[i] != NULL)
			release_question(row->questions[i]);
	memset(row->questions, 0, (size_t) window->n_sites * sizeof(PkpgQuestion *));
	row->n_started = row->n_done = 0;
}

void
pkpg_window_returned(const PkpgRow *row, int n_sites)
{
	for (int i = 0; i < n_sites; i++)
	{
		const PkpgCall *call = row->questions[i] != NULL ? &row->questions[i]->call : NULL;
		size_t          size;

		if (call != NULL && call->answer != NULL &&
		    pkpg_answer_find(NULL, &call->question, &size) == NULL)
			pkpg_answer_keep(NULL, &call->question, call->answer, call->size);
	}
}

/* A question is made in a context of its own: what fails leaves nothing behind but that. */
void
pkpg_window_ask(PkpgWindow *window, PkpgRow *row)
{
	PkpgSite *site = &window->sites[row->n_started];

	if (row->user != GetUserId())
		row->user = InvalidOid; /* nobody's: all is asked again when it is returned */
	if (site->fcinfo->args[0].isnull)
	{
		row->questions[row->n_started++] = NULL;
		return;
	}

	MemoryContext context =
		AllocSetContextCreate(window->context, "polyko question", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	PkpgQuestion *question = palloc0(sizeof(PkpgQuestion));
	PkpgCall     *call = &question->call;

	pkpg_call_read(call, site->kind, site->fcinfo, NULL);
	question->context = context;
	question->hash = hash_bytes_extended((unsigned char *) call->question.data, call->question.len,
	                                     call->input.redact);

	PkpgQuestion *same = find_question(window, call, question->hash);

	if (same == NULL)
	{
		call->is_ahead = row != pkpg_window_first(window);
		if (call->answer != NULL)
			call->answer = memcpy(palloc(call->size), call->answer, call->size);
		else
			pkpg_call_start(call);
		call->input.text = pnstrdup(call->input.text, call->input.len);
		dlist_push_tail(&window->questions, &question->node);
		window->stats.n_asked += call->request != NULL;
	}
	MemoryContextSwitchTo(caller);
	if (same != NULL)
	{
		MemoryContextDelete(context);
		question = same;
	}
	question->n_rows++;
	grow(window, row, (size_t) question->call.question.len);
	row->questions[row->n_started++] = question;
}

/* A text that is too long to be kept has no key: it shares no answer. */
static PkpgQuestion *
find_question(PkpgWindow *window, const PkpgCall *call, uint64 hash)
{
	dlist_iter it;

	if (call->question.len == 0)
		return NULL;
	dlist_foreach(it, &window->questions)
	{
		PkpgQuestion *question = dlist_container(PkpgQuestion, node, it.cur);

		if (question->hash == hash && question->call.input.redact == call->input.redact &&
		    question->call.question.len == call->question.len &&
		    memcmp(question->call.question.data, call->question.data,
		           (size_t) call->question.len) == 0)
			return question;
	}
	return NULL;
}

static void
release_question(PkpgQuestion *question)
{
	if (--question->n_rows > 0)
		return;
	dlist_delete(&question->node);
	MemoryContextDelete(question->context);
}

bool
pkpg_window_take(PkpgWindow *window, PkpgRow *row)
{
	for (; row->n_done < row->n_started; row->n_done++)
	{
		PkpgSite     *site = &window->sites[row->n_done];
		PkpgQuestion *question = row->questions[row->n_done];

		if (question == NULL)
			continue;
		if (question->call.answer == NULL && !pkpg_request_is_done(question->call.request))
			break;
		/* its error is raised when the row is to be returned */
		if (question->call.answer == NULL && pkpg_request_has_failed(question->call.request) &&
		    row != pkpg_window_first(window))
			break;
		if (question->call.answer == NULL)
			finish(window, question);

		MemoryContext caller = MemoryContextSwitchTo(row->context);

		row->results[row->n_done] =
			site->kind->result(site->fcinfo, &question->call.input, question->call.answer);
		row->nulls[row->n_done] = false;
		MemoryContextSwitchTo(caller);
		/* what the question holds, and the row's copy */
		grow(window, row,
		     question->call.size + VARSIZE_ANY(DatumGetPointer(row->results[row->n_done])));
	}
	return !row->has_failed && row->n_started < window->n_sites &&
	       window->sites[row->n_started].needs < row->n_done;
}

static void
finish(PkpgWindow *window, PkpgQuestion *question)
{
	MemoryContext caller = MemoryContextSwitchTo(question->context);

	pkpg_request_count(question->call.request, &window->stats.run);
	pkpg_call_finish(&question->call, NULL);
	MemoryContextSwitchTo(caller);
}

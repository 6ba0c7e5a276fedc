/*
 * draft.c
 *    How many drafted tokens are worth computing in a step.
 *
 * A drafted token is a row more in the step; if it is what the request samples, that token costs no
 * step of its own. Rows are nearly free while a step waits for memory and dear once it computes, so
 * what steps have cost (pace.h) decides: most tokens a second, likely ones first, and where others
 * wait for the step, too, it takes at most half as long again. Answers are the same whatever is
 * drafted, as a position's bits don't depend on what else is in the step; that is true of 'q8' and
 * 'q4', so other formats are not drafted for.
 *
 * Drafts are proposed and judged in each step, whether they are computed or not: so what becomes of
 * them is known for nothing.
 */
#include "core/engine/engine_internal.h"

/* Of a step without drafts; one that takes longer than LONG_NS anyway is hardly prolonged. */
#define MOST_PROLONGED 1.5
#define LONG_PROLONGED 1.1
#define LONG_NS 200e6
/* Drafted tokens of a model in a step, and the least chance that one is computed with. */
#define MOST_ROWS 256
#define LEAST_CHANCE (1.0 / 16)

static void       propose(PkRequest *request);
static size_t     most_proposed(const PkRequest *request);
static size_t     draft_best(PkEngine *engine, const PkEngineModel *model, double most_ns);
static bool       teaches(const PkEngineModel *model);
static size_t     n_to_try(const PkEngineModel *model);
static double     time_allowed(const PkEngineModel *model, size_t n_decoding_models);
static PkRequest *likeliest(PkEngine *engine, const PkEngineModel *model);
static void       draft_next(PkRequest *request);

void
pk_engine_draft(PkEngine *engine)
{
	size_t n_decoding_models = 0;

	for (PkRequest *request = engine->first; request != NULL; request = request->next)
		propose(request);
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		n_decoding_models += model->n_decoding > 0 ? 1 : 0;
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
		model->n_drafted = model->n_decoding > 0
		                       ? draft_best(engine, model, time_allowed(model, n_decoding_models))
		                       : 0;
}

/* Behind its tokens, where the sampled ones will be written over the drafted. */
static void
propose(PkRequest *request)
{
	PkDraft *d = &request->gen.draft;
	size_t   n = most_proposed(request);

	d->n = d->n_proposed = 0;
	if (request->phase == PK_PHASE_DECODE) /* what an earlier draft held, and was wrong */
		pk_kv_seq_shrink(&request->seq, request->n_tokens);
	if (n == 0)
		return;
	d->n_matched =
		pk_lookup(request->tokens, request->n_tokens, n, request->tokens + request->n_tokens);
	if (d->n_matched == 0)
		return;
	d->n_proposed = n;
	d->chance = pk_lookup_chance(&d->rates, d->n_matched);
}

/* The last token of an answer is never computed. */
static size_t
most_proposed(const PkRequest *request)
{
	PkQuant quant = pk_model_info(request->model->model)->quant;
	size_t  room = request->gen.max_new - request->gen.n_new;

	if (request->phase != PK_PHASE_DECODE || request->is_paused || room < 2 ||
	    (quant != PK_QUANT_Q8 && quant != PK_QUANT_Q4))
		return 0;
	return request->gen.draft.n_most < room - 1 ? request->gen.draft.n_most : room - 1;
}

/* The tokens with which a step gives most tokens a second, in most_ns or less; their number. */
static size_t
draft_best(PkEngine *engine, const PkEngineModel *model, double most_ns)
{
	PkRequest *drafted[MOST_ROWS], *next;
	size_t     n_rows = model->n_decoding, n = 0, n_best = 0, n_try = n_to_try(model);
	double     n_tokens = (double) n_rows, ns = pk_pace_decode_ns(&model->pace, n_rows);
	double     best = n_tokens / ns;

	if (teaches(model) && !pk_pace_knows(&model->pace, n_rows))
		return 0;
	while (n < MOST_ROWS && (next = likeliest(engine, model)) != NULL)
	{
		n_tokens += next->gen.draft.chance;
		draft_next(next);
		drafted[n++] = next;
		ns = pk_pace_decode_ns(&model->pace, n_rows + n);
		if (ns <= most_ns && n_tokens / ns > best)
		{
			best = n_tokens / ns;
			n_best = n;
		}
		else if (ns > most_ns && n >= n_try)
			break;
	}
	if (n_best == 0 && n >= n_try)
		n_best = n_try;
	while (n > n_best)
		drafted[--n]->gen.draft.n--;
	return n_best;
}

/* Steps with prompts say nothing of what rows cost. */
static bool
teaches(const PkEngineModel *model)
{
	return model->n_prompts == 0;
}

/* As many make a number of rows whose cost is not known, or was long ago; 0: it is. */
static size_t
n_to_try(const PkEngineModel *model)
{
	size_t n = pk_pace_same_rows(model->n_decoding) + 1 - model->n_decoding;

	return teaches(model) && !pk_pace_knows(&model->pace, model->n_decoding + n) ? n : 0;
}

/* For a step, in ns; models are computed one after the other. */
static double
time_allowed(const PkEngineModel *model, size_t n_decoding_models)
{
	double ns = pk_pace_decode_ns(&model->pace, model->n_decoding);
	double most = MOST_PROLONGED * ns, least = LONG_PROLONGED * ns;

	if (model->n_decoding == 1 && n_decoding_models == 1)
		return pk_pace_target_ns(ns); /* nobody else waits for its next token */
	most = most < LONG_NS ? most : LONG_NS;
	most = most > least ? most : least;
	return ns + (most - ns) / (double) n_decoding_models;
}

/* Whose next proposed token has the best chance; NULL: none is left. */
static PkRequest *
likeliest(PkEngine *engine, const PkEngineModel *model)
{
	PkRequest *best = NULL;
	double     chance = LEAST_CHANCE;

	for (PkRequest *request = engine->first; request != NULL; request = request->next)
	{
		const PkDraft *d = &request->gen.draft;

		if (request->model != model || d->n == d->n_proposed || d->chance <= chance)
			continue;
		best = request;
		chance = d->chance;
	}
	return best;
}

/* Its next proposed token; that of the one after it depends on it. */
static void
draft_next(PkRequest *request)
{
	PkDraft *d = &request->gen.draft;

	d->n++;
	d->chance *= pk_lookup_chance(&d->rates, d->n_matched + d->n);
}

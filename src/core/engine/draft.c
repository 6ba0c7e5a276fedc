/*
 * draft.c
 *    How many drafted tokens are worth computing in a step.
 *
 * A drafted token is a row more in the step; if it is what the request samples, that token costs no
 * step of its own. Rows are nearly free while a step waits for memory and dear once it computes, so
 * what steps have cost (pace.h) decides: most tokens a second, likely ones first. Answers are the
 * same whatever is drafted, as a position's bits don't depend on what else is in the step; that is
 * true of 'q8' and 'q4', so other formats are not drafted for.
 */
#include "core/engine/engine_internal.h"

/* Chances are told apart by so much. */
#define N_LEVELS 64

/* Steps that could have drafted and did not before one tries, so that its cost is known. */
#define TRY_AFTER 8

/* Drafted tokens with chances of 1/64 of each other. */
typedef struct Level
{
	size_t n;
	double chances; /* summed: tokens to expect */
} Level;

static void   propose(PkRequest *request);
static size_t most_drafted(const PkRequest *request);
static void   add_to_levels(const PkRequest *request, Level *levels);
static size_t lowest_level(PkEngineModel *model, const Level *levels);
static size_t best_level(const PkEngineModel *model, const Level *levels);
static size_t keep_levels(PkRequest *request, size_t lowest);
static size_t level_of(double chance);

void
pk_engine_draft(PkEngine *engine)
{
	for (PkRequest *request = engine->first; request != NULL; request = request->next)
		propose(request);
	for (PkEngineModel *model = engine->models; model != NULL; model = model->next)
	{
		Level  levels[N_LEVELS] = {{0, 0}};
		size_t lowest;

		for (PkRequest *request = engine->first; request != NULL; request = request->next)
			if (request->model == model)
				add_to_levels(request, levels);
		lowest = lowest_level(model, levels);
		model->n_drafted = 0;
		for (PkRequest *request = engine->first; request != NULL; request = request->next)
			if (request->model == model)
				model->n_drafted += keep_levels(request, lowest);
	}
}

/* Behind its tokens, where the sampled ones will be written over the drafted. */
static void
propose(PkRequest *request)
{
	PkDraft *draft = &request->gen.draft;
	size_t   n = most_drafted(request);

	draft->n = 0;
	draft->is_wrong = false;
	if (n == 0)
		return;
	draft->n_matched =
		pk_lookup(request->tokens, request->n_tokens, n, request->tokens + request->n_tokens);
	draft->n = draft->n_matched > 0 ? n : 0;
}

/* The last token of an answer is never computed. */
static size_t
most_drafted(const PkRequest *request)
{
	PkQuant quant = pk_model_info(request->model->model)->quant;
	size_t  room = request->gen.max_new - request->gen.n_new;

	if (request->phase != PK_PHASE_DECODE || request->is_paused || room < 2 ||
	    (quant != PK_QUANT_Q8 && quant != PK_QUANT_Q4))
		return 0;
	return request->gen.draft.n_most < room - 1 ? request->gen.draft.n_most : room - 1;
}

static void
add_to_levels(const PkRequest *request, Level *levels)
{
	const PkDraft *draft = &request->gen.draft;
	double         chance = 1;

	for (size_t i = 0; i < draft->n; i++)
	{
		chance *= pk_lookup_chance(&draft->rates, draft->n_matched + i);
		levels[level_of(chance)].n++;
		levels[level_of(chance)].chances += chance;
	}
}

/* N_LEVELS: nothing is worth it. */
static size_t
lowest_level(PkEngineModel *model, const Level *levels)
{
	size_t lowest = best_level(model, levels);
	size_t likely = N_LEVELS;

	for (size_t level = 0; level < N_LEVELS; level++)
		likely = levels[level].n > 0 ? level : likely;
	if (likely == N_LEVELS)
		return N_LEVELS;
	if (lowest == N_LEVELS && ++model->n_undrafted > TRY_AFTER)
		lowest = likely;
	if (lowest < N_LEVELS)
		model->n_undrafted = 0;
	return lowest;
}

/* With which a step gives most tokens a second, and no other waits long for it. */
static size_t
best_level(const PkEngineModel *model, const Level *levels)
{
	size_t lowest = N_LEVELS;
	size_t n_rows = model->n_decoding;
	double n_tokens = (double) n_rows;
	double ns = pk_pace_decode_ns(&model->pace, n_rows);
	double most_ns = pk_pace_target_ns(ns);
	double best = n_tokens / ns;

	for (size_t level = N_LEVELS; level-- > 0;)
	{
		if (levels[level].n == 0)
			continue;
		n_rows += levels[level].n;
		n_tokens += levels[level].chances;
		ns = pk_pace_decode_ns(&model->pace, n_rows);
		if (ns > most_ns)
			break;
		if (n_tokens / ns <= best)
			continue;
		best = n_tokens / ns;
		lowest = level;
	}
	return lowest;
}

static size_t
keep_levels(PkRequest *request, size_t lowest)
{
	PkDraft *draft = &request->gen.draft;
	double   chance = 1;

	for (size_t i = 0; i < draft->n; i++)
	{
		chance *= pk_lookup_chance(&draft->rates, draft->n_matched + i);
		if (level_of(chance) < lowest)
			draft->n = i;
	}
	return draft->n;
}

static size_t
level_of(double chance)
{
	size_t level = (size_t) (chance * N_LEVELS);

	return level < N_LEVELS ? level : N_LEVELS - 1;
}

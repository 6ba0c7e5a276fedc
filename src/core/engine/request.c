/*
 * request.c
 *    What a request is made of, and how sampled tokens become text.
 *
 * A token's piece is final at once if all text so far is certain. Otherwise (half a character, or
 * what may become a stop string) it waits for the next token, because if that is an end token the
 * held text must go with this piece.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/engine/request.h"

static PkStatus check_spec(const PkRequestSpec *spec, PkError *err);
static PkStatus check_length(const PkRequestSpec *spec, PkError *err);
static void     set_sharing(PkRequest *request, const PkRequestSpec *spec);
static PkStatus request_fill(PkRequest *request, const PkRequestSpec *spec, PkError *err);
static PkStatus generation_fill(PkRequest *request, const PkRequestSpec *spec, PkError *err);
static size_t   max_new_tokens(const PkRequestSpec *spec);
static size_t   most_text(const PkRequest *request);
static bool     is_end_token(const PkConfig *config, int32_t id);
static bool     append_text(PkRequest *request, size_t len);
static bool     end_generation(PkRequest *request, PkFinish finish);
static void     cut_text(PkRequest *request, size_t text_len);
static void     close_generation(PkRequest *request, PkFinish finish, size_t n_completion);
static void     show_pieces(PkRequest *request, bool is_last);

PkStatus
pk_request_create(const PkRequestSpec *spec, PkEngineModel *model, PkRequest **out, PkError *err)
{
	void *room;

	PK_FORWARD(check_spec(spec, err));
	PK_FORWARD(pk_calloc(1, sizeof(PkRequest), &room, err));

	PkRequest *request = room;

	request->model = model;

	PkStatus status = request_fill(request, spec, err);

	if (status != PK_OK)
	{
		pk_request_destroy(request);
		return status;
	}
	*out = request;
	return PK_OK;
}

static PkStatus
check_spec(const PkRequestSpec *spec, PkError *err)
{
	const PkConfig *config = pk_model_config(spec->model);

	if (spec->n_tokens == 0)
		return pk_error(err, PK_BAD_ARGUMENT, "a request needs at least one token");
	for (size_t i = 0; i < spec->n_tokens; i++)
		if (spec->tokens[i] < 0 || (uint32_t) spec->tokens[i] >= config->vocab_size)
			return pk_error(err, PK_BAD_ARGUMENT, "token %d is not in the vocabulary of %u",
			                (int) spec->tokens[i], (unsigned) config->vocab_size);
	PK_FORWARD(check_length(spec, err));
	if (spec->kind == PK_REQUEST_GENERATE && spec->max_tokens <= 0)
		return pk_error(err, PK_BAD_ARGUMENT, "max_tokens is %d, it must be 1 or more",
		                (int) spec->max_tokens);
	if (spec->kind == PK_REQUEST_GENERATE && spec->prompt_lookup_num_tokens > PK_LOOKUP_MAX)
		return pk_error(err, PK_BAD_ARGUMENT,
		                "prompt_lookup_num_tokens is %u, it must be from 0 to %d",
		                (unsigned) spec->prompt_lookup_num_tokens, PK_LOOKUP_MAX);
	if (spec->kind == PK_REQUEST_EMBED &&
	    (spec->layer < -1 || spec->layer > (int32_t) config->num_hidden_layers))
		return pk_error(err, PK_BAD_ARGUMENT, "layer is %d, it must be from -1 to %u",
		                (int) spec->layer, (unsigned) config->num_hidden_layers);
	if (spec->kind == PK_REQUEST_EMBED && spec->pooling != PK_POOLING_MEAN &&
	    spec->pooling != PK_POOLING_LAST)
		return pk_error(err, PK_BAD_ARGUMENT, "unknown pooling");
	return PK_OK;
}

static PkStatus
check_length(const PkRequestSpec *spec, PkError *err)
{
	size_t context = pk_model_config(spec->model)->max_position_embeddings;
	bool   generates = spec->kind == PK_REQUEST_GENERATE;

	if (spec->n_tokens < context || (!generates && spec->n_tokens == context))
		return PK_OK;
	pk_error(err, PK_TOO_LONG, "%s has %zu tokens, the context of the model is %zu",
	         generates ? "the prompt" : "the input", spec->n_tokens, context);
	return pk_error_hint(err, PK_TOO_LONG,
	                     generates ? "Shorten the prompt to at most %zu tokens."
	                               : "Shorten the input to at most %zu tokens.",
	                     generates ? context - 1 : context);
}

static PkStatus
request_fill(PkRequest *request, const PkRequestSpec *spec, PkError *err)
{
	size_t max_new = max_new_tokens(spec);
	void  *room;

	request->kind = spec->kind;
	request->n_prompt = spec->n_tokens;
	request->n_tokens = spec->n_tokens;
	request->pooling = spec->pooling;
	request->normalize = spec->normalize;
	request->layer = spec->layer;
	request->n_reused = SIZE_MAX;
	set_sharing(request, spec);
	PK_FORWARD(pk_calloc(spec->n_tokens + max_new, sizeof(int32_t), &room, err));
	request->tokens = room;
	memcpy(request->tokens, spec->tokens, spec->n_tokens * sizeof(int32_t));
	PK_FORWARD(
		pk_kv_seq_init(&request->seq, request->model->cache, pk_request_max_positions(spec), err));
	if (spec->kind == PK_REQUEST_GENERATE)
		return generation_fill(request, spec, err);

	request->n_floats = spec->kind == PK_REQUEST_EMBED ? pk_model_config(spec->model)->hidden_size
	                                                   : spec->n_tokens - 1;
	/* aligned, as kernels want their buffers */
	PK_FORWARD(pk_pages_alloc(request->n_floats * sizeof(float), &room, err));
	request->floats = room;
	return PK_OK;
}

/*
 * A mean and scores need the output of every position, so nothing could be skipped, and such
 * requests leave nothing either: bulk jobs would push out what serves others. An embedding from an
 * inner layer may take, but computes no keys and values of the layers above.
 */
static void
set_sharing(PkRequest *request, const PkRequestSpec *spec)
{
	bool is_last = spec->kind == PK_REQUEST_EMBED && spec->pooling == PK_POOLING_LAST;

	if (spec->kind != PK_REQUEST_GENERATE && !is_last)
		return;
	request->path.key = spec->cache_key;
	request->leaves =
		spec->cache_key != 0 && (spec->kind == PK_REQUEST_GENERATE || spec->layer == -1);
}

static PkStatus
generation_fill(PkRequest *request, const PkRequestSpec *spec, PkError *err)
{
	const PkConfig *config = pk_model_config(spec->model);
	PkGeneration   *gen = &request->gen;
	int32_t         ends[PK_MAX_EOS + 1];
	size_t          n_ends = config->n_eos;
	void           *room;

	memcpy(ends, config->eos_token_ids, n_ends * sizeof(int32_t));
	if (config->endoftext_id >= 0)
		ends[n_ends++] = config->endoftext_id;
	gen->max_new = max_new_tokens(spec);
	gen->draft.n_most = spec->prompt_lookup_num_tokens;
	pk_lookup_rates_init(&gen->draft.rates);
	PK_FORWARD(pk_calloc(gen->max_new, sizeof(PkGenerated), &room, err));
	gen->tokens = room;
	PK_FORWARD(pk_stop_create(spec->stop, spec->stop_lens, spec->n_stop, &gen->stop, err));
	PK_FORWARD(pk_sampler_create(&spec->sample, config->vocab_size, config->n_tokens, ends, n_ends,
	                             &gen->sampler, err));
	for (size_t i = 0; i < spec->n_tokens; i++)
		pk_sampler_see(gen->sampler, spec->tokens[i]);
	pk_decode_init(&gen->decoder, pk_model_tokenizer(spec->model), true);
	return PK_OK;
}

static size_t
max_new_tokens(const PkRequestSpec *spec)
{
	size_t context = pk_model_config(spec->model)->max_position_embeddings;
	size_t room = context - spec->n_tokens;

	if (spec->kind != PK_REQUEST_GENERATE)
		return 0;
	return (size_t) spec->max_tokens < room ? (size_t) spec->max_tokens : room;
}

/* The token sampled last is never cached. */
size_t
pk_request_max_positions(const PkRequestSpec *spec)
{
	size_t n_new = max_new_tokens(spec);

	return spec->n_tokens + (n_new > 0 ? n_new - 1 : 0);
}

void
pk_request_destroy(PkRequest *request)
{
	if (request == NULL)
		return;
	pk_request_let_go(request);
	pk_kv_seq_free(&request->seq);
	pk_sampler_destroy(request->gen.sampler);
	pk_stop_destroy(request->gen.stop);
	free(request->gen.tokens);
	free(request->gen.text);
	free(request->tokens);
	pk_pages_free(request->floats, request->n_floats * sizeof(float));
	free(request);
}

PkStatus
pk_request_move(PkRequest *request, PkPhase to, PkError *err)
{
	static const bool allowed[PK_N_PHASES][PK_N_PHASES] = {
		[PK_PHASE_WAITING] = {[PK_PHASE_PREFILL] = true},
		[PK_PHASE_PREFILL] = {[PK_PHASE_WAITING] = true,
	                          [PK_PHASE_PREFILL] = true,
	                          [PK_PHASE_DECODE] = true,
	                          [PK_PHASE_ENDED] = true},
		[PK_PHASE_DECODE] =
			{[PK_PHASE_WAITING] = true, [PK_PHASE_DECODE] = true, [PK_PHASE_ENDED] = true},
	};

	if (!allowed[request->phase][to])
		return pk_error(err, PK_INTERNAL, "request moves from phase %d to %d", (int) request->phase,
		                (int) to);
	request->phase = to;
	return PK_OK;
}

/* The last position is always computed: its output is wanted. */
size_t
pk_request_n_skippable(const PkRequest *request)
{
	return request->path.key != 0 ? (request->n_tokens - 1) / PK_KV_BLOCK : 0;
}

void
pk_request_advance(PkRequest *request, size_t n)
{
	if (request->n_cached < request->n_reused)
		request->n_reused = request->n_cached;
	request->n_cached += n;
	request->n_step -= n;
	if (request->leaves)
		pk_prefix_publish(request->model->prefixes, &request->path, &request->seq, request->tokens,
		                  request->n_cached / PK_KV_BLOCK);
}

void
pk_request_let_go(PkRequest *request)
{
	pk_prefix_release(request->model->prefixes, &request->path, &request->seq);
	pk_kv_seq_clear(&request->seq);
	request->n_cached = 0;
}

/* Bytes of a token's text; what an earlier one held back may come with it. */
static size_t
most_text(const PkRequest *request)
{
	return pk_tokenizer_max_piece(pk_model_tokenizer(request->model->model));
}

PkStatus
pk_request_reserve(PkRequest *request, size_t n_new, PkError *err)
{
	PkGeneration *gen = &request->gen;
	size_t        most = most_text(request);
	void         *text = gen->text;
	PkStatus      status =
		pk_grow(&text, &gen->text_room, gen->text_len + (n_new + 1) * most + 1, 1, err);

	gen->text = text;
	return status;
}

bool
pk_request_push(PkRequest *request, int32_t id, float logprob)
{
	PkGeneration *gen = &request->gen;

	if (is_end_token(pk_model_config(request->model->model), id))
		return end_generation(request, PK_FINISH_STOP);

	PK_ASSERT(gen->text_room - gen->text_len > 2 * most_text(request));
	gen->tokens[gen->n_new] =
		(PkGenerated){.logprob = logprob, .begin = gen->text_len + gen->decoder.n_pending};
	gen->n_new++;
	request->tokens[request->n_tokens++] = id;
	if (append_text(request, pk_decode_push(&gen->decoder, id, gen->text + gen->text_len)))
		return true;
	if (gen->n_new == gen->max_new)
		return end_generation(request, PK_FINISH_LENGTH);
	show_pieces(request, false);
	return false;
}

static bool
is_end_token(const PkConfig *config, int32_t id)
{
	for (uint32_t i = 0; i < config->n_eos; i++)
		if (config->eos_token_ids[i] == id)
			return true;
	return id == config->endoftext_id;
}

/* len bytes were written behind the text. True when they end a stop string. */
static bool
append_text(PkRequest *request, size_t len)
{
	PkGeneration *gen = &request->gen;
	size_t        before_stop;
	bool is_stopped = pk_stop_feed(gen->stop, gen->text + gen->text_len, len, &before_stop);

	gen->text_len += len;
	if (is_stopped)
		cut_text(request, before_stop);
	return is_stopped;
}

/* The end, unless half a character at the end turns out to complete a stop string. */
static bool
end_generation(PkRequest *request, PkFinish finish)
{
	PkGeneration *gen = &request->gen;

	if (append_text(request, pk_decode_finish(&gen->decoder, gen->text + gen->text_len)))
		return true;
	close_generation(request, finish, gen->n_new);
	return true;
}

/* A stop string begins at text_len: it and the tokens that begin in it are not counted. */
static void
cut_text(PkRequest *request, size_t text_len)
{
	PkGeneration *gen = &request->gen;
	size_t        n = 0;

	while (n < gen->n_new && gen->tokens[n].begin < text_len)
		n++;
	gen->text_len = text_len;
	close_generation(request, PK_FINISH_STOP_STRING, n);
}

/* The end is reached: what counts is counted. */
static void
close_generation(PkRequest *request, PkFinish finish, size_t n_completion)
{
	PkGeneration *gen = &request->gen;

	request->finish = finish;
	gen->n_completion = n_completion;
	gen->logprob = 0;
	for (size_t i = 0; i < n_completion; i++)
		gen->logprob += (double) gen->tokens[i].logprob;
	show_pieces(request, true);
}

/* Make pieces of the tokens whose text is certain; at the end all of it is. */
static void
show_pieces(PkRequest *request, bool is_last)
{
	PkGeneration *gen = &request->gen;
	size_t        n_final;

	if (is_last)
	{
		n_final = gen->n_completion > gen->n_pieces ? gen->n_completion : gen->n_pieces;
		if (gen->text_len > gen->shown_len && n_final == gen->n_pieces && n_final < gen->n_new)
			n_final++; /* held text needs a piece, if only that of a token cut off */
	}
	else
	{
		size_t held = pk_stop_held(gen->stop);

		gen->tokens[gen->n_new - 1].shown_to = gen->text_len - held;
		n_final = held == 0 && gen->decoder.n_pending == 0 ? gen->n_new : gen->n_new - 1;
	}
	for (; gen->n_pieces < n_final; gen->n_pieces++)
	{
		PkGenerated *token = &gen->tokens[gen->n_pieces];

		if (is_last && gen->n_pieces + 1 == n_final)
			token->shown_to = gen->text_len;
		token->shown_from = gen->shown_len;
		gen->shown_len = token->shown_to;
	}
}

PkFinish
pk_request_finish(const PkRequest *request)
{
	return request->phase == PK_PHASE_ENDED ? request->finish : PK_FINISH_NONE;
}

PkPhase
pk_request_phase(const PkRequest *request)
{
	return request->phase;
}

size_t
pk_request_n_cached(const PkRequest *request)
{
	return request->n_cached;
}

size_t
pk_request_n_reused(const PkRequest *request)
{
	return request->n_reused != SIZE_MAX ? request->n_reused : 0;
}

size_t
pk_request_n_prompt(const PkRequest *request)
{
	return request->n_prompt;
}

size_t
pk_request_n_pieces(const PkRequest *request)
{
	return request->gen.n_pieces;
}

PkPiece
pk_request_piece(const PkRequest *request, size_t i)
{
	const PkGenerated *token = &request->gen.tokens[i];

	PK_ASSERT(i < request->gen.n_pieces);
	return (PkPiece){.id = request->tokens[request->n_prompt + i],
	                 .logprob = token->logprob,
	                 .text = request->gen.text + token->shown_from,
	                 .len = token->shown_to - token->shown_from};
}

size_t
pk_request_n_completion(const PkRequest *request)
{
	return request->phase == PK_PHASE_ENDED ? request->gen.n_completion : request->gen.n_new;
}

size_t
pk_request_n_drafted(const PkRequest *request)
{
	return request->gen.draft.n_drafted;
}

size_t
pk_request_n_accepted(const PkRequest *request)
{
	return request->gen.draft.n_accepted;
}

double
pk_request_logprob(const PkRequest *request)
{
	return request->gen.logprob;
}

const char *
pk_request_text(const PkRequest *request, size_t *len)
{
	if (request->phase != PK_PHASE_ENDED || request->kind != PK_REQUEST_GENERATE)
		return NULL;
	*len = request->gen.text_len;
	return request->gen.text != NULL ? request->gen.text : "";
}

const float *
pk_request_floats(const PkRequest *request, size_t *n)
{
	if (request->phase != PK_PHASE_ENDED || request->floats == NULL)
		return NULL;
	*n = request->n_floats;
	return request->floats;
}

/*
 * callcache.c
 *    One run per question: answers that the same call, or another one in this transaction, gave.
 *
 * Two places: the call site (fn_extra; the last answer, as long as the expression lives) and the
 * backend (the latest answers, until the transaction ends, bounded in number and bytes). Both keep
 * the whole key and compare it: a hash alone could be forged.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "utils/memutils.h"

#include "pg/callcache.h"

#define MAX_ANSWERS 64
#define MAX_BYTES ((size_t) 4 << 20)
#define MAX_ANSWER_BYTES ((size_t) 1 << 20)
/* No context holds a longer text: it ends in an error, which nobody keeps. */
#define MAX_INPUT_BYTES ((size_t) 1 << 20)

typedef struct Answer
{
	dlist_node node; /* unused at a call site */
	uint64     hash;
	size_t     key_len;
	size_t     len;
	size_t     answer_at; /* offset of the answer, aligned */
	size_t     size_bytes;
	char       key[FLEXIBLE_ARRAY_MEMBER];
} Answer;

typedef struct AnswerList
{
	MemoryContext         context;
	dlist_head            latest_first;
	size_t                n_answers;
	size_t                size_bytes;
	MemoryContextCallback callback;
} AnswerList;

static AnswerList *list = NULL; /* of the transaction */

static Answer     *answer_make(MemoryContext context, const StringInfoData *key, uint64 hash,
                               const void *value, size_t len);
static bool        answer_is(const Answer *answer, const StringInfoData *key, uint64 hash);
static const void *answer_value(const Answer *answer, size_t *len);
static Answer     *list_find(const StringInfoData *key, uint64 hash);
static void        list_add(const StringInfoData *key, uint64 hash, const void *value, size_t len);
static AnswerList *list_make(void);
static void        list_gone(void *arg);
static uint64      hash_of(const StringInfoData *key);

/* Field by field: padding inside a struct is no part of a question. */
#define APPEND(key, field) appendBinaryStringInfo(key, (const char *) &(field), sizeof(field))

void
pkpg_question(StringInfo key, const PkRequestSpec *spec, const char *input, size_t len)
{
	const PkImageInfo *info = pk_model_info(spec->model);

	if (len > MAX_INPUT_BYTES)
		return;
	APPEND(key, info->fingerprint);
	APPEND(key, info->quant);
	APPEND(key, spec->kind);
	APPEND(key, spec->max_tokens);
	APPEND(key, spec->sample.temperature);
	APPEND(key, spec->sample.top_k);
	APPEND(key, spec->sample.top_p);
	APPEND(key, spec->sample.repetition_penalty);
	APPEND(key, spec->sample.min_tokens);
	APPEND(key, spec->sample.seed);
	APPEND(key, spec->pooling);
	APPEND(key, spec->normalize);
	APPEND(key, spec->layer);
	APPEND(key, spec->n_stop);
	for (size_t i = 0; i < spec->n_stop; i++)
	{
		APPEND(key, spec->stop_lens[i]);
		appendBinaryStringInfo(key, spec->stop[i], (int) spec->stop_lens[i]);
	}
	appendBinaryStringInfo(key, input, (int) len);
}

const void *
pkpg_answer_find(FmgrInfo *site, const StringInfoData *key, size_t *len)
{
	uint64  hash = hash_of(key);
	Answer *answer = site != NULL ? site->fn_extra : NULL;

	if (key->len == 0)
		return NULL;
	if (answer == NULL || !answer_is(answer, key, hash))
		answer = list_find(key, hash);
	return answer != NULL ? answer_value(answer, len) : NULL;
}

void
pkpg_answer_keep(FmgrInfo *site, const StringInfoData *key, const void *answer, size_t len)
{
	uint64 hash = hash_of(key);

	if (key->len == 0)
		return;
	if (site != NULL)
	{
		Answer *kept = answer_make(site->fn_mcxt, key, hash, answer, len);

		if (site->fn_extra != NULL)
			pfree(site->fn_extra);
		site->fn_extra = kept;
	}
	if ((size_t) key->len + len <= MAX_ANSWER_BYTES)
		list_add(key, hash, answer, len);
}

static Answer *
answer_make(MemoryContext context, const StringInfoData *key, uint64 hash, const void *value,
            size_t len)
{
	size_t  answer_at = MAXALIGN(offsetof(Answer, key) + (size_t) key->len);
	Answer *answer = MemoryContextAllocExtended(context, answer_at + Max(len, 1), MCXT_ALLOC_HUGE);

	answer->hash = hash;
	answer->key_len = (size_t) key->len;
	answer->len = len;
	answer->answer_at = answer_at;
	answer->size_bytes = answer_at + Max(len, 1);
	memcpy(answer->key, key->data, (size_t) key->len);
	memcpy((char *) answer + answer_at, value, len);
	return answer;
}

static bool
answer_is(const Answer *answer, const StringInfoData *key, uint64 hash)
{
	return answer->hash == hash && answer->key_len == (size_t) key->len &&
	       memcmp(answer->key, key->data, answer->key_len) == 0;
}

static const void *
answer_value(const Answer *answer, size_t *len)
{
	*len = answer->len;
	return (const char *) answer + answer->answer_at;
}

static Answer *
list_find(const StringInfoData *key, uint64 hash)
{
	dlist_iter it;

	if (list == NULL)
		return NULL;
	dlist_foreach(it, &list->latest_first)
	{
		Answer *answer = dlist_container(Answer, node, it.cur);

		if (!answer_is(answer, key, hash))
			continue;
		dlist_move_head(&list->latest_first, &answer->node);
		return answer;
	}
	return NULL;
}

static void
list_add(const StringInfoData *key, uint64 hash, const void *value, size_t len)
{
	AnswerList *at = list != NULL ? list : list_make();
	Answer     *answer = answer_make(at->context, key, hash, value, len);

	dlist_push_head(&at->latest_first, &answer->node);
	at->n_answers++;
	at->size_bytes += answer->size_bytes;
	while (at->n_answers > MAX_ANSWERS || at->size_bytes > MAX_BYTES)
	{
		Answer *oldest = dlist_tail_element(Answer, node, &at->latest_first);

		dlist_delete(&oldest->node);
		at->n_answers--;
		at->size_bytes -= oldest->size_bytes;
		pfree(oldest);
	}
}

static AnswerList *
list_make(void)
{
	MemoryContext context =
		AllocSetContextCreate(TopTransactionContext, "polyko answers", ALLOCSET_DEFAULT_SIZES);
	AnswerList *made = MemoryContextAllocZero(context, sizeof(AnswerList));

	made->context = context;
	dlist_init(&made->latest_first);
	made->callback.func = list_gone;
	MemoryContextRegisterResetCallback(context, &made->callback);
	list = made;
	return made;
}

static void
list_gone(void *arg)
{
	(void) arg;
	list = NULL;
}

static uint64
hash_of(const StringInfoData *key)
{
	return hash_bytes_extended((const unsigned char *) key->data, key->len, 0);
}

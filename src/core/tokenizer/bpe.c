/*
 * bpe.c
 *    From a word's bytes or characters to symbols, and merging them.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/utf8.h"
#include "core/tokenizer/alphabet.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/hashtable.h"
#include "core/tokenizer/match.h"

#define POLL_EVERY 4096
#define NO_RANK UINT32_MAX
#define NO_SYMBOL UINT32_MAX
#define GONE UINT32_MAX /* id of a symbol that was merged into its left neighbour */

/* An unknown token that waits whether the next one joins it. */
typedef struct Pending
{
	bool   is_set;
	size_t end;
} Pending;

static PkStatus look_at_cancel(size_t step, PkCancel *cancel, PkError *err);
static PkStatus make_room(PkBpe *bpe, size_t n, PkError *err);
static PkStatus start_symbols(PkBpe *bpe, const PkTokenizer *tokenizer, const char *word,
                              size_t len, PkCancel *cancel, PkError *err);
static void start_character(PkBpe *bpe, const PkTokenizer *tokenizer, const char *text, size_t n,
                            size_t end, bool is_letter, Pending *pending);
static bool start_fallback(PkBpe *bpe, const PkTokenizer *tokenizer, const char *text, size_t n,
                           size_t end, bool is_letter);
static void push_symbol(PkBpe *bpe, int32_t id, size_t end);
static uint32_t rank_of(const PkTokenizer *tokenizer, uint32_t left, uint32_t right);
static void     merge_short(PkBpe *bpe, const PkTokenizer *tokenizer);
static PkStatus merge_long(PkBpe *bpe, const PkTokenizer *tokenizer, PkCancel *cancel,
                           PkError *err);
static PkStatus start_heap(PkBpe *bpe, const PkTokenizer *tokenizer, PkCancel *cancel,
                           PkError *err);
static PkStatus merge_at(PkBpe *bpe, const PkTokenizer *tokenizer, uint32_t left, uint32_t made,
                         PkError *err);
static PkStatus push_pair(PkBpe *bpe, const PkTokenizer *tokenizer, uint32_t left, PkError *err);
static void     heap_push(PkBpe *bpe, uint64_t entry);
static uint64_t heap_pop(PkBpe *bpe);
static void     compact(PkBpe *bpe);

void
pk_bpe_free(PkBpe *bpe)
{
	free(bpe->ids);
	free(bpe->ends);
	free(bpe->prev);
	free(bpe->next);
	free(bpe->heap);
	memset(bpe, 0, sizeof(*bpe));
}

PkStatus
pk_bpe_word(PkBpe *bpe, const PkTokenizer *tokenizer, const char *word, size_t len,
            PkCancel *cancel, PkError *err)
{
	bool has_fallback = (tokenizer->header->flags & PK_BLOB_BYTE_FALLBACK) != 0;

	/* With byte fallback a byte may give two symbols: the bytes of its letter. */
	PK_FORWARD(make_room(bpe, has_fallback ? 2 * len : len, err));
	bpe->n = pk_match_word(tokenizer, word, len, bpe->ids, bpe->ends);
	if (bpe->n > 0)
		return PK_OK;
	PK_FORWARD(start_symbols(bpe, tokenizer, word, len, cancel, err));
	if (bpe->n <= PK_SHORT_WORD)
	{
		merge_short(bpe, tokenizer);
		return PK_OK;
	}
	return merge_long(bpe, tokenizer, cancel, err);
}

/* At every step of a loop over a word: PK_CANCELLED if that is what the host says. */
static PkStatus
look_at_cancel(size_t step, PkCancel *cancel, PkError *err)
{
	if (step % POLL_EVERY == POLL_EVERY - 1 && pk_cancel_poll(cancel))
		return pk_error(err, PK_CANCELLED, "tokenizing was cancelled");
	return PK_OK;
}

static PkStatus
make_room(PkBpe *bpe, size_t n, PkError *err)
{
	uint32_t **arrays[] = {&bpe->ids, &bpe->ends, &bpe->prev, &bpe->next};
	size_t     room = bpe->room;

	if (n <= bpe->room)
		return PK_OK;
	for (size_t i = 0; i < PK_LENGTH(arrays); i++)
	{
		void    *array = *arrays[i];
		PkStatus status;

		room = bpe->room;
		status = pk_grow(&array, &room, n, sizeof(uint32_t), err);
		*arrays[i] = array;
		PK_FORWARD(status);
	}
	bpe->room = room;
	return PK_OK;
}

static PkStatus
start_symbols(PkBpe *bpe, const PkTokenizer *tokenizer, const char *word, size_t len,
              PkCancel *cancel, PkError *err)
{
	const PkBlobHeader *header = tokenizer->header;
	Pending             pending = {false, 0};
	size_t              n_chars = 0;

	bpe->n = 0;
	if ((header->flags & PK_BLOB_BYTE_LEVEL) != 0)
		for (size_t i = 0; i < len; i++)
		{
			int32_t id = header->byte_ids[(uint8_t) word[i]];
			char    letter[4];

			PK_FORWARD(look_at_cancel(i, cancel, err));
			if (id >= 0 && !pending.is_set)
			{
				bpe->ids[bpe->n] = (uint32_t) id;
				bpe->ends[bpe->n++] = (uint32_t) i + 1;
				continue;
			}

			size_t n = pk_utf8_encode(pk_alphabet_letter((uint8_t) word[i]), letter);

			start_character(bpe, tokenizer, letter, n, i + 1, true, &pending);
		}
	else
		for (size_t i = 0; i < len;)
		{
			size_t n = pk_utf8_char_len(word + i, len - i);

			n = n > 0 ? n
			          : 1; /* the text was checked: this never happens, and would only be slow */
			start_character(bpe, tokenizer, word + i, n, i + n, false, &pending);
			i += n;
			PK_FORWARD(look_at_cancel(n_chars++, cancel, err));
		}
	if (pending.is_set)
		push_symbol(bpe, header->unk_id, pending.end);
	return PK_OK;
}

/*
 * One character (or byte letter) of n bytes that ends at byte end of the word. The order of an
 * unknown token and byte tokens after it is Hugging Face's.
 */
static void
start_character(PkBpe *bpe, const PkTokenizer *tokenizer, const char *text, size_t n, size_t end,
                bool is_letter, Pending *pending)
{
	const PkBlobHeader *header = tokenizer->header;
	int32_t             id;

	if (is_letter)
		id = header->byte_ids[(uint8_t) pk_alphabet_byte(pk_utf8_decode(text, n))];
	else
		id = pk_text_find(tokenizer->word_table, tokenizer->word_bits, tokenizer->word_offsets,
		                  tokenizer->word_text, text, n, pk_text_hash(text, n));
	if (id >= 0)
	{
		if (pending->is_set)
			push_symbol(bpe, header->unk_id, pending->end);
		pending->is_set = false;
		push_symbol(bpe, id, end);
		return;
	}
	if ((header->flags & PK_BLOB_BYTE_FALLBACK) != 0 &&
	    start_fallback(bpe, tokenizer, text, n, end, is_letter))
		return;
	if (header->unk_id < 0)
		return;
	if (pending->is_set && (header->flags & PK_BLOB_FUSE_UNK) == 0)
		push_symbol(bpe, header->unk_id, pending->end);
	pending->is_set = true;
	pending->end = end;
}

/* False, with nothing done, when one of the byte tokens is missing. */
static bool
start_fallback(PkBpe *bpe, const PkTokenizer *tokenizer, const char *text, size_t n, size_t end,
               bool is_letter)
{
	const int32_t *ids = tokenizer->header->fallback_ids;

	for (size_t i = 0; i < n; i++)
		if (ids[(uint8_t) text[i]] < 0)
			return false;
	for (size_t i = 0; i < n; i++)
		push_symbol(bpe, ids[(uint8_t) text[i]], is_letter ? end : end - n + i + 1);
	return true;
}

static void
push_symbol(PkBpe *bpe, int32_t id, size_t end)
{
	bpe->ids[bpe->n] = (uint32_t) id;
	bpe->ends[bpe->n++] = (uint32_t) end;
}

static uint32_t
rank_of(const PkTokenizer *tokenizer, uint32_t left, uint32_t right)
{
	return pk_pair_find(tokenizer->merge_table, tokenizer->merge_bits, left, right);
}

static void
merge_short(PkBpe *bpe, const PkTokenizer *tokenizer)
{
	uint32_t *ids = bpe->ids, *ends = bpe->ends, *ranks = bpe->ranks;
	size_t    n = bpe->n;

	for (size_t i = 0; i + 1 < n; i++)
		ranks[i] = rank_of(tokenizer, ids[i], ids[i + 1]);
	while (n > 1)
	{
		uint32_t lowest = NO_RANK;
		size_t   at = 0;

		for (size_t i = 0; i + 1 < n; i++)
			if (ranks[i] < lowest)
			{
				lowest = ranks[i];
				at = i;
			}
		if (lowest == NO_RANK)
			break;
		bpe->last_join = ends[at];
		ids[at] = tokenizer->merge_ids[lowest];
		ends[at] = ends[at + 1];
		n--;
		for (size_t i = at + 1; i < n; i++)
		{
			ids[i] = ids[i + 1];
			ends[i] = ends[i + 1];
			ranks[i - 1] = ranks[i];
		}
		if (at + 1 < n)
			ranks[at] = rank_of(tokenizer, ids[at], ids[at + 1]);
		if (at > 0)
			ranks[at - 1] = rank_of(tokenizer, ids[at - 1], ids[at]);
	}
	bpe->n = n;
}

static PkStatus
merge_long(PkBpe *bpe, const PkTokenizer *tokenizer, PkCancel *cancel, PkError *err)
{
	PK_FORWARD(start_heap(bpe, tokenizer, cancel, err));
	for (size_t step = 0; bpe->n_heap > 0; step++)
	{
		uint64_t entry = heap_pop(bpe);
		uint32_t left = (uint32_t) entry;
		uint32_t made = tokenizer->merge_ids[entry >> 32];

		PK_FORWARD(look_at_cancel(step, cancel, err));
		if (bpe->ids[left] == GONE || bpe->next[left] == NO_SYMBOL)
			continue;

		uint32_t rank = rank_of(tokenizer, bpe->ids[left], bpe->ids[bpe->next[left]]);

		/* The symbols may have changed since the entry was made. */
		if (rank != NO_RANK && tokenizer->merge_ids[rank] == made)
			PK_FORWARD(merge_at(bpe, tokenizer, left, made, err));
	}
	compact(bpe);
	return PK_OK;
}

static PkStatus
start_heap(PkBpe *bpe, const PkTokenizer *tokenizer, PkCancel *cancel, PkError *err)
{
	bpe->n_heap = 0;
	for (size_t i = 0; i < bpe->n; i++)
	{
		PK_FORWARD(look_at_cancel(i, cancel, err));
		bpe->prev[i] = i > 0 ? (uint32_t) i - 1 : NO_SYMBOL;
		bpe->next[i] = i + 1 < bpe->n ? (uint32_t) i + 1 : NO_SYMBOL;
	}
	for (size_t i = 0; i + 1 < bpe->n; i++)
	{
		PK_FORWARD(push_pair(bpe, tokenizer, (uint32_t) i, err));
		PK_FORWARD(look_at_cancel(i, cancel, err));
	}
	return PK_OK;
}

static PkStatus
merge_at(PkBpe *bpe, const PkTokenizer *tokenizer, uint32_t left, uint32_t made, PkError *err)
{
	uint32_t right = bpe->next[left];

	bpe->ids[left] = made;
	bpe->ends[left] = bpe->ends[right];
	bpe->ids[right] = GONE;
	bpe->next[left] = bpe->next[right];
	if (bpe->next[left] != NO_SYMBOL)
	{
		bpe->prev[bpe->next[left]] = left;
		PK_FORWARD(push_pair(bpe, tokenizer, left, err));
	}
	if (bpe->prev[left] != NO_SYMBOL)
		PK_FORWARD(push_pair(bpe, tokenizer, bpe->prev[left], err));
	return PK_OK;
}

/* An entry for the pair that begins with left, if there is a merge for it. */
static PkStatus
push_pair(PkBpe *bpe, const PkTokenizer *tokenizer, uint32_t left, PkError *err)
{
	uint32_t rank = rank_of(tokenizer, bpe->ids[left], bpe->ids[bpe->next[left]]);

	if (rank == NO_RANK)
		return PK_OK;

	void    *heap = bpe->heap;
	PkStatus status = pk_grow(&heap, &bpe->heap_room, bpe->n_heap + 1, sizeof(uint64_t), err);

	bpe->heap = heap;
	PK_FORWARD(status);
	heap_push(bpe, (uint64_t) rank << 32 | left);
	return PK_OK;
}

static void
heap_push(PkBpe *bpe, uint64_t entry)
{
	size_t i = bpe->n_heap++;

	while (i > 0 && bpe->heap[(i - 1) / 2] > entry)
	{
		bpe->heap[i] = bpe->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	bpe->heap[i] = entry;
}

static uint64_t
heap_pop(PkBpe *bpe)
{
	uint64_t top = bpe->heap[0], last = bpe->heap[--bpe->n_heap];
	size_t   i = 0;

	for (size_t child = 1; child < bpe->n_heap; child = 2 * i + 1)
	{
		if (child + 1 < bpe->n_heap && bpe->heap[child + 1] < bpe->heap[child])
			child++;
		if (bpe->heap[child] >= last)
			break;
		bpe->heap[i] = bpe->heap[child];
		i = child;
	}
	bpe->heap[i] = last;
	return top;
}

static void
compact(PkBpe *bpe)
{
	size_t n = 0;

	for (size_t i = 0; i < bpe->n; i++)
		if (bpe->ids[i] != GONE)
		{
			bpe->ids[n] = bpe->ids[i];
			bpe->ends[n++] = bpe->ends[i];
		}
	bpe->n = n;
}

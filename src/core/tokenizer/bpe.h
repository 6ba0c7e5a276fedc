/*
 * bpe.h
 *    Merging the symbols of one word.
 *
 * Always the pair of the lowest rank, the leftmost of equal ones (Sennrich et al., 2016, as Hugging
 * Face runs it). Short words are scanned; long ones go through a heap, so that a word of n bytes
 * costs O(n log n).
 */
#ifndef PK_BPE_H
#define PK_BPE_H

#include "core/tokenizer/blob.h"

#define PK_SHORT_WORD 48 /* symbols; above it the heap is faster */

/* Scratch memory for words; zero it first. After pk_bpe_word() ids and ends hold n symbols. */
typedef struct PkBpe
{
	uint32_t *ids;
	uint32_t *ends; /* byte of the word at which each symbol ends */
	size_t    n;
	size_t    room;
	uint32_t  last_join;            /* byte at which the last merge joined; short words */
	uint32_t  ranks[PK_SHORT_WORD]; /* of the pair (i, i + 1); short words */
	uint32_t *prev, *next;          /* long words */
	uint64_t *heap;                 /* rank << 32 | symbol */
	size_t    n_heap, heap_room;
} PkBpe;

void pk_bpe_free(PkBpe *bpe);

/*
 * The tokens of a word (len > 0, below 2^31). Characters that the vocabulary lacks become byte
 * tokens, the unknown token, or nothing, as the model says.
 */
PkStatus pk_bpe_word(PkBpe *bpe, const PkTokenizer *tokenizer, const char *word, size_t len,
                     PkCancel *cancel, PkError *err);

#endif

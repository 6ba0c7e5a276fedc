/*
 * pretokenize.h
 *    Splitting text into words: the pre_tokenizer of tokenizer.json.
 */
#ifndef PK_PRETOKENIZE_H
#define PK_PRETOKENIZE_H

#include "core/tokenizer/blob.h"

/*
 * One word. start: where its first byte lies in the text that was split; with n_prefix 1 the word
 * begins with a space that is not in the text, and start is the byte after it.
 */
typedef struct PkWord
{
	const char *bytes;
	size_t      len;
	size_t      start;
	size_t      n_prefix;
} PkWord;

typedef PkStatus (*PkWordFn)(void *arg, const PkWord *word);

/* Zero it and set the first five; pk_splitter_free() frees what splitting made. */
typedef struct PkSplitter
{
	const PkTokenizer *tokenizer;
	PkWordFn           take;
	void              *arg;
	PkCancel          *cancel;
	PkError           *err;
	PkRegex           *regexes[PK_MAX_STEPS]; /* our copies */
	char              *prefixed;              /* text with a space before it */
	size_t             prefixed_room;
	size_t             work_bytes; /* since cancel was last looked at */
} PkSplitter;

/* Give the words of bytes [start, end) of text in order; empty ones are left out. */
PkStatus pk_splitter_run(PkSplitter *splitter, const char *text, size_t start, size_t end);
void     pk_splitter_free(PkSplitter *splitter);

#endif

/*
 * match.h
 *    The tokens of a word without merging it.
 *
 * Two tokens fit when merging the bytes of both gives just these two. A word has one division into
 * tokens of which all neighbours fit, and it is the one that merging finds: the first merge across
 * a boundary of another division would show in the two tokens beside it as well. So a word is
 * walked from the left, with the longest token that fits at each place and steps back where none
 * does. This reads a few table entries a token, where merging looks each pair of bytes up.
 *
 * It holds for vocabularies in which each byte is a token and a merge comes later in the list than
 * those that made its parts, as in every list that training made; pk_match_build() leaves the
 * tables out for others, whose words are merged.
 */
#ifndef PK_MATCH_H
#define PK_MATCH_H

#include "core/tokenizer/blob.h"

/*
 * Tables of the tokens of at most PK_MATCH_BYTES that are words of their own. view: as much of a
 * tokenizer as pk_bpe_word() and pk_text_find() over words read. *nodes (n_nodes) and *tokens
 * (view->n_ids) are malloc'ed; *n_nodes is 0, and both are NULL, if the vocabulary is none of the
 * above.
 */
PkStatus pk_match_build(const PkTokenizer *view, uint64_t **nodes, size_t *n_nodes,
                        PkMatchToken **tokens, PkCancel *cancel, PkError *err);

/* False unless every entry is inside and says what the merges and the words say. */
bool pk_match_check(const PkTokenizer *tokenizer);

/*
 * Ids of a word's tokens and the bytes at which they end; room for len of both. Returns their
 * number, or 0: the word has to be merged (len is 0 or above PK_MATCH_BYTES, or no tables).
 */
size_t pk_match_word(const PkTokenizer *tokenizer, const char *word, size_t len, uint32_t *ids,
                     uint32_t *ends);

#endif

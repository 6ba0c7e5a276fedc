/*
 * blocklist.h
 *    Finding many patterns in a text at once.
 *
 * An Aho-Corasick automaton (Aho and Corasick, "Efficient string matching", CACM 18, 1975) over the
 * bytes of the patterns in NFC. Texts are read in NFC, too, so letters in parts, as macOS writes
 * them, are found; places are those of the text as it is. A text takes time linear in its length
 * and the number of matches.
 */
#ifndef PK_BLOCKLIST_H
#define PK_BLOCKLIST_H

#include "core/base/cancel.h"
#include "core/base/status.h"

#define PK_BLOCK_MAX_BYTES ((size_t) 8 << 20) /* all patterns together */

typedef enum PkBlockAction
{
	PK_BLOCK_FLAG, /* the text stays */
	PK_BLOCK_MASK, /* a star for each character of the pattern */
	PK_BLOCK_DROP, /* no text is left */
	PK_N_BLOCK_ACTIONS
} PkBlockAction;

/* -1 if it is none. */
int pk_block_action(const char *name, size_t len);

typedef struct PkBlockPattern
{
	const char   *text; /* valid UTF-8 */
	size_t        len;  /* at least 1 */
	PkBlockAction action;
} PkBlockPattern;

typedef struct PkBlocklist PkBlocklist;

/* Of n patterns, whose texts are copied. PK_TOO_LONG above PK_BLOCK_MAX_BYTES. Polls cancel. */
PkStatus pk_blocklist_create(const PkBlockPattern *patterns, size_t n, PkBlocklist **out,
                             PkCancel *cancel, PkError *err);
void     pk_blocklist_free(PkBlocklist *list);

typedef struct PkBlockMatch
{
	size_t        pattern;    /* its number in pk_blocklist_create() */
	size_t        start, end; /* bytes of the text in NFC; whole characters */
	PkBlockAction action;
} PkBlockMatch;

typedef struct PkBlockScan PkBlockScan;

/* list and text (valid UTF-8) must stay. Polls cancel. */
PkStatus pk_block_scan_create(const PkBlocklist *list, const char *text, size_t len,
                              PkBlockScan **out, PkCancel *cancel, PkError *err);
void     pk_block_scan_free(PkBlockScan *scan);

/* The next match, overlapping ones too: in order of their ends, the longest first. */
PkStatus pk_block_next(PkBlockScan *scan, PkBlockMatch *match, bool *found, PkError *err);

/* The text in NFC: the scan's, or the caller's. */
const char *pk_block_text(const PkBlockScan *scan);

/* Bytes [*start, *end) of the text in NFC become those of the text as it is. */
void pk_block_source(const PkBlockScan *scan, size_t *start, size_t *end);

#endif

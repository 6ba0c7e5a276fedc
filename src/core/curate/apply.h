/*
 * apply.h
 *    What a blocklist leaves of a text.
 */
#ifndef PK_APPLY_H
#define PK_APPLY_H

#include "core/curate/blocklist.h"

/* Zero it first; pk_outcome_free() frees. */
typedef struct PkOutcome
{
	bool   is_dropped; /* a pattern says drop: there is no text */
	bool   is_masked;  /* text is another one than before; else it is not written */
	char  *text;
	size_t len, room;
} PkOutcome;

void pk_outcome_free(PkOutcome *outcome);

/*
 * Put a star for each character of the patterns that mask; stretches of text that overlapping
 * patterns cover become one. Other bytes stay as they are, in whatever normal form. Polls cancel.
 */
PkStatus pk_blocklist_apply(const PkBlocklist *list, const char *text, size_t len, PkOutcome *out,
                            PkCancel *cancel, PkError *err);

#endif

/*
 * kinds.h
 *    The kinds and what stands for them.
 */
#ifndef PK_KINDS_H
#define PK_KINDS_H

#include "core/base/platform.h"

/* What a span is replaced by, and the vocabulary's other spelling of it. */
typedef struct PkPiiMark
{
	const char *text;
	size_t      len;
	bool        is_label;
} PkPiiMark;

extern const PkPiiMark pk_pii_marks[];
extern const size_t    pk_pii_n_marks;

#endif

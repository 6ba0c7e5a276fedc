/*
 * callcache.h
 *    One run per question: answers that the same call, or another one in this transaction, gave.
 *
 * The planner evaluates a call with constant arguments for its estimates and the executor does so
 * again for each row. A key holds everything that an answer depends on, so a hit is never wrong.
 */
#ifndef PKPG_CALLCACHE_H
#define PKPG_CALLCACHE_H

#include "fmgr.h"
#include "lib/stringinfo.h"

#include "core/engine/engine.h"

/*
 * The bytes of a question. input is the text as given, before it is tokenized; when it is too long
 * for any context key stays empty, and nothing is found or kept for it.
 */
void pkpg_question(StringInfo key, const PkRequestSpec *spec, const char *input, size_t len);

/* The answer to key, or NULL. Valid until the next call of this file. */
const void *pkpg_answer_find(FmgrInfo *site, const StringInfoData *key, size_t *len);

/* Keep a copy of an answer for the call site, and for the transaction unless it is very long. */
void pkpg_answer_keep(FmgrInfo *site, const StringInfoData *key, const void *answer, size_t len);

#endif

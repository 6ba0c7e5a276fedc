/*
 * generation.h
 *    What the functions that generate whole answers share.
 */
#ifndef PKPG_GENERATION_H
#define PKPG_GENERATION_H

#include "fmgr.h"

#include "pg/host/host.h"

/*
 * The answer to a call with polyko_generate's arguments (argument 0 is not NULL): from this call
 * site, this transaction, or the model; redacted as the call or the model says. Belongs to
 * CurrentMemoryContext.
 */
const PkpgGeneration *pkpg_generate(FunctionCallInfo fcinfo);

#endif

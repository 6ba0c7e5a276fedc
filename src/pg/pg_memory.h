/*
 * pg_memory.h
 *    Core handles tied to memory contexts, and core's cancel flag tied to interrupts.
 */
#ifndef PKPG_PG_MEMORY_H
#define PKPG_PG_MEMORY_H

#include "postgres.h"

#include "core/base/cancel.h"

/*
 * Call free_fn(handle) when context is reset or deleted: also after an error, a cancel or a
 * rollback. The returned tie lets go of the handle early: pkpg_untie() frees it now, once.
 */
typedef struct PkpgTie PkpgTie;

extern PkpgTie *pkpg_tie(MemoryContext context, void (*free_fn)(void *), void *handle);
extern void     pkpg_untie(PkpgTie *tie);

/*
 * A cancel flag that is set when this backend was told to cancel its statement or to end. Other
 * interrupts do not stop work: call CHECK_FOR_INTERRUPTS() between steps to serve them.
 */
extern void pkpg_cancel_init(PkCancel *cancel);

#endif

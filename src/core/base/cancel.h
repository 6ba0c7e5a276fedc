/*
 * cancel.h
 *    How long work is stopped from outside.
 *
 * The thread that started the work calls pk_cancel_poll() at least every few milliseconds; pool
 * threads only read the flag with pk_cancel_is_set(), once per tile (about 1 ms of work). Work
 * that sees the flag unwinds and returns PK_CANCELLED. A NULL PkCancel never cancels.
 */
#ifndef PK_CANCEL_H
#define PK_CANCEL_H

#include <stdatomic.h>

#include "core/base/platform.h"

typedef struct PkCancel
{
	atomic_bool is_set;
	bool (*poll)(void *arg); /* NULL, or asks the host: true means stop. Calling thread only. */
	void *poll_arg;
} PkCancel;

static inline bool
pk_cancel_is_set(PkCancel *cancel)
{
	return cancel != NULL && atomic_load_explicit(&cancel->is_set, memory_order_relaxed);
}

static inline bool
pk_cancel_poll(PkCancel *cancel)
{
	if (cancel == NULL)
		return false;
	if (cancel->poll != NULL && cancel->poll(cancel->poll_arg))
		atomic_store_explicit(&cancel->is_set, true, memory_order_relaxed);
	return pk_cancel_is_set(cancel);
}

#endif

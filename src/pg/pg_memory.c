/*
 * pg_memory.c
 *    Reset callbacks and the interrupt poll.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "pg/pg_memory.h"

struct PkpgTie
{
	MemoryContextCallback callback;
	void (*free_fn)(void *);
	void *handle;
};

static void free_tied(void *arg);
static bool is_interrupted(void *arg);

PkpgTie *
pkpg_tie(MemoryContext context, void (*free_fn)(void *), void *handle)
{
	PkpgTie *tie = MemoryContextAlloc(context, sizeof(PkpgTie));

	tie->free_fn = free_fn;
	tie->handle = handle;
	tie->callback.func = free_tied;
	tie->callback.arg = tie;
	MemoryContextRegisterResetCallback(context, &tie->callback);
	return tie;
}

void
pkpg_untie(PkpgTie *tie)
{
	free_tied(tie);
}

static void
free_tied(void *arg)
{
	PkpgTie *tie = arg;
	void    *handle = tie->handle;

	tie->handle = NULL;
	if (handle != NULL)
		tie->free_fn(handle);
}

void
pkpg_cancel_init(PkCancel *cancel)
{
	atomic_init(&cancel->is_set, false);
	cancel->poll = is_interrupted;
	cancel->poll_arg = NULL;
}

static bool
is_interrupted(void *arg)
{
	(void) arg;
	return InterruptPending && (QueryCancelPending || ProcDiePending);
}

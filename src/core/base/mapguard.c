/*
 * mapguard.c
 *    The handler of SIGBUS. It runs in the thread that reads the map, in the middle of a kernel, so
 *    it calls nothing but mmap and changes nothing but the mapping's mark.
 *
 * The list of mappings is changed only while nobody reads one of them (see pk_map_guard()), so the
 * handler needs no lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/mapguard.h"

static PkMapping       *guarded = NULL;
static uintptr_t        page_size = 0; /* 0: SIGBUS is not ours yet */
static struct sigaction before;

static void       take_signal(void);
static void       on_sigbus(int number, siginfo_t *info, void *context);
static PkMapping *guarded_at(uintptr_t address);
static bool       make_zeros(PkMapping *mapping, uintptr_t address);
static void       pass_on(int number, siginfo_t *info, void *context);

void
pk_map_guard(PkMapping *mapping)
{
	if (page_size == 0)
		take_signal();
	mapping->next_guarded = guarded;
	guarded = mapping;
}

static void
take_signal(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	page_size = (uintptr_t) sysconf(_SC_PAGESIZE);
	sigemptyset(&action.sa_mask);
	(void) sigaction(SIGBUS, &action, &before); /* of a valid signal: never fails */
}

void
pk_map_unguard(PkMapping *mapping)
{
	PkMapping **link = &guarded;

	while (*link != NULL && *link != mapping)
		link = &(*link)->next_guarded;
	if (*link != NULL)
		*link = mapping->next_guarded;
}

bool
pk_map_is_lost(const PkMapping *mapping)
{
	return atomic_load_explicit(&mapping->is_lost, memory_order_acquire);
}

static void
on_sigbus(int number, siginfo_t *info, void *context)
{
	int        saved_errno = errno;
	uintptr_t  address = (uintptr_t) info->si_addr;
	PkMapping *mapping = info->si_code > 0 ? guarded_at(address) : NULL; /* else: somebody's kill */

	if (mapping == NULL || !make_zeros(mapping, address))
		pass_on(number, info, context);
	errno = saved_errno;
}

static PkMapping *
guarded_at(uintptr_t address)
{
	for (PkMapping *mapping = guarded; mapping != NULL; mapping = mapping->next_guarded)
	{
		uintptr_t begin = (uintptr_t) mapping->data;

		if (address >= begin && address < begin + mapping->size)
			return mapping;
	}
	return NULL;
}

/* All behind the page, too: a map has only so many parts, and what is computed is void anyhow. */
static bool
make_zeros(PkMapping *mapping, uintptr_t address)
{
	uintptr_t page = address / page_size * page_size;
	uintptr_t end = (uintptr_t) mapping->data + mapping->size;

	/* before there are zeros to compute with */
	atomic_store_explicit(&mapping->is_lost, true, memory_order_release);
	/* mmap() without what a sanitizer does there: it is no write that others must not see */
	return syscall(SYS_mmap, page, end - page, PROT_READ,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != -1;
}

/* To the handler before ours. If there is none, the access is repeated and ends the process. */
static void
pass_on(int number, siginfo_t *info, void *context)
{
	if ((before.sa_flags & SA_SIGINFO) != 0)
		before.sa_sigaction(number, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(number);
	else
	{
		(void) sigaction(number, &before, NULL);
		if (info->si_code <= 0)
			(void) raise(number);
	}
}

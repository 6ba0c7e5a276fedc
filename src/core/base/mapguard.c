/*
 * mapguard.c
 *    The handler of SIGBUS. It runs in the thread that reads the map, in the middle of a kernel, so
 *    it calls nothing but mmap and changes nothing but the mapping's mark, or jumps.
 *
 * The list of mappings is changed only while nobody reads one of them (see pk_map_guard()), so the
 * handler needs no lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/mapguard.h"

/* Who is inside pk_map_try(). */
typedef struct Try
{
	sigjmp_buf way_out;
	pthread_t  thread;
} Try;

static PkMapping *guarded = NULL;
static Try *volatile trying = NULL;
static uintptr_t        page_size;
static struct sigaction before;

static void       take_signal(void);
static void       unblock(void);
static void       on_sigbus(int number, siginfo_t *info, void *context);
static PkMapping *guarded_at(uintptr_t address);
static bool       make_zeros(PkMapping *mapping, uintptr_t address);
static void       pass_on(int number, siginfo_t *info, void *context);

void
pk_map_guard(PkMapping *mapping)
{
	take_signal();
	mapping->next_guarded = guarded;
	guarded = mapping;
}

/* Again and again, as others may have taken it. */
static void
take_signal(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	struct sigaction now;

	page_size = (uintptr_t) sysconf(_SC_PAGESIZE);
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction != on_sigbus)
		(void) sigaction(SIGBUS, &action, &before);
}

void
pk_map_allow_zeros(PkMapping *mapping)
{
	mapping->may_be_zeros = true;
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
pk_map_try(void (*read)(void *arg), void *arg)
{
	Try here = {.thread = pthread_self()};

	/* without the mask: that would be a system call each time */
	if (sigsetjmp(here.way_out, 0) != 0)
	{
		trying = NULL;
		unblock();
		return false;
	}
	trying = &here;
	read(arg);
	trying = NULL;
	return true;
}

/* What the handler left blocked as it did not return. */
static void
unblock(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
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

	/* before there are zeros to compute with */
	if (mapping != NULL)
		atomic_store_explicit(&mapping->is_lost, true, memory_order_release);
	if (mapping != NULL && !mapping->may_be_zeros && trying != NULL &&
	    pthread_equal(trying->thread, pthread_self()))
		siglongjmp(trying->way_out, 1);
	if (mapping == NULL || !mapping->may_be_zeros || !make_zeros(mapping, address))
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

	/* mmap() without what a sanitizer does there: it is no write that others must not see */
	return syscall(SYS_mmap, page, end - page, (long) PROT_READ,
	               (long) (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE), -1L, 0L) != -1;
}

/* To the handler before ours. If there is none, the access is repeated and ends the process. */
static void
pass_on(int number, siginfo_t *info, void *context)
{
	if ((before.sa_flags & SA_SIGINFO) != 0)
		before.sa_sigaction(number, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(number);
	else if (before.sa_handler == SIG_DFL || info->si_code > 0)
	{
		(void) sigaction(number, &before, NULL);
		if (info->si_code <= 0)
			(void) raise(number);
	}
}

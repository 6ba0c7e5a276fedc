/*
 * cli_signals.c
 *    SIGINT, SIGTERM and SIGHUP while a file must not be left behind.
 *
 * Between catch and release a signal only sets a flag, which the conversion polls; at release the
 * program ends by the signal, as its caller expects. A handler has no argument, so the flag and
 * what was there before are globals; the main thread alone uses them.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>

#include "cli/cli.h"

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

static struct sigaction      before[PK_LENGTH(signals)];
static volatile sig_atomic_t came; /* the first one; 0: none */

static void remember(int number);

void
cli_signals_catch(void)
{
	struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESTART};

	came = 0;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < PK_LENGTH(signals); i++)
	{
		(void) sigaction(signals[i], &action, &before[i]);
		if (before[i].sa_handler == SIG_IGN) /* nohup */
			(void) sigaction(signals[i], &before[i], NULL);
	}
}

static void
remember(int number)
{
	if (came == 0)
		came = number;
}

bool
cli_signals_came(void *unused)
{
	(void) unused;
	return came != 0;
}

void
cli_signals_release(void)
{
	for (size_t i = 0; i < PK_LENGTH(signals); i++)
		(void) sigaction(signals[i], &before[i], NULL);
	if (came != 0)
		(void) raise(came);
}

/*
 * clock.c
 *    The monotonic clock.
 */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "core/base/clock.h"

uint64_t
pk_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

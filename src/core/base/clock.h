/*
 * clock.h
 *    The monotonic clock.
 */
#ifndef PK_CLOCK_H
#define PK_CLOCK_H

#include <stdint.h>

/* Microseconds since some moment before this process began. */
uint64_t pk_clock_us(void);

#endif

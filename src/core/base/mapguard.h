/*
 * mapguard.h
 *    A mapped file that can't be read any more: an error instead of SIGBUS.
 *
 * A page that the disk refuses, or that a file lost when it was cut, is SIGBUS for whoever reads it
 * from a map, and in a backend that ends all sessions of the server. For a guarded mapping there
 * are two ways out, and both mark it as lost. pk_map_try() ends what was reading: for offsets that
 * were checked once. After pk_map_allow_zeros() the page, and all behind it, become zeros, and what
 * was computed from them is void: for data that any bytes are good for, such as weights, and for
 * many threads.
 */
#ifndef PK_MAPGUARD_H
#define PK_MAPGUARD_H

#include "core/base/mapfile.h"

/*
 * Guard a mapping until pk_map_unguard() (of one that is not guarded: nothing). *mapping must stay
 * where it is until then. SIGBUS is taken for the process; one elsewhere does what it would have
 * done. Not while another thread reads a guarded mapping.
 */
void pk_map_guard(PkMapping *mapping);
void pk_map_unguard(PkMapping *mapping);
void pk_map_allow_zeros(PkMapping *mapping);

/*
 * Run read(arg); false if it ended early as it came to a page that can't be read. It leaves what it
 * has allocated, so it should be short; it takes no locks, does not throw, and calls no
 * pk_map_try(). By one thread of the process at a time.
 */
bool pk_map_try(void (*read)(void *arg), void *arg);

/* Something of it was not there when it was read. It stays so. */
bool pk_map_is_lost(const PkMapping *mapping);

#endif

/*
 * mapguard.h
 *    A mapped file that can't be read any more: zeros instead of SIGBUS.
 *
 * A page that the disk refuses, or that a file lost when it was cut, is SIGBUS for whoever reads it
 * from a map, and in a backend that ends all sessions of the server. In a guarded mapping such a
 * page, and all behind it, become zeros, and the mapping is marked: what was computed from it is
 * void. For data that any bytes are good for, such as weights; not for offsets that were checked
 * once.
 */
#ifndef PK_MAPGUARD_H
#define PK_MAPGUARD_H

#include "core/base/mapfile.h"

/*
 * Guard a mapping until pk_map_unguard() (of one that is not guarded: nothing). *mapping must stay
 * where it is until then. The first one takes SIGBUS for the process; a SIGBUS elsewhere does what
 * it would have done. Not while another thread reads a guarded mapping.
 */
void pk_map_guard(PkMapping *mapping);
void pk_map_unguard(PkMapping *mapping);

/* Something of it was not there when it was read. It stays so. */
bool pk_map_is_lost(const PkMapping *mapping);

#endif

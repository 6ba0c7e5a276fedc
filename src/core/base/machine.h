/*
 * machine.h
 *    What this process may use of the machine: processors and memory, by its affinity mask and its
 *    cgroups (a container's limits, systemd's CPUQuota and MemoryMax).
 */
#ifndef PK_MACHINE_H
#define PK_MACHINE_H

#include "core/base/platform.h"

/* Processors: by affinity mask and CPU quota, a part of one counts as one; 1 to PK_MAX_THREADS. */
size_t pk_n_processors(void);

/* Bytes of memory, page cache included, or SIZE_MAX if the system doesn't say. */
size_t pk_memory_limit(void);

/*
 * What cgroups say alone, from the files below root ("" is this system's), and at_most if they
 * don't say or say more. The smallest number counts of all groups from the process's own to the
 * root: /proc/self/cgroup names them, and in a container, where those names are the host's, its
 * own is the root (groups made inside of such a container are not seen). Trees are taken to be
 * where systemd and containers mount them. Files of v1 and v2:
 * Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of Linux, sched-bwc.rst.
 */
size_t pk_cgroup_processors(const char *root, size_t at_most);
size_t pk_cgroup_memory(const char *root, size_t at_most);

#endif

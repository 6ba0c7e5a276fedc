/*
 * machine.c
 *    Affinity mask, memory of the machine, and the limits of cgroups.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/machine.h"
#include "core/base/threads.h"

#define DIR_ROOM 4096

/* Takes what the directory of one group says into *least. */
typedef void (*LookFn)(const char *dir, size_t *least);

static size_t affinity_processors(void);
static size_t machine_memory(void);
static void   look_at_groups(const char *root, const char *controller, LookFn look, size_t *least);
static void   look_at_group(const char *root, char *line, const char *controller, LookFn look,
                            size_t *least);
static bool   is_listed(const char *names, const char *name);
static void   look_upwards(char *dir, size_t top, LookFn look, size_t *least);
static void   look_at_quota(const char *dir, size_t *least);
static void   look_at_memory(const char *dir, size_t *least);
static int    read_numbers(const char *dir, const char *name, long long numbers[2]);

size_t
pk_n_processors(void)
{
	size_t n = pk_cgroup_processors("", affinity_processors());

	return n < 1 ? 1 : n > PK_MAX_THREADS ? PK_MAX_THREADS : n;
}

size_t
pk_memory_limit(void)
{
	return pk_cgroup_memory("", machine_memory());
}

size_t
pk_cgroup_processors(const char *root, size_t at_most)
{
	look_at_groups(root, "cpu", look_at_quota, &at_most);
	return at_most;
}

size_t
pk_cgroup_memory(const char *root, size_t at_most)
{
	look_at_groups(root, "memory", look_at_memory, &at_most);
	return at_most;
}

static size_t
affinity_processors(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (size_t) CPU_COUNT(&set);

	long n = sysconf(_SC_NPROCESSORS_ONLN); /* more than fit into the set */

	return n < 1 ? 1 : (size_t) n;
}

static size_t
machine_memory(void)
{
	long   n_pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
	size_t bytes;

	if (n_pages <= 0 || page_bytes <= 0 ||
	    !pk_size_mul((size_t) n_pages, (size_t) page_bytes, &bytes))
		return SIZE_MAX;
	return bytes;
}

static void
look_at_groups(const char *root, const char *controller, LookFn look, size_t *least)
{
	char   name[DIR_ROOM];
	char  *line = NULL;
	size_t room = 0;

	(void) snprintf(name, sizeof(name), "%s/proc/self/cgroup", root);

	FILE *groups = fopen(name, "re");

	if (groups == NULL)
		return;
	while (getline(&line, &room, groups) > 0)
		look_at_group(root, line, controller, look, least);
	free(line);
	(void) fclose(groups);
}

/* A line is ID:CONTROLLERS:PATH. v2 has one tree, without names, v1 one for each list of them. */
static void
look_at_group(const char *root, char *line, const char *controller, LookFn look, size_t *least)
{
	char  dir[DIR_ROOM];
	char *names = strchr(line, ':');
	char *path = names != NULL ? strchr(names + 1, ':') : NULL;

	if (path == NULL)
		return;
	*path++ = '\0';
	path[strcspn(path, "\n")] = '\0';
	if (strncmp(path, "/..", 3) == 0) /* outside of this namespace: its root, to be careful */
		*path = '\0';

	bool is_v2 = *++names == '\0';

	if (!is_v2 && !is_listed(names, controller))
		return;

	int top = snprintf(dir, sizeof(dir), "%s/sys/fs/cgroup/%s", root, is_v2 ? "" : controller);

	if (top < 0 || (size_t) top + strlen(path) >= sizeof(dir))
		return;
	memcpy(dir + top, path, strlen(path) + 1);
	look_upwards(dir, (size_t) top, look, least);
}

static bool
is_listed(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = names; at != NULL; at = strchr(at, ','))
	{
		at += *at == ',';
		if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
	}
	return false;
}

/* A group and all above it; the directory's first top bytes are the root's. Cuts dir. */
static void
look_upwards(char *dir, size_t top, LookFn look, size_t *least)
{
	char *slash;

	look(dir, least);
	while ((slash = strrchr(dir + top, '/')) != NULL)
	{
		*slash = '\0';
		look(dir, least);
	}
}

/* v2 has both numbers in one file, v1 in two. */
static void
look_at_quota(const char *dir, size_t *least)
{
	long long quota[2] = {0}, period[2] = {0}; /* microseconds */

	if (read_numbers(dir, "cpu.max", quota) == 2)
		period[0] = quota[1];
	else if (read_numbers(dir, "cpu.cfs_quota_us", quota) == 1)
		(void) read_numbers(dir, "cpu.cfs_period_us", period);
	if (quota[0] <= 0 || period[0] <= 0)
		return;

	unsigned long long n = ((unsigned long long) quota[0] + (unsigned long long) period[0] - 1) /
	                       (unsigned long long) period[0];

	if (n < *least)
		*least = (size_t) n;
}

/* memory.high, where the system begins to take pages back, is as good as a limit for a cache. */
static void
look_at_memory(const char *dir, size_t *least)
{
	static const char *const names[] = {"memory.max", "memory.high", "memory.limit_in_bytes"};

	for (size_t i = 0; i < PK_LENGTH(names); i++)
	{
		long long numbers[2];

		if (read_numbers(dir, names[i], numbers) >= 1 && numbers[0] > 0 &&
		    (unsigned long long) numbers[0] < *least)
			*least = (size_t) numbers[0];
	}
}

/* How many numbers a file begins with, at most 2: none if it is missing or says "max". */
static int
read_numbers(const char *dir, const char *name, long long numbers[2])
{
	char path[DIR_ROOM + 32];

	(void) snprintf(path, sizeof(path), "%s/%s", dir, name);

	FILE *file = fopen(path, "re");

	if (file == NULL)
		return 0;

	int n = fscanf(file, "%lld %lld", &numbers[0], &numbers[1]);

	(void) fclose(file);
	return n < 0 ? 0 : n;
}

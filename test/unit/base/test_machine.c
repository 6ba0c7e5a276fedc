/*
 * test_machine.c
 *    Processors and memory of this process, and cgroups made of files.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tap.h"
#include "core/base/machine.h"
#include "core/base/threads.h"

#define GB ((size_t) 1 << 30)

static char root[100];

/* A file of the made-up system, and the directories above it. */
static void
put(const char *name, const char *text)
{
	char path[300];

	snprintf(path, sizeof(path), "%s%s", root, name);
	for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++)
	{
		*at = '\0';
		(void) mkdir(path, 0700);
		*at = '/';
	}

	FILE *out = fopen(path, "w");

	if (out == NULL || fputs(text, out) < 0 || fclose(out) != 0)
		exit(2);
}

/* A file of a group: name begins with the tree (v1) or the path (v2). */
static void
put_group(const char *name, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", name);
	put(path, text);
}

static void
remove_root(void)
{
	char command[150];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	if (root[0] != '\0' && system(command) != 0)
		diag("%s is left", root);
}

static void
new_root(const char *groups)
{
	remove_root();
	snprintf(root, sizeof(root), "/tmp/polyko_machine.XXXXXX");
	if (mkdtemp(root) == NULL)
		exit(2);
	put("/proc/self/cgroup", groups);
}

static void
is_limited(size_t processors, size_t memory, const char *name)
{
	size_t n = pk_cgroup_processors(root, 64), bytes = pk_cgroup_memory(root, 100 * GB);

	if (!ok(n == processors && bytes == memory, "%s", name))
		diag("got %zu processors and %zu bytes, want %zu and %zu", n, bytes, processors, memory);
}

static void
test_v2(void)
{
	new_root("0::/system.slice/postgresql.service\n");
	is_limited(64, 100 * GB, "v2: groups without files limit nothing");
	put_group("system.slice/postgresql.service/cpu.max", "max 100000\n");
	put_group("system.slice/postgresql.service/memory.max", "max\n");
	put_group("system.slice/postgresql.service/memory.high", "max\n");
	is_limited(64, 100 * GB, "nor does the word max");
	put_group("system.slice/postgresql.service/cpu.max", "250000 100000\n");
	put_group("system.slice/postgresql.service/memory.max", "8589934592\n");
	is_limited(3, 8 * GB, "a quota and a limit do; half a processor counts as one");
	put_group("system.slice/cpu.max", "200000 100000\n");
	put_group("system.slice/memory.max", "4294967296\n");
	is_limited(2, 4 * GB, "a smaller one of the group above counts");
	put_group("system.slice/memory.max", "17179869184\n");
	put_group("cpu.max", "6500000 100000\n");
	put_group("system.slice/postgresql.service/memory.high", "3221225472\n");
	is_limited(2, 3 * GB, "larger ones don't, and memory.high is a limit");
	put_group("other.slice/memory.max", "1048576\n");
	put_group("system.slice/postgresql.service/child/memory.max", "1048576\n");
	is_limited(2, 3 * GB, "other groups are nothing to this process");
}

static void
test_v1(void)
{
	new_root("9:name=systemd:/\n4:memory:/pod/one\n3:cpuset:/other\n1:cpu,cpuacct:/pod\n0::/\n");
	put_group("memory/memory.limit_in_bytes", "9223372036854771712\n");
	put_group("cpu/pod/cpu.cfs_quota_us", "-1\n");
	put_group("cpu/pod/cpu.cfs_period_us", "100000\n");
	is_limited(64, 100 * GB, "v1: its numbers for no limit are none");
	put_group("memory/pod/one/memory.limit_in_bytes", "2147483648\n");
	put_group("cpu/pod/cpu.cfs_quota_us", "100001\n");
	is_limited(2, 2 * GB, "each tree has its own");
	put_group("cpu/other/cpu.cfs_quota_us", "1\n");
	put_group("cpu/other/cpu.cfs_period_us", "1\n");
	is_limited(2, 2 * GB, "a tree whose name begins alike is another");
}

/* In a container without a namespace of groups their names are the host's. */
static void
test_container(void)
{
	new_root("4:memory:/docker/0123\n1:cpuacct,cpu:/docker/0123\n");
	put_group("memory/memory.limit_in_bytes", "2147483648\n");
	put_group("cpu/cpu.cfs_quota_us", "400000\n");
	put_group("cpu/cpu.cfs_period_us", "100000\n");
	is_limited(4, 2 * GB, "a container's own group is the root");
	new_root("0::/../../../elsewhere\n");
	put_group("memory.max", "2147483648\n");
	put("/elsewhere/memory.max", "1048576\n");
	is_limited(64, 2 * GB, "outside of its namespace a process counts the root that it sees");
}

static void
test_odd_files(void)
{
	static char long_line[10000];

	new_root("");
	is_limited(64, 100 * GB, "no groups");
	new_root("nonsense\n4:memory\n\n:\n::\n0::/a\n");
	put_group("a/memory.max", "0\n");
	put_group("a/cpu.max", "100000\n");
	put_group("memory.max", "-5\n");
	put_group("cpu.max", "0 0\n");
	is_limited(64, 100 * GB, "lines and numbers that mean nothing");
	memset(long_line, 'x', sizeof(long_line) - 1);
	memcpy(long_line, "0::/", 4);
	new_root(long_line);
	put_group("memory.max", "2147483648\n");
	is_limited(64, 100 * GB, "a name longer than a path can be");
	remove_root();
	is_limited(64, 100 * GB, "a system without the files");
}

static void
test_affinity(void)
{
	cpu_set_t before, one;
	size_t    first = 0;

	if (sched_getaffinity(0, sizeof(before), &before) != 0)
	{
		skip("no affinity mask here");
		return;
	}
	while (!CPU_ISSET(first, &before))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	if (sched_setaffinity(0, sizeof(one), &one) != 0)
	{
		skip("the affinity mask can't be changed here");
		return;
	}
	is_int((long long) pk_n_processors(), 1, "a process on one processor has one");
	sched_setaffinity(0, sizeof(before), &before);
}

/* As the system tells everybody, in kB; a hundredth aside, as its ways of telling differ. */
static void
test_this_system(void)
{
	unsigned long kb = 0;
	size_t        bytes = pk_memory_limit();
	FILE         *meminfo = fopen("/proc/meminfo", "r");

	ok(pk_n_processors() >= 1 && pk_n_processors() <= PK_MAX_THREADS, "there is a processor");
	if (meminfo == NULL || fscanf(meminfo, "MemTotal: %lu kB", &kb) != 1)
		skip("no /proc/meminfo");
	else
		ok(bytes > 0 && bytes / 1024 <= kb / 100 * 101 &&
		       (bytes / 1024 >= kb / 100 * 99 || pk_cgroup_memory("", SIZE_MAX) == bytes),
		   "the memory is what /proc/meminfo or a cgroup says: %zu bytes, %lu kB", bytes, kb);
	if (meminfo != NULL)
		fclose(meminfo);
}

int
main(void)
{
	test_v2();
	test_v1();
	test_container();
	test_odd_files();
	test_affinity();
	test_this_system();
	return done_testing();
}

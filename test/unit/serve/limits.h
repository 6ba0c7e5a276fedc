/*
 * limits.h
 *    Tests in which memory runs out.
 */
#ifndef LIMITS_H
#define LIMITS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* A sanitizer needs the whole address space. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_LIMITS 0
#else
#define HAS_LIMITS 1
#endif

/* This process may have so much more; SIZE_MAX: as much as it likes. */
__attribute__((unused)) static void
allow_more(size_t bytes)
{
	struct rlimit limit;
	FILE         *statm = fopen("/proc/self/statm", "r");
	size_t        n_pages = 0;

	if (statm == NULL || fscanf(statm, "%zu", &n_pages) != 1 || getrlimit(RLIMIT_AS, &limit) != 0)
		abort();
	fclose(statm);
	limit.rlim_cur =
		bytes == SIZE_MAX ? limit.rlim_max : n_pages * (size_t) sysconf(_SC_PAGESIZE) + bytes;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		abort();
}

#endif

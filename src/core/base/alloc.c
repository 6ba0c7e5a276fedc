/*
 * alloc.c
 *    malloc and mmap behind PkStatus.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "core/base/alloc.h"

#define HUGE_PAGE_BYTES ((size_t) 2 << 20)

PkStatus
pk_calloc(size_t n, size_t size, void **out, PkError *err)
{
	*out = calloc(n > 0 ? n : 1, size > 0 ? size : 1);
	if (*out == NULL)
		return pk_error(err, PK_NO_MEMORY, "out of memory: %zu items of %zu bytes", n, size);
	return PK_OK;
}

PkStatus
pk_grow(void **array, size_t *n_room, size_t n_needed, size_t size, PkError *err)
{
	if (n_needed <= *n_room)
		return PK_OK;

	size_t n_new = *n_room < 16 ? 16 : *n_room;
	size_t bytes;

	while (n_new < n_needed)
		if (!pk_size_mul(n_new, 2, &n_new))
			return pk_error(err, PK_NO_MEMORY, "out of memory: %zu items", n_needed);

	void *grown = pk_size_mul(n_new, size, &bytes) ? realloc(*array, bytes) : NULL;

	if (grown == NULL)
		return pk_error(err, PK_NO_MEMORY, "out of memory: %zu items of %zu bytes", n_new, size);
	*array = grown;
	*n_room = n_new;
	return PK_OK;
}

PkStatus
pk_pages_alloc(size_t size_bytes, void **out, PkError *err)
{
	void *pages = mmap(NULL, size_bytes > 0 ? size_bytes : 1, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return pk_error(err, PK_NO_MEMORY, "out of memory: could not map %zu bytes", size_bytes);
	if (size_bytes >= HUGE_PAGE_BYTES)
		(void) madvise(pages, size_bytes, MADV_HUGEPAGE); /* advice: refusal costs only speed */
	*out = pages;
	return PK_OK;
}

void
pk_pages_discard(void *pages, size_t size_bytes)
{
	if (pages != NULL && size_bytes > 0)
		(void) madvise(pages, size_bytes, MADV_DONTNEED);
}

void
pk_pages_free(void *pages, size_t size_bytes)
{
	if (pages != NULL)
		(void) munmap(pages, size_bytes > 0 ? size_bytes : 1);
}

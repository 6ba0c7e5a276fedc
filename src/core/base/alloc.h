/*
 * alloc.h
 *    Memory for core: checked sizes, malloc that reports, and pages for large buffers.
 *
 * Small things come from malloc and belong to the handle that made them; the PostgreSQL layer
 * ties each handle to a memory context callback, so an error frees it. Large buffers (KV cache,
 * activations) are mapped, so that freeing them gives the memory back at once.
 */
#ifndef PK_ALLOC_H
#define PK_ALLOC_H

#include "core/base/status.h"

/* *out = a * b or a + b; false on overflow. */
static inline bool
pk_size_mul(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

static inline bool
pk_size_add(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

/* n rounded up to a multiple of step (step > 0; the caller knows that n + step fits). */
static inline size_t
pk_round_up(size_t n, size_t step)
{
	return (n + step - 1) / step * step;
}

/* n zeroed items of size bytes in *out (never NULL on PK_OK, also for n = 0); free() frees. */
PkStatus pk_calloc(size_t n, size_t size, void **out, PkError *err);

/*
 * Grow *array (n_room items of size bytes, malloc'ed) so that it holds n_needed items; doubles.
 * On failure the array is unchanged.
 */
PkStatus pk_grow(void **array, size_t *n_room, size_t n_needed, size_t size, PkError *err);

/* size_bytes zeroed bytes, page-aligned, huge-page advice given when large. */
PkStatus pk_pages_alloc(size_t size_bytes, void **out, PkError *err);
void     pk_pages_free(void *pages, size_t size_bytes);

/* Give the memory back but keep the addresses; what was there is lost. Safe in a signal handler. */
void pk_pages_discard(void *pages, size_t size_bytes);

#endif

/*
 * platform.h
 *    Compiler macros that all of core uses. Needs nothing.
 */
#ifndef PK_PLATFORM_H
#define PK_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A function that touches a vector type carries the macro of its tier: clang refuses to inline
 * helpers whose target differs. The attribute is used, never "#pragma GCC target" (clang 14
 * ignores that).
 */
#if defined(__x86_64__)
#define PK_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define PK_TARGET_AVX512 __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")))
#define PK_TARGET_VNNI \
	__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#endif

#define PK_INLINE static inline __attribute__((always_inline, unused))
#define PK_RESTRICT __restrict__
#define PK_ALIGNED(n) __attribute__((aligned(n)))
#define PK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PK_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Ask for the line of an address that is about to be written, also from a core that has it. gcc
 * makes a prefetch for reading of __builtin_prefetch(p, 1) unless it is told of PREFETCHW, which
 * does nothing on processors of x86-64 that lack it.
 */
PK_INLINE void
pk_prefetch_write(const void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw (%0)" : : "r"(p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/* Every tensor in an image and every scratch buffer starts on this many bytes. */
#define PK_ALIGNMENT 64

/*
 * PK_ASSERT: our own mistakes only, on in unit, fuzz and sanitizer builds (PK_ASSERTS defined).
 * A failed assert() in a backend restarts the whole server, so the shipped library has none; an
 * invariant that data could break is checked and returned as PK_INTERNAL.
 */
#ifdef PK_ASSERTS
#include <assert.h>
#define PK_ASSERT(condition) assert(condition)
#else
#define PK_ASSERT(condition) ((void) sizeof(condition))
#endif

#endif

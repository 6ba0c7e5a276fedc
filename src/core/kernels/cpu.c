/*
 * cpu.c
 *    What the processor and the system together can do. Never compiled with wide instructions.
 */
#define _GNU_SOURCE
#include "core/kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XCR0_YMM 0x06 /* SSE and AVX state are saved by the system */
#define XCR0_ZMM 0xe6 /* and mask registers and ZMM */
#define XCR0_TILES 0x60000
#define XSTATE_TILES 18
#define ARCH_GET_XCOMP_SUPP 0x1021 /* of arch_prctl(2), in headers newer than Debian 12's */
#define ARCH_REQ_XCOMP_PERM 0x1023
#define CPUID_AMX (1u << 24 | 1u << 25) /* leaf 7, EDX: AMX-TILE, AMX-INT8 */

static uint64_t
saved_state(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t) high << 32 | low;
}

/* Linux has tile registers for those who ask, since 5.16. */
static bool
has_tiles(void)
{
	uint64_t states = 0;

	return syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &states) == 0 &&
	       (states >> XSTATE_TILES & 1) != 0;
}

uint32_t
pk_cpu_features(void)
{
	uint32_t eax, ebx, ecx, edx, ebx7, ecx7, features = 0;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & bit_OSXSAVE) == 0)
		return 0;

	uint64_t saved = saved_state();
	uint32_t wanted = bit_AVX | bit_FMA | bit_F16C;
	bool     has_first = (ecx & wanted) == wanted;

	if (!__get_cpuid_count(7, 0, &eax, &ebx7, &ecx7, &edx))
		return 0;
	if (has_first && (ebx7 & bit_AVX2) != 0 && (saved & XCR0_YMM) == XCR0_YMM)
		features |= PK_CPU_AVX2;
	wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
	if (features != 0 && (ebx7 & wanted) == wanted && (saved & XCR0_ZMM) == XCR0_ZMM)
		features |= PK_CPU_AVX512;
	if ((features & PK_CPU_AVX512) != 0 && (ecx7 & bit_AVX512VNNI) != 0)
		features |= PK_CPU_VNNI;
	if ((features & PK_CPU_VNNI) != 0 && (edx & CPUID_AMX) == CPUID_AMX &&
	    (saved & XCR0_TILES) == XCR0_TILES && has_tiles())
		features |= PK_CPU_AMX;
	return features;
}

uint32_t
pk_cpu_claim(void)
{
	uint32_t features = pk_cpu_features();

	if ((features & PK_CPU_AMX) != 0 &&
	    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XSTATE_TILES) != 0)
		features &= ~(uint32_t) PK_CPU_AMX;
	return features;
}

#else

#if defined(__aarch64__)

/* Advanced SIMD with half conversion is part of the base architecture. */
uint32_t
pk_cpu_features(void)
{
	return PK_CPU_NEON;
}

#else

uint32_t
pk_cpu_features(void)
{
	return 0;
}
#endif

uint32_t
pk_cpu_claim(void)
{
	return pk_cpu_features();
}
#endif

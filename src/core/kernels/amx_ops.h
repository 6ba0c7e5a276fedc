/*
 * amx_ops.h
 *    The instructions on tiles that the amx tier is made of.
 *
 * As assembly they need no wide flags and no intrinsics of newer compilers; tiles are numbers from
 * 0 to 7. The unit test that runs the tier without AMX puts amx_emulated.h in the place of this
 * file.
 */
#ifndef PK_AMX_OPS_H
#define PK_AMX_OPS_H

#if defined(__x86_64__)

/* config: a PkTileConfig */
#define PK_AMX_CONFIGURE(config) __asm__ volatile("ldtilecfg %0" : : "m"(*(config)) : "memory")
#define PK_AMX_RELEASE() __asm__ volatile("tilerelease" : : : "memory")

#define PK_AMX_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : : : "memory")
#define PK_AMX_LOAD(t, from, stride) \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"(stride) : "memory")
#define PK_AMX_STORE(t, to, stride) \
	__asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"(stride) : "memory")

/* sum += acts * weights: signed activations, signed or unsigned weights */
#define PK_AMX_DOT(sum, acts, weights) \
	__asm__ volatile("tdpbssd %%tmm" #weights ", %%tmm" #acts ", %%tmm" #sum : : : "memory")
#define PK_AMX_DOT_UNSIGNED(sum, acts, weights) \
	__asm__ volatile("tdpbsud %%tmm" #weights ", %%tmm" #acts ", %%tmm" #sum : : : "memory")

#endif

#endif

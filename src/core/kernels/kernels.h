/*
 * kernels.h
 *    The table of arithmetic operations: the contract of every kernel.
 *
 * One constant table per CPU tier; pk_kernels_select() overlays them (scalar <- avx2 <- avx512 <-
 * vnni, or scalar <- neon), so a slot that a tier does not speed up keeps the one below. The table
 * is held by whoever computes, never in a global, so that a test can hold all tiers at once.
 *
 * Bits: every operation gives identical bits in every tier, compiler and machine, except those
 * marked "tier" (f16 products). What makes that true: sums run in PK_LANES (16) fixed lanes with
 * one written tree; products and sums are separate IEEE operations (core is built with
 * -ffp-contract=off), except where every tier fuses them: in attention, the last step of a group of
 * q8 and q4, the scale of a row of q8 with its bias, exp and GELU; integer sums are exact; exp and
 * GELU are ours.
 *
 * Shape letters: T tokens, N output rows, K inputs, E hidden, H heads, D head size, V vocabulary.
 * Buffers are PK_ALIGNMENT-aligned where it says "aligned", and never alias unless it says so.
 */
#ifndef PK_KERNELS_H
#define PK_KERNELS_H

#include "core/base/status.h"
#include "core/kernels/quant.h"

/* Positions of one KV block; attention always works on whole blocks that start at multiples. */
#define PK_KV_BLOCK 16

/* Most queries that a kernel takes through the keys at a time. */
#define PK_ATTEND_QUERIES 8

/*
 * Activations of T tokens, quantised to int8 per group for q8 and q4 (pk_quant_group()).
 * K_pad = K rounded up to the group; padding is zero. All arrays aligned, row stride as named.
 */
typedef struct PkActs
{
	size_t       n_tokens;
	size_t       n_cols; /* K */
	const float *x;      /* (T, K), stride x_stride floats: used by f16 and f32 */
	size_t       x_stride;
	size_t       n_groups; /* K_pad / group */
	int8_t      *q;        /* (T, K_pad), in [-127, 127] */
	size_t       q_stride; /* bytes, at least K_pad */
	float       *scale;    /* (T, n_groups); x is about q * scale */
	int32_t     *sum;      /* (T, n_groups): sum of q over the group, for offset weights */
} PkActs;

/* One part of y = W x: row blocks [block_begin, block_end) of PK_LANES rows for all T tokens. */
typedef struct PkGemm
{
	const PkMatrix *w;
	const PkActs   *acts;
	const float    *bias; /* (N) or NULL; added last, in q8 fused with the scale of the row */
	float          *y;    /* (T, N), stride y_stride floats; rows beyond N are not written */
	size_t          y_stride;
} PkGemm;

/*
 * Attention of one head: queries at consecutive positions of one sequence over its KV blocks. Each
 * gives the bits that it gives alone.
 */
typedef struct PkAttend
{
	size_t       n_queries;
	const float *q;        /* (n_queries, D), stride q_stride; already rotated */
	size_t       q_stride; /* floats */
	size_t       head_size;
	size_t       n_keys; /* keys 0 to n_keys - 1 are seen by the first, one more by the next */
	float        scale;  /* 1 / sqrt(D) */
	const void *const *k_blocks; /* each (D, PK_KV_BLOCK): position is the fast index */
	const void *const *v_blocks; /* each (PK_KV_BLOCK, D) */
	/* Scratch (keys of the last query in whole blocks, n_queries but at most PK_ATTEND_QUERIES). */
	float             *scores;     /* aligned */
	float             *out;        /* (n_queries, D), stride out_stride */
	size_t             out_stride; /* floats */
} PkAttend;

typedef struct PkKernels
{
	const char *name; /* of the highest tier in this table: "scalar", "avx2", "avx512", "vnni"... */
	uint32_t    needs; /* PK_CPU_* bits, all required */

	/* Products. q8 and q4: identical bits everywhere; f16: tier. f32 is not here: see blas.h. */
	void (*gemm_q8)(const PkGemm *g, size_t block_begin, size_t block_end);
	void (*gemm_q4)(const PkGemm *g, size_t block_begin, size_t block_end);
	void (*gemm_f16)(const PkGemm *g, size_t block_begin, size_t block_end);

	/* One token row x (K) to q (K_pad), scale and sum (K_pad / group each). Round half to even. */
	void (*quantize)(const float *x, size_t n_cols, size_t group, int8_t *q, float *scale,
	                 int32_t *sum);

	/* out[i] = (x[i] - mean) / sqrt(var + eps) * gain[i] + bias[i]; out may be x. */
	void (*layernorm)(float *out, const float *x, const float *gain, const float *bias, size_t n,
	                  float eps);

	/* In place: exact GELU, 0.5 x (1 + erf(x / sqrt 2)), and its tanh form ("gelu_new"). */
	void (*gelu)(float *x, size_t n);
	void (*gelu_tanh)(float *x, size_t n);

	/*
	 * Rotate the first n_rot of x (D) in place, halves layout of GPT-NeoX: pairs (i, i + n_rot/2).
	 * cos, sin: (n_rot / 2) of this position.
	 */
	void (*rope)(float *x, const float *cos, const float *sin, size_t n_rot);

	/* Attention with keys and values in f16 ('q8', 'q4', 'f16') or f32 ('f32'). */
	void (*attend_f16)(const PkAttend *a);
	void (*attend_f32)(const PkAttend *a);

	void (*f32_to_f16)(uint16_t *out, const float *x, size_t n); /* to nearest even */
	/* k (PK_KV_BLOCK, D), stride floats apart, to out (D, PK_KV_BLOCK). */
	void (*keys_to_f16)(uint16_t *out, const float *k, size_t stride, size_t head_size);
	void (*f16_to_f32)(float *out, const uint16_t *x, size_t n);

	void (*add)(float *y, const float *x, size_t n);                     /* y += x */
	void (*add_sum)(float *y, const float *a, const float *b, size_t n); /* y = (a + b) + y */
	void (*scale)(float *y, float factor, size_t n);                     /* y *= factor */
	float (*sum_squares)(const float *x, size_t n);
	float (*max)(const float *x, size_t n);                  /* n > 0, no NaN */
	float (*sum_exp)(const float *x, float shift, size_t n); /* sum of exp(x[i] - shift) */
	/* out[i] = exp(x[i] - shift); out may be x */
	void (*exp_shifted)(float *out, const float *x, float shift, size_t n);
} PkKernels;

/* What a processor can do, asked once at run time: CPUID (or HWCAP) and the system's part. */
enum
{
	PK_CPU_AVX2 = 1 << 0,   /* with FMA and F16C, and the system saves YMM */
	PK_CPU_AVX512 = 1 << 1, /* F, BW, VL, DQ, and the system saves ZMM */
	PK_CPU_VNNI = 1 << 2,   /* AVX512_VNNI */
	PK_CPU_NEON = 1 << 3,   /* with FP16 conversion, always there on arm64 */
	PK_CPU_AMX = 1 << 4     /* AMX-INT8, and the system has tiles for who asks */
};

uint32_t pk_cpu_features(void);

/*
 * The same for whoever is going to compute: what the system gives only to a process that asks for
 * it (AMX) is asked for, and left out when it is refused. Holds for all threads, and for children.
 */
uint32_t pk_cpu_claim(void);

/*
 * Fill *out with the best table for cpu_features, or with the tier named by pin: NULL, "" and
 * "auto" mean the best. PK_BAD_ARGUMENT for an unknown name, PK_UNSUPPORTED with a hint for a
 * tier that this machine does not have.
 */
PkStatus pk_kernels_select(uint32_t cpu_features, const char *pin, PkKernels *out, PkError *err);

/* Names of the tiers compiled in, lowest first; NULL past the end. */
const char *pk_kernels_tier_name(size_t i);

#endif

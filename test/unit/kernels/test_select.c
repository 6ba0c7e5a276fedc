/*
 * test_select.c
 *    Tiers by features and by pin. Tables are only looked at, so all tiers can be selected here.
 */
#include "../tap.h"
#include "core/kernels/kernels.h"

#define ALL_FEATURES (~0u)

static PkKernels kernels;
static PkError   err;

static bool
is_complete(const PkKernels *k)
{
	return k->gemm_q8 && k->gemm_q4 && k->gemm_f16 && k->quantize && k->layernorm && k->gelu &&
	       k->gelu_tanh && k->rope && k->attend_f16 && k->attend_f32 && k->f32_to_f16 &&
	       k->keys_to_f16 && k->f16_to_f32 && k->add && k->add_sum && k->scale && k->sum_squares &&
	       k->max && k->sum_exp && k->exp_shifted;
}

static void
test_names(void)
{
	size_t n = 0;

	is_str(pk_kernels_tier_name(0), "scalar", "the lowest tier is scalar");
	while (pk_kernels_tier_name(n) != NULL)
		n++;
	ok(pk_kernels_tier_name(n + 1) == NULL && pk_kernels_tier_name(SIZE_MAX) == NULL,
	   "there is no tier past the end");
	for (size_t i = 0; i < n; i++)
	{
		const char *name = pk_kernels_tier_name(i);

		ok(pk_kernels_select(ALL_FEATURES, name, &kernels, &err) == PK_OK, "%s can be pinned",
		   name);
		is_str(kernels.name, name, "its table has its name");
		ok(is_complete(&kernels), "and every operation");
		ok(i == 0 ? kernels.needs == 0 : kernels.needs != 0, "and what it needs");
	}
}

static void
test_best(void)
{
	static const char *const best[] = {NULL, "", "auto"};
	const char              *top = "";

	for (size_t i = 0; pk_kernels_tier_name(i) != NULL; i++)
		top = pk_kernels_tier_name(i);
	for (size_t i = 0; i < PK_LENGTH(best); i++)
	{
		ok(pk_kernels_select(0, best[i], &kernels, &err) == PK_OK, "no features are enough");
		is_str(kernels.name, "scalar", "for the scalar tier");
		ok(is_complete(&kernels), "which has all operations");
		ok(pk_kernels_select(ALL_FEATURES, best[i], &kernels, &err) == PK_OK, "all features");
		is_str(kernels.name, top, "give the highest tier");
	}
	ok(pk_kernels_select(pk_cpu_features(), NULL, &kernels, &err) == PK_OK &&
	       (kernels.needs & ~pk_cpu_features()) == 0,
	   "the best tier of this machine needs nothing that it lacks: %s", kernels.name);
}

static void
test_refused(void)
{
	is_int(pk_kernels_select(ALL_FEATURES, "sse9", &kernels, &err), PK_BAD_ARGUMENT,
	       "an unknown name is refused");
	ok(err.status == PK_BAD_ARGUMENT && strstr(err.text, "\"sse9\"") != NULL,
	   "the error quotes it");
	ok(strstr(err.hint, "auto") != NULL && strstr(err.hint, "scalar") != NULL,
	   "the hint lists what there is");
	is_int(pk_kernels_select(ALL_FEATURES, "SCALAR", &kernels, &err), PK_BAD_ARGUMENT,
	       "names are lower case");
	is_int(pk_kernels_select(ALL_FEATURES, "scalar ", &kernels, &err), PK_BAD_ARGUMENT,
	       "and have no space");
	is_int(pk_kernels_select(ALL_FEATURES, "a\nb", &kernels, &err), PK_BAD_ARGUMENT,
	       "a control byte is refused");
	ok(strchr(err.text, '\n') == NULL, "and does not reach the message");
	is_int(pk_kernels_select(0, "sse9", &kernels, NULL), PK_BAD_ARGUMENT,
	       "nobody needs to ask for the text");
	for (size_t i = 1; pk_kernels_tier_name(i) != NULL; i++)
	{
		const char *name = pk_kernels_tier_name(i);

		ok(pk_kernels_select(0, name, &kernels, &err) == PK_UNSUPPORTED,
		   "%s is refused on a machine without features", name);
		ok(strstr(err.text, name) != NULL && strcmp(err.hint, "It has: scalar.") == 0,
		   "by name, with what it has");
	}
}

#if defined(__x86_64__)
static void
masked(uint32_t features, const char *want, const char *name)
{
	pk_kernels_select(features, NULL, &kernels, &err);
	is_str(kernels.name, want, name);
}

static void
test_masks(void)
{
	PkKernels below;

	masked(PK_CPU_AVX2, "avx2", "AVX2 gives avx2");
	masked(PK_CPU_AVX2 | PK_CPU_AVX512, "avx512", "and AVX-512 avx512");
	masked(PK_CPU_AVX2 | PK_CPU_AVX512 | PK_CPU_VNNI, "vnni", "and VNNI vnni");
	masked(PK_CPU_AVX2 | PK_CPU_AVX512 | PK_CPU_VNNI | PK_CPU_AMX, "amx", "and AMX amx");
	masked(PK_CPU_AVX512 | PK_CPU_VNNI, "scalar", "no tier without the one below");
	masked(PK_CPU_AVX2 | PK_CPU_VNNI, "avx2", "VNNI alone is of no use");
	is_int(pk_kernels_select(PK_CPU_AVX2 | PK_CPU_AVX512, "vnni", &kernels, &err), PK_UNSUPPORTED,
	       "a processor without VNNI refuses the pin");
	is_str(err.hint, "It has: scalar, avx2, avx512.", "and says what it has");
	pk_kernels_select(ALL_FEATURES, "avx512", &below, &err);
	pk_kernels_select(ALL_FEATURES, "vnni", &kernels, &err);
	ok(kernels.gemm_q8 != below.gemm_q8 && kernels.gelu == below.gelu,
	   "what a tier does not speed up is the one's below");
}
#else
static void
test_masks(void)
{
	skip("only x86-64 has tiers above each other");
}
#endif

int
main(void)
{
	test_names();
	test_best();
	test_refused();
	test_masks();
	return done_testing();
}

/*
 * select.c
 *    Overlay of the tiers that a processor has, up to the one that is pinned.
 */
#include <string.h>

#include "core/kernels/tiers.h"

static const PkKernels *const tiers[] = {
	&pk_kernels_scalar,
#if defined(__x86_64__)
	&pk_kernels_avx2,   &pk_kernels_avx512, &pk_kernels_vnni, &pk_kernels_amx,
#elif defined(__aarch64__)
	&pk_kernels_neon,
#endif
};

static void overlay(PkKernels *out, const PkKernels *tier);
static void list_tiers(uint32_t cpu_features, char *out, size_t size);

PkStatus
pk_kernels_select(uint32_t cpu_features, const char *pin, PkKernels *out, PkError *err)
{
	bool is_best = pin == NULL || pin[0] == '\0' || strcmp(pin, "auto") == 0;
	char names[64];

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < PK_LENGTH(tiers); i++)
	{
		bool is_there = (tiers[i]->needs & ~cpu_features) == 0;
		bool is_pinned = !is_best && strcmp(pin, tiers[i]->name) == 0;

		if (is_there)
			overlay(out, tiers[i]);
		if (is_pinned && is_there)
			return PK_OK;
		if (is_pinned)
		{
			list_tiers(cpu_features, names, sizeof(names));
			pk_error(err, PK_UNSUPPORTED, "this processor has no kernels \"%s\"", pin);
			return pk_error_hint(err, PK_UNSUPPORTED, "It has: %s.", names);
		}
	}
	if (is_best)
		return PK_OK;

	char quoted[64];

	list_tiers(~0u, names, sizeof(names));
	pk_error(err, PK_BAD_ARGUMENT, "unknown kernels \"%s\"",
	         pk_error_quote(quoted, sizeof(quoted), pin, strlen(pin)));
	return pk_error_hint(err, PK_BAD_ARGUMENT, "Use auto, or one of: %s.", names);
}

#define OVERLAY(slot)       \
	if (tier->slot != NULL) \
	out->slot = tier->slot

static void
overlay(PkKernels *out, const PkKernels *tier)
{
	out->name = tier->name;
	out->needs = tier->needs;
	OVERLAY(gemm_q8);
	OVERLAY(gemm_q4);
	OVERLAY(gemm_f16);
	OVERLAY(quantize);
	OVERLAY(layernorm);
	OVERLAY(gelu);
	OVERLAY(gelu_tanh);
	OVERLAY(rope);
	OVERLAY(attend_f16);
	OVERLAY(attend_f32);
	OVERLAY(f32_to_f16);
	OVERLAY(keys_to_f16);
	OVERLAY(f16_to_f32);
	OVERLAY(add);
	OVERLAY(add_sum);
	OVERLAY(scale);
	OVERLAY(sum_squares);
	OVERLAY(max);
	OVERLAY(sum_exp);
	OVERLAY(exp_shifted);
}

static void
list_tiers(uint32_t cpu_features, char *out, size_t size)
{
	out[0] = '\0';
	for (size_t i = 0; i < PK_LENGTH(tiers); i++)
	{
		if ((tiers[i]->needs & ~cpu_features) != 0)
			continue;
		if (i > 0)
			strncat(out, ", ", size - strlen(out) - 1);
		strncat(out, tiers[i]->name, size - strlen(out) - 1);
	}
}

const char *
pk_kernels_tier_name(size_t i)
{
	return i < PK_LENGTH(tiers) ? tiers[i]->name : NULL;
}

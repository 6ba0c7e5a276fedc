/*
 * half.h
 *    IEEE half precision without the processor's help: the scalar tier's conversions.
 */
#ifndef PK_HALF_H
#define PK_HALF_H

#include <string.h>

#include "core/base/platform.h"

PK_INLINE float
pk_half_to_float(uint16_t half)
{
	uint32_t sign = (uint32_t) (half & 0x8000) << 16;
	uint32_t rest = (uint32_t) (half & 0x7fff) << 13;
	uint32_t bits;
	float    value;

	if (rest > 0x0f800000u) /* NaN, made quiet as processors do */
		bits = rest | 0x70400000u;
	else if (rest == 0x0f800000u)
		bits = 0x7f800000u;
	else if (rest >= 0x00800000u)
		bits = rest + 0x38000000u;
	else /* zero and subnormals: exact in float */
	{
		value = (float) (half & 0x7fff) * 0x1.0p-24f;
		memcpy(&bits, &value, sizeof(bits));
	}
	bits |= sign;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* To nearest, ties to even; too large gives infinity. */
PK_INLINE uint16_t
pk_float_to_half(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));

	uint16_t sign = (uint16_t) (bits >> 16 & 0x8000);

	bits &= 0x7fffffffu;
	if (bits > 0x7f800000u)
		return (uint16_t) (sign | 0x7e00 | (bits >> 13 & 0x3ff)); /* NaN stays, made quiet */
	if (bits >= 0x477ff000u)
		return sign | 0x7c00;
	if (bits < 0x38800000u) /* becomes subnormal: let a float addition round */
	{
		float magic = 0.5f, tiny;

		memcpy(&tiny, &bits, sizeof(tiny));
		tiny += magic;
		memcpy(&bits, &tiny, sizeof(bits));
		return (uint16_t) (sign | (bits - 0x3f000000u));
	}
	bits += 0xc8000fffu + (bits >> 13 & 1); /* exponent from 127 to 15, then round to even */
	return (uint16_t) (sign | bits >> 13);
}

#endif

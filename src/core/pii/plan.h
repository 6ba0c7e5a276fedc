/*
 * plan.h
 *    Numbering plans: which digits a phone or an account begins with, and how it is grouped.
 */
#ifndef PK_PLAN_H
#define PK_PLAN_H

#include "core/base/platform.h"

/* Numbers with the trunk digit 0. */
typedef struct PkPiiPrefix
{
	const char *digits;
	uint8_t     least, most;   /* digits after the prefix */
	bool        is_geographic; /* 02, 031, ...: no unmistakable sign of a phone */
	const char *source;
} PkPiiPrefix;

extern const PkPiiPrefix pk_pii_prefixes[];
extern const size_t      pk_pii_n_prefixes;

/* The first four of eight digits that have no prefix: nationwide numbers of firms. */
extern const uint16_t pk_pii_nationwide[];
extern const size_t   pk_pii_n_nationwide;

#define PK_PII_MAX_PARTS 5

/* How customers write account numbers: digits of each group. */
typedef struct PkPiiShape
{
	uint8_t     parts[PK_PII_MAX_PARTS]; /* 0 ends */
	const char *banks;
} PkPiiShape;

extern const PkPiiShape pk_pii_shapes[];
extern const size_t     pk_pii_n_shapes;

/* Account numbers that need no word near: shape and first digits. */
typedef struct PkPiiAccount
{
	uint8_t     parts[PK_PII_MAX_PARTS];
	const char *digits;
	const char *bank;
} PkPiiAccount;

extern const PkPiiAccount pk_pii_accounts[];
extern const size_t       pk_pii_n_accounts;

#endif

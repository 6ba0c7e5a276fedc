/*
 * rules.h
 *    What makes a chain of digits a number of some kind.
 *
 * Each rule looks at the chain's beginning. It gives the span, which may begin before the chain (a
 * plus sign, a bracket) and ends after one of its groups.
 */
#ifndef PK_RULES_H
#define PK_RULES_H

#include "core/pii/chain.h"
#include "core/pii/pii.h"

/* A chain at a place where a number may begin. Context is made when a rule first asks. */
typedef struct PkPiiCase
{
	const PkPiiScan  *scan;
	const PkPiiChain *chain;
	PkPiiChar         before; /* the character before the chain */
	PkPiiContext      context;
	size_t            context_end; /* of the span that it is around; 0: not made yet */
} PkPiiCase;

/* The words around the span that ends at byte end. */
const PkPiiContext *pk_pii_around(PkPiiCase *c, size_t end);

typedef bool (*PkPiiRule)(PkPiiCase *c, PkPiiMatch *match);

bool pk_pii_resident(PkPiiCase *c, PkPiiMatch *match);
bool pk_pii_phone(PkPiiCase *c, PkPiiMatch *match);
bool pk_pii_account(PkPiiCase *c, PkPiiMatch *match);
bool pk_pii_business(PkPiiCase *c, PkPiiMatch *match);
bool pk_pii_corporate(PkPiiCase *c, PkPiiMatch *match);
bool pk_pii_card(PkPiiCase *c, PkPiiMatch *match);
bool pk_pii_driver(PkPiiCase *c, PkPiiMatch *match);

/* These don't begin with a chain: text at byte i. */
bool pk_pii_spelled_phone(const PkPiiScan *scan, size_t i, PkPiiMatch *match);
bool pk_pii_passport(const PkPiiScan *scan, size_t i, PkPiiMatch *match);
bool pk_pii_email(const PkPiiScan *scan, size_t at_sign, PkPiiMatch *match);

/* Helpers of the rules. */

/* The character before byte i: after a span, the last one of what stands for it. */
PkPiiChar pk_pii_before(const PkPiiScan *scan, size_t i);
/* The text from here on is as it will be when it is read again: behind what stands for a span. */
size_t    pk_pii_seen_from(const PkPiiScan *scan);
/* A letter, or a mark that stands for a span which began with one. */
bool      pk_pii_is_letter(const PkPiiScan *scan, size_t i);

/* True if the first n groups have these lengths. */
bool pk_pii_has_shape(const PkPiiChain *chain, const uint8_t *lengths, size_t n);
/* True if a number may end after n groups. */
bool pk_pii_may_end(const PkPiiChain *chain, size_t n);
/* The span of the first n groups. */
void pk_pii_set(const PkPiiCase *c, size_t n, PkPiiKind kind, float confidence, PkPiiMatch *match);
/* n digits as a number. */
uint32_t pk_pii_value(const uint8_t *digits, size_t n);
/* A date of the Gregorian calendar. */
bool     pk_pii_is_date(uint32_t year, uint32_t month, uint32_t day);
/* Part of an address on the net, a file's name or a longer word: bytes start to end. */
bool     pk_pii_is_embedded(const PkPiiScan *scan, size_t start, size_t end);
/* Between 제 and 호. */
bool     pk_pii_is_numbered(const PkPiiContext *context);

#endif

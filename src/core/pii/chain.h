/*
 * chain.h
 *    Groups of digits and what lies between them: the shape of a number.
 */
#ifndef PK_CHAIN_H
#define PK_CHAIN_H

#include "core/pii/chars.h"

#define PK_PII_COUNTRY 82     /* +82, 0082 */
#define PK_PII_LEAST_DIGITS 7 /* of a number */
#define PK_PII_MAX_GROUPS 6
#define PK_PII_MAX_DIGITS 20 /* of one group, and of all that are kept */

/*
 * How a group is joined to the next. A number may begin and end at a loose join or none, never at a
 * tight one: a longer chain is another number, of which no part is taken.
 */
typedef enum PkPiiJoin
{
	PK_PII_NO_JOIN,
	PK_PII_BY_SPACE, /* loose: one or two spaces */
	PK_PII_BY_CLOSE, /* loose: a closing bracket, maybe a space or dash after it */
	PK_PII_BY_DASH,  /* tight: maybe with a space on either side */
	PK_PII_BY_DOT,   /* tight, as the next */
	PK_PII_BY_MIDDOT,
	PK_PII_BY_STARS /* tight: hidden digits follow, the last group of a chain */
} PkPiiJoin;

typedef struct PkPiiGroup
{
	size_t  start, end; /* bytes */
	uint8_t first;      /* in digits */
	uint8_t n;          /* digits; more than PK_PII_MAX_DIGITS: a longer run */
	uint8_t join;       /* PkPiiJoin to the next group */
	bool    zero_after; /* (0) stands in the join: a trunk digit after the country's code */
} PkPiiGroup;

/* The groups from one on, as many as fit. */
typedef struct PkPiiChain
{
	PkPiiGroup groups[PK_PII_MAX_GROUPS];
	size_t     n_groups;
	uint8_t    digits[PK_PII_MAX_GROUPS * PK_PII_MAX_DIGITS];
	size_t     n_digits;
} PkPiiChain;

/* at: byte of a digit whose predecessor is none. */
void pk_pii_chain(const char *text, size_t len, size_t at, PkPiiChain *chain);

/*
 * True if stars that hide digits begin at byte at, or end there: four or more, or some with a
 * hyphen and a digit or a further star beyond them, or between digits, three if the number is at
 * their left. Others are only marks: **010-1234-5678**. from: what is before it is not looked at.
 */
bool pk_pii_hides_after(const char *text, size_t len, size_t at);
bool pk_pii_hides_before(const char *text, size_t from, size_t at);
/* A part of a number, digits or stars for them, ends before byte at, where a joint begins. */
bool pk_pii_part_before(const char *text, size_t from, size_t at);

/* The end of the tight chain that at lies in. */
size_t pk_pii_chain_end(const char *text, size_t len, size_t at);

static inline bool
pk_pii_is_tight(const PkPiiChain *chain, size_t group)
{
	return chain->groups[group].join >= PK_PII_BY_DASH;
}

/* Digits of the first n groups together. */
static inline size_t
pk_pii_n_digits(const PkPiiChain *chain, size_t n)
{
	return chain->groups[n - 1].first + chain->groups[n - 1].n;
}

#endif

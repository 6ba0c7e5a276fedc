/*
 * pii.h
 *    Korean personal data in text: bank accounts, resident numbers, phone numbers and, on request,
 *    other numbers.
 *
 * One pass over the text. A number is found by its shape (chain.h), judged by its kind's rules
 * (rules.h) and, where the shape alone doesn't tell, by the words near it on the same line
 * (context.h). The time is linear in the length of the text whatever it holds, nothing is
 * allocated, and spans never overlap.
 */
#ifndef PK_PII_H
#define PK_PII_H

#include "core/base/cancel.h"
#include "core/base/status.h"
#include "core/pii/context.h"

typedef enum PkPiiKind
{
	PK_PII_ACC,  /* bank account */
	PK_PII_RRN,  /* resident registration number, of aliens too unless PK_PII_FRN is asked for */
	PK_PII_TELL, /* phone or fax */
	PK_PII_FRN,  /* registration number of an alien */
	PK_PII_BRN,  /* business registration number */
	PK_PII_CRN,  /* corporate registration number */
	PK_PII_CARD, /* payment card */
	PK_PII_PASSPORT, /* Korean passport */
	PK_PII_DRIVER,   /* driver's licence */
	PK_PII_EMAIL,
	PK_N_PII_KINDS
} PkPiiKind;

#define PK_PII_BIT(kind) (1u << (kind))
#define PK_PII_DEFAULT (PK_PII_BIT(PK_PII_ACC) | PK_PII_BIT(PK_PII_RRN) | PK_PII_BIT(PK_PII_TELL))

/* "acc", "rrn", ...; pk_pii_kind() is the inverse: -1 for an unknown name. */
const char *pk_pii_name(PkPiiKind kind);
int         pk_pii_kind(const char *name, size_t len);

typedef struct PkPiiMatch
{
	PkPiiKind kind;
	size_t    start, end; /* bytes of the text: whole characters */
	float     confidence; /* 0 to 1: how sure the shape and the words make it */
} PkPiiMatch;

typedef enum PkPiiStyle
{
	PK_PII_TOKEN, /* <|tell|> */
	PK_PII_MASK,  /* 010-****-5678 */
	PK_PII_LABEL, /* [전화번호] */
	PK_N_PII_STYLES
} PkPiiStyle;

/* A pass over a text. Only pk_pii_begin() and pk_pii_next() write it. */
typedef struct PkPiiScan
{
	const char *text;
	size_t      len;
	uint32_t    kinds;
	PkCancel   *cancel;
	size_t      at;       /* where the search goes on */
	size_t      polled;   /* where cancel was last looked at */
	size_t      last_end; /* of the last span; 0: none */
	bool        last_is_phone;
	size_t      mark_end; /* of the last span that is replaced; 0: none */
	PkPiiStyle  style;
	bool        is_open; /* more text may follow: see redactor.h */
	PkPiiWords  words;   /* on the line before at */
} PkPiiScan;

/*
 * text (len bytes of valid UTF-8) must stay until the last match was taken. kinds: PK_PII_BIT()s.
 * style: how spans will be replaced. What is beside a span is judged as it will be beside what
 * stands for it, so that redacting again changes nothing.
 */
void pk_pii_begin(PkPiiScan *scan, const char *text, size_t len, uint32_t kinds, PkPiiStyle style,
                  PkCancel *cancel);

/*
 * The next span, if there is one. PK_CANCELLED is the only error. In an open scan a number that
 * what may follow could change is waited for: nothing is found, and the scan stays before it.
 */
PkStatus pk_pii_next(PkPiiScan *scan, PkPiiMatch *match, bool *found, PkError *err);

/* "token", "mask", "label"; -1 for an unknown name. */
int pk_pii_style(const char *name, size_t len);

/*
 * What stands for a span; out has room for PK_PII_MAX_MARK bytes or those of the span, whichever is
 * more. Returns the bytes written. Redacting the result again changes nothing.
 */
#define PK_PII_MAX_MARK 48
size_t pk_pii_replace(const char *text, const PkPiiMatch *match, PkPiiStyle style, char *out);

/* A mask shows no digit of it: the number is spelled. */
bool pk_pii_is_hidden_whole(const char *text, const PkPiiMatch *match);

#endif

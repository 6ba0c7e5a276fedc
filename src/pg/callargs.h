/*
 * callargs.h
 *    Arguments of the SQL functions that run a model: read, checked, turned into a request.
 */
#ifndef PKPG_CALLARGS_H
#define PKPG_CALLARGS_H

#include "fmgr.h"
#include "utils/jsonb.h"

#include "core/engine/engine.h"
#include "core/pii/redactor.h"

/* A model and the text it is asked about; detoasted, in CurrentMemoryContext. */
typedef struct PkpgInput
{
	const char *text;
	size_t      len;
	PkModel    *model;
	bool        redact; /* generate: personal data in the answer is replaced */
} PkpgInput;

/* 0A000 unless the database can hold UTF-8. */
void pkpg_check_encoding(void);

/* 22021 unless text is UTF-8: in a SQL_ASCII database it may be anything. */
void pkpg_check_text(const char *text, size_t len);

/* 22004 naming the argument when it is NULL. Numbers count from 0. */
void pkpg_not_null(FunctionCallInfo fcinfo, int arg, const char *name);

/* Text of argument 0 (not NULL) and the model that argument 1 names, opened: privileges checked. */
void pkpg_read_input(FunctionCallInfo fcinfo, PkpgInput *input);

/*
 * The arguments of polyko_generate and its siblings (argument 0 is not NULL): everything but the
 * tokens. Options out of range: 22023; max_tokens over polyko.max_tokens_limit: 53400.
 */
void pkpg_read_generate(FunctionCallInfo fcinfo, PkpgInput *input, PkRequestSpec *spec);

/*
 * The values of options' known keys (keys: n_keys names), type jbvNull where one is not there;
 * 22023 naming an unknown key.
 */
void pkpg_read_options(FunctionCallInfo fcinfo, int arg, const char *const *keys, int n_keys,
                       JsonbValue *values);

/* Ids of the input. They belong to CurrentMemoryContext, which frees them. Answers interrupts. */
const PkTokens *pkpg_encode(const PkpgInput *input, bool want_offsets);

/* Put the input's ids into spec; an empty input is one <|endoftext|>. */
void pkpg_set_prompt(const PkpgInput *input, PkRequestSpec *spec);

/* For an answer to input, whose end is context. Belongs to CurrentMemoryContext, which frees it. */
PkRedactor *pkpg_redactor_begin(const PkpgInput *input);

/* A context for everything a call makes, below CurrentMemoryContext; current from now on. */
MemoryContext pkpg_call_begin(MemoryContext *caller);

#endif

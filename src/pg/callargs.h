/*
 * callargs.h
 *    Arguments of the SQL functions that run a model: read, checked, turned into a request.
 */
#ifndef PKPG_CALLARGS_H
#define PKPG_CALLARGS_H

#include "fmgr.h"

#include "core/engine/engine.h"

/* A model and the text it is asked about; detoasted, in CurrentMemoryContext. */
typedef struct PkpgInput
{
	const char *text;
	size_t      len;
	PkModel    *model;
} PkpgInput;

/* 0A000 unless the database can hold UTF-8. */
void pkpg_check_encoding(void);

/* 22004 naming the argument when it is NULL. Numbers count from 0. */
void pkpg_not_null(FunctionCallInfo fcinfo, int arg, const char *name);

/* Text of argument 0 (not NULL) and the model that argument 1 names, opened: privileges checked. */
void pkpg_read_input(FunctionCallInfo fcinfo, PkpgInput *input);

/*
 * The arguments of polyko_generate and its siblings (argument 0 is not NULL): everything but the
 * tokens. Options out of range: 22023; max_tokens over polyko.max_tokens_limit: 53400.
 */
void pkpg_read_generate(FunctionCallInfo fcinfo, PkpgInput *input, PkRequestSpec *spec);

/* 22023 when options has a key; this version knows none. */
void pkpg_check_options(FunctionCallInfo fcinfo, int arg);

/* Ids of the input. They belong to CurrentMemoryContext, which frees them. Answers interrupts. */
const PkTokens *pkpg_encode(const PkpgInput *input, bool want_offsets);

/* Put the input's ids into spec; an empty input is one <|endoftext|>. */
void pkpg_set_prompt(const PkpgInput *input, PkRequestSpec *spec);

/* A context for everything a call makes, below CurrentMemoryContext; current from now on. */
MemoryContext pkpg_call_begin(MemoryContext *caller);

#endif

/*
 * models.h
 *    Models are foreign servers of the wrapper "polyko": looking them up and checking them.
 */
#ifndef PKPG_MODELS_H
#define PKPG_MODELS_H

#include "postgres.h"

#include "foreign/foreign.h"

#include "core/base/hash.h"
#include "core/kernels/quant.h"

/* What the options of a server say. */
typedef struct PkpgServer
{
	Oid         oid;
	const char *name;
	const char *path; /* absolute, $sharedir resolved; NULL: the option is missing */
	PkQuant     quant;
	bool        is_pinned; /* option fingerprint is set */
	PkHash128   fingerprint;
	bool        redacts; /* redact_output */
} PkpgServer;

/*
 * The server of a model, palloc'd parts in the current context. Errors: 42704 no such server,
 * 42809 a server of another wrapper, 42501 no USAGE.
 */
extern void pkpg_server_find(const char *name, PkpgServer *out);

/* The same without errors: false if anything is wrong. For the planner. */
extern bool pkpg_server_try(const char *name, PkpgServer *out);

/* True if the server of an open model has redact_output 'on'. */
extern bool pkpg_server_redacts(const char *name);

/* Read the options of a server that is known to be ours. */
extern void pkpg_server_options(ForeignServer *server, PkpgServer *out);

/* True if the wrapper belongs to this extension. */
extern bool pkpg_is_our_wrapper(Oid fdw);

#endif

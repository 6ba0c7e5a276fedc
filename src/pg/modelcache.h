/*
 * modelcache.h
 *    The models that this backend has open.
 */
#ifndef PKPG_MODELCACHE_H
#define PKPG_MODELCACHE_H

#include "postgres.h"

#include "core/model/model.h"

/*
 * The open model of this name (NULL: 22004), after checking that the caller may use it; see
 * pkpg_server_find() for errors. It stays valid until the end of the transaction. The files are
 * looked at once a statement: a changed checkpoint is seen by the next one.
 */
extern PkModel *pkpg_model_open(const char *name);

/* The name under which this backend has it open; "" if it is open no longer. */
extern const char *pkpg_model_name(const PkModel *model);

/*
 * What is cheaply known of a model, for the planner: never fails, never builds. False if nothing
 * is known.
 */
extern bool pkpg_model_estimate(const char *name, PkConfig *config, PkQuant *quant);

/* True if this backend has the image open; for polyko_models. */
extern bool pkpg_model_is_open(Oid server);

extern void pkpg_modelcache_init(void);

#endif

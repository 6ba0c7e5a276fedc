/*
 * servedmodels.h
 *    The images that an engine program has mapped, within a limit.
 *
 * A model stays mapped for a while after its last request. When another one needs the room, those
 * without requests go, the longest unused first. A path may lead to another file later: then the
 * old one is served until its last request has ended, and new requests get the new one.
 */
#ifndef PK_SERVEDMODELS_H
#define PK_SERVEDMODELS_H

#include "core/model/model.h"
#include "core/serve/message.h"

typedef struct PkServedModel
{
	struct PkServedModel *next;
	char                 *path;
	PkModel              *model;
	PkServedModelInfo     info;
	uint64_t              used_us;     /* when a request began or ended */
	bool                  is_replaced; /* another file has its path: goes with its last request */
} PkServedModel;

typedef struct PkServedModels
{
	PkServedModel *first;
	uint64_t       max_bytes; /* 0: no limit */
	uint64_t       bytes;     /* mapped */
	/* Told of each model that was mapped or goes; may be NULL. */
	void (*tell)(void *arg, bool is_loaded, const PkServedModel *model);
	void *tell_arg;
} PkServedModels;

/*
 * The model at image_path, mapped now if need be. *out is NULL when it has to wait until others
 * have no requests. PK_NO_MEMORY when it is larger than the limit; else as pk_model_open().
 */
PkStatus pk_served_model_find(PkServedModels *models, const char *image_path, const char *name,
                              uint64_t now_us, PkServedModel **out, PkError *err);

/* A model begins or ends to have one more request. */
void pk_served_model_hold(PkServedModel *model, uint64_t now_us);
void pk_served_model_release(PkServedModel *model, uint64_t now_us);

/* Unmap those without requests that were not used since then or were replaced; their number. */
size_t pk_served_models_expire(PkServedModels *models, uint64_t since_us);

/* After the limit was lowered: unmap those without requests that are above it; their number. */
size_t pk_served_models_shrink(PkServedModels *models);

#endif

/*
 * model_internal.h
 *    What the files of a model share; others see model.h.
 */
#ifndef PK_MODEL_INTERNAL_H
#define PK_MODEL_INTERNAL_H

#include "core/model/image.h"

struct PkModel
{
	size_t        n_refs;
	PkMapping     map;
	PkConfig      config;
	PkImageInfo   info;
	PkHash128     weights_hash;
	PkImageLayout layout;
	PkTokenizer  *tokenizer;
	void         *tables; /* that the tokenizer uses; NULL: those of the map */
	PkLayer      *layers;
	PkWeights     weights;
	char          name[160]; /* of the file, for messages */
	char         *path;
};

/*
 * Have the system read a part of the map. A bad sector, or a file that was cut, is an error here;
 * touching the page would be SIGBUS.
 */
PkStatus pk_model_bring_in(const PkModel *model, size_t offset, size_t len, PkError *err);

#endif

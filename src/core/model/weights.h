/*
 * weights.h
 *    What each tensor of a GPT-NeoX checkpoint is for.
 *
 * Slots are numbered in one fixed order (embed_in, the twelve of each layer, the final norm,
 * embed_out), which is the order of an image and of the fingerprint, whatever the files' order is.
 */
#ifndef PK_WEIGHTS_H
#define PK_WEIGHTS_H

#include "core/model/config.h"
#include "core/model/safetensors.h"

typedef enum PkRole
{
	PK_ROLE_EMBED_IN,
	PK_ROLE_LN1_GAIN, /* the first of a layer */
	PK_ROLE_LN1_BIAS,
	PK_ROLE_LN2_GAIN,
	PK_ROLE_LN2_BIAS,
	PK_ROLE_QKV,
	PK_ROLE_QKV_BIAS,
	PK_ROLE_DENSE,
	PK_ROLE_DENSE_BIAS,
	PK_ROLE_H_TO_4H,
	PK_ROLE_H_TO_4H_BIAS,
	PK_ROLE_4H_TO_H,
	PK_ROLE_4H_TO_H_BIAS, /* the last of a layer */
	PK_ROLE_LN_GAIN,
	PK_ROLE_LN_BIAS,
	PK_ROLE_EMBED_OUT,
	PK_N_ROLES
} PkRole;

#define PK_ROLES_PER_LAYER (PK_ROLE_4H_TO_H_BIAS - PK_ROLE_LN1_GAIN + 1)

/* How the values of a slot lie in an image. */
typedef enum PkForm
{
	PK_FORM_VECTOR, /* floats */
	PK_FORM_ROWS,   /* row-major, f16 (f32 for 'f32'), not packed: rows are looked up */
	PK_FORM_MATRIX  /* packed, see quant.h */
} PkForm;

size_t pk_n_slots(const PkConfig *config);
PkRole pk_slot_role(const PkConfig *config, size_t slot, uint32_t *layer);
PkForm pk_role_form(PkRole role);
/* (n_rows, n_cols); a vector is a column. */
void   pk_role_shape(const PkConfig *config, PkRole role, size_t *n_rows, size_t *n_cols);

/* Name of a slot's tensor without "gpt_neox.", "layers.3.attention.dense.weight". */
#define PK_SLOT_NAME_ROOM 96
const char *pk_slot_name(const PkConfig *config, size_t slot, char out[PK_SLOT_NAME_ROOM]);

/* The tensor of each slot; NULL where the model has no bias. Points into the tensor list. */
typedef struct PkBinding
{
	size_t           n_slots;
	const PkTensor **tensors;
} PkBinding;

/*
 * Give each tensor its slot, check shapes and dtypes, and take the rows of the vocabulary from
 * embed_in (config->vocab_size is changed). Known buffers are skipped; whatever is missing,
 * unexpected, or of a wrong shape or dtype is named: PK_BAD_FILE.
 */
PkStatus pk_weights_bind(const PkTensorList *tensors, PkConfig *config, PkBinding *out,
                         PkError *err);
void     pk_binding_free(PkBinding *binding);

#endif

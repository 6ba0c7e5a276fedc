/*
 * model.h
 *    A model ready to compute: an image mapped read-only, its tables checked.
 *
 * A PkModel is reference counted (one thread at a time); the last pk_model_release() unmaps. The
 * weights stay valid even if the file is unlinked meanwhile.
 */
#ifndef PK_MODEL_H
#define PK_MODEL_H

#include "core/base/cancel.h"
#include "core/base/hash.h"
#include "core/base/mapfile.h"
#include "core/kernels/quant.h"
#include "core/model/config.h"
#include "core/tokenizer/tokenizer.h"

/* Bumped when the bytes of an image mean something else, or other ones are packed. */
#define PK_IMAGE_LAYOUT(quant) ((quant) == PK_QUANT_Q8 ? 2 : 1)
/*
 * Bumped when a bit of q8 or q4 output changes; shown in polyko_models and the CHANGELOG. An image
 * that was built under another number is used as it is: its answers are of this number.
 */
#define PK_NUMERICS 3

typedef struct PkModel PkModel;

typedef struct PkLayer
{
	const float *ln1_gain, *ln1_bias; /* (E) input_layernorm */
	const float *ln2_gain, *ln2_bias; /* (E) post_attention_layernorm */
	PkMatrix     qkv;                 /* (3E, E): rows of all q, then all k, then all v */
	PkMatrix     dense;               /* (E, E) */
	PkMatrix     h_to_4h;             /* (F, E) */
	PkMatrix     h4_to_h;             /* (E, F) */
	const float *qkv_bias;            /* (3E), rows as qkv; biases are zeros when absent */
	const float *dense_bias;          /* (E) */
	const float *h_to_4h_bias;        /* (F) */
	const float *h4_to_h_bias;        /* (E) */
} PkLayer;

typedef struct PkWeights
{
	const void    *embed_in; /* (V, E): f16 for q4, q8 and f16, else f32 */
	const PkLayer *layers;   /* (L) */
	const float   *ln_gain;  /* (E) final_layer_norm */
	const float   *ln_bias;
	PkMatrix       embed_out; /* (V, E) */
	const float   *rope_cos;  /* (max_position_embeddings, rotary_dims / 2) */
	const float   *rope_sin;
} PkWeights;

/* What the header of an image says. */
typedef struct PkImageInfo
{
	PkHash128 fingerprint; /* of the checkpoint's content */
	PkQuant   quant;
	uint32_t  layout;
	uint32_t  numerics; /* of the version that built it */
	uint64_t  size_bytes;
	uint64_t  weight_bytes;        /* bytes of weights one token reads */
	char      unicode_version[16]; /* of the ICU that compiled the tokenizer tables */
} PkImageInfo;

/*
 * Map an image and check its header, config, tables and every offset (not the weights: that is
 * pk_model_verify()). The file must be regular, owned by this process's user and not writable by
 * others. PK_NO_FILE, PK_NO_PERMISSION, PK_BAD_FILE.
 */
PkStatus pk_model_open(const char *image_path, PkModel **out, PkError *err);

/*
 * For who computes (engines call it): what can't be read from the map any more will be zeros, and
 * pk_model_check_read() tells (see mapguard.h). So that nothing but numbers is read from there, the
 * tokenizer's tables (some MB) are copied; what pk_model_tokenizer() gave before is gone.
 */
PkStatus pk_model_prepare(PkModel *model, PkError *err);
PkModel *pk_model_ref(PkModel *model);
void     pk_model_release(PkModel *model); /* NULL is allowed */

const PkConfig    *pk_model_config(const PkModel *model);
const PkWeights   *pk_model_weights(const PkModel *model);
const PkTokenizer *pk_model_tokenizer(const PkModel *model);
const PkImageInfo *pk_model_info(const PkModel *model);
/* The path it was opened with; the file may have been unlinked since. */
const char        *pk_model_path(const PkModel *model);
/*
 * Whether that path still leads to the file that is mapped. A file that was cut, or that could not
 * be read while it was in use, is PK_FILE_OTHER.
 */
PkFileState        pk_model_file_state(const PkModel *model);

/*
 * PK_IO if something could not be read since the model was opened: what was computed before this
 * call may be void.
 */
PkStatus pk_model_check_read(const PkModel *model, PkError *err);

/*
 * Run read(arg), which uses the model's tokenizer; PK_IO if its tables could not be read any more.
 * What read() may do: see pk_map_try().
 */
PkStatus pk_model_read(const PkModel *model, void (*read)(void *arg), void *arg, PkError *err);
/* pk_tokenizer_encode() so. */
PkStatus pk_model_encode(const PkModel *model, const char *text, size_t len, PkTokens *tokens,
                         PkCancel *cancel, PkError *err);

/* Read all weights and compare with the checksum in the header. PK_BAD_FILE when they differ. */
PkStatus pk_model_verify(const PkModel *model, PkCancel *cancel, PkError *err);

/* Touch all pages, so that the first question does not wait for the disk. */
PkStatus pk_model_warm(const PkModel *model, PkCancel *cancel, PkError *err);

/* Read only the header of an image file. */
PkStatus pk_image_peek(const char *image_path, PkImageInfo *out, PkError *err);

#endif

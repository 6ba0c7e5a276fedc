/*
 * weights.c
 *    Tensor names of GPTNeoXForCausalLM (transformers) to slots.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/model/weights.h"

typedef enum Dim
{
	DIM_1,
	DIM_E,
	DIM_3E,
	DIM_F,
	DIM_V
} Dim;

typedef struct RoleInfo
{
	const char *name; /* within its layer */
	Dim         rows, cols;
	PkForm      form;
} RoleInfo;

static const RoleInfo roles[PK_N_ROLES] = {
	[PK_ROLE_EMBED_IN] = {"embed_in.weight", DIM_V, DIM_E, PK_FORM_ROWS},
	[PK_ROLE_LN1_GAIN] = {"input_layernorm.weight", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_LN1_BIAS] = {"input_layernorm.bias", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_LN2_GAIN] = {"post_attention_layernorm.weight", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_LN2_BIAS] = {"post_attention_layernorm.bias", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_QKV] = {"attention.query_key_value.weight", DIM_3E, DIM_E, PK_FORM_MATRIX},
	[PK_ROLE_QKV_BIAS] = {"attention.query_key_value.bias", DIM_3E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_DENSE] = {"attention.dense.weight", DIM_E, DIM_E, PK_FORM_MATRIX},
	[PK_ROLE_DENSE_BIAS] = {"attention.dense.bias", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_H_TO_4H] = {"mlp.dense_h_to_4h.weight", DIM_F, DIM_E, PK_FORM_MATRIX},
	[PK_ROLE_H_TO_4H_BIAS] = {"mlp.dense_h_to_4h.bias", DIM_F, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_4H_TO_H] = {"mlp.dense_4h_to_h.weight", DIM_E, DIM_F, PK_FORM_MATRIX},
	[PK_ROLE_4H_TO_H_BIAS] = {"mlp.dense_4h_to_h.bias", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_LN_GAIN] = {"final_layer_norm.weight", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_LN_BIAS] = {"final_layer_norm.bias", DIM_E, DIM_1, PK_FORM_VECTOR},
	[PK_ROLE_EMBED_OUT] = {"embed_out.weight", DIM_V, DIM_E, PK_FORM_MATRIX},
};

/* Buffers that old checkpoints carry; the masks and frequencies are computed. */
static const char *const layer_buffers[] = {
	"attention.bias",
	"attention.masked_bias",
	"attention.rotary_emb.inv_freq",
	"attention.rotary_emb.cos_cached",
	"attention.rotary_emb.sin_cached",
};
static const char *const model_buffers[] = {
	"rotary_emb.inv_freq",
	"rotary_emb.cos_cached",
	"rotary_emb.sin_cached",
};

#define SLOT_SKIPPED SIZE_MAX

#define HINT_QUANTIZED                                                           \
	"The checkpoint is quantized by another tool. Use the original in float16, " \
	"bfloat16 or float32."
#define HINT_CLASSIFIER                                             \
	"The checkpoint is a classifier. Causal language models can be" \
	" run (GPTNeoXForCausalLM)."
#define HINT_HEADLESS                                                           \
	"The checkpoint may have been saved without its head; save the model from " \
	"GPTNeoXForCausalLM."
#define HINT_TOGETHER "Take config.json and the weights from one download of the checkpoint."

static PkStatus    bind_all(const PkTensorList *tensors, PkConfig *config, PkBinding *binding,
                            PkError *err);
static PkStatus    bind_one(const PkTensor *tensor, const PkConfig *config, PkBinding *binding,
                            PkError *err);
static PkStatus    hint_unexpected(const char *name, PkError *err);
static bool        find_slot(const char *name, const PkConfig *config, size_t *slot);
static bool        is_one_of(const char *name, const char *const *list, size_t n);
static bool        find_layer_slot(const char *name, const PkConfig *config, size_t *slot);
static bool        find_role(const char *name, PkRole first, PkRole last, PkRole *out);
static bool        has_slot(const PkConfig *config, PkRole role);
static PkStatus    check_complete(const PkTensorList *tensors, const PkConfig *config,
                                  PkBinding *binding, PkError *err);
static const char *where_all_are(const PkTensorList *tensors);
static PkStatus    check_shape(const PkTensor *tensor, const PkConfig *config, PkRole role,
                               PkError *err);
static const char *quote_name(const PkTensor *tensor, char *out, size_t size);

size_t
pk_n_slots(const PkConfig *config)
{
	return (size_t) config->num_hidden_layers * PK_ROLES_PER_LAYER + PK_N_ROLES -
	       PK_ROLES_PER_LAYER;
}

PkRole
pk_slot_role(const PkConfig *config, size_t slot, uint32_t *layer)
{
	size_t n_layered = (size_t) config->num_hidden_layers * PK_ROLES_PER_LAYER;

	*layer = 0;
	if (slot < PK_ROLE_LN1_GAIN)
		return (PkRole) slot;
	slot -= PK_ROLE_LN1_GAIN;
	if (slot < n_layered)
	{
		*layer = (uint32_t) (slot / PK_ROLES_PER_LAYER);
		return (PkRole) (PK_ROLE_LN1_GAIN + slot % PK_ROLES_PER_LAYER);
	}
	return (PkRole) (PK_ROLE_LN_GAIN + (slot - n_layered));
}

PkForm
pk_role_form(PkRole role)
{
	return roles[role].form;
}

static size_t
dim_size(const PkConfig *config, Dim dim)
{
	switch (dim)
	{
		case DIM_E:
			return config->hidden_size;
		case DIM_3E:
			return 3 * (size_t) config->hidden_size;
		case DIM_F:
			return config->intermediate_size;
		case DIM_V:
			return config->vocab_size;
		default:
			return 1;
	}
}

void
pk_role_shape(const PkConfig *config, PkRole role, size_t *n_rows, size_t *n_cols)
{
	*n_rows = dim_size(config, roles[role].rows);
	*n_cols = dim_size(config, roles[role].cols);
}

const char *
pk_slot_name(const PkConfig *config, size_t slot, char out[PK_SLOT_NAME_ROOM])
{
	uint32_t layer;
	PkRole   role = pk_slot_role(config, slot, &layer);

	if (role >= PK_ROLE_LN1_GAIN && role <= PK_ROLE_4H_TO_H_BIAS)
		snprintf(out, PK_SLOT_NAME_ROOM, "layers.%u.%s", layer, roles[role].name);
	else
		snprintf(out, PK_SLOT_NAME_ROOM, "%s", roles[role].name);
	return out;
}

PkStatus
pk_weights_bind(const PkTensorList *tensors, PkConfig *config, PkBinding *out, PkError *err)
{
	void *memory;

	out->n_slots = pk_n_slots(config);
	PK_FORWARD(pk_calloc(out->n_slots, sizeof(PkTensor *), &memory, err));
	out->tensors = memory;

	PkStatus status = bind_all(tensors, config, out, err);

	if (status != PK_OK)
		pk_binding_free(out);
	return status;
}

void
pk_binding_free(PkBinding *binding)
{
	free(binding->tensors);
	memset(binding, 0, sizeof(*binding));
}

static PkStatus
bind_all(const PkTensorList *tensors, PkConfig *config, PkBinding *binding, PkError *err)
{
	for (size_t i = 0; i < tensors->n; i++)
		PK_FORWARD(bind_one(&tensors->items[i], config, binding, err));

	const PkTensor *embed_in = binding->tensors[PK_ROLE_EMBED_IN];

	if (embed_in != NULL && embed_in->n_dims == 2)
		PK_FORWARD(pk_config_set_vocab(config, embed_in->shape[0], err));
	return check_complete(tensors, config, binding, err);
}

static PkStatus
bind_one(const PkTensor *tensor, const PkConfig *config, PkBinding *binding, PkError *err)
{
	char   quoted[120];
	size_t slot;

	if (!find_slot(tensor->name, config, &slot))
	{
		pk_error(err, PK_BAD_FILE, "unexpected tensor %s in %s",
		         quote_name(tensor, quoted, sizeof(quoted)), tensor->file_name);
		return hint_unexpected(tensor->name, err);
	}
	if (slot == SLOT_SKIPPED)
		return PK_OK;
	if (binding->tensors[slot] != NULL) /* once with "gpt_neox.", once without */
		return pk_error(err, PK_BAD_FILE, "tensor %s is there twice, in %s and %s",
		                quote_name(tensor, quoted, sizeof(quoted)),
		                binding->tensors[slot]->file_name, tensor->file_name);
	if (tensor->dtype == PK_DTYPE_OTHER)
		return pk_error(
			err, PK_BAD_FILE, "tensor %s has dtype %s in %s; F16, BF16 or F32 is needed",
			quote_name(tensor, quoted, sizeof(quoted)), tensor->dtype_name, tensor->file_name);
	binding->tensors[slot] = tensor;
	return PK_OK;
}

/* What kind of checkpoint has a tensor of such a name. */
static PkStatus
hint_unexpected(const char *name, PkError *err)
{
	static const struct
	{
		const char *part, *hint;
		bool        begins; /* the name; others may stand anywhere in it */
	} kinds[] = {
		{"base_model.", PK_HINT_ADAPTER, true}, {"lora_", PK_HINT_ADAPTER, false},
		{".qweight", HINT_QUANTIZED, false},    {".qzeros", HINT_QUANTIZED, false},
		{".scales", HINT_QUANTIZED, false},     {".g_idx", HINT_QUANTIZED, false},
		{"score.", HINT_CLASSIFIER, true},      {"classifier.", HINT_CLASSIFIER, true},
		{"qa_outputs.", HINT_CLASSIFIER, true},
	};

	for (size_t i = 0; i < PK_LENGTH(kinds); i++)
	{
		const char *found = strstr(name, kinds[i].part);

		if (found == name || (found != NULL && !kinds[i].begins))
			return pk_error_hint(err, PK_BAD_FILE, "%s", kinds[i].hint);
	}
	return PK_BAD_FILE;
}

static bool
find_slot(const char *name, const PkConfig *config, size_t *slot)
{
	static const char prefix[] = "gpt_neox.", layers[] = "layers.";
	PkRole            role;

	if (strncmp(name, prefix, strlen(prefix)) == 0)
		name += strlen(prefix);
	if (strncmp(name, layers, strlen(layers)) == 0)
		return find_layer_slot(name + strlen(layers), config, slot);

	*slot = SLOT_SKIPPED;
	if (is_one_of(name, model_buffers, PK_LENGTH(model_buffers)))
		return true;
	if (find_role(name, PK_ROLE_EMBED_IN, PK_ROLE_EMBED_IN, &role))
		*slot = PK_ROLE_EMBED_IN;
	else if (find_role(name, PK_ROLE_LN_GAIN, PK_ROLE_EMBED_OUT, &role))
		*slot = pk_n_slots(config) - PK_N_ROLES + role;
	else
		return false;
	/* tied: transformers computes with embed_in, whatever the file says */
	if (role == PK_ROLE_EMBED_OUT && config->tie_word_embeddings)
		*slot = SLOT_SKIPPED;
	return true;
}

static bool
is_one_of(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}

/* name is what follows "layers.": the number of the layer and the name within it. */
static bool
find_layer_slot(const char *name, const PkConfig *config, size_t *slot)
{
	uint32_t layer = 0;
	size_t   n_digits = 0;
	PkRole   role;

	while (n_digits < 5 && name[n_digits] >= '0' && name[n_digits] <= '9')
		layer = layer * 10 + (uint32_t) (name[n_digits++] - '0');
	if (n_digits == 0 || (n_digits > 1 && name[0] == '0') || name[n_digits] != '.' ||
	    layer >= config->num_hidden_layers)
		return false;
	name += n_digits + 1;

	if (is_one_of(name, layer_buffers, PK_LENGTH(layer_buffers)))
	{
		*slot = SLOT_SKIPPED;
		return true;
	}
	if (!find_role(name, PK_ROLE_LN1_GAIN, PK_ROLE_4H_TO_H_BIAS, &role) || !has_slot(config, role))
		return false;
	*slot = (size_t) layer * PK_ROLES_PER_LAYER + role;
	return true;
}

static bool
find_role(const char *name, PkRole first, PkRole last, PkRole *out)
{
	for (PkRole role = first; role <= last; role++)
	{
		if (strcmp(name, roles[role].name) == 0)
		{
			*out = role;
			return true;
		}
	}
	return false;
}

/* Models without attention_bias have no tensor for two of the biases. */
static bool
has_slot(const PkConfig *config, PkRole role)
{
	return config->attention_bias || (role != PK_ROLE_QKV_BIAS && role != PK_ROLE_DENSE_BIAS);
}

static PkStatus
check_complete(const PkTensorList *tensors, const PkConfig *config, PkBinding *binding,
               PkError *err)
{
	if (config->tie_word_embeddings)
		binding->tensors[binding->n_slots - 1] = binding->tensors[PK_ROLE_EMBED_IN];
	for (size_t slot = 0; slot < binding->n_slots; slot++)
	{
		uint32_t layer;
		PkRole   role = pk_slot_role(config, slot, &layer);
		char     name[PK_SLOT_NAME_ROOM];

		if (binding->tensors[slot] != NULL)
			PK_FORWARD(check_shape(binding->tensors[slot], config, role, err));
		else if (has_slot(config, role))
		{
			pk_error(err, PK_BAD_FILE, "tensor %s%s is missing in %s",
			         role == PK_ROLE_EMBED_OUT ? "" : "gpt_neox.", pk_slot_name(config, slot, name),
			         where_all_are(tensors));
			return pk_error_hint(err, PK_BAD_FILE, "%s",
			                     role == PK_ROLE_EMBED_OUT ? HINT_HEADLESS : HINT_TOGETHER);
		}
	}
	return PK_OK;
}

/* The file that holds all tensors; shards have no single one. */
static const char *
where_all_are(const PkTensorList *tensors)
{
	for (size_t i = 1; i < tensors->n; i++)
		if (tensors->items[i].file != tensors->items[0].file)
			return "the shards";
	return tensors->n > 0 ? tensors->items[0].file_name : "the weights";
}

static PkStatus
check_shape(const PkTensor *tensor, const PkConfig *config, PkRole role, PkError *err)
{
	size_t n_rows, n_cols;
	char   name[120], shape[120], wanted[60];

	pk_role_shape(config, role, &n_rows, &n_cols);
	if (pk_role_form(role) == PK_FORM_VECTOR)
	{
		if (tensor->n_dims == 1 && tensor->shape[0] == n_rows)
			return PK_OK;
		snprintf(wanted, sizeof(wanted), "(%zu)", n_rows);
	}
	else
	{
		if (tensor->n_dims == 2 && tensor->shape[0] == n_rows && tensor->shape[1] == n_cols)
			return PK_OK;
		snprintf(wanted, sizeof(wanted), "(%zu, %zu)", n_rows, n_cols);
	}
	pk_error(err, PK_BAD_FILE, "tensor %s has shape %s in %s; config.json asks for %s",
	         quote_name(tensor, name, sizeof(name)),
	         pk_tensor_shape_text(tensor, shape, sizeof(shape)), tensor->file_name, wanted);
	return pk_error_hint(err, PK_BAD_FILE, HINT_TOGETHER);
}

static const char *
quote_name(const PkTensor *tensor, char *out, size_t size)
{
	return pk_error_quote(out, size, tensor->name, strlen(tensor->name));
}

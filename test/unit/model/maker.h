/*
 * maker.h
 *    Makes small checkpoints for the tests of the model layer, good ones and broken ones.
 *
 * A Maker describes a checkpoint; the test changes the description and writes it. Values depend on
 * name and index alone and are multiples of 1/128 below 1, so F16, BF16 and F32 hold them exactly.
 */
#ifndef PK_TEST_MAKER_H
#define PK_TEST_MAKER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../tap.h"
#include "core/model/convert.h"
#include "core/model/model.h"

#define MAKER_E 48
#define MAKER_F 96
#define MAKER_L 2
#define MAKER_H 4
#define MAKER_D (MAKER_E / MAKER_H) /* 12: no multiple of PK_LANES */
#define MAKER_V 8064
#define MAKER_ROTARY 6
#define MAKER_POSITIONS 64
#define MAKER_N_TOKENS 259 /* three special tokens and the 256 byte letters */

typedef struct MakerTensor
{
	char   name[96];
	int    n_dims;
	long   shape[4];
	int    shard;
	long   shift_begin, shift_end; /* added to data_offsets: lies in the header */
	char   dtype[12];              /* other than the checkpoint's, or empty */
	double poison;                 /* other than 0: the value at poison_at */
	size_t poison_at;
} MakerTensor;

typedef struct Maker
{
	char        dir[256];
	const char *dtype; /* "F16", "BF16", "F32" */
	char        config[2048];
	const char *generation; /* NULL: none */
	const char *index;      /* NULL: the right one */
	int         n_shards;   /* 1: model.safetensors */
	int         n;
	MakerTensor tensors[64];
	long        n_truncated; /* bytes cut off the last shard */
} Maker;

/* ---- scratch ---- */

static char maker_root[200];

__attribute__((unused)) static const char *
scratch_root(void)
{
	const char *base = getenv("TMPDIR");

	if (maker_root[0] != '\0')
		return maker_root;
	snprintf(maker_root, sizeof(maker_root), "%s/polyko-test-XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(maker_root) == NULL)
	{
		perror("mkdtemp");
		exit(2);
	}
	return maker_root;
}

static void
remove_tree(const char *path)
{
	DIR           *dir = opendir(path);
	struct dirent *entry;
	char           child[600];

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		struct stat info;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (lstat(child, &info) == 0 && S_ISDIR(info.st_mode))
			remove_tree(child);
		else
			unlink(child);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}

__attribute__((unused)) static void
scratch_remove(void)
{
	if (maker_root[0] != '\0')
		remove_tree(maker_root);
	maker_root[0] = '\0';
}

__attribute__((unused)) static const char *
path_in(const char *dir, const char *name)
{
	static char paths[8][600];
	static int  next;
	char       *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

__attribute__((unused)) static void
write_text(const char *path, const char *text)
{
	FILE *out = fopen(path, "wb");

	if (out == NULL || fputs(text, out) < 0 || fclose(out) != 0)
	{
		perror(path);
		exit(2);
	}
}

__attribute__((unused)) static bool
exists(const char *path)
{
	struct stat info;

	return lstat(path, &info) == 0;
}

/* ---- description ---- */

static MakerTensor *
maker_add(Maker *m, const char *name, long rows, long cols)
{
	MakerTensor *t = &m->tensors[m->n++];

	memset(t, 0, sizeof(*t));
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->n_dims = cols > 0 ? 2 : 1;
	t->shape[0] = rows;
	t->shape[1] = cols;
	return t;
}

static void
maker_add_pair(Maker *m, int layer, const char *name, long rows, long cols)
{
	char full[96];

	snprintf(full, sizeof(full), "gpt_neox.layers.%d.%s.weight", layer, name);
	maker_add(m, full, rows, cols);
	snprintf(full, sizeof(full), "gpt_neox.layers.%d.%s.bias", layer, name);
	maker_add(m, full, rows, 0);
}

#define MAKER_CONFIG_HEAD                                                                     \
	"{\"model_type\": \"gpt_neox\", \"hidden_size\": 48, \"intermediate_size\": 96, "         \
	"\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"max_position_embeddings\": 64, " \
	"\"vocab_size\": 8064, \"layer_norm_eps\": 1e-05, \"hidden_act\": \"gelu\""
#define MAKER_CONFIG MAKER_CONFIG_HEAD ", \"rotary_pct\": 0.5, \"eos_token_id\": 0}"

/* A good checkpoint in a new directory below the scratch directory. */
__attribute__((unused)) static void
maker_init(Maker *m, const char *name)
{
	memset(m, 0, sizeof(*m));
	snprintf(m->dir, sizeof(m->dir), "%s/%s", scratch_root(), name);
	remove_tree(m->dir);
	mkdir(m->dir, 0700);
	m->dtype = "F16";
	m->n_shards = 1;
	snprintf(m->config, sizeof(m->config), "%s", MAKER_CONFIG);
	maker_add(m, "embed_out.weight", MAKER_V, MAKER_E);
	maker_add(m, "gpt_neox.embed_in.weight", MAKER_V, MAKER_E);
	maker_add(m, "gpt_neox.final_layer_norm.weight", MAKER_E, 0);
	maker_add(m, "gpt_neox.final_layer_norm.bias", MAKER_E, 0);
	for (int layer = 0; layer < MAKER_L; layer++)
	{
		maker_add_pair(m, layer, "input_layernorm", MAKER_E, 0);
		maker_add_pair(m, layer, "post_attention_layernorm", MAKER_E, 0);
		maker_add_pair(m, layer, "attention.query_key_value", 3 * MAKER_E, MAKER_E);
		maker_add_pair(m, layer, "attention.dense", MAKER_E, MAKER_E);
		maker_add_pair(m, layer, "mlp.dense_h_to_4h", MAKER_F, MAKER_E);
		maker_add_pair(m, layer, "mlp.dense_4h_to_h", MAKER_E, MAKER_F);
	}
}

__attribute__((unused)) static MakerTensor *
maker_find(Maker *m, const char *name)
{
	for (int i = 0; i < m->n; i++)
		if (strcmp(m->tensors[i].name, name) == 0)
			return &m->tensors[i];
	fprintf(stderr, "no tensor %s\n", name);
	exit(2);
}

__attribute__((unused)) static void
maker_drop(Maker *m, const char *name)
{
	MakerTensor *t = maker_find(m, name);

	memmove(t, t + 1, (size_t) (m->tensors + m->n - (t + 1)) * sizeof(*t));
	m->n--;
}

/* ---- values ---- */

/* Of a tensor's name; the prefix "gpt_neox." does not count. */
static uint64_t
maker_seed(const char *name)
{
	uint64_t h = 1469598103934665603u;

	if (strncmp(name, "gpt_neox.", 9) == 0)
		name += 9;
	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char) *name) * 1099511628211u;
	return h;
}

/* Value i of the tensor with this seed. */
__attribute__((unused)) static float
maker_value(uint64_t seed, size_t i)
{
	uint64_t h = (seed ^ i) * 1099511628211u;

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9u;
	return (float) ((int) (h >> 40 & 255) - 127) / 128.0f;
}

/* Half-precision bits of a value that they hold exactly; also NaN, infinity and the like. */
static uint16_t
maker_half(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, 4);

	uint16_t sign = (uint16_t) (bits >> 16 & 0x8000);
	int      exponent = (int) (bits >> 23 & 255);

	if (exponent == 255)
		return (uint16_t) (sign | 0x7c00 | ((bits & 0x7fffff) != 0 ? 0x200 : 0));
	if (x == 0)
		return sign;
	return (uint16_t) (sign | (exponent - 112) << 10 | (bits >> 13 & 0x3ff));
}

static size_t
maker_item_size(const char *dtype)
{
	if (strcmp(dtype, "F64") == 0 || strcmp(dtype, "I64") == 0)
		return 8;
	if (strcmp(dtype, "F32") == 0)
		return 4;
	return strcmp(dtype, "BOOL") == 0 || strcmp(dtype, "I8") == 0 ? 1 : 2;
}

/* dtype[0] and [1] tell F16, F32 and BF16; the values of others stay zero. */
static void
maker_put(unsigned char *out, const char *dtype, float x)
{
	uint16_t half = maker_half(x);

	if (dtype[0] == 'B' && dtype[1] == 'F')
		memcpy(out, (unsigned char *) &x + 2, 2);
	else if (dtype[0] == 'F' && dtype[1] == '3')
		memcpy(out, &x, 4);
	else if (dtype[0] == 'F' && dtype[1] == '1')
		memcpy(out, &half, 2);
}

static void
maker_write_values(FILE *out, const MakerTensor *t, const char *dtype, size_t n)
{
	size_t         item_size = maker_item_size(dtype);
	unsigned char *bytes = calloc(n + 1, item_size);
	uint64_t       seed = maker_seed(t->name);

	for (size_t i = 0; i < n; i++)
		maker_put(bytes + i * item_size, dtype,
		          t->poison != 0 && i == t->poison_at ? (float) t->poison : maker_value(seed, i));
	fwrite(bytes, item_size, n, out);
	free(bytes);
}

/* ---- writing ---- */

static const char *
maker_dtype(const Maker *m, const MakerTensor *t)
{
	return t->dtype[0] != '\0' ? t->dtype : m->dtype;
}

static size_t
maker_n_items(const MakerTensor *t)
{
	size_t n = 1;

	for (int i = 0; i < t->n_dims; i++)
		n *= (size_t) t->shape[i];
	return n;
}

static const char *
maker_shard_name(const Maker *m, int shard)
{
	static char name[64];

	if (m->n_shards == 1)
		return "model.safetensors";
	snprintf(name, sizeof(name), "model-%05d-of-%05d.safetensors", shard + 1, m->n_shards);
	return name;
}

static void
maker_write_shard(const Maker *m, int shard)
{
	static char header[32768];
	size_t      len =
		(size_t) snprintf(header, sizeof(header), "{\"__metadata__\": {\"format\": \"pt\"}");
	long        at = 0;
	const char *path = path_in(m->dir, maker_shard_name(m, shard));
	FILE       *out = fopen(path, "wb");

	for (int i = 0; i < m->n; i++)
	{
		const MakerTensor *t = &m->tensors[i];
		long               size = (long) (maker_n_items(t) * maker_item_size(maker_dtype(m, t)));

		if (t->shard != shard)
			continue;
		len += (size_t) snprintf(header + len, sizeof(header) - len,
		                         ", \"%s\": {\"dtype\": \"%s\", \"shape\": [", t->name,
		                         maker_dtype(m, t));
		for (int k = 0; k < t->n_dims; k++)
			len += (size_t) snprintf(header + len, sizeof(header) - len, "%s%ld", k > 0 ? ", " : "",
			                         t->shape[k]);
		len += (size_t) snprintf(header + len, sizeof(header) - len,
		                         "], \"data_offsets\": [%ld, %ld]}", at + t->shift_begin,
		                         at + size + t->shift_end);
		at += size;
	}
	len += (size_t) snprintf(header + len, sizeof(header) - len, "}");

	uint64_t prefix = len;

	fwrite(&prefix, 8, 1, out);
	fwrite(header, 1, len, out);
	for (int i = 0; i < m->n; i++)
	{
		const MakerTensor *t = &m->tensors[i];

		if (t->shard == shard)
			maker_write_values(out, t, maker_dtype(m, t), maker_n_items(t));
	}
	if (fclose(out) != 0)
		exit(2);
	if (m->n_truncated > 0 && shard == m->n_shards - 1)
	{
		struct stat info;

		if (stat(path, &info) != 0 || truncate(path, info.st_size - m->n_truncated) != 0)
			exit(2);
	}
}

static void
maker_write_index(const Maker *m)
{
	FILE *out = fopen(path_in(m->dir, "model.safetensors.index.json"), "wb");

	if (m->index != NULL)
		fputs(m->index, out);
	else
	{
		fprintf(out, "{\"metadata\": {}, \"weight_map\": {");
		for (int i = 0; i < m->n; i++)
			fprintf(out, "%s\"%s\": \"%s\"", i > 0 ? ", " : "", m->tensors[i].name,
			        maker_shard_name(m, m->tensors[i].shard));
		fprintf(out, "}}");
	}
	if (fclose(out) != 0)
		exit(2);
}

/* A byte-level tokenizer without merges. The letters are those of GPT-2's bytes_to_unicode(). */
static void
maker_write_tokenizer(const char *path)
{
	FILE *out = fopen(path, "wb");
	int   n_moved = 0;

	fprintf(out, "{\"version\": \"1.0\", \"added_tokens\": [");
	for (int i = 0; i < 3; i++)
		fprintf(out,
		        "%s{\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, "
		        "\"rstrip\": false, \"normalized\": false, \"special\": true}",
		        i > 0 ? ", " : "", i,
		        i == 0   ? "<unk>"
		        : i == 1 ? "<pad>"
		                 : "<|endoftext|>");
	fprintf(out, "], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
	             "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, "
	             "\"post_processor\": null, \"decoder\": {\"type\": \"ByteLevel\", "
	             "\"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true}, "
	             "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
	             "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
	             "\"fuse_unk\": false, \"byte_fallback\": false, \"vocab\": {\"<unk>\": 0, "
	             "\"<pad>\": 1, \"<|endoftext|>\": 2");
	for (int byte = 0; byte < 256; byte++)
	{
		bool is_printed = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);

		fprintf(out, ", \"\\u%04x\": %d", is_printed ? byte : 256 + n_moved, 3 + byte);
		n_moved += !is_printed;
	}
	fprintf(out, "}, \"merges\": []}}");
	if (fclose(out) != 0)
		exit(2);
}

/* The tokenizer is a symbolic link, as all files of a Hugging Face cache are. */
__attribute__((unused)) static void
maker_write(const Maker *m)
{
	char target[500];

	write_text(path_in(m->dir, "config.json"), m->config);
	if (m->generation != NULL)
		write_text(path_in(m->dir, "generation_config.json"), m->generation);
	snprintf(target, sizeof(target), "%s/shared-tokenizer.json", scratch_root());
	if (!exists(target))
		maker_write_tokenizer(target);
	unlink(path_in(m->dir, "tokenizer.json"));
	if (symlink(target, path_in(m->dir, "tokenizer.json")) != 0)
		exit(2);
	for (int shard = 0; shard < m->n_shards; shard++)
		maker_write_shard(m, shard);
	if (m->n_shards > 1)
		maker_write_index(m);
}

/* Spread the tensors over n shards, in turn. */
__attribute__((unused)) static void
maker_shard(Maker *m, int n)
{
	m->n_shards = n;
	for (int i = 0; i < m->n; i++)
		m->tensors[i].shard = i % n;
}

/* ---- trying ---- */

__attribute__((unused)) static PkStatus
try_config(const char *dir, PkConfig *config, PkError *err)
{
	PkSources *sources;

	memset(err, 0, sizeof(*err));
	PK_FORWARD(pk_sources_scan(dir, &sources, err));

	PkStatus status = pk_sources_config(sources, config, err);

	pk_sources_free(sources);
	return status;
}

__attribute__((unused)) static PkStatus
try_convert(const PkConvert *args, PkHash128 *fingerprint, PkError *err)
{
	PkSources *sources;

	memset(err, 0, sizeof(*err));
	PK_FORWARD(pk_sources_scan(args->source_dir, &sources, err));

	PkHash128 key = pk_sources_key(sources);

	pk_sources_free(sources);
	return pk_convert(args, key, fingerprint, err);
}

/* One test: it was refused with this status, and the message names the culprit. */
__attribute__((unused)) static bool
refused(PkStatus status, const PkError *err, PkStatus want, const char *culprit, const char *name)
{
	bool good = status == want && err->status == want && strstr(err->text, culprit) != NULL;

	if (!ok(good, "%s", name))
		diag("got %s \"%s\" (%s), want %s naming \"%s\"", pk_status_name(status), err->text,
		     err->hint, pk_status_name(want), culprit);
	return good;
}

#endif

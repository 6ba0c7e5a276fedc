/*
 * test_sources.c
 *    Checkpoints that are incomplete, or whose tensors are not those of the model.
 */
#include "maker.h"

#include <sys/wait.h>

static PkStatus
try_written(Maker *m, PkConfig *config, PkError *err)
{
	maker_write(m);
	return try_config(m->dir, config, err);
}

static void
test_good(void)
{
	Maker    m;
	PkConfig config, other;
	PkError  err;

	maker_init(&m, "good");
	ok(try_written(&m, &config, &err) == PK_OK, "a good checkpoint is described");
	is_int(config.vocab_size, MAKER_V, "with the rows of its vocabulary");
	is_int(config.rotary_dims, MAKER_ROTARY, "with its rotary dimensions");
	is_int(config.n_tokens, 0, "and without a look at the tokenizer");

	maker_shard(&m, 3);
	unlink(path_in(m.dir, "model.safetensors"));
	ok(try_written(&m, &other, &err) == PK_OK && memcmp(&config, &other, sizeof(config)) == 0,
	   "three shards with an index are the same model");

	maker_init(&m, "bare");
	for (int i = 0; i < m.n; i++)
		if (strncmp(m.tensors[i].name, "gpt_neox.", 9) == 0)
			memmove(m.tensors[i].name, m.tensors[i].name + 9, strlen(m.tensors[i].name) - 8);
	ok(try_written(&m, &other, &err) == PK_OK, "names without \"gpt_neox.\" are known");

	maker_init(&m, "padded");
	maker_find(&m, "embed_out.weight")->shape[0] = 9000;
	maker_find(&m, "gpt_neox.embed_in.weight")->shape[0] = 9000;
	ok(try_written(&m, &other, &err) == PK_OK && other.vocab_size == 9000,
	   "the rows of the vocabulary are those of the tensors");
}

static void
test_variants(void)
{
	Maker        m;
	PkConfig     config;
	PkError      err;
	MakerTensor *t;

	maker_init(&m, "buffers");
	t = maker_add(&m, "gpt_neox.layers.0.attention.bias", 1, 1);
	t->n_dims = 4;
	t->shape[2] = t->shape[3] = 8;
	snprintf(t->dtype, sizeof(t->dtype), "BOOL");
	t = maker_add(&m, "gpt_neox.layers.1.attention.masked_bias", 1, 0);
	t->n_dims = 0;
	maker_add(&m, "gpt_neox.layers.1.attention.rotary_emb.inv_freq", 3, 0);
	maker_add(&m, "gpt_neox.layers.0.attention.rotary_emb.cos_cached", 64, 6);
	maker_add(&m, "gpt_neox.layers.0.attention.rotary_emb.sin_cached", 64, 6);
	maker_add(&m, "gpt_neox.rotary_emb.inv_freq", 3, 0);
	maker_add(&m, "rotary_emb.cos_cached", 64, 6);
	maker_add(&m, "gpt_neox.rotary_emb.sin_cached", 64, 6);
	ok(try_written(&m, &config, &err) == PK_OK, "buffers of old checkpoints are skipped");

	maker_init(&m, "tied");
	snprintf(m.config, sizeof(m.config),
	         MAKER_CONFIG_HEAD ", \"rotary_pct\": 0.5, \"tie_word_embeddings\": true}");
	ok(try_written(&m, &config, &err) == PK_OK, "with tied embeddings embed_out may be there");
	maker_drop(&m, "embed_out.weight");
	ok(try_written(&m, &config, &err) == PK_OK, "or not");

	maker_init(&m, "biasless");
	snprintf(m.config, sizeof(m.config),
	         MAKER_CONFIG_HEAD ", \"rotary_pct\": 0.5, \"attention_bias\": false}");
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "unexpected tensor",
	        "without attention_bias a bias is unexpected");
	maker_drop(&m, "gpt_neox.layers.0.attention.query_key_value.bias");
	maker_drop(&m, "gpt_neox.layers.0.attention.dense.bias");
	maker_drop(&m, "gpt_neox.layers.1.attention.query_key_value.bias");
	maker_drop(&m, "gpt_neox.layers.1.attention.dense.bias");
	ok(try_written(&m, &config, &err) == PK_OK, "and none is needed");
}

static void
test_tensors(void)
{
	Maker    m;
	PkConfig config;
	PkError  err;

	maker_init(&m, "missing");
	maker_drop(&m, "gpt_neox.layers.1.mlp.dense_h_to_4h.bias");
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE,
	        "tensor gpt_neox.layers.1.mlp.dense_h_to_4h.bias is missing in model.safetensors",
	        "a missing tensor is named with its file");
	maker_init(&m, "no-out");
	maker_drop(&m, "embed_out.weight");
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "tensor embed_out.weight is missing",
	        "embed_out is needed unless it is tied");
	ok(strstr(err.hint, "without its head") != NULL, "the hint says where it may have gone");
	maker_init(&m, "missing-shards");
	maker_drop(&m, "gpt_neox.layers.1.mlp.dense_h_to_4h.bias");
	maker_shard(&m, 3);
	unlink(path_in(m.dir, "model.safetensors"));
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "is missing in the shards",
	        "a tensor that no shard has");

	static const char *const unexpected[] = {
		"gpt_neox.layers.2.input_layernorm.weight", /* a layer too many */
		"gpt_neox.layers.00.input_layernorm.weight",
		"gpt_neox.layers..input_layernorm.weight",
		"gpt_neox.layers.0x.input_layernorm.weight",
		"gpt_neox.layers.4294967296.input_layernorm.weight",
		"gpt_neox.layers.0.attention.query_key_value.lora_A",
		"gpt_neox.layers.0.embed_in.weight",
		"gpt_neox.attention.bias",
		"lm_head.weight",
	};

	for (size_t i = 0; i < PK_LENGTH(unexpected); i++)
	{
		char name[200];

		maker_init(&m, "unexpected");
		maker_add(&m, unexpected[i], MAKER_E, 0);
		snprintf(name, sizeof(name), "%s is unexpected", unexpected[i]);
		refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, unexpected[i], name);
	}

	static const struct
	{
		const char *tensor, *hint;
	} others[] = {
		{"gpt_neox.layers.0.attention.dense.qweight", "quantized by another tool"},
		{"gpt_neox.layers.0.attention.dense.g_idx", "quantized by another tool"},
		{"gpt_neox.layers.0.attention.dense.qzeros", "quantized by another tool"},
		{"gpt_neox.layers.0.attention.dense.scales", "quantized by another tool"},
		{"score.weight", "GPTNeoXForCausalLM"},
		{"base_model.model.gpt_neox.layers.0.attention.dense.weight", "merge_and_unload"},
		{"gpt_neox.layers.0.attention.query_key_value.lora_A.weight", "merge_and_unload"},
		{"lm_head.weight", ""},
	};

	for (size_t i = 0; i < PK_LENGTH(others); i++)
	{
		maker_init(&m, "others");
		maker_shard(&m, 3);
		maker_add(&m, others[i].tensor, MAKER_E, 0)->shard = 1;
		unlink(path_in(m.dir, "model.safetensors"));
		refused(try_written(&m, &config, &err), &err, PK_BAD_FILE,
		        "in model-00002-of-00003.safetensors",
		        "the shard of an unexpected tensor is named");
		ok(strstr(err.hint, others[i].hint) != NULL &&
		       (err.hint[0] != 0) == (i + 1 < PK_LENGTH(others)),
		   "%s has the hint: %s", others[i].tensor, others[i].hint);
	}

	maker_init(&m, "twice");
	maker_add(&m, "final_layer_norm.bias", MAKER_E, 0);
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE,
	        "final_layer_norm.bias is there twice",
	        "a tensor with and without prefix is there twice");
}

static void
test_shapes(void)
{
	static const struct
	{
		const char *tensor;
		long        rows, cols;
		const char *culprit;
	} cases[] = {
		{"gpt_neox.layers.0.attention.dense.weight", 48, 47, "(48, 47)"},
		{"gpt_neox.layers.0.attention.query_key_value.weight", 48, 48, "(144, 48)"},
		{"gpt_neox.layers.1.mlp.dense_4h_to_h.weight", 96, 48, "(96, 48)"},
		{"gpt_neox.layers.1.input_layernorm.bias", 47, 0, "(47)"},
		{"gpt_neox.final_layer_norm.weight", 48, 1, "(48, 1)"},
		{"gpt_neox.embed_in.weight", 8064, 47, "(8064, 47)"},
		{"gpt_neox.embed_in.weight", 8000, 48, "embed_out.weight has shape (8064, 48)"},
		{"gpt_neox.embed_in.weight", 0, 48, "0 rows"},
		{"gpt_neox.embed_in.weight", 8064, 0, "embed_in.weight has shape (8064)"},
	};
	static const char *const dtypes[] = {"F64", "I8", "I64", "BOOL"};
	Maker                    m;
	PkConfig                 config;
	PkError                  err;
	char                     name[200];

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
	{
		maker_init(&m, "shape");

		MakerTensor *t = maker_find(&m, cases[i].tensor);

		t->n_dims = cases[i].cols > 0 ? 2 : 1;
		t->shape[0] = cases[i].rows;
		t->shape[1] = cases[i].cols;
		snprintf(name, sizeof(name), "a wrong shape of %s is named: %s", cases[i].tensor,
		         cases[i].culprit);
		refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, cases[i].culprit, name);
		ok(strstr(err.text, "0 rows") != NULL || strstr(err.text, "in model.safetensors") != NULL,
		   "with its file");
	}
	for (size_t i = 0; i < PK_LENGTH(dtypes); i++)
	{
		maker_init(&m, "dtype");
		snprintf(maker_find(&m, "gpt_neox.layers.0.attention.dense.weight")->dtype, 12, "%s",
		         dtypes[i]);
		snprintf(name, sizeof(name), "dense.weight has dtype %s", dtypes[i]);
		refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, name, "a wrong dtype is named");
	}
}

/* A good checkpoint, but for one file. */
static void
make_without(Maker *m, const char *name, const char *file)
{
	maker_init(m, name);
	maker_write(m);
	unlink(path_in(m->dir, file));
}

static void
test_missing_files(void)
{
	static const char *const needed[] = {"config.json", "tokenizer.json", "model.safetensors"};
	Maker                    m;
	PkConfig                 config;
	PkError                  err;
	char                     name[100];

	refused(try_config(path_in(scratch_root(), "nowhere"), &config, &err), &err, PK_NO_FILE,
	        "nowhere", "a missing directory is named");
	for (size_t i = 0; i < PK_LENGTH(needed); i++)
	{
		make_without(&m, "lacking", needed[i]);
		snprintf(name, sizeof(name), "a missing %s is named", needed[i]);
		refused(try_config(m.dir, &config, &err), &err, PK_NO_FILE, needed[i], name);
	}
	write_text(path_in(m.dir, "pytorch_model.bin"), "x");
	ok(try_config(m.dir, &config, &err) == PK_NO_FILE &&
	       strstr(err.hint, "save_pretrained") != NULL,
	   "where only pytorch_model.bin is, the hint tells how to convert it");
	refused(try_config(path_in(m.dir, "config.json"), &config, &err), &err, PK_NO_FILE,
	        "not a directory", "a file in place of the directory");
	ok(strstr(err.hint, "directory of the checkpoint") != NULL, "with the hint to give it");
	unlink(path_in(m.dir, "config.json"));
	mkdir(path_in(m.dir, "snapshots"), 0700);
	ok(try_config(m.dir, &config, &err) == PK_NO_FILE &&
	       strstr(err.hint, "snapshots/<hash>") != NULL,
	   "in the Hugging Face cache the hint names the directory of a version");
}

/* Weights under other names: the hint names one. */
static void
test_other_weights(void)
{
	static const struct
	{
		const char *file, *hint;
	} cases[] = {
		{"adapter_model.safetensors", "adapter_model.safetensors; if that is the whole model"},
		{"model-00002-of-00003.safetensors", "shard model-00002-of-00003.safetensors; download"},
		{"model-00001-of-00003.safetensors", "shard model-00001-of-00003.safetensors; download"},
		{"pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002.bin; load it"},
	};
	Maker    m;
	PkConfig config;
	PkError  err;

	make_without(&m, "named", "model.safetensors");
	for (size_t i = 0; i < PK_LENGTH(cases); i++)
	{
		write_text(path_in(m.dir, cases[i].file), "x");
		ok(try_config(m.dir, &config, &err) == PK_NO_FILE &&
		       strstr(err.hint, cases[i].hint) != NULL,
		   "where %s is, the hint says what to do with it", cases[i].file);
	}
}

static void
test_dangling(void)
{
	static const char *const files[] = {"config.json", "generation_config.json", "tokenizer.json",
	                                    "model.safetensors"};
	Maker                    m;
	PkConfig                 config;
	PkError                  err;
	char                     name[100];

	for (size_t i = 0; i < PK_LENGTH(files); i++)
	{
		make_without(&m, "dangling", files[i]);
		if (symlink("../../blobs/0123", path_in(m.dir, files[i])) != 0)
			exit(2);
		snprintf(name, sizeof(name), "%s as a link to nothing is named", files[i]);
		refused(try_config(m.dir, &config, &err), &err, PK_BAD_FILE, files[i], name);
		ok(strstr(err.text, "symbolic link") != NULL && strstr(err.hint, "cp -rL") != NULL,
		   "as a link, and the hint says how to copy");
	}
}

static void
test_adapter(void)
{
	Maker    m;
	PkConfig config;
	PkError  err;

	maker_init(&m, "adapter");
	maker_write(&m);
	write_text(path_in(m.dir, "adapter_config.json"), "{\"peft_type\": \"LORA\"}");
	refused(try_config(m.dir, &config, &err), &err, PK_UNSUPPORTED, "adapter_config.json",
	        "an adapter beside a model is not passed over");
	ok(strstr(err.hint, "merge_and_unload") != NULL, "the hint says how to merge it");
	unlink(path_in(m.dir, "config.json"));
	unlink(path_in(m.dir, "model.safetensors"));
	refused(try_config(m.dir, &config, &err), &err, PK_UNSUPPORTED, "adapter_config.json",
	        "an adapter alone is named");
}

/* Other bytes than the file's, in the place of each file. */
static void
test_not_the_file(void)
{
	static const char        pointer[] = "version https://git-lfs.github.com/spec/v1\n"
										 "oid sha256:4d7a2146\nsize 2662823476\n";
	static const char *const files[] = {"config.json", "generation_config.json", "tokenizer.json",
	                                    "model.safetensors", "model.safetensors.index.json"};
	static const struct
	{
		const char *bytes, *culprit, *hint, *name;
	} weights[] = {
		{"", "ends at byte 0", "download it again", "an empty file of weights"},
		{"<!DOCTYPE html><html>404</html>", "header of", "download it again", "a page of HTML"},
		{"{\"a\": 1}", "header of", "download it again", "a JSON text"},
		{"PK\x03\x04 and so on", "is a PyTorch file", "save_pretrained", "a PyTorch file"},
	};
	Maker    m;
	PkConfig config;
	PkError  err;
	char     name[120];

	for (size_t i = 0; i < PK_LENGTH(files); i++)
	{
		make_without(&m, "lfs", files[i]);
		if (i == 4)
			unlink(path_in(m.dir, "model.safetensors"));
		write_text(path_in(m.dir, files[i]), pointer);
		snprintf(name, sizeof(name), "a git-lfs pointer in the place of %s is named", files[i]);
		refused(try_config(m.dir, &config, &err), &err, PK_BAD_FILE, files[i], name);
		ok(strstr(err.text, "git-lfs pointer") != NULL && strstr(err.hint, "git lfs pull") != NULL,
		   "and the hint says what to do");
	}
	for (size_t i = 0; i < PK_LENGTH(weights); i++)
	{
		maker_init(&m, "weights");
		maker_write(&m);
		write_text(path_in(m.dir, "model.safetensors"), weights[i].bytes);
		snprintf(name, sizeof(name), "%s is refused", weights[i].name);
		refused(try_config(m.dir, &config, &err), &err, PK_BAD_FILE, weights[i].culprit, name);
		ok(strstr(err.hint, weights[i].hint) != NULL, "with the hint: %s", weights[i].hint);
	}
	write_text(path_in(m.dir, "model.safetensors"), "");
	if (truncate(path_in(m.dir, "model.safetensors"), 4096) != 0)
		exit(2);
	refused(try_config(m.dir, &config, &err), &err, PK_BAD_FILE, "the header of model.safetensors",
	        "zeros are refused");
	ok(strstr(err.hint, "download it again") != NULL, "as a damaged download");
}

/* In a child, as a user who may not enter the directory. */
static int
scan_as_nobody(const char *dir)
{
	PkConfig config;
	PkError  err;

	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return 9;
	if (try_config(dir, &config, &err) != PK_NO_PERMISSION || err.status != PK_NO_PERMISSION)
		return 1;
	return strstr(err.text, "config.json") != NULL && strstr(err.hint, "system user") != NULL ? 0
	                                                                                          : 2;
}

static void
test_permission(void)
{
	Maker m;
	int   status;
	pid_t child;

	maker_init(&m, "forbidden");
	maker_write(&m);
	if (chmod(m.dir, 0000) != 0)
		exit(2);
	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(scan_as_nobody(m.dir));
	ok(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0,
	   "a directory that we may not enter is PK_NO_PERMISSION, the hint names our user");
	if (chmod(m.dir, 0700) != 0)
		exit(2);
}

/* Something that is no file in place of each file. */
static void
test_kinds(void)
{
	static const char *const files[] = {"config.json", "generation_config.json", "tokenizer.json",
	                                    "model.safetensors"};
	Maker                    m;
	PkConfig                 config;
	PkError                  err;
	char                     name[100];

	alarm(60); /* a FIFO opened the wrong way waits for a writer */
	for (size_t i = 0; i < PK_LENGTH(files); i++)
	{
		make_without(&m, "kind", files[i]);
		if (mkfifo(path_in(m.dir, files[i]), 0600) != 0)
			exit(2);
		snprintf(name, sizeof(name), "a FIFO in place of %s is refused", files[i]);
		refused(try_config(m.dir, &config, &err), &err, PK_BAD_FILE, files[i], name);

		unlink(path_in(m.dir, files[i]));
		if (mkdir(path_in(m.dir, files[i]), 0700) != 0)
			exit(2);
		snprintf(name, sizeof(name), "a directory in place of %s is refused", files[i]);
		refused(try_config(m.dir, &config, &err), &err, PK_BAD_FILE, files[i], name);

		rmdir(path_in(m.dir, files[i]));
		if (symlink("/dev/zero", path_in(m.dir, files[i])) != 0)
			exit(2);
		snprintf(name, sizeof(name), "a device in place of %s is refused", files[i]);
		refused(try_config(m.dir, &config, &err), &err, PK_BAD_FILE, files[i], name);
	}
	alarm(0);
}

static void
test_shards(void)
{
	static const struct
	{
		const char *index;
		PkStatus    status;
		const char *culprit;
		const char *name;
	} cases[] = {
		{"{\"weight_map\": {\"a\": \"model-00009-of-00009.safetensors\"}}", PK_NO_FILE,
	     "model-00009-of-00009.safetensors", "an index that names a missing shard"},
		{"{\"weight_map\": {\"a\": \"../model.safetensors\"}}", PK_BAD_FILE, "../model.safetensors",
	     "a shard in the directory above"},
		{"{\"weight_map\": {\"a\": \"sub/model.safetensors\"}}", PK_BAD_FILE,
	     "sub/model.safetensors", "a shard in a directory below"},
		{"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", PK_BAD_FILE, "/etc/passwd",
	     "a shard with an absolute path"},
		{"{\"weight_map\": {\"a\": \"..\"}}", PK_BAD_FILE, "\"..\"", "two dots"},
		{"{\"weight_map\": {\"a\": \".hidden\"}}", PK_BAD_FILE, ".hidden", "a hidden shard"},
		{"{\"weight_map\": {\"a\": \"a..b\"}}", PK_BAD_FILE, "a..b", "two dots within a name"},
		{"{\"weight_map\": {\"a\": \"\"}}", PK_BAD_FILE, "plain file name", "an empty name"},
		{"{\"weight_map\": {\"a\": \"x\\u0000y\"}}", PK_BAD_FILE, "x?y", "byte 0 in a name"},
		{"{\"weight_map\": {\"a\": 1}}", PK_BAD_FILE, "no string", "a shard that is a number"},
		{"{\"weight_map\": {}}", PK_BAD_FILE, "names no shard", "an empty weight_map"},
		{"{\"weight_map\": [\"a\"]}", PK_BAD_FILE, "no weight_map", "a weight_map that is a list"},
		{"{}", PK_BAD_FILE, "no weight_map", "an index without weight_map"},
		{"{\"weight_map\": ", PK_BAD_FILE, "not valid JSON", "an index cut short"},
	};
	Maker    m;
	PkConfig config;
	PkError  err;

	for (size_t i = 0; i < PK_LENGTH(cases); i++)
	{
		maker_init(&m, "index");
		maker_shard(&m, 2);
		m.index = cases[i].index;
		refused(try_written(&m, &config, &err), &err, cases[i].status, cases[i].culprit,
		        cases[i].name);
	}
}

static void
test_index_and_shards_differ(void)
{
	Maker    m;
	PkConfig config;
	PkError  err;

	maker_init(&m, "elsewhere");
	maker_shard(&m, 2);
	m.index = "{\"weight_map\": {\"embed_out.weight\": \"model-00002-of-00002.safetensors\", "
			  "\"x\": \"model-00001-of-00002.safetensors\"}}";
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "but it is in model-00001",
	        "a tensor in another shard than the index says");
	m.index = "{\"weight_map\": {\"nothing\": \"model-00002-of-00002.safetensors\", "
			  "\"embed_out.weight\": \"model-00001-of-00002.safetensors\"}}";
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "places tensor nothing",
	        "a tensor that the shard of the index does not have");

	maker_init(&m, "double");
	maker_shard(&m, 2);
	maker_add(&m, "embed_out.weight", MAKER_V, MAKER_E)->shard = 1;
	m.index = "{\"weight_map\": {\"embed_out.weight\": \"model-00001-of-00002.safetensors\", "
			  "\"x\": \"model-00002-of-00002.safetensors\"}}";
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "tensor embed_out.weight is in both",
	        "a tensor in two shards");

	maker_init(&m, "generation");
	m.generation = "{\"eos_token_id\": [1,";
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "generation_config.json",
	        "a broken generation_config.json is named");

	maker_init(&m, "short");
	maker_shard(&m, 2);
	m.n_truncated = 3;
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "model-00002-of-00002.safetensors",
	        "a truncated shard is named");
	ok(strstr(err.text, "which has only") != NULL && err.hint[0] != '\0',
	   "with the numbers and a hint");

	maker_init(&m, "overlap");
	maker_find(&m, "gpt_neox.final_layer_norm.weight")->shift_begin = -2;
	maker_find(&m, "gpt_neox.final_layer_norm.weight")->shift_end = -2;
	refused(try_written(&m, &config, &err), &err, PK_BAD_FILE, "final_layer_norm.weight",
	        "tensors that overlap are named");
}

static void
test_key(void)
{
	Maker      m;
	PkSources *sources;
	PkError    err;
	PkHash128  before, after;

	maker_init(&m, "key");
	maker_write(&m);
	ok(pk_sources_scan(m.dir, &sources, &err) == PK_OK, "sources are found");
	before = pk_sources_key(sources);
	ok(pk_sources_size(sources) > (uint64_t) MAKER_V * MAKER_E * 4, "their size is known");
	pk_sources_free(sources);
	if (pk_sources_scan(m.dir, &sources, &err) != PK_OK)
		exit(2);
	ok(pk_hash_equal(before, pk_sources_key(sources)), "the key of unchanged files is the same");
	pk_sources_free(sources);

	write_text(path_in(m.dir, "generation_config.json"), "{}");
	if (pk_sources_scan(m.dir, &sources, &err) != PK_OK)
		exit(2);
	after = pk_sources_key(sources);
	ok(!pk_hash_equal(before, after), "another file is another key");
	pk_sources_free(sources);

	struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	if (utimensat(AT_FDCWD, path_in(m.dir, "config.json"), times, 0) != 0 ||
	    pk_sources_scan(m.dir, &sources, &err) != PK_OK)
		exit(2);
	ok(!pk_hash_equal(after, pk_sources_key(sources)), "another mtime is another key");
	pk_sources_free(sources);
}

int
main(void)
{
	test_good();
	test_variants();
	test_tensors();
	test_shapes();
	test_missing_files();
	test_other_weights();
	test_dangling();
	test_adapter();
	test_not_the_file();
	test_permission();
	test_kinds();
	test_shards();
	test_index_and_shards_differ();
	test_key();
	scratch_remove();
	return done_testing();
}

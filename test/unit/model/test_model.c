/*
 * test_model.c
 *    Opening, verifying and warming images, and images that are not what they should be.
 */
#include "maker.h"

#include <sys/wait.h>

#include "core/base/mapfile.h"
#include "core/model/image.h"

static char   image_path[300];
static char  *good; /* bytes of a good image */
static size_t n_good;

static void
make_good_image(void)
{
	Maker     m;
	PkHash128 fingerprint;
	PkError   err;

	maker_init(&m, "source");
	maker_write(&m);
	snprintf(image_path, sizeof(image_path), "%s/model.img", scratch_root());

	PkConvert args = {.source_dir = m.dir, .quant = PK_QUANT_Q8, .image_path = image_path};

	if (try_convert(&args, &fingerprint, &err) != PK_OK ||
	    pk_file_load(image_path, NULL, (size_t) 1 << 30, &good, &n_good, &err) != PK_OK)
	{
		fprintf(stderr, "%s\n", err.text);
		exit(2);
	}
}

static void
write_image(const char *bytes, size_t n)
{
	FILE *out;

	unlink(image_path);
	out = fopen(image_path, "wb");
	if (out == NULL || fwrite(bytes, 1, n, out) != n || fclose(out) != 0 ||
	    chmod(image_path, 0600) != 0)
		exit(2);
}

static PkStatus
try_open(PkError *err)
{
	PkModel *model = NULL;
	PkStatus status;

	memset(err, 0, sizeof(*err));
	status = pk_model_open(image_path, &model, err);
	pk_model_release(model);
	return status;
}

static void
test_good(void)
{
	PkModel    *model;
	PkImageInfo info;
	PkError     err;

	ok(pk_model_open(image_path, &model, &err) == PK_OK, "an image is opened");
	ok(pk_model_verify(model, NULL, &err) == PK_OK, "its weights match their checksum");
	ok(pk_model_warm(model, NULL, &err) == PK_OK, "it is warmed");
	ok(pk_image_peek(image_path, &info, &err) == PK_OK &&
	       memcmp(&info, pk_model_info(model), sizeof(info)) == 0,
	   "a peek tells the same");
	ok(info.weight_bytes < info.size_bytes && info.size_bytes == n_good, "sizes are told");
	ok(pk_model_ref(model) == model, "a reference is taken");
	pk_model_release(model);
	unlink(image_path);

	const PkWeights *w = pk_model_weights(model);

	is_near(w->ln_gain[7], maker_value(maker_seed("final_layer_norm.weight"), 7), 0,
	        "weights stay valid after the file is unlinked and one reference given back");
	ok(pk_model_verify(model, NULL, &err) == PK_OK, "all of them");
	pk_model_release(model);
	pk_model_release(NULL);
	write_image(good, n_good);
}

static void
test_alignment(void)
{
	PkModel    *model;
	PkError     err;
	const char *places[9];

	if (pk_model_open(image_path, &model, &err) != PK_OK)
		exit(2);

	const PkWeights *w = pk_model_weights(model);
	const PkLayer   *layer = &w->layers[1];
	bool             is_aligned = true;

	places[0] = w->embed_in;
	places[1] = (const char *) w->rope_cos;
	places[2] = (const char *) w->rope_sin;
	places[3] = layer->qkv.data;
	places[4] = (const char *) layer->qkv_bias;
	places[5] = layer->h4_to_h.data;
	places[6] = (const char *) layer->ln2_bias;
	places[7] = (const char *) w->ln_bias;
	places[8] = w->embed_out.data;
	for (size_t i = 0; i < PK_LENGTH(places); i++)
		is_aligned = is_aligned && (uintptr_t) places[i] % PK_ALIGNMENT == 0;
	ok(is_aligned, "every tensor is aligned");
	ok((uintptr_t) w->embed_out.data % 4096 == 0, "a large one starts on a page");
	pk_model_release(model);
}

static void
test_truncated(void)
{
	size_t      sizes[] = {0, 1, 100, 4095, 4096, 5000, n_good / 2, n_good - 4096, n_good - 1};
	PkImageInfo info;
	PkError     err;
	char        name[100];

	for (size_t i = 0; i < PK_LENGTH(sizes); i++)
	{
		write_image(good, sizes[i]);
		snprintf(name, sizeof(name), "an image cut to %zu bytes is refused", sizes[i]);
		refused(try_open(&err), &err, PK_BAD_FILE, "model.img", name);
		memset(&err, 0, sizeof(err));
		snprintf(name, sizeof(name), "and a peek at %zu bytes sees it", sizes[i]);
		refused(pk_image_peek(image_path, &info, &err), &err, PK_BAD_FILE, "model.img", name);
	}
	good = realloc(good, n_good + 1);
	good[n_good] = 0;
	write_image(good, n_good + 1);
	refused(try_open(&err), &err, PK_BAD_FILE, "model.img", "one byte too many is refused");
	write_image(good, n_good);
}

/* One bit anywhere: in header and tables it is seen at open, elsewhere by verify. */
static void
test_altered(void)
{
	unsigned seed = 20261123, state = seed;
	size_t   n_missed = 0, n_late = 0, n_tried = 0;
	PkError  err;

	size_t   weights_offset = 0;
	PkModel *model;

	{
		PkImageHeader header;
		PkImageLayout layout;

		memcpy(&header, good, sizeof(header));
		if (pk_image_layout(&header.config, (PkQuant) header.quant, header.tokenizer_size, &layout,
		                    &err) != PK_OK)
			exit(2);
		weights_offset = layout.weights_offset;
		pk_image_layout_free(&layout);
	}
	diag("seed %u", seed);
	for (size_t i = 0; i < 300; i++, n_tried++)
	{
		state = state * 1664525u + 1013904223u;

		size_t limit = i % 3 == 0 ? 4096 : i % 3 == 1 ? weights_offset : n_good;
		size_t at = (size_t) ((uint64_t) (state >> 3) * 2654435761u % limit);
		char   flip = (char) (1 << (state >> 29 & 7));
		FILE  *out = fopen(image_path, "r+b");

		if (out == NULL || fseek(out, (long) at, SEEK_SET) != 0 ||
		    fputc(good[at] ^ flip, out) == EOF || fclose(out) != 0)
			exit(2);
		if (pk_model_open(image_path, &model, &err) == PK_OK)
		{
			n_late += at < weights_offset;
			n_missed += pk_model_verify(model, NULL, &err) != PK_BAD_FILE ||
			            strstr(err.text, "model.img") == NULL;
			pk_model_release(model);
		}
		out = fopen(image_path, "r+b");
		if (out == NULL || fseek(out, (long) at, SEEK_SET) != 0 || fputc(good[at], out) == EOF ||
		    fclose(out) != 0)
			exit(2);
	}
	ok(n_tried == 300 && n_late == 0, "a bit that flips in header or tables is seen at open");
	ok(n_missed == 0, "a bit that flips anywhere else is seen by verify");
	ok(try_open(&err) == PK_OK, "and the restored image is good");
}

/* Writes the image with a header that was changed with care: its checksum is right. */
static void
write_changed(void (*change)(PkImageHeader *))
{
	char         *changed = malloc(n_good);
	PkImageHeader header;

	memcpy(changed, good, n_good);
	memcpy(&header, changed, sizeof(header));
	change(&header);
	header.header_hash = pk_image_header_hash(&header);
	memcpy(changed, &header, sizeof(header));
	write_image(changed, n_good);
	free(changed);
}

/* What the header says is wrong. */
static void
forge(void (*change)(PkImageHeader *), const char *culprit, const char *name)
{
	PkError err;

	write_changed(change);
	refused(try_open(&err), &err, PK_BAD_FILE, culprit, name);
}

static void
other_magic(PkImageHeader *header)
{
	header->magic[0] = 'X';
}

static void
other_layout(PkImageHeader *header)
{
	header->layout++;
}

static void
first_layout(PkImageHeader *header)
{
	header->layout = 1;
}

static void
first_numerics(PkImageHeader *header)
{
	header->numerics = 1;
}

static void
other_quant(PkImageHeader *header)
{
	header->quant = PK_N_QUANT;
	header->layout = PK_IMAGE_LAYOUT(PK_N_QUANT);
}

static void
f32_instead(PkImageHeader *header)
{
	header->quant = PK_QUANT_F32;
	header->layout = PK_IMAGE_LAYOUT(PK_QUANT_F32);
}

static void
more_layers(PkImageHeader *header)
{
	header->config.num_hidden_layers = 1024;
}

static void
huge_tokenizer(PkImageHeader *header)
{
	header->tokenizer_size = UINT64_MAX - 100;
}

static void
other_tokenizer(PkImageHeader *header)
{
	header->tokenizer_size -= 64;
}

static void
zero_heads(PkImageHeader *header)
{
	header->config.num_attention_heads = 0;
}

static void
many_eos(PkImageHeader *header)
{
	header->config.n_eos = PK_MAX_EOS + 1;
}

static void
far_eos(PkImageHeader *header)
{
	header->config.n_eos = 1;
	header->config.eos_token_ids[0] = MAKER_V;
}

static void
more_tokens(PkImageHeader *header)
{
	header->config.n_tokens++;
}

static void
unended_version(PkImageHeader *header)
{
	memset(header->unicode_version, '1', sizeof(header->unicode_version));
}

static void
test_forged(void)
{
	PkError err;

	write_changed(first_numerics);
	ok(try_open(&err) == PK_OK, "an image of a version with other numerics is used");
	forge(other_magic, "not a model image", "another magic is refused");
	forge(other_layout, "layout", "another layout is refused");
	forge(first_layout, "layout 1, this version reads 2",
	      "q8 with scales in each group is refused");
	forge(other_quant, "out of range", "an unknown quantization is refused");
	forge(f32_instead, "bytes", "a quantization that does not fit the size is refused");
	forge(more_layers, "bytes", "a configuration that does not fit the size is refused");
	forge(huge_tokenizer, "tokenizer", "a tokenizer larger than the file is refused");
	forge(other_tokenizer, "", "a tokenizer of another size is refused");
	forge(zero_heads, "num_attention_heads", "a configuration out of range is refused");
	forge(many_eos, "end tokens", "too many end tokens are refused");
	forge(far_eos, "end token", "an end token beyond the vocabulary is refused");
	forge(more_tokens, "tokens", "a tokenizer with other tokens than the header says is refused");
	forge(unended_version, "out of range", "a version without end is refused");
	write_image(good, n_good);
}

static int
open_as_nobody(void)
{
	PkError err;

	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 9;
	return try_open(&err) == PK_NO_PERMISSION ? 0 : 1;
}

static void
test_files(void)
{
	PkImageInfo info;
	PkError     err = {0};

	if (chmod(image_path, 0660) != 0)
		exit(2);
	refused(try_open(&err), &err, PK_NO_PERMISSION, "written by others",
	        "an image that others may write is refused");
	refused(pk_image_peek(image_path, &info, &err), &err, PK_NO_PERMISSION, "written by others",
	        "by a peek too");
	if (chmod(image_path, 0644) != 0 || chmod(scratch_root(), 0755) != 0)
		exit(2);
	ok(try_open(&err) == PK_OK, "one that others may read is accepted");
	if (geteuid() == 0)
	{
		int   status;
		pid_t child = fork();

		if (child == 0)
			_exit(open_as_nobody());
		ok(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0,
		   "an image that belongs to somebody else is refused");
	}
	else
		skip("only root can try an image of somebody else");
	unlink(image_path);
	refused(try_open(&err), &err, PK_NO_FILE, "model.img", "a missing image is named");
	if (mkfifo(image_path, 0600) != 0)
		exit(2);
	refused(try_open(&err), &err, PK_BAD_FILE, "model.img", "a FIFO is no image");
	unlink(image_path);
	write_image(good, n_good);
}

static bool
at_once(void *arg)
{
	(void) arg;
	return true;
}

static void
test_cancel(void)
{
	PkCancel cancel = {.poll = at_once};
	PkModel *model;
	PkError  err;

	if (pk_model_open(image_path, &model, &err) != PK_OK)
		exit(2);
	ok(pk_model_verify(model, &cancel, &err) == PK_CANCELLED, "verifying is cancelled");
	cancel = (PkCancel){.poll = at_once};
	ok(pk_model_warm(model, &cancel, &err) == PK_CANCELLED, "warming is cancelled");
	pk_model_release(model);
}

int
main(void)
{
	make_good_image();
	test_good();
	test_alignment();
	test_truncated();
	test_altered();
	test_forged();
	test_files();
	test_cancel();
	free(good);
	scratch_remove();
	return done_testing();
}

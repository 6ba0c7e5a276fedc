/*
 * test_lost_image.c
 *    An image that is cut while an engine computes with it: an error, whatever was cut.
 */
#define _GNU_SOURCE
#include "golden.h"

#define DIR "test/golden/neox"

static const size_t kept[] = {0, 4096, 65536, 200000, 340000};

static PkRequest *
ask(PkEngine *engine, PkModel *model, PkRequestKind kind, const PkTokens *prompt)
{
	PkRequestSpec spec = {.kind = kind,
	                      .model = model,
	                      .tokens = prompt->ids,
	                      .n_tokens = prompt->n,
	                      .max_tokens = 40,
	                      .layer = -1,
	                      .sample = golden_greedy()};

	spec.sample.min_tokens = 40;
	return golden_submit(engine, &spec);
}

/* A few tokens are there when n bytes of the file are left. */
static void
cut_at_work(size_t n)
{
	PkModel   *model = golden_model_in_place(DIR, PK_QUANT_Q8);
	PkEngine  *engine = golden_engine(NULL, 2, 0, KV_BYTES);
	PkTokens   prompt = golden_encode(model, "이 영화는 정말");
	PkRequest *request = ask(engine, model, PK_REQUEST_GENERATE, &prompt);
	PkError    err = {0};
	PkStatus   status = PK_OK;
	size_t     n_before;

	for (size_t i = 0; i < 5; i++)
		must(pk_engine_step(engine, NULL, &err), &err);
	n_before = pk_request_n_pieces(request);
	ok(pk_model_file_state(model) == PK_FILE_SAME && pk_model_check_read(model, &err) == PK_OK,
	   "all is well");
	if (truncate(pk_model_path(model), (off_t) n) != 0)
		exit(2);
	status = pk_engine_step(engine, NULL, &err);
	if (!ok(status == PK_IO && strstr(err.text, "\"image\"") != NULL,
	        "cut to %zu bytes: the next step fails", n))
		diag("%s: %s", pk_status_name(status), err.text);
	ok(pk_request_n_pieces(request) == n_before, "and gives no token");
	ok(pk_engine_step(engine, NULL, &err) == PK_IO, "so does another try");
	pk_request_free(request);
	request = ask(engine, model, PK_REQUEST_EMBED, &prompt);
	ok(pk_engine_step(engine, NULL, &err) == PK_IO, "and another request");
	ok(pk_model_file_state(model) == PK_FILE_OTHER, "the file is another one");
	pk_request_free(request);
	pk_tokens_free(&prompt);
	pk_engine_destroy(engine);
	golden_remove(model);
	pk_model_release(model);
}

/* An engine copies the tokenizer's tables: text is still read and written. */
static void
tables_stay(void)
{
	PkModel *model = golden_model_in_place(DIR, PK_QUANT_Q8);
	PkError  err;

	must(pk_model_prepare(model, &err), &err);
	must(pk_model_prepare(model, &err), &err);
	if (truncate(pk_model_path(model), 0) != 0)
		exit(2);

	PkTokens tokens = golden_encode(model, "이 영화는 정말");
	char    *text = NULL;
	size_t   len;

	must(pk_tokenizer_decode(pk_model_tokenizer(model), tokens.ids, tokens.n, false, &text, &len,
	                         &err),
	     &err);
	is_str(text, "이 영화는 정말", "a model that is computed with needs no file for its tokenizer");
	ok(pk_model_check_read(model, &err) == PK_OK, "nothing of the file was read for it");
	ok(pk_model_verify(model, NULL, &err) == PK_IO, "verifying it says so");
	ok(pk_model_warm(model, NULL, &err) == PK_IO, "and warming");
	free(text);
	pk_tokens_free(&tokens);
	golden_remove(model);
	pk_model_release(model);
}

/* Who only reads and writes text has the tables of the map. */
static void
tables_are_lost(void)
{
	PkModel *model = golden_model_in_place(DIR, PK_QUANT_Q8);
	PkTokens tokens = {0};
	PkError  err = {0};

	if (truncate(pk_model_path(model), 0) != 0)
		exit(2);
	for (int i = 0; i < 2; i++)
		ok(pk_model_encode(model, "이 영화는", strlen("이 영화는"), &tokens, NULL, &err) == PK_IO &&
		       strstr(err.text, "\"image\"") != NULL,
		   "a text can't be read any more, time %d", i + 1);
	ok(pk_model_file_state(model) == PK_FILE_OTHER, "the file is another one");
	ok(pk_model_verify(model, NULL, &err) == PK_IO, "verifying it says so");
	pk_tokens_free(&tokens);
	golden_remove(model);
	pk_model_release(model);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		cut_at_work(kept[i]);
	tables_stay();
	tables_are_lost();
	return done_testing();
}

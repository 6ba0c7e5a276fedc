/*
 * cli_commands.c
 *    convert, generate, tokenize, embed and info.
 */
#include <string.h>

#include "cli/cli.h"
#include "core/model/convert.h"

static const char *finish_name(PkFinish finish);
static PkStatus    generate(const CliOptions *options, CliSession *session, PkRequest **request,
                            PkError *err);
static size_t      print_pieces(const CliOptions *options, const PkRequest *request, size_t shown);
static void        print_counts(const PkRequest *request);

int
cli_command_convert(const CliOptions *options)
{
	PkError   err;
	PkHash128 fingerprint;
	char      hex[PK_HASH_HEX_LEN + 1];
	double    begin = cli_seconds();

	if (options->output == NULL)
	{
		fprintf(stderr, "polyko_cli: convert needs -o IMAGE\n");
		return CLI_USAGE;
	}
	if (cli_convert_to(options, options->args[0], options->output, &fingerprint, &err) != PK_OK)
		return cli_fail(&err);
	pk_hash_to_hex(fingerprint, hex);
	printf("%s %s in %.1f s\n", hex, pk_quant_name(options->quant), cli_seconds() - begin);
	return CLI_OK;
}

int
cli_command_generate(const CliOptions *options)
{
	CliSession session;
	PkRequest *request = NULL;
	PkError    err;
	int        code = CLI_OK;

	if (cli_session_open(options, options->args[0], &session, &err) != PK_OK)
		return cli_fail(&err);
	if (generate(options, &session, &request, &err) != PK_OK)
		code = cli_fail(&err);
	else if (options->is_detailed)
		print_counts(request);
	else
		printf("\n");
	pk_request_free(request);
	cli_session_close(&session);
	return code;
}

/* Pieces are printed as they come. */
static PkStatus
generate(const CliOptions *options, CliSession *session, PkRequest **request, PkError *err)
{
	const char   *prompt = options->args[1];
	size_t        stop_lens[PK_LENGTH(options->stop)];
	PkTokens      tokens;
	PkRequestSpec spec = {.kind = PK_REQUEST_GENERATE,
	                      .model = session->model,
	                      .max_tokens = options->max_tokens,
	                      .sample = options->sample,
	                      .stop = options->stop,
	                      .stop_lens = stop_lens,
	                      .n_stop = options->n_stop,
	                      .prompt_lookup_num_tokens = (uint32_t) options->prompt_lookup};

	for (size_t i = 0; i < options->n_stop; i++)
		stop_lens[i] = strlen(options->stop[i]);

	PkStatus status = cli_encode(session->model, prompt, strlen(prompt), &tokens, err);

	spec.tokens = tokens.ids;
	spec.n_tokens = tokens.n;
	if (status == PK_OK)
		status = pk_engine_submit(session->engine, &spec, request, err);
	pk_tokens_free(&tokens);
	for (size_t shown = 0; status == PK_OK && pk_request_finish(*request) == PK_FINISH_NONE;)
	{
		status = pk_engine_step(session->engine, NULL, err);
		if (status == PK_OK)
			shown = print_pieces(options, *request, shown);
	}
	return status;
}

static size_t
print_pieces(const CliOptions *options, const PkRequest *request, size_t shown)
{
	for (; shown < pk_request_n_pieces(request); shown++)
	{
		PkPiece piece = pk_request_piece(request, shown);

		if (options->is_detailed)
			printf("%zu\t%d\t%.6f\t%.*s\n", shown + 1, (int) piece.id, (double) piece.logprob,
			       (int) piece.len, piece.text);
		else
			fwrite(piece.text, 1, piece.len, stdout);
	}
	fflush(stdout);
	return shown;
}

static void
print_counts(const PkRequest *request)
{
	size_t      len;
	const char *text = pk_request_text(request, &len);

	printf("text: %.*s\nfinish_reason: %s\nprompt_tokens: %zu\ncompletion_tokens: %zu\n"
	       "logprob: %.6f\n",
	       (int) len, text, finish_name(pk_request_finish(request)), pk_request_n_prompt(request),
	       pk_request_n_completion(request), pk_request_logprob(request));
}

static const char *
finish_name(PkFinish finish)
{
	static const char *const names[] = {"none", "stop", "length", "stop_string", "done"};

	return names[finish];
}

int
cli_command_tokenize(const CliOptions *options)
{
	PkModel *model;
	PkTokens tokens = {0};
	PkError  err;
	int      code = CLI_OK;

	if (cli_model_open(options, options->args[0], &model, &err) != PK_OK)
		return cli_fail(&err);

	const PkTokenizer *tokenizer = pk_model_tokenizer(model);
	const char        *text = options->args[1];

	if (pk_tokenizer_encode(tokenizer, text, strlen(text), &tokens, NULL, &err) != PK_OK)
		code = cli_fail(&err);
	for (size_t i = 0; code == CLI_OK && i < tokens.n; i++)
	{
		size_t      len;
		const char *bytes = pk_tokenizer_bytes(tokenizer, tokens.ids[i], &len);

		printf("%d\t%.*s\n", (int) tokens.ids[i], (int) len, bytes);
	}
	pk_tokens_free(&tokens);
	pk_model_release(model);
	return code;
}

int
cli_command_embed(const CliOptions *options)
{
	CliSession session;
	PkRequest *request = NULL;
	PkTokens   tokens;
	PkError    err;
	int        code = CLI_OK;

	if (cli_session_open(options, options->args[0], &session, &err) != PK_OK)
		return cli_fail(&err);

	const char *text = options->args[1];
	PkStatus    status = cli_encode(session.model, text, strlen(text), &tokens, &err);

	if (status == PK_OK)
	{
		PkRequestSpec spec = {.kind = PK_REQUEST_EMBED,
		                      .model = session.model,
		                      .tokens = tokens.ids,
		                      .n_tokens = tokens.n,
		                      .pooling = options->pooling,
		                      .normalize = options->normalize,
		                      .layer = options->layer};

		status = cli_run(&session, &spec, &request, &err);
	}
	if (status != PK_OK)
		code = cli_fail(&err);
	else
	{
		size_t       n;
		const float *values = pk_request_floats(request, &n);

		for (size_t i = 0; i < n; i++)
			printf("%.9g\n", (double) values[i]);
	}
	pk_tokens_free(&tokens);
	pk_request_free(request);
	cli_session_close(&session);
	return code;
}

int
cli_command_info(const CliOptions *options)
{
	PkModel *model;
	PkError  err;
	char     hex[PK_HASH_HEX_LEN + 1];

	if (cli_model_open(options, options->args[0], &model, &err) != PK_OK)
		return cli_fail(&err);

	const PkConfig    *config = pk_model_config(model);
	const PkImageInfo *info = pk_model_info(model);

	pk_hash_to_hex(info->fingerprint, hex);
	printf("fingerprint: %s\nquantization: %s\nnumerics: %u\nunicode: %s\n", hex,
	       pk_quant_name(info->quant), (unsigned) PK_NUMERICS, info->unicode_version);
	printf("parameters: %llu\nlayers: %u\nhidden_size: %u\nheads: %u\ncontext: %u\n",
	       (unsigned long long) pk_config_n_parameters(config),
	       (unsigned) config->num_hidden_layers, (unsigned) config->hidden_size,
	       (unsigned) config->num_attention_heads, (unsigned) config->max_position_embeddings);
	printf("vocabulary: %u of %u rows\nimage_bytes: %llu\nbytes_per_token: %llu\n",
	       (unsigned) config->n_tokens, (unsigned) config->vocab_size,
	       (unsigned long long) info->size_bytes, (unsigned long long) info->weight_bytes);
	pk_model_release(model);
	return CLI_OK;
}

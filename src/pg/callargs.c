/*
 * callargs.c
 *    Arguments of the SQL functions that run a model: read, checked, turned into a request.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "core/base/utf8.h"
#include "core/sample/stop.h"
#include "pg/callargs.h"
#include "pg/guc.h"
#include "pg/modelcache.h"
#include "pg/models.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"

/* Argument numbers of polyko_generate. */
enum
{
	ARG_MAX_TOKENS = 2,
	ARG_TEMPERATURE,
	ARG_TOP_K,
	ARG_TOP_P,
	ARG_REPETITION_PENALTY,
	ARG_STOP,
	ARG_SEED,
	ARG_MIN_TOKENS,
	ARG_OPTIONS
};

static void check_max_tokens(int32 max_tokens);
static void read_sample(FunctionCallInfo fcinfo, PkRequestSpec *spec);
static void read_stop(ArrayType *array, PkRequestSpec *spec);
static bool must_redact(FunctionCallInfo fcinfo);
static int  known_keys(const char *const *keys, int n_keys);
static void free_redactor(void *redactor);
static void free_tokens(void *tokens);

void
pkpg_check_encoding(void)
{
	int encoding = GetDatabaseEncoding();

	if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII)
		ereport(ERROR,
		        (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		         errmsg("polyko needs a database with encoding UTF8, this one has %s",
		                GetDatabaseEncodingName()),
		         errhint("Models answer in any character of Unicode. Create the database with "
		                 "ENCODING 'UTF8'.")));
}

void
pkpg_check_text(const char *text, size_t len)
{
	size_t bad;

	if (GetDatabaseEncoding() != PG_UTF8 && !pk_utf8_is_valid(text, len, &bad))
		ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
		                errmsg("the input is not UTF-8 at byte %zu", bad),
		                errhint("Convert the text to UTF-8.")));
}

void
pkpg_not_null(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
		        (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be NULL", name),
		         errhint("Leave the argument out to get its default.")));
}

void
pkpg_read_input(FunctionCallInfo fcinfo, PkpgInput *input)
{
	text *in = PG_GETARG_TEXT_PP(0);

	pkpg_check_encoding();
	pkpg_not_null(fcinfo, 1, "model");
	input->text = VARDATA_ANY(in);
	input->len = VARSIZE_ANY_EXHDR(in);
	input->model = pkpg_model_open(text_to_cstring(PG_GETARG_TEXT_PP(1)));
}

void
pkpg_read_generate(FunctionCallInfo fcinfo, PkpgInput *input, PkRequestSpec *spec)
{
	pkpg_not_null(fcinfo, 1, "model");
	pkpg_not_null(fcinfo, ARG_MAX_TOKENS, "max_tokens");
	spec->kind = PK_REQUEST_GENERATE;
	spec->max_tokens = PG_GETARG_INT32(ARG_MAX_TOKENS);
	spec->prompt_lookup_num_tokens = (uint32_t) pkpg_prompt_lookup_num_tokens;
	check_max_tokens(spec->max_tokens);
	read_sample(fcinfo, spec);
	pkpg_not_null(fcinfo, ARG_STOP, "stop");
	read_stop(PG_GETARG_ARRAYTYPE_P(ARG_STOP), spec);
	input->redact = must_redact(fcinfo);
	pkpg_read_input(fcinfo, input);
	input->redact |= pkpg_server_redacts(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	spec->model = input->model;
}

static void
check_max_tokens(int32 max_tokens)
{
	if (max_tokens < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("max_tokens is %d, it must be 1 or more", max_tokens),
		                errhint("Give the most tokens that an answer may have, such as 64.")));
	if (max_tokens > pkpg_max_tokens_limit)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		                errmsg("max_tokens is %d, polyko.max_tokens_limit allows %d", max_tokens,
		                       pkpg_max_tokens_limit),
		                errhint("Ask for fewer tokens, or let a superuser raise "
		                        "polyko.max_tokens_limit.")));
}

static void
read_sample(FunctionCallInfo fcinfo, PkRequestSpec *spec)
{
	PkError err = {0};

	pkpg_not_null(fcinfo, ARG_TEMPERATURE, "temperature");
	pkpg_not_null(fcinfo, ARG_TOP_K, "top_k");
	pkpg_not_null(fcinfo, ARG_TOP_P, "top_p");
	pkpg_not_null(fcinfo, ARG_REPETITION_PENALTY, "repetition_penalty");
	pkpg_not_null(fcinfo, ARG_SEED, "seed");
	pkpg_not_null(fcinfo, ARG_MIN_TOKENS, "min_tokens");
	spec->sample = (PkSampleParams){.temperature = PG_GETARG_FLOAT4(ARG_TEMPERATURE),
	                                .top_k = PG_GETARG_INT32(ARG_TOP_K),
	                                .top_p = PG_GETARG_FLOAT4(ARG_TOP_P),
	                                .repetition_penalty = PG_GETARG_FLOAT4(ARG_REPETITION_PENALTY),
	                                .min_tokens = PG_GETARG_INT32(ARG_MIN_TOKENS),
	                                .seed = (uint64_t) PG_GETARG_INT64(ARG_SEED)};
	pkpg_check(pk_sample_params_check(&spec->sample, &err), &err);
	if (spec->sample.min_tokens > spec->max_tokens)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("min_tokens is %d, it must not be above max_tokens (%d)",
		                       spec->sample.min_tokens, spec->max_tokens),
		                errhint("Raise max_tokens or lower min_tokens.")));
}

static void
read_stop(ArrayType *array, PkRequestSpec *spec)
{
	Datum       *items;
	bool        *nulls;
	int          n;
	const char **stop;
	size_t      *lens;
	PkError      err = {0};

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &n);
	stop = palloc_array(const char *, Max(n, 1));
	lens = palloc_array(size_t, Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			                errmsg("stop[%d] must not be NULL", i + 1),
			                errhint("Leave it out of the array.")));

		text *item = DatumGetTextPP(items[i]);

		stop[i] = VARDATA_ANY(item);
		lens[i] = VARSIZE_ANY_EXHDR(item);
		if (lens[i] == 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("stop[%d] is an empty string", i + 1),
			                errhint("An empty string would end every answer at once; leave it "
			                        "out of the array.")));
	}
	pkpg_check(pk_stop_check(lens, (size_t) n, &err), &err);
	spec->stop = stop;
	spec->stop_lens = lens;
	spec->n_stop = (size_t) n;
}

void
pkpg_read_options(FunctionCallInfo fcinfo, int arg, const char *const *keys, int n_keys,
                  JsonbValue *values)
{
	Jsonb         *options;
	JsonbIterator *it;
	JsonbValue     key;

	for (int i = 0; i < n_keys; i++)
		values[i].type = jbvNull;
	pkpg_not_null(fcinfo, arg, "options");
	options = PG_GETARG_JSONB_P(arg);
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("options must be a JSON object"), known_keys(keys, n_keys)));
	it = JsonbIteratorInit(&options->root);
	(void) JsonbIteratorNext(&it, &key, true); /* the object begins */
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		int  i = 0;
		char name[64];

		while (i < n_keys && ((int) strlen(keys[i]) != key.val.string.len ||
		                      memcmp(keys[i], key.val.string.val, key.val.string.len) != 0))
			i++;
		if (i == n_keys)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("unknown key \"%s\" in options",
			                       pk_error_quote(name, sizeof(name), key.val.string.val,
			                                      (size_t) key.val.string.len)),
			                known_keys(keys, n_keys)));
		(void) JsonbIteratorNext(&it, &values[i], true);
	}
}

/* The hint of an error. */
static int
known_keys(const char *const *keys, int n_keys)
{
	StringInfoData list;

	if (n_keys == 0)
		return errhint("Known keys: none yet. Leave options out.");
	initStringInfo(&list);
	for (int i = 0; i < n_keys; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", keys[i]);
	return errhint("Known keys: %s.", list.data);
}

/* By the call's option, or the server's: that is the administrator's, and no call undoes it. */
static bool
must_redact(FunctionCallInfo fcinfo)
{
	static const char *const keys[] = {"redact"};
	JsonbValue               redact;

	pkpg_read_options(fcinfo, ARG_OPTIONS, keys, lengthof(keys), &redact);
	if (redact.type != jbvNull && redact.type != jbvBool)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("options: redact must be true or false"),
		                errhint("Write options => '{\"redact\": true}'.")));
	return redact.type == jbvBool && redact.val.boolean;
}

const PkTokens *
pkpg_encode(const PkpgInput *input, bool want_offsets)
{
	PkTokens *tokens = palloc0(sizeof(PkTokens));
	PkCancel  cancel;
	PkError   err = {0};

	tokens->want_offsets = want_offsets;
	(void) pkpg_tie(CurrentMemoryContext, free_tokens, tokens);
	pkpg_cancel_init(&cancel);
	CHECK_FOR_INTERRUPTS();
	pkpg_check(pk_model_encode(input->model, input->text, input->len, tokens, &cancel, &err), &err);
	return tokens;
}

PkRedactor *
pkpg_redactor_begin(const PkpgInput *input)
{
	PkRedactor **redactor = palloc0(sizeof(PkRedactor *)); /* tied before it is there: no leak */
	PkError      err = {0};

	(void) pkpg_tie(CurrentMemoryContext, free_redactor, redactor);
	pkpg_check(pk_redactor_create(input->text, input->len, redactor, &err), &err);
	return *redactor;
}

static void
free_redactor(void *redactor)
{
	pk_redactor_free(*(PkRedactor **) redactor);
}

static void
free_tokens(void *tokens)
{
	pk_tokens_free(tokens);
}

void
pkpg_set_prompt(const PkpgInput *input, PkRequestSpec *spec)
{
	const PkTokens *tokens = pkpg_encode(input, false);
	const PkConfig *config = pk_model_config(input->model);

	spec->tokens = tokens->ids;
	spec->n_tokens = tokens->n;
	if (tokens->n > 0)
		return;
	if (config->endoftext_id < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("the model has no <|endoftext|> token to stand for an empty input"),
		                errhint("Give an input that is not empty.")));
	spec->tokens = &config->endoftext_id;
	spec->n_tokens = 1;
}

MemoryContext
pkpg_call_begin(MemoryContext *caller)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "polyko call", ALLOCSET_DEFAULT_SIZES);

	*caller = MemoryContextSwitchTo(context);
	return context;
}

/*
 * test_compile.c
 *    Bad and unsupported tokenizer.json files: each has its status and says what is wrong.
 *
 * Each case is a small good file with one change, written as a jansson path and a value.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include <time.h>

#include "../tap.h"
#include "golden.h"

typedef struct Case
{
	const char *name;
	const char *path;  /* keys and indexes, separated by '/' */
	const char *value; /* JSON; NULL removes */
	PkStatus    status;
	const char *says; /* part of the message */
} Case;

static const char base_json[] =
	"{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
	"\"added_tokens\":[{\"id\":4,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,"
	"\"rstrip\":false,\"normalized\":false,\"special\":true}],"
	"\"normalizer\":{\"type\":\"NFC\"},"
	"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
	"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a+\"},\"behavior\":\"Isolated\",\"invert\":false},"
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}]},"
	"\"post_processor\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":false},"
	"\"decoder\":{\"type\":\"ByteLevel\"},"
	"\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
	"\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
	"\"byte_fallback\":false,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3},\"merges\":[[\"a\",\"b\"]]}}";

#define SPLIT_PATTERN "pre_tokenizer/pretokenizers/0/pattern"
#define TEMPLATE(single, specials)                        \
	"{\"type\":\"TemplateProcessing\",\"single\":" single \
	",\"pair\":[],\"special_tokens\":" specials "}"

static const Case cases[] = {
	/* what may be missing or empty */
	{"no change", "version", "\"1.0\"", PK_OK, ""},
	{"no normalizer", "normalizer", "null", PK_OK, ""},
	{"no post_processor", "post_processor", NULL, PK_OK, ""},
	{"no added tokens", "added_tokens", "[]", PK_OK, ""},
	{"empty affixes", "model/end_of_word_suffix", "\"\"", PK_OK, ""},
	{"dropout 0", "model/dropout", "0.0", PK_OK, ""},
	{"no model type", "model/type", NULL, PK_OK, ""},
	{"truncation of a fine-tune", "truncation",
     "{\"direction\":\"Right\",\"max_length\":5,\"strategy\":\"LongestFirst\",\"stride\":0}", PK_OK,
     ""},
	{"padding of a fine-tune", "padding",
     "{\"strategy\":\"BatchLongest\",\"direction\":\"Right\",\"pad_id\":1}", PK_OK, ""},
	{"neither truncation nor padding", "truncation", NULL, PK_OK, ""},
	{"merges as strings", "model/merges", "[\"a b\"]", PK_OK, ""},
	{"no merges", "model/merges", "[]", PK_OK, ""},
	{"no tokens but an added one", "model", "{\"vocab\":{},\"merges\":[]}", PK_BAD_FILE, "id 4"},

	/* ids */
	{"a hole in the ids", "model/vocab/c", "5", PK_BAD_FILE,
     "has holes: 4 tokens, but \"c\" has id 5"},
	{"an id twice", "model/vocab/c", "2", PK_BAD_FILE, "id 2 twice"},
	{"a negative id", "model/vocab/c", "-1", PK_BAD_FILE, "negative id -1"},
	{"an id that is text", "model/vocab/c", "\"3\"", PK_BAD_FILE, "\"c\" is no integer"},
	{"an id that is a fraction", "model/vocab/c", "3.5", PK_BAD_FILE, "no integer"},
	{"an id of 62 bits", "model/vocab/c", "4611686018427387904", PK_BAD_FILE,
     "4611686018427387904"},
	{"a hole before an added token", "added_tokens/0/id", "5", PK_BAD_FILE,
     "has id 5 where 4 follows"},
	{"an added token on a known id", "added_tokens/0/id", "1", PK_BAD_FILE, "has id 1 where 4"},
	{"an added token without id", "added_tokens/0/id", NULL, PK_BAD_FILE, "has no id"},
	{"an added token without content", "added_tokens/0/content", NULL, PK_BAD_FILE, "no content"},
	{"an empty added token", "added_tokens/0/content", "\"\"", PK_BAD_FILE, "is empty"},
	{"an added token without flags", "added_tokens/0/lstrip", NULL, PK_BAD_FILE, "lstrip"},
	{"added tokens as an object", "added_tokens", "{}", PK_BAD_FILE, "added_tokens is no array"},

	/* the model */
	{"no model", "model", NULL, PK_BAD_FILE, "model is no object"},
	{"a WordPiece model", "model/type", "\"WordPiece\"", PK_UNSUPPORTED, "\"WordPiece\""},
	{"a Unigram model", "model/type", "\"Unigram\"", PK_UNSUPPORTED, "\"Unigram\""},
	{"no vocab", "model/vocab", NULL, PK_BAD_FILE, "vocab is no object"},
	{"a vocab as an array", "model/vocab", "[\"a\"]", PK_BAD_FILE, "vocab is no object"},
	{"no merges at all", "model/merges", NULL, PK_BAD_FILE, "merges is no array"},
	{"a merge of an unknown token", "model/merges", "[[\"a\",\"x\"]]", PK_BAD_FILE, "names \"x\""},
	{"a merge that makes an unknown token", "model/merges", "[[\"b\",\"a\"]]", PK_BAD_FILE,
     "names \"ba\""},
	{"a merge of an added token", "model/merges", "[[\"<s>\",\"a\"]]", PK_BAD_FILE,
     "names \"<s>\""},
	{"a merge of three", "model/merges", "[[\"a\",\"b\",\"c\"]]", PK_BAD_FILE,
     "merge 0 is no pair"},
	{"a merge with two spaces", "model/merges", "[\"a  b\"]", PK_BAD_FILE, "merge 0"},
	{"a merge of numbers", "model/merges", "[[1,2]]", PK_BAD_FILE, "merge 0 is no pair"},
	{"merges in both spellings", "model/merges", "[\"a b\",[\"a\",\"b\"]]", PK_BAD_FILE, "merge 1"},
	{"dropout", "model/dropout", "0.1", PK_UNSUPPORTED, "dropout"},
	{"a subword prefix", "model/continuing_subword_prefix", "\"##\"", PK_UNSUPPORTED,
     "continuing_subword_prefix"},
	{"a word suffix", "model/end_of_word_suffix", "\"</w>\"", PK_UNSUPPORTED, "end_of_word_suffix"},
	{"an unknown unk_token", "model/unk_token", "\"<unk>\"", PK_BAD_FILE, "unk_token \"<unk>\""},
	{"byte_fallback as a number", "model/byte_fallback", "1", PK_BAD_FILE, "byte_fallback"},
	{"ignore_merges as text", "model/ignore_merges", "\"yes\"", PK_BAD_FILE, "ignore_merges"},

	/* other parts */
	{"another version", "version", "\"2.0\"", PK_UNSUPPORTED, "version"},
	{"truncation as a number", "truncation", "5", PK_BAD_FILE,
     "truncation is neither an object nor null"},
	{"padding as a list", "padding", "[]", PK_BAD_FILE, "padding is neither an object nor null"},
	{"a Lowercase normalizer", "normalizer", "{\"type\":\"Lowercase\"}", PK_UNSUPPORTED,
     "normalizer \"Lowercase\""},
	{"a Replace in a Sequence", "normalizer",
     "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\"}]}",
     PK_UNSUPPORTED, "normalizer \"Replace\""},
	{"a normalizer without type", "normalizer", "{}", PK_BAD_FILE, "normalizer has no type"},
	{"a Sequence of nothing", "normalizer", "{\"type\":\"Sequence\"}", PK_BAD_FILE, "Sequence"},
	{"a Metaspace pre_tokenizer", "pre_tokenizer", "{\"type\":\"Metaspace\"}", PK_UNSUPPORTED,
     "pre_tokenizer \"Metaspace\""},
	{"Digits after ByteLevel", "pre_tokenizer/pretokenizers/2",
     "{\"type\":\"Digits\",\"individual_digits\":true}", PK_UNSUPPORTED, "after ByteLevel"},
	{"ByteLevel without its space rule", "pre_tokenizer", "{\"type\":\"ByteLevel\"}", PK_BAD_FILE,
     "add_prefix_space"},
	{"Digits without its rule", "pre_tokenizer", "{\"type\":\"Digits\"}", PK_BAD_FILE,
     "individual_digits"},
	{"an unknown behavior", "pre_tokenizer/pretokenizers/0/behavior", "\"Joined\"", PK_UNSUPPORTED,
     "behavior"},
	{"Split without invert", "pre_tokenizer/pretokenizers/0/invert", NULL, PK_BAD_FILE, "invert"},
	{"Split without a pattern", SPLIT_PATTERN, "{}", PK_BAD_FILE, "no pattern"},
	{"Split with an empty text", SPLIT_PATTERN, "{\"String\":\"\"}", PK_UNSUPPORTED,
     "empty pattern"},
	{"Split with another pattern", SPLIT_PATTERN, "{\"Glob\":\"*\"}", PK_UNSUPPORTED, "neither"},
	{"a word boundary", SPLIT_PATTERN, "{\"Regex\":\"\\\\bx\"}", PK_UNSUPPORTED, "escape"},
	{"an open group", SPLIT_PATTERN, "{\"Regex\":\"(a\"}", PK_BAD_FILE, "without its ')'"},
	{"a look-behind without end", SPLIT_PATTERN, "{\"Regex\":\"(?<=\\\\p{L}+)\\\\p{N}\"}",
     PK_UNSUPPORTED, "tokenizer.json: Split regular expression: ICU can't compile it"},
	{"Bert's post_processor", "post_processor", "{\"type\":\"BertProcessing\"}", PK_UNSUPPORTED,
     "post_processor \"BertProcessing\""},
	{"a template with an id too high", "post_processor",
     TEMPLATE("[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}]",
              "{\"x\":{\"id\":\"x\",\"ids\":[5]}}"),
     PK_BAD_FILE, "is not one of the 5 ids"},
	{"a template of an unknown token", "post_processor",
     TEMPLATE("[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{}"),
     PK_BAD_FILE, "has no ids"},
	{"a template without text", "post_processor", TEMPLATE("[]", "{}"), PK_UNSUPPORTED,
     "no sequence A"},
	{"a template with the text twice", "post_processor",
     TEMPLATE("[{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{}"),
     PK_UNSUPPORTED, "not one sequence A"},
	{"a WordPiece decoder", "decoder", "{\"type\":\"WordPiece\"}", PK_UNSUPPORTED,
     "decoder \"WordPiece\""},
	{"two decoders", "decoder",
     "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"ByteFallback\"}]}",
     PK_UNSUPPORTED, "decoder \"ByteFallback\""},
};

/* Set or remove what path names. */
static void
change(json_t *root, const char *path, const char *value)
{
	char    key[80];
	json_t *node = root;

	for (;;)
	{
		size_t len = strcspn(path, "/");
		bool   is_last = path[len] == '\0';

		snprintf(key, sizeof(key), "%.*s", (int) len, path);
		if (is_last)
			break;
		node = json_is_array(node) ? json_array_get(node, (size_t) atol(key))
		                           : json_object_get(node, key);
		path += len + 1;
	}

	json_t *item = value != NULL ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;

	if (json_is_array(node) && (size_t) atol(key) == json_array_size(node))
		json_array_append_new(node, item);
	else if (json_is_array(node))
		json_array_set_new(node, (size_t) atol(key), item);
	else if (item == NULL)
		json_object_del(node, key);
	else
		json_object_set_new(node, key, item);
}

static void
check(const char *name, const char *text, size_t len, PkStatus status, const char *says)
{
	PkError      err = {.status = PK_OK};
	void        *blob;
	size_t       size;
	PkTokenizer *tokenizer = open_json(text, len, &blob, &size, &err);

	if (!ok((tokenizer == NULL) == (status != PK_OK) && err.status == status &&
	            strstr(err.text, says) != NULL,
	        "%s: %s", name, pk_status_name(status)))
		diag("got %s: %s", pk_status_name(err.status), err.text);
	pk_tokenizer_close(tokenizer);
	free(blob);
}

static void
test_texts(void)
{
	char  *deep = malloc(400001);
	size_t len = 0;

	check("nothing", "", 0, PK_BAD_FILE, "not valid JSON");
	check("half a file", base_json, sizeof(base_json) / 2, PK_BAD_FILE, "not valid JSON");
	check("an array", "[]", 2, PK_BAD_FILE, "no object");
	check("a token twice", "{\"model\":{\"vocab\":{\"a\":0,\"a\":1}}}", 34, PK_BAD_FILE,
	      "duplicate");
	check("a number beyond 64 bits", "{\"model\":{\"vocab\":{\"a\":99999999999999999999}}}", 46,
	      PK_BAD_FILE, "not valid JSON");
	memset(deep, '[', 200000);
	memset(deep + 200000, ']', 200000);
	check("200,000 brackets", deep, 400000, PK_BAD_FILE, "depth");
	for (int i = 0; i < 30; i++) /* Sequence in Sequence in ... */
		len += (size_t) sprintf(deep + len, "%s{\"type\":\"Sequence\",\"normalizers\":[",
		                        i == 0 ? "{\"model\":{\"vocab\":{},\"merges\":[]},\"normalizer\":"
		                               : "");
	for (int i = 0; i < 30; i++)
		len += (size_t) sprintf(deep + len, "]}");
	deep[len++] = '}';
	check("sequences 30 deep", deep, len, PK_UNSUPPORTED, "Sequence");
	free(deep);
}

static void
test_limits(void)
{
	size_t room = (size_t) 32 << 20, len;
	char  *text = malloc(room);

	len = (size_t) sprintf(text, "{\"model\":{\"merges\":[],\"vocab\":{");
	for (int i = 0; i <= 1000000; i++)
		len += (size_t) sprintf(text + len, "%s\"%x\":%d", i > 0 ? "," : "", (unsigned int) i, i);
	len += (size_t) sprintf(text + len, "}}}");
	check("1,000,001 tokens", text, len, PK_UNSUPPORTED, "1000001 tokens, the limit is 1000000");
	free(text);
}

static void
test_twice(void)
{
	json_t *root = json_loads(base_json, 0, NULL);
	json_t *list = json_object_get(root, "added_tokens");
	json_t *copy = json_deep_copy(json_array_get(list, 0));
	char   *text;

	json_object_set_new(copy, "id", json_integer(5));
	json_array_append_new(list, copy);
	text = json_dumps(root, 0);
	check("an added token twice", text, strlen(text), PK_BAD_FILE, "is there twice");
	free(text);
	json_decref(root);
}

typedef struct Asked
{
	int             n, stop_at;
	struct timespec last;
	double          longest_ms;
} Asked;

static bool
ask(void *arg)
{
	Asked          *asked = arg;
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);

	double ms = (double) (now.tv_sec - asked->last.tv_sec) * 1e3 +
	            (double) (now.tv_nsec - asked->last.tv_nsec) / 1e6;

	asked->longest_ms = asked->n > 0 && ms > asked->longest_ms ? ms : asked->longest_ms;
	asked->last = now;
	return ++asked->n == asked->stop_at;
}

/* A vocabulary of 20,000 tokens: a cancel is asked for all the time, and heeded everywhere. */
static void
test_cancel(void)
{
	size_t   room = (size_t) 4 << 20, len;
	char    *text = malloc(room);
	void    *blob = NULL;
	size_t   size;
	Asked    asked = {0};
	PkCancel cancel = {.poll = ask, .poll_arg = &asked};
	PkError  err;
	int      n_heeded = 0;

	len = (size_t) sprintf(text, "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
	for (int i = 0; i < 20000; i++)
		len += (size_t) sprintf(text + len, "%s\"%05x\":%d", i > 0 ? "," : "", (unsigned int) i, i);
	len += (size_t) sprintf(text + len, "}}}");
	is_int(pk_tokenizer_compile(text, len, &cancel, &blob, &size, &err), PK_OK,
	       "a cancel that never comes");
	free(blob);

	int n = asked.n;

	ok(n > 600, "a cancel is asked for %d times", n);
	ok(asked.longest_ms < 30, "at most %.1f ms apart", asked.longest_ms);
	for (int i = 0; i < 20; i++)
	{
		Asked stop = {.stop_at = 1 + i * (n - 1) / 19};

		cancel = (PkCancel){.poll = ask, .poll_arg = &stop};
		n_heeded += pk_tokenizer_compile(text, len, &cancel, &blob, &size, &err) == PK_CANCELLED;
	}
	is_int(n_heeded, 20, "a cancel is heeded wherever it comes");
	free(text);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		json_t *root = json_loads(base_json, 0, NULL);
		char   *text;

		change(root, cases[i].path, cases[i].value);
		text = json_dumps(root, 0);
		check(cases[i].name, text, strlen(text), cases[i].status, cases[i].says);
		free(text);
		json_decref(root);
	}
	test_texts();
	test_limits();
	test_twice();
	test_cancel();
	return done_testing();
}

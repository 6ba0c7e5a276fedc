/*
 * golden.h
 *    Reading test/golden/tokenizer for the unit tests: the tokenizers, texts and expected lines
 * that test/tools/mk_tokenizer_golden.py made with Hugging Face tokenizers.
 */
#ifndef TEST_TOKENIZER_GOLDEN_H
#define TEST_TOKENIZER_GOLDEN_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/tokenizer/tokenizer.h"

#define GOLDEN_DIR "test/golden/tokenizer/"

/* A whole file with a NUL after it, malloc'ed; NULL if it can't be read. */
__attribute__((unused)) static char *
read_whole(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	char *text = NULL;
	long  size;

	if (file == NULL)
		return NULL;
	if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0)
	{
		rewind(file);
		text = malloc((size_t) size + 1);
		*len = fread(text, 1, (size_t) size, file);
		text[*len] = '\0';
	}
	fclose(file);
	return text;
}

/* The tokenizer.json of a golden tokenizer as a jansson object with its model; owned by caller. */
__attribute__((unused)) static json_t *
golden_spec(const char *name)
{
	json_t *all = json_load_file(GOLDEN_DIR "tokenizers.json", 0, NULL);
	json_t *spec = json_deep_copy(json_object_get(json_object_get(all, "tokenizers"), name));
	json_t *number = json_object_get(spec, "model");
	json_t *model =
		json_array_get(json_object_get(all, "models"), (size_t) json_integer_value(number));

	if (spec != NULL)
		json_object_set_new(spec, "model", json_deep_copy(model));
	json_decref(all);
	return spec;
}

/* Compile and open text; NULL with err filled. *blob is to be freed after the tokenizer. */
__attribute__((unused)) static PkTokenizer *
open_json(const char *text, size_t len, void **blob, size_t *size, PkError *err)
{
	PkTokenizer *tokenizer = NULL;

	*blob = NULL;
	if (pk_tokenizer_compile(text, len, NULL, blob, size, err) != PK_OK)
		return NULL;
	if (pk_tokenizer_open(*blob, *size, &tokenizer, err) != PK_OK)
		return NULL;
	return tokenizer;
}

__attribute__((unused)) static PkTokenizer *
open_spec(const json_t *spec, void **blob, size_t *size, PkError *err)
{
	char        *text = json_dumps(spec, 0);
	PkTokenizer *tokenizer = open_json(text, strlen(text), blob, size, err);

	free(text);
	return tokenizer;
}

__attribute__((unused)) static PkTokenizer *
open_golden(const char *name, void **blob, size_t *size, PkError *err)
{
	json_t      *spec = golden_spec(name);
	PkTokenizer *tokenizer = open_spec(spec, blob, size, err);

	json_decref(spec);
	return tokenizer;
}

/* models/polyko-tiny/tokenizer.json */
__attribute__((unused)) static PkTokenizer *
open_tiny(void **blob, size_t *size, PkError *err)
{
	size_t       len = 0;
	char        *text = read_whole("models/polyko-tiny/tokenizer.json", &len);
	PkTokenizer *tokenizer = text != NULL ? open_json(text, len, blob, size, err) : NULL;

	free(text);
	return tokenizer;
}

#endif

/*
 * bench_pii.c
 *    How fast personal data is looked for: in a file, and in a megabyte of each of the texts that
 *    cost most. One thread; the best of several runs counts.
 *
 * Usage: bench_pii [FILE]      FILE: UTF-8 text, for instance reviews
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/pii/pii.h"

#include "timing.h"

#define RUNS 7
#define HOSTILE_BYTES 1000000

static const char *const hostile[] = {"7",
                                      "-",
                                      "*",
                                      " ",
                                      "010-",
                                      "010 ",
                                      "일",
                                      "공",
                                      "공일공",
                                      "1-",
                                      "(0)",
                                      "0123456 ",
                                      "010-1234-5678 ",
                                      "01012345678 ",
                                      "11012345678 ",
                                      "0 - ",
                                      "@",
                                      "a@",
                                      "ᄀ",
                                      "(02) ",
                                      "110-123-456789 가"};

static void
measure(const char *name, const char *text, size_t len)
{
	double best = 1e9;
	size_t n_found = 0;

	for (int run = 0; run < RUNS; run++)
	{
		PkPiiScan  scan;
		PkPiiMatch match;
		PkError    err;
		bool       found = true;
		double     start = seconds();

		pk_pii_begin(&scan, text, len, PK_PII_DEFAULT, PK_PII_TOKEN, NULL);
		for (n_found = 0; pk_pii_next(&scan, &match, &found, &err) == PK_OK && found;)
			n_found++;
		if (seconds() - start < best)
			best = seconds() - start;
	}
	printf("%-20s %9zu bytes %6zu found %8.2f ms %8.0f MB/s\n", name, len, n_found, best * 1e3,
	       (double) len / best / 1e6);
}

static void
measure_repeated(const char *unit)
{
	size_t n_unit = strlen(unit), n = HOSTILE_BYTES / n_unit;
	char  *text = malloc(n * n_unit);

	if (text == NULL)
		exit(1);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * n_unit, unit, n_unit);
	measure(unit, text, n * n_unit);
	free(text);
}

static int
measure_file(const char *path)
{
	FILE  *file = fopen(path, "rb");
	long   len = file != NULL && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
	char  *text = len > 0 ? malloc((size_t) len) : NULL;
	size_t n = 0;

	if (text != NULL)
	{
		rewind(file);
		n = fread(text, 1, (size_t) len, file);
	}
	if (file != NULL)
		fclose(file);
	if (n > 0)
		measure(path, text, n);
	else
		fprintf(stderr, "bench_pii: %s can't be read\n", path);
	free(text);
	return n > 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	if (argc > 1 && measure_file(argv[1]) != 0)
		return 1;
	for (size_t i = 0; i < PK_LENGTH(hostile); i++)
		measure_repeated(hostile[i]);
	return 0;
}

/*
 * test_alloc.c
 *    Sizes that overflow, arrays that grow, and pages.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/base/alloc.h"

/* The sanitizers stop at sizes that overflow, where malloc says no. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *
__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void
test_sizes(void)
{
	size_t out = 1;

	ok(pk_size_mul(SIZE_MAX / 2, 2, &out) && out == SIZE_MAX - 1, "the largest product fits");
	ok(!pk_size_mul(SIZE_MAX / 2 + 1, 2, &out), "one more does not");
	ok(pk_size_mul(0, SIZE_MAX, &out) && out == 0, "nothing times anything is nothing");
	ok(pk_size_add(SIZE_MAX, 0, &out) && out == SIZE_MAX, "the largest sum fits");
	ok(!pk_size_add(SIZE_MAX, 1, &out), "one more does not");
	ok(pk_round_up(0, 64) == 0 && pk_round_up(1, 64) == 64 && pk_round_up(64, 64) == 64 &&
	       pk_round_up(65, 64) == 128 && pk_round_up(7, 1) == 7 && pk_round_up(7, 3) == 9,
	   "numbers are rounded up to a multiple");
}

static void
test_calloc(void)
{
	void   *memory = NULL;
	PkError err;
	bool    is_zero = true;

	ok(pk_calloc(0, 8, &memory, &err) == PK_OK && memory != NULL, "no items are some memory");
	free(memory);
	ok(pk_calloc(8, 0, &memory, &err) == PK_OK && memory != NULL, "so are items of no size");
	free(memory);
	if (ok(pk_calloc(1000, 3, &memory, &err) == PK_OK, "1,000 items of 3 bytes"))
		for (size_t i = 0; i < 3000; i++)
			is_zero &= ((char *) memory)[i] == 0;
	ok(is_zero, "are zero");
	free(memory);
	is_int(pk_calloc(SIZE_MAX / 2, 4, &memory, &err), PK_NO_MEMORY, "an overflow is no memory");
	ok(memory == NULL, "and gives none");
	ok(strstr(err.text, "4 bytes") != NULL, "the error has the sizes");
}

static void
test_grow(void)
{
	uint32_t *items = NULL;
	void     *array = NULL;
	size_t    n_room = 0;
	PkError   err;
	bool      is_kept = true, doubles = true;
	int       n_moves = 0;

	for (size_t n = 1; n <= 100000; n++)
	{
		size_t before = n_room;

		if (pk_grow(&array, &n_room, n, sizeof(*items), &err) != PK_OK)
			break;
		items = array;
		items[n - 1] = (uint32_t) n;
		n_moves += n_room != before;
		doubles &= n_room >= n;
	}
	for (size_t i = 0; i < 100000; i++)
		is_kept &= items[i] == i + 1;
	ok(is_kept, "an array that grows keeps its items");
	ok(doubles && n_moves <= 14, "it doubles: few moves for many items");

	size_t before = n_room;

	ok(pk_grow(&array, &n_room, 1, sizeof(*items), &err) == PK_OK && n_room == before,
	   "it never shrinks");
	is_int(pk_grow(&array, &n_room, SIZE_MAX / 2, sizeof(*items), &err), PK_NO_MEMORY,
	       "too many items are no memory");
	is_int(pk_grow(&array, &n_room, SIZE_MAX, 1, &err), PK_NO_MEMORY,
	       "also when doubling overflows");
	ok(array == items && n_room == before && items[99999] == 100000, "the array is unchanged");
	free(array);
}

static void
test_pages(void)
{
	static const size_t sizes[] = {0, 1, 4096, 5000, (size_t) 4 << 20};
	PkError             err;
	bool                good = true;

	for (size_t i = 0; i < PK_LENGTH(sizes); i++)
	{
		void *pages = NULL;

		good &= pk_pages_alloc(sizes[i], &pages, &err) == PK_OK && (uintptr_t) pages % 4096 == 0;
		for (size_t k = 0; good && k < sizes[i]; k++)
			good &= ((char *) pages)[k] == 0;
		if (good && sizes[i] > 0)
			memset(pages, 1, sizes[i]);
		pk_pages_free(pages, sizes[i]);
	}
	ok(good, "pages are aligned, zero and writable, for any size");
	pk_pages_free(NULL, 100);

	void *pages = NULL;

	is_int(pk_pages_alloc(SIZE_MAX / 2, &pages, &err), PK_NO_MEMORY,
	       "too many pages are no memory");
	ok(pages == NULL, "and give none");
}

int
main(void)
{
	test_sizes();
	test_calloc();
	test_grow();
	test_pages();
	return done_testing();
}

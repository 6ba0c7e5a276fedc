/*
 * test_servedmodels.c
 *    Mapped models within a limit: who makes room, who waits, who never fits.
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "images.h"

#include "core/base/mapfile.h"
#include "core/serve/servedmodels.h"

#define N_IMAGES 3

static const char    *paths[N_IMAGES];
static uint64_t       sizes[N_IMAGES];
static PkServedModels models;
static int            n_loaded, n_unloaded;
static uint64_t       now_us;

static void test_no_limit(void);
static void test_oldest_goes(void);
static void test_waiting(void);
static void test_too_large(void);
static void test_expire(void);
static void test_missing(void);
static void test_removed(void);
static void test_replaced(void);

static void
told(void *arg, bool is_loaded, const PkServedModel *model)
{
	(void) arg;
	n_loaded += is_loaded && model->info.bytes > 0;
	n_unloaded += !is_loaded;
}

int
main(void)
{
	static const char *const dirs[N_IMAGES] = {"test/golden/neox", "test/golden/neox-seq",
	                                           "test/golden/neox-old"};

	for (int i = 0; i < N_IMAGES; i++)
	{
		char name[8];

		snprintf(name, sizeof(name), "%d", i);
		paths[i] = image_of(dirs[i], PK_QUANT_Q8, name);

		PkModel *model = model_at(paths[i]);

		sizes[i] = pk_model_info(model)->size_bytes;
		pk_model_release(model);
	}
	test_no_limit();
	test_oldest_goes();
	test_waiting();
	test_too_large();
	test_expire();
	test_missing();
	test_removed();
	test_replaced();
	for (int i = 0; i < N_IMAGES; i++)
		image_forget(paths[i]);
	return done_testing();
}

static void
begin(uint64_t max_bytes)
{
	models = (PkServedModels){.max_bytes = max_bytes, .tell = told};
	n_loaded = n_unloaded = 0;
	now_us = 1000;
}

static void
end(void)
{
	(void) pk_served_models_expire(&models, UINT64_MAX);
	ok(models.first == NULL && models.bytes == 0, "at last nothing is mapped");
}

static PkServedModel *
find(int i)
{
	PkServedModel *model = NULL;
	PkError        err;

	must(pk_served_model_find(&models, paths[i], "some name", ++now_us, &model, &err), &err);
	return model;
}

static bool
is_mapped(int i)
{
	for (PkServedModel *model = models.first; model != NULL; model = model->next)
		if (strcmp(model->path, paths[i]) == 0)
			return true;
	return false;
}

static void
test_no_limit(void)
{
	begin(0);
	for (int i = 0; i < N_IMAGES; i++)
		ok(find(i) != NULL, "without a limit model %d is mapped", i);
	ok(find(1) == find(1), "once, however often it is asked for");
	is_int(n_loaded, N_IMAGES, "each is told of");
	is_int((long long) models.bytes, (long long) (sizes[0] + sizes[1] + sizes[2]), "and counted");
	is_str(find(2)->info.name, "some name", "under the name it was asked for");
	end();
	is_int(n_unloaded, N_IMAGES, "their going is told, too");
}

static void
test_oldest_goes(void)
{
	begin(sizes[0] + sizes[1] + sizes[2] - 1);
	(void) find(0);
	(void) find(1);
	(void) find(0);
	ok(find(2) != NULL && is_mapped(2), "a third finds room");
	ok(is_mapped(0) && !is_mapped(1), "where the one was that was not used for the longest time");
	ok(models.bytes <= models.max_bytes, "the limit is kept");
	end();
}

static void
test_waiting(void)
{
	PkServedModel *held, *other;

	begin(sizes[0] + sizes[1] - 1);
	held = find(0);
	pk_served_model_hold(held, ++now_us);
	ok(find(1) == NULL, "one that does not fit beside a busy one waits");
	ok(is_mapped(0) && !is_mapped(1), "and changes nothing");
	ok(find(0) == held, "the busy one is still served");
	pk_served_model_hold(held, ++now_us);
	pk_served_model_release(held, ++now_us);
	ok(find(1) == NULL, "while it has one request");
	pk_served_model_release(held, ++now_us);
	other = find(1);
	ok(other != NULL && !is_mapped(0), "then the other takes its place");

	/* the idle one goes, the busy one stays, whatever their age */
	models.max_bytes = sizes[1] + sizes[2];
	pk_served_model_hold(other, now_us);
	now_us += 1000;
	ok(find(2) != NULL && is_mapped(1), "beside a busy one there may be room");
	ok(models.bytes == sizes[1] + sizes[2], "up to the last byte");
	ok(find(0) == NULL || models.bytes <= models.max_bytes, "never beyond");
	ok(is_mapped(1), "the busy one is not unmapped");
	pk_served_model_release(other, now_us);
	end();
}

static void
test_too_large(void)
{
	PkServedModel *model = NULL;
	PkError        err = {0};

	begin(sizes[1]);
	(void) find(1);
	models.max_bytes = 1000;
	is_int(pk_served_model_find(&models, paths[0], "x", now_us, &model, &err), PK_NO_MEMORY,
	       "a model larger than the limit is refused");
	ok(model == NULL && err.hint[0] != '\0', "with a hint");
	ok(is_mapped(1), "others stay");
	ok(find(1) != NULL, "also one that is there although the limit was lowered since");
	pk_served_model_hold(find(1), now_us);
	is_int((long long) pk_served_models_shrink(&models), 0, "while it has requests");
	pk_served_model_release(find(1), now_us);
	is_int((long long) pk_served_models_shrink(&models), 1, "and no longer");
	end();
}

static void
test_expire(void)
{
	PkServedModel *busy;
	uint64_t       later_us;

	begin(0);
	busy = find(0);
	pk_served_model_hold(busy, now_us);
	(void) find(1);
	later_us = now_us;
	(void) find(2);
	is_int((long long) pk_served_models_expire(&models, later_us), 1, "one was not used since");
	ok(is_mapped(0) && !is_mapped(1) && is_mapped(2), "a busy and a fresh one stay");
	pk_served_model_release(busy, ++now_us);
	is_int((long long) pk_served_models_expire(&models, now_us - 1), 1, "an end is a use, too");
	ok(is_mapped(0), "so it stays a while");
	end();
}

static void
test_missing(void)
{
	PkServedModel *model = NULL;
	PkError        err = {0};

	begin(0);
	is_int(pk_served_model_find(&models, "/nonexistent/image", "x", now_us, &model, &err),
	       PK_NO_FILE, "an image that is gone is an error");
	ok(model == NULL && n_loaded == 0, "and nothing is mapped");
	ok(find(0) != NULL, "others can be");
	end();
}

/* Put a copy of image i into its place, as a rebuilt image comes: another file, by rename. */
static void
replace(int i)
{
	char    copy[700];
	char   *bytes;
	size_t  n;
	PkError err;

	snprintf(copy, sizeof(copy), "%s.copy", paths[i]);
	must(pk_file_load(paths[i], NULL, (size_t) 1 << 30, &bytes, &n, &err), &err);

	int fd = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(pk_file_write(fd, copy, bytes, n, 0, &err), &err);
	close(fd);
	free(bytes);
	if (rename(copy, paths[i]) != 0)
		abort();
}

static void
test_removed(void)
{
	PkServedModel *model;
	char           kept[700];

	begin(0);
	model = find(0);
	snprintf(kept, sizeof(kept), "%s.kept", paths[0]);
	if (rename(paths[0], kept) != 0)
		abort();
	ok(find(0) == model, "a model whose file was removed is served while it is mapped");
	if (rename(kept, paths[0]) != 0)
		abort();
	ok(find(0) == model, "also when the file is there again");
	end();
}

static void
test_replaced(void)
{
	PkServedModel *old, *new;

	begin(0);
	(void) find(0);
	replace(0);
	(void) find(0);
	is_int(n_unloaded, 1, "the file of a model was replaced: it is unmapped");
	is_int(n_loaded, 2, "and the new one mapped");
	ok(models.first->next == NULL && models.bytes == sizes[0], "so one is there");

	old = find(0);
	pk_served_model_hold(old, now_us);
	replace(0);
	new = find(0);
	ok(new != old &&new->model != old->model, "while it has a request, new ones get the new file");
	ok(find(0) == new, "each time");
	is_int((long long) pk_served_models_expire(&models, 0), 0, "and the old one stays");
	pk_served_model_release(old, ++now_us);
	is_int((long long) pk_served_models_expire(&models, 0), 1, "until its last request has ended");
	ok(models.first == new &&find(0) == new, "the new one stays");
	end();
}

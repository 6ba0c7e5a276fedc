/*
 * servedmodels.c
 *    The images that an engine program has mapped, within a limit.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/serve/servedmodels.h"

#define MEGABYTE ((uint64_t) 1 << 20)

static PkServedModel  *find_current(PkServedModels *models, const char *image_path);
static PkStatus        map(PkServedModels *models, const char *image_path, PkServedModel **out,
                           PkError *err);
static PkStatus        check_size(const PkServedModels *models, uint64_t bytes, PkError *err);
static bool            make_room(PkServedModels *models, uint64_t bytes);
static PkServedModel **oldest_idle(PkServedModels *models);
static PkStatus        add(PkServedModels *models, const char *image_path, PkModel *model,
                           PkServedModel **out, PkError *err);
static void            set_name(PkServedModel *model, const char *name);
static void            unmap(PkServedModels *models, PkServedModel **link);
static void tell(const PkServedModels *models, bool is_loaded, const PkServedModel *model);

PkStatus
pk_served_model_find(PkServedModels *models, const char *image_path, const char *name,
                     uint64_t now_us, PkServedModel **out, PkError *err)
{
	PkServedModel *found = find_current(models, image_path);

	if (found != NULL)
		set_name(found, name);
	else
	{
		PK_FORWARD(map(models, image_path, &found, err));
		if (found != NULL)
		{
			set_name(found, name);
			found->info.load_us = pk_clock_us() - now_us;
			tell(models, true, found);
		}
	}
	if (found != NULL)
		found->used_us = now_us;
	*out = found;
	return PK_OK;
}

/*
 * One whose file was replaced is not found again: its requests go on, new ones get the new file.
 * One whose file is gone is: there is nothing else, and to remove an image must harm nobody.
 */
static PkServedModel *
find_current(PkServedModels *models, const char *image_path)
{
	PkServedModel **link = &models->first;

	while (*link != NULL && ((*link)->is_replaced || strcmp((*link)->path, image_path) != 0))
		link = &(*link)->next;

	PkServedModel *found = *link;

	if (found == NULL || pk_model_file_state(found->model) != PK_FILE_OTHER)
		return found;
	if (found->info.n_requests > 0)
		found->is_replaced = true;
	else
		unmap(models, link);
	return NULL;
}

static PkStatus
map(PkServedModels *models, const char *image_path, PkServedModel **out, PkError *err)
{
	PkModel    *model;
	PkStatus    status;
	struct stat st;

	*out = NULL;
	/* first its size: who waits for room asks again and again, and to open it costs more */
	if (stat(image_path, &st) == 0)
	{
		PK_FORWARD(check_size(models, (uint64_t) st.st_size, err));
		if (!make_room(models, (uint64_t) st.st_size))
			return PK_OK;
	}
	status = pk_model_open(image_path, &model, err);
	if (status == PK_BAD_FILE) /* it was whole when the session looked */
		pk_error_hint(err, status, "The image is built anew when the statement is run again.");
	PK_FORWARD(status);
	status = add(models, image_path, model, out, err);
	if (status != PK_OK)
		pk_model_release(model);
	return status;
}

static PkStatus
check_size(const PkServedModels *models, uint64_t bytes, PkError *err)
{
	if (models->max_bytes == 0 || bytes <= models->max_bytes)
		return PK_OK;
	pk_error(err, PK_NO_MEMORY, "the model has %llu MB, all models together may have %llu MB",
	         (unsigned long long) ((bytes + MEGABYTE - 1) / MEGABYTE),
	         (unsigned long long) (models->max_bytes / MEGABYTE));
	return pk_error_hint(err, PK_NO_MEMORY,
	                     "Raise polyko.model_memory, or use a smaller quantization.");
}

/* False if those without requests do not make enough; then none is unmapped. */
static bool
make_room(PkServedModels *models, uint64_t bytes)
{
	uint64_t idle_bytes = 0;

	for (PkServedModel *model = models->first; model != NULL; model = model->next)
		idle_bytes += model->info.n_requests == 0 ? model->info.bytes : 0;
	if (models->max_bytes == 0 || models->bytes - idle_bytes + bytes <= models->max_bytes)
	{
		while (models->max_bytes > 0 && models->bytes + bytes > models->max_bytes)
			unmap(models, oldest_idle(models));
		return true;
	}
	return false;
}

/* NULL: all have requests. */
static PkServedModel **
oldest_idle(PkServedModels *models)
{
	PkServedModel **oldest = NULL;

	for (PkServedModel **link = &models->first; *link != NULL; link = &(*link)->next)
		if ((*link)->info.n_requests == 0 &&
		    (oldest == NULL || (*link)->used_us < (*oldest)->used_us))
			oldest = link;
	return oldest;
}

size_t
pk_served_models_shrink(PkServedModels *models)
{
	size_t n = 0;

	while (models->max_bytes > 0 && models->bytes > models->max_bytes)
	{
		PkServedModel **oldest = oldest_idle(models);

		if (oldest == NULL)
			break;
		unmap(models, oldest);
		n++;
	}
	return n;
}

static PkStatus
add(PkServedModels *models, const char *image_path, PkModel *model, PkServedModel **out,
    PkError *err)
{
	void *room;

	PK_FORWARD(pk_calloc(1, sizeof(PkServedModel), &room, err));

	PkServedModel *added = room;

	added->path = strdup(image_path);
	if (added->path == NULL)
	{
		free(added);
		return pk_error(err, PK_NO_MEMORY, "no memory for the name of a model");
	}
	added->model = model;
	added->info.bytes = pk_model_info(model)->size_bytes;
	added->next = models->first;
	models->first = added;
	models->bytes += added->info.bytes;
	*out = added;
	return PK_OK;
}

static void
set_name(PkServedModel *model, const char *name)
{
	memset(model->info.name, 0, sizeof(model->info.name));
	memcpy(model->info.name, name, strnlen(name, sizeof(model->info.name) - 1));
}

void
pk_served_model_hold(PkServedModel *model, uint64_t now_us)
{
	model->info.n_requests++;
	model->used_us = now_us;
}

void
pk_served_model_release(PkServedModel *model, uint64_t now_us)
{
	model->info.n_requests--;
	model->used_us = now_us;
}

size_t
pk_served_models_expire(PkServedModels *models, uint64_t since_us)
{
	size_t n = 0;

	for (PkServedModel **link = &models->first; *link != NULL;)
	{
		if ((*link)->info.n_requests > 0 || ((*link)->used_us > since_us && !(*link)->is_replaced))
		{
			link = &(*link)->next;
			continue;
		}
		unmap(models, link);
		n++;
	}
	return n;
}

static void
unmap(PkServedModels *models, PkServedModel **link)
{
	PkServedModel *model = *link;

	*link = model->next;
	models->bytes -= model->info.bytes;
	tell(models, false, model);
	pk_model_release(model->model);
	free(model->path);
	free(model);
}

static void
tell(const PkServedModels *models, bool is_loaded, const PkServedModel *model)
{
	if (models->tell != NULL)
		models->tell(models->tell_arg, is_loaded, model);
}

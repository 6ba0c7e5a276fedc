/*
 * images.h
 *    Checkpoints as image files in a directory of the test, which is gone at its end.
 */
#ifndef IMAGES_H
#define IMAGES_H

#include "../engine/golden.h"

static char images_folder[512];

/* The path of an image of dir; it lives as long as the test. */
__attribute__((unused)) static const char *
image_of(const char *dir, PkQuant quant, const char *name)
{
	const char *tmp = getenv("TMPDIR");
	char       *path = malloc(600);
	PkSources  *sources;
	PkHash128   fingerprint;
	PkError     err;

	if (images_folder[0] == '\0')
	{
		snprintf(images_folder, sizeof(images_folder), "%s/polyko-test.XXXXXX",
		         tmp != NULL ? tmp : "/tmp");
		if (mkdtemp(images_folder) == NULL)
			abort();
	}
	snprintf(path, 600, "%s/%s", images_folder, name);
	must(pk_sources_scan(dir, &sources, &err), &err);

	PkConvert convert = {.source_dir = dir, .quant = quant, .image_path = path};
	PkStatus  status = pk_convert(&convert, pk_sources_key(sources), &fingerprint, &err);

	pk_sources_free(sources);
	must(status, &err);
	return path;
}

__attribute__((unused)) static PkModel *
model_at(const char *path)
{
	PkModel *model;
	PkError  err;

	must(pk_model_open(path, &model, &err), &err);
	return model;
}

__attribute__((unused)) static void
image_forget(const char *path)
{
	unlink(path);
	rmdir(images_folder); /* with the last one */
	free((void *) (uintptr_t) path);
}

#endif

/*
 * imagestore.c
 *    From a checkpoint's identity to its open image.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "core/base/mapfile.h"
#include "pg/builder.h"
#include "pg/guc.h"
#include "pg/imageparts.h"
#include "pg/imagestore.h"
#include "pg/pg_error.h"

/* An image that can't be used is removed and built again, but not for ever. */
#define MAX_TRIES 3

static void     check_pin(const PkpgServer *server, PkHash128 fingerprint);
static PkStatus check_private_dir(const char *path, PkError *err);
static void     check_image_dir(const PkpgBuild *build);
static PkModel *try_open(const PkpgBuild *build, PkHash128 fingerprint);
static void     sidecar_path(const PkpgBuild *build, char *out);

void
pkpg_image_path(const PkpgBuild *build, PkHash128 fingerprint, char *out)
{
	char hex[PK_HASH_HEX_LEN + 1];

	pk_hash_to_hex(fingerprint, hex);
	snprintf(out, MAXPGPATH, "%s/" PKPG_FILE_PREFIX "%s-%s-%d.img", build->image_dir, hex,
	         pk_quant_name(build->quant), PK_IMAGE_LAYOUT(build->quant));
}

void
pkpg_progress_path(const PkpgBuild *build, char *out)
{
	char hex[PK_HASH_HEX_LEN + 1];

	pk_hash_to_hex(build->source_key, hex);
	snprintf(out, MAXPGPATH, "%s/" PKPG_FILE_PREFIX "%s-%s.progress", build->image_dir, hex,
	         pk_quant_name(build->quant));
}

static void
sidecar_path(const PkpgBuild *build, char *out)
{
	char hex[PK_HASH_HEX_LEN + 1];

	pk_hash_to_hex(build->source_key, hex);
	snprintf(out, MAXPGPATH, "%s/" PKPG_FILE_PREFIX "%s.src", build->image_dir, hex);
}

bool
pkpg_sidecar_read(const PkpgBuild *build, PkHash128 *fingerprint)
{
	char path[MAXPGPATH];
	char source_dir[MAXPGPATH];

	sidecar_path(build, path);
	return pkpg_sidecar_parse(path, fingerprint, source_dir);
}

bool
pkpg_sidecar_parse(const char *path, PkHash128 *fingerprint, char source_dir[MAXPGPATH])
{
	char   *text;
	size_t  len;
	PkError ignored;

	if (pk_file_load(path, NULL, PK_HASH_HEX_LEN + MAXPGPATH, &text, &len, &ignored) != PK_OK)
		return false;

	char *second = strchr(text, '\n');
	bool  is_known = second != NULL && strlen(text) == len;

	if (is_known)
	{
		*second++ = '\0';
		strlcpy(source_dir, second, MAXPGPATH);
		source_dir[strcspn(source_dir, "\n")] = '\0';
		is_known = pk_hash_from_hex(text, fingerprint);
	}
	free(text);
	return is_known;
}

/* Written aside and renamed: a reader sees all of it or nothing. Losing it costs one reading. */
PkStatus
pkpg_sidecar_write(const PkpgBuild *build, PkHash128 fingerprint, PkError *err)
{
	char     path[MAXPGPATH];
	char     hex[PK_HASH_HEX_LEN + 1], text[PK_HASH_HEX_LEN + MAXPGPATH + 4];
	PkpgPart aside;

	sidecar_path(build, path);
	pk_hash_to_hex(fingerprint, hex);
	PK_FORWARD(pkpg_part_make(build, "aside", &aside, err));

	int      len = snprintf(text, sizeof(text), "%s\n%s\n", hex, build->source_dir);
	PkStatus status = pk_file_write(aside.fd, aside.path, text, (size_t) len, 0, err);

	if (status == PK_OK && rename(aside.path, path) != 0)
		status = pk_error_errno(err, errno, "could not rename \"%s\"", aside.path);
	pkpg_part_end(&aside);
	return status;
}

bool
pkpg_image_exists(const PkpgBuild *build, PkHash128 fingerprint)
{
	char path[MAXPGPATH];

	pkpg_image_path(build, fingerprint, path);
	return access(path, F_OK) == 0;
}

PkStatus
pkpg_image_dir_make(const PkpgBuild *build, PkError *err)
{
	if (mkdir(build->image_dir, S_IRWXU) != 0 && errno != EEXIST)
	{
		PkStatus status = pk_error_errno(err, errno, "could not create the image directory \"%s\"",
		                                 build->image_dir);

		return pk_error_hint(err, status,
		                     "The directory above it must be there and the server's user may write "
		                     "in it; the setting is polyko.image_directory.");
	}
	return check_private_dir(build->image_dir, err);
}

/* Whoever can write the directory could put an image of his own there. */
static PkStatus
check_private_dir(const char *path, PkError *err)
{
	struct stat found;

	if (stat(path, &found) != 0)
		return pk_error_errno(err, errno, "could not examine the image directory \"%s\"", path);
	if (S_ISDIR(found.st_mode) && found.st_uid == geteuid() &&
	    (found.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return PK_OK;
	pk_error(err, PK_NO_PERMISSION,
	         "the image directory \"%s\" is not a directory that only the server's user can write",
	         path);
	return pk_error_hint(err, PK_NO_PERMISSION,
	                     "Give it to the operating-system user of the server, with mode 0700.");
}

PkModel *
pkpg_image_open(const PkpgServer *server, PkHash128 source_key)
{
	PkpgBuild build = {
		.source_key = source_key,
		.quant = server->quant,
		.is_pinned = server->is_pinned,
		.fingerprint = server->fingerprint,
	};

	strlcpy(build.source_dir, server->path, sizeof(build.source_dir));
	strlcpy(build.image_dir, pkpg_image_directory, sizeof(build.image_dir));
	check_image_dir(&build);
	for (int n_built = 0; n_built < MAX_TRIES;)
	{
		PkHash128 fingerprint;

		if (pkpg_sidecar_read(&build, &fingerprint))
		{
			check_pin(server, fingerprint);

			PkModel *model = try_open(&build, fingerprint);

			if (model != NULL)
				return model;
		}
		/* a build of somebody else that failed, failed for him: ours says why */
		if (pkpg_build_order(&build, server->name))
			n_built++;
	}
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
	                errmsg("the image of model \"%s\" could not be opened after %d builds",
	                       server->name, MAX_TRIES),
	                errhint("Look at the disk that holds polyko.image_directory.")));
}

/* Also where the image is there: somebody else may have put it there. */
static void
check_image_dir(const PkpgBuild *build)
{
	PkError  error;
	PkStatus status = check_private_dir(build->image_dir, &error);

	if (status != PK_NO_FILE) /* the build makes it */
		pkpg_check(status, &error);
}

static void
check_pin(const PkpgServer *server, PkHash128 fingerprint)
{
	char wanted[PK_HASH_HEX_LEN + 1], found[PK_HASH_HEX_LEN + 1];

	if (!server->is_pinned || pk_hash_equal(server->fingerprint, fingerprint))
		return;
	pk_hash_to_hex(server->fingerprint, wanted);
	pk_hash_to_hex(fingerprint, found);
	ereport(ERROR,
	        (errcode(ERRCODE_DATA_CORRUPTED),
	         errmsg("the checkpoint of model \"%s\" has fingerprint %s, but the server is "
	                "pinned to %s",
	                server->name, found, wanted),
	         errhint("Restore the files, or set the option fingerprint anew if the change is "
	                 "wanted.")));
}

/* NULL if there is no such image, or one that must be built again: it is removed then. */
static PkModel *
try_open(const PkpgBuild *build, PkHash128 fingerprint)
{
	char     path[MAXPGPATH];
	PkModel *model;
	PkError  error;

	pkpg_image_path(build, fingerprint, path);

	PkStatus status = pk_model_open(path, &model, &error);

	if (status == PK_OK)
	{
		if (pk_hash_equal(pk_model_info(model)->fingerprint, fingerprint))
			return model;
		pk_model_release(model);
		status = pk_error(&error, PK_BAD_FILE, "the image has another fingerprint than its name");
	}
	if (status == PK_NO_FILE)
		return NULL;
	if (status != PK_BAD_FILE)
		pkpg_raise(status, &error);
	ereport(WARNING, (errcode(ERRCODE_DATA_CORRUPTED),
	                  errmsg("image \"%s\" is damaged and is built anew: %s", path, error.text)));
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(ERROR,
		        (errcode_for_file_access(), errmsg("could not remove image \"%s\": %m", path)));
	return NULL;
}

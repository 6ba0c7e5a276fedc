/*
 * imageparts.h
 *    Files that one builder writes until they get their names (see imagestore.h).
 */
#ifndef PKPG_IMAGEPARTS_H
#define PKPG_IMAGEPARTS_H

#include "pg/imagestore.h"

/* A file that one builder writes until it gets its name, by rename. */
typedef struct PkpgPart
{
	char path[MAXPGPATH];
	int  fd; /* read and write; holds the lock */
} PkpgPart;

/* An empty one; ending is "part" or "aside". pkpg_part_end() removes it, unless it was renamed. */
extern PkStatus pkpg_part_make(const PkpgBuild *build, const char *ending, PkpgPart *out,
                               PkError *err);
extern void     pkpg_part_end(PkpgPart *part);

/* By its name. */
extern bool pkpg_is_part(const char *file);
/* Remove one unless somebody writes it: then false with EWOULDBLOCK, else with another errno. */
extern bool pkpg_part_remove(const char *path);
/* Remove those that dead builders left in the directory. */
extern void pkpg_parts_sweep(const PkpgBuild *build);

#endif

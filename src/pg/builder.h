/*
 * builder.h
 *    Building images in a background worker.
 */
#ifndef PKPG_BUILDER_H
#define PKPG_BUILDER_H

#include "postgres.h"

#include "pg/compat.h"
#include "pg/imagestore.h"

/*
 * Have the image built and wait for it, answering interrupts within 50 ms and showing progress;
 * the build goes on if the caller is cancelled. True if a build of this order has ended well, false
 * if somebody else's has ended somehow: look again. Raises the failure of its own build. model is
 * its name, for messages.
 */
extern bool pkpg_build_order(const PkpgBuild *build, const char *model);

/* True if somebody builds this source key and quantization now. */
extern bool pkpg_build_is_running(const PkpgBuild *build);

/* Entry point of the worker. */
extern PKPG_EXPORT void polyko_builder_main(Datum main_arg);

#endif

/*
 * domain.h
 *    Gives messages of src/pg a text domain, by which they are known (update/updatefailure.c).
 *
 * The Makefile includes it before each source of src/pg: after postgres.h, whose elog.h sets none.
 */
#ifndef PKPG_DOMAIN_H
#define PKPG_DOMAIN_H

#include "postgres.h"

#undef TEXTDOMAIN
#define TEXTDOMAIN "polyko"

#endif

/*
 * support.h
 *    polyko_support: the function by which the planner and we know the functions of this library.
 */
#ifndef PKPG_SUPPORT_H
#define PKPG_SUPPORT_H

#include "fmgr.h"

extern PGDLLEXPORT Datum polyko_support(PG_FUNCTION_ARGS);

#endif

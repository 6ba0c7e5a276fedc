/*
 * oneexpr.h
 *    Whether a text is exactly one SQL expression.
 */
#ifndef PKPG_ONEEXPR_H
#define PKPG_ONEEXPR_H

#include "postgres.h"

/*
 * 42601 unless text is one expression and nothing else, so that it can stand between parentheses
 * (each on a line of its own: it may end in a comment). It has no parameters ($1): 42P02. Names and
 * types are not looked up. The argument's name is for messages.
 */
extern void pkpg_check_one_expression(const char *text, const char *argument);

#endif

/*
 * skip.h
 *    Skipping text that no number begins in, sixteen bytes at a time.
 */
#ifndef PK_SKIP_H
#define PK_SKIP_H

#include "core/base/platform.h"

/*
 * The first byte from at on that a number may begin with: a digit of any script, 공 or 영 before
 * what may be a digit, @ if has_email. No less than end if there is none below end.
 */
size_t pk_pii_skip(const char *text, size_t len, size_t at, size_t end, bool has_email);

/*
 * The end of a run of digits that is too short for a number, with nothing around that could make it
 * a part of one: most digits of ordinary text. 0 if it may be more.
 */
size_t pk_pii_short_run(const char *text, size_t len, size_t at);

#endif

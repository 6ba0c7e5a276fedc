/*
 * stop.h
 *    Stop strings: looked for in the decoded output only; the earliest end wins; they are not part
 *    of the text.
 */
#ifndef PK_STOP_H
#define PK_STOP_H

#include "core/base/status.h"

typedef struct PkStop PkStop;

/* Each request keeps its own, beside its KV cache. */
#define PK_STOP_MAX_STRINGS 64
#define PK_STOP_MAX_BYTES 4096 /* of all together */

/* PK_BAD_ARGUMENT if one is empty or there are more, or longer ones, than the limits above. */
PkStatus pk_stop_check(const size_t *lens, size_t n, PkError *err);

/* n strings (copied) that pk_stop_check() accepts. n may be 0. */
PkStatus pk_stop_create(const char *const *strings, const size_t *lens, size_t n, PkStop **out,
                        PkError *err);
void     pk_stop_destroy(PkStop *stop);

/*
 * Feed decoded text piece by piece. Returns true when a stop string has ended; *text_len is then
 * the bytes of the whole output before that stop string begins.
 */
bool pk_stop_feed(PkStop *stop, const char *piece, size_t len, size_t *text_len);

/*
 * Bytes at the end of what was fed that may still become the beginning of a stop string and must
 * not be shown yet.
 */
size_t pk_stop_held(const PkStop *stop);

#endif

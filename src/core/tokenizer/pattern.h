/*
 * pattern.h
 *    Regular expressions of Split: written for Oniguruma, run by ICU.
 */
#ifndef PK_PATTERN_H
#define PK_PATTERN_H

#include "core/base/status.h"

/* True for GPT-2's pattern, which pretokenize.c runs itself. */
bool pk_pattern_is_gpt2(const char *text, size_t len);

/*
 * Translate a pattern from Oniguruma's syntax (Ruby, UTF-8) to ICU's with the same meaning:
 * malloc'ed. PK_UNSUPPORTED names the construct that has no such translation; PK_BAD_FILE when
 * the pattern is broken.
 */
PkStatus pk_pattern_translate(const char *text, size_t len, char **out, size_t *out_len,
                              PkError *err);

#endif

/*
 * redactor.h
 *    Redacting a model's output while it comes.
 *
 * The output is read together with the end of the prompt, whose words are context and where a
 * number may begin; only output is replaced. A number waits until the words after it are there (at
 * most 25 signs, or the end of the line), so that what was given once never changes, and the whole
 * is what redacting the finished output gives.
 */
#ifndef PK_REDACTOR_H
#define PK_REDACTOR_H

#include "core/pii/pii.h"

#define PK_REDACTOR_CONTEXT 64 /* characters of the prompt */

typedef struct PkRedactor PkRedactor;

/* prompt: valid UTF-8; copied. Kinds are PK_PII_DEFAULT, the style is PK_PII_TOKEN. */
PkStatus pk_redactor_create(const char *prompt, size_t len, PkRedactor **out, PkError *err);
void     pk_redactor_free(PkRedactor *redactor);

/* Add len bytes of output, whole characters. is_end: no more comes. */
PkStatus pk_redactor_push(PkRedactor *redactor, const char *text, size_t len, bool is_end,
                          PkError *err);

/* Bytes of the output that are decided. */
size_t pk_redactor_settled(const PkRedactor *redactor);

/* Most bytes that the output's bytes [begin, end) become. */
size_t pk_redactor_room(const PkRedactor *redactor, size_t begin, size_t end);

/*
 * What the settled bytes [begin, end) of the output become; a mark belongs to the piece in which
 * its span begins. Returns the bytes written. *is_redacted: some of them are in a span, or, if
 * there are none, the place is.
 */
size_t pk_redactor_piece(const PkRedactor *redactor, size_t begin, size_t end, char *out,
                         bool *is_redacted);

#endif

/*
 * test_workspace.c
 *    Scratch memory that serves steps of one model is laid out once.
 */
#include <stdlib.h>

#include "../tap.h"
#include "core/infer/workspace.h"

static const PkWorkShape model = {
	.hidden = 64, .ffn = 256, .vocab = 300, .head_size = 16, .n_context = 128, .n_threads = 2};

/* Whether a step of n_tokens with n_outputs of a model finds its memory where the one before had
 * it. */
static bool
stays(PkWorkspace *space, const PkWorkShape *of, size_t n_tokens, size_t n_outputs)
{
	const void *before = space->pages;
	size_t      n_bytes = space->size_bytes;
	PkWorkShape shape = *of;

	shape.n_tokens = n_tokens;
	shape.n_outputs = n_outputs;
	if (pk_workspace_fit(space, &shape, NULL) != PK_OK)
		abort();
	return space->pages == before && space->size_bytes == n_bytes;
}

int
main(void)
{
	PkWorkspace space = {0};
	PkWorkShape other = model;
	size_t      n_bytes;

	other.hidden = 32;
	ok(!stays(&space, &model, 512, 16), "a first step gets memory");
	ok(stays(&space, &model, 512, 16) && stays(&space, &model, 3, 1), "which serves smaller ones");
	n_bytes = space.size_bytes;
	ok(!stays(&space, &model, 100, 100) && space.size_bytes > n_bytes, "more outputs need more");
	ok(stays(&space, &model, 512, 16) && stays(&space, &model, 512, 100),
	   "then steps with many tokens and with many outputs alternate in it");
	ok(!stays(&space, &model, 1000, 1) && stays(&space, &model, 10, 100),
	   "more tokens leave room for outputs");
	n_bytes = space.size_bytes;
	ok(!stays(&space, &other, 10, 1) && space.size_bytes < n_bytes,
	   "another model gets what it needs and no more");
	pk_workspace_free(&space);
	return done_testing();
}

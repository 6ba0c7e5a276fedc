/*
 * guc.c
 *    All settings. None is PGC_POSTMASTER: the library may be loaded late.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "core/base/threads.h"
#include "core/kernels/kernels.h"
#include "core/sample/lookup.h"
#include "pg/guc.h"

/* Room for the name of a file in the image directory. */
#define FILE_NAME_ROOM 128

bool  pkpg_batching;
int   pkpg_engine_nice;
char *pkpg_image_directory;
char *pkpg_kernels;
int   pkpg_kv_cache_size_kb;
int   pkpg_max_batch_tokens;
int   pkpg_max_concurrent_requests;
int   pkpg_max_tokens_limit;
char *pkpg_model;
int   pkpg_model_memory_mb;
int   pkpg_prompt_lookup_num_tokens;
int   pkpg_threads;

static bool check_directory(char **newval, void **extra, GucSource source);
static bool check_kernels(char **newval, void **extra, GucSource source);

void
pkpg_guc_init(void)
{
	DefineCustomBoolVariable("polyko.batching",
	                         "Computes the calls of many rows of a query together.",
	                         "Answers are the same without, and come later.", &pkpg_batching, true,
	                         PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("polyko.engine_nice", "Niceness of the engine program.",
	                        "Sessions of the server come first when the processors are busy.",
	                        &pkpg_engine_nice, 5, 0, 19, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("polyko.image_directory",
	                           "Directory of the images that models are converted to.",
	                           "A relative path is in the data directory.", &pkpg_image_directory,
	                           "polyko", PGC_SIGHUP, 0, check_directory, NULL, NULL);
	DefineCustomStringVariable("polyko.kernels", "CPU tier of the kernels, for tests.",
	                           "auto takes the best; fixed at the first use in a process.",
	                           &pkpg_kernels, "auto", PGC_SUSET, 0, check_kernels, NULL, NULL);
	DefineCustomIntVariable(
		"polyko.kv_cache_size", "Memory for keys and values of running texts.",
		"-1 is 2GB in the engine program; in a backend 256MB or one full context.",
		&pkpg_kv_cache_size_kb, -1, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("polyko.max_batch_tokens", "Most tokens computed in one step.",
	                        "0 lets the engine choose by time.", &pkpg_max_batch_tokens, 0, 0,
	                        65536, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"polyko.max_concurrent_requests", "Most requests of a role that run or wait at a time.",
		"0 is no limit; a superuser can set it for a role.", &pkpg_max_concurrent_requests, 0, 0,
		INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("polyko.max_tokens_limit", "Largest max_tokens a call may ask for.",
	                        NULL, &pkpg_max_tokens_limit, 2048, 1, INT_MAX, PGC_SUSET, 0, NULL,
	                        NULL, NULL);
	DefineCustomStringVariable("polyko.model", "Model of calls that name none.",
	                           "The name of a foreign server of the wrapper polyko.", &pkpg_model,
	                           "polyko_tiny", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"polyko.model_memory", "Memory for the models that the engine program has mapped.",
		"0 is no limit. Models that nobody uses make room.", &pkpg_model_memory_mb, 0, 0, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomIntVariable("polyko.prompt_lookup_num_tokens",
	                        "Most tokens that are drafted from the text so far.",
	                        "0 drafts none. Answers are the same without, and may come later.",
	                        &pkpg_prompt_lookup_num_tokens, PK_LOOKUP_USUAL, 0, PK_LOOKUP_MAX,
	                        PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("polyko.threads", "Threads that compute.",
	                        "0 is all processors that the server may use.", &pkpg_threads, 0, 0,
	                        PK_MAX_THREADS, PGC_SIGHUP, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("polyko");
}

static bool
check_directory(char **newval, void **extra, GucSource source)
{
	(void) extra;
	(void) source;
	if ((*newval)[0] != '\0' && strlen(*newval) < MAXPGPATH - FILE_NAME_ROOM)
		return true;
	GUC_check_errdetail("It must be a path of 1 to %d bytes.", MAXPGPATH - FILE_NAME_ROOM - 1);
	return false;
}

static bool
check_kernels(char **newval, void **extra, GucSource source)
{
	PkKernels kernels;
	PkError   error;

	(void) extra;
	(void) source;
	if (pk_kernels_select(pk_cpu_features(), *newval, &kernels, &error) == PK_OK)
		return true;
	GUC_check_errdetail("%s", error.text);
	GUC_check_errhint("%s", error.hint);
	return false;
}

/*
 * guc.h
 *    The settings; defined in guc.c, in the order of the alphabet.
 */
#ifndef PKPG_GUC_H
#define PKPG_GUC_H

#include "postgres.h"

extern bool  pkpg_batching;
extern int   pkpg_engine_nice;
extern char *pkpg_image_directory;         /* relative: in the data directory */
extern char *pkpg_kernels;                 /* CPU tier; read at the first use in a process */
extern int   pkpg_kv_cache_size_kb;        /* -1: the default of the host */
extern int   pkpg_max_batch_tokens;        /* 0: chosen by the engine */
extern int   pkpg_max_concurrent_requests; /* of a role; 0: no limit */
extern int   pkpg_max_tokens_limit;
extern char *pkpg_model;           /* name of a foreign server */
extern int   pkpg_model_memory_mb; /* of the engine program; 0: no limit */
extern int   pkpg_prompt_lookup_num_tokens;
extern int   pkpg_threads; /* 0: all processors this server may use */

extern void pkpg_guc_init(void);

#endif

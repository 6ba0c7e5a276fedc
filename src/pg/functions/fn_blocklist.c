/*
 * fn_blocklist.c
 *    polyko_apply_blocklist and polyko_find_blocklist.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "core/curate/apply.h"
#include "pg/blocktable.h"
#include "pg/callargs.h"
#include "pg/functions/records.h"
#include "pg/pg_error.h"
#include "pg/pg_memory.h"

#define N_BLOCKED_FIELDS 5

/* Where the last match ended, in bytes and characters: matches come in order of their ends. */
typedef struct Place
{
	const char *text;
	size_t      at;
	int         n_chars;
} Place;

static void free_outcome(void *outcome);
static void free_scan(void *scan);
static void put_match(ReturnSetInfo *result, const PkpgBlockNames *names, Place *place,
                      size_t start, size_t end);

PG_FUNCTION_INFO_V1(polyko_apply_blocklist);
PG_FUNCTION_INFO_V1(polyko_find_blocklist);

Datum
polyko_apply_blocklist(PG_FUNCTION_ARGS)
{
	pkpg_check_encoding();

	text                *input = PG_GETARG_TEXT_PP(0);
	const PkpgBlocklist *blocklist = pkpg_blocklist(fcinfo);
	PkOutcome           *outcome = palloc0(sizeof(PkOutcome));
	PkpgTie             *tie = pkpg_tie(CurrentMemoryContext, free_outcome, outcome);
	PkCancel             cancel;
	PkError              err = {0};

	pkpg_check_text(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	pkpg_cancel_init(&cancel);
	pkpg_check(pk_blocklist_apply(blocklist->list, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input),
	                              outcome, &cancel, &err),
	           &err);

	bool is_dropped = outcome->is_dropped;

	if (outcome->is_masked)
		input = cstring_to_text_with_len(outcome->text, (int) outcome->len);
	pkpg_untie(tie);
	if (is_dropped)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(input);
}

static void
free_outcome(void *outcome)
{
	pk_outcome_free(outcome);
}

Datum
polyko_find_blocklist(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	pkpg_check_encoding();
	InitMaterializedSRF(fcinfo, MAT_SRF_BLESS);

	text                *input = PG_GETARG_TEXT_PP(0);
	const PkpgBlocklist *blocklist = pkpg_blocklist(fcinfo);
	PkBlockScan        **scan = palloc0(sizeof(PkBlockScan *)); /* tied before it is there */
	PkpgTie             *tie = pkpg_tie(CurrentMemoryContext, free_scan, scan);
	Place                place = {.text = VARDATA_ANY(input)};
	PkBlockMatch         match;
	PkCancel             cancel;
	PkError              err = {0};
	bool                 found;

	pkpg_check_text(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	pkpg_cancel_init(&cancel);
	pkpg_check(pk_block_scan_create(blocklist->list, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input),
	                                scan, &cancel, &err),
	           &err);
	for (;;)
	{
		pkpg_check(pk_block_next(*scan, &match, &found, &err), &err);
		if (!found)
			break;
		pk_block_source(*scan, &match.start, &match.end);
		put_match(result, &blocklist->names[match.pattern], &place, match.start, match.end);
	}
	pkpg_untie(tie);
	return (Datum) 0;
}

static void
free_scan(void *scan)
{
	pk_block_scan_free(*(PkBlockScan **) scan);
}

static void
put_match(ReturnSetInfo *result, const PkpgBlockNames *names, Place *place, size_t start,
          size_t end)
{
	place->n_chars += pg_mbstrlen_with_len(place->text + place->at, (int) (end - place->at));
	place->at = end;

	int   length = pg_mbstrlen_with_len(place->text + start, (int) (end - start));
	Datum fields[N_BLOCKED_FIELDS] = {PointerGetDatum(names->pattern), PointerGetDatum(names->kind),
	                                  PointerGetDatum(names->action),
	                                  Int32GetDatum(place->n_chars - length + 1),
	                                  Int32GetDatum(length)};

	pkpg_record_put(result->setResult, result->setDesc, fields, N_BLOCKED_FIELDS);
}

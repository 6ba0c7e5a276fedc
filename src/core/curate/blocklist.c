/*
 * blocklist.c
 *    The automaton: the trie of the patterns, and for each node where to go on when a byte does not
 * fit (fail), and which shorter pattern ends there, too (suffix).
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/curate/blocklist.h"
#include "core/tokenizer/trie.h"
#include "core/tokenizer/unicode.h"

#define NONE UINT32_MAX
#define POLL_NODES 65536
#define POLL_STEPS 65536 /* bytes read or matches told */

typedef struct Pattern
{
	uint32_t      len;  /* bytes in NFC */
	uint32_t      same; /* the next pattern with this text, or NONE */
	PkBlockAction action;
} Pattern;

struct PkBlocklist
{
	PkTrie      trie;
	PkTrieNode *nodes;
	PkTrieEdge *edges;
	uint32_t   *fail;   /* a node: the longest suffix of its text that is a node */
	uint32_t   *suffix; /* a node: of those the longest that is a pattern; 0 if there is none */
	uint32_t    root[256];
	Pattern    *patterns;
};

struct PkBlockScan
{
	const PkBlocklist *list;
	PkNormalized       normal;
	bool               is_same; /* text has the form already */
	const char        *text;    /* in NFC */
	size_t             len;
	size_t             at;      /* bytes read */
	uint32_t           state;   /* after them */
	uint32_t           node;    /* whose patterns are being told, 0: none */
	uint32_t           pattern; /* the next of them, or NONE */
	uint32_t           n_steps;
	PkCancel          *cancel;
};

/* The patterns in NFC, while the list is made. */
typedef struct Texts
{
	PkTriePattern *patterns;
	char          *bytes;
	size_t         n, n_bytes, room;
	PkCancel      *cancel;
} Texts;

static PkStatus read_patterns(Texts *texts, const PkBlockPattern *patterns, PkError *err);
static PkStatus add_text(Texts *texts, size_t i, const PkBlockPattern *pattern, PkError *err);
static PkStatus keep_patterns(PkBlocklist *list, Texts *texts, const PkBlockPattern *patterns,
                              PkError *err);
static PkStatus link_nodes(PkBlocklist *list, PkCancel *cancel, PkError *err);
static uint32_t step(const PkBlocklist *list, uint32_t state, uint8_t byte);
static uint32_t first_told(const PkBlocklist *list, uint32_t state);
static PkStatus cancelled(PkError *err);

int
pk_block_action(const char *name, size_t len)
{
	static const char *const names[PK_N_BLOCK_ACTIONS] = {"flag", "mask", "drop"};

	for (int i = 0; i < PK_N_BLOCK_ACTIONS; i++)
		if (len == strlen(names[i]) && memcmp(name, names[i], len) == 0)
			return i;
	return -1;
}

PkStatus
pk_blocklist_create(const PkBlockPattern *patterns, size_t n, PkBlocklist **out, PkCancel *cancel,
                    PkError *err)
{
	Texts        texts = {.n = n, .cancel = cancel};
	PkBlocklist *list = NULL;
	void        *memory;
	size_t       n_nodes, n_edges;
	PkStatus     status;

	PK_FORWARD_TO(done, pk_calloc(1, sizeof(PkBlocklist), &memory, err));
	list = memory;
	PK_FORWARD_TO(done, read_patterns(&texts, patterns, err));
	PK_FORWARD_TO(done, pk_trie_build(texts.patterns, n, &list->nodes, &n_nodes, &list->edges,
	                                  &n_edges, err));
	list->trie = (PkTrie){.nodes = list->nodes, .edges = list->edges, .n_nodes = n_nodes};
	PK_FORWARD_TO(done, keep_patterns(list, &texts, patterns, err));
	PK_FORWARD_TO(done, link_nodes(list, cancel, err));
	*out = list;
	list = NULL;

done:
	free(texts.patterns);
	free(texts.bytes);
	pk_blocklist_free(list);
	return status;
}

void
pk_blocklist_free(PkBlocklist *list)
{
	if (list == NULL)
		return;
	free(list->nodes);
	free(list->edges);
	free(list->fail);
	free(list->suffix);
	free(list->patterns);
	free(list);
}

static PkStatus
read_patterns(Texts *texts, const PkBlockPattern *patterns, PkError *err)
{
	void  *memory;
	size_t start = 0;

	if (texts->n > PK_BLOCK_MAX_BYTES)
		return pk_error(err, PK_TOO_LONG, "%zu patterns: %zu are the most", texts->n,
		                PK_BLOCK_MAX_BYTES);
	PK_FORWARD(pk_calloc(texts->n, sizeof(PkTriePattern), &memory, err));
	texts->patterns = memory;
	for (size_t i = 0; i < texts->n; i++)
		PK_FORWARD(add_text(texts, i, &patterns[i], err));
	for (size_t i = 0; i < texts->n; i++) /* bytes moves no more */
	{
		texts->patterns[i].text = texts->bytes + start;
		start += texts->patterns[i].len;
	}
	return PK_OK;
}

static PkStatus
add_text(Texts *texts, size_t i, const PkBlockPattern *pattern, PkError *err)
{
	PkNormalized normal = {0};
	bool         is_same;
	PkStatus     status;

	PK_FORWARD_TO(done, pk_normalize(PK_NFC, pattern->text, pattern->len, &normal, &is_same,
	                                 texts->cancel, err));

	const char *text = is_same ? pattern->text : normal.text;
	size_t      len = is_same ? pattern->len : normal.len;
	void       *grown = texts->bytes;

	if (len > PK_BLOCK_MAX_BYTES - texts->n_bytes)
	{
		status = pk_error(err, PK_TOO_LONG, "the patterns have more than %zu bytes together",
		                  PK_BLOCK_MAX_BYTES);
		goto done;
	}
	status = pk_grow(&grown, &texts->room, texts->n_bytes + len, 1, err);
	texts->bytes = grown;
	PK_FORWARD_TO(done, status);
	memcpy(texts->bytes + texts->n_bytes, text, len);
	texts->n_bytes += len;
	texts->patterns[i] = (PkTriePattern){.len = len, .id = (int32_t) i, .order = (uint32_t) i};

done:
	pk_normalized_free(&normal);
	return status;
}

/* The trie knows the first of equal texts: the others hang on it. */
static PkStatus
keep_patterns(PkBlocklist *list, Texts *texts, const PkBlockPattern *patterns, PkError *err)
{
	void *memory;

	PK_FORWARD(pk_calloc(texts->n, sizeof(Pattern), &memory, err));
	list->patterns = memory;
	for (size_t i = 0; i < texts->n; i++)
	{
		const PkTriePattern *text = &texts->patterns[i], *next = text + 1; /* sorted by the trie */
		bool                 has_same = i + 1 < texts->n && next->len == text->len &&
		                memcmp(next->text, text->text, text->len) == 0;

		list->patterns[text->id] = (Pattern){
			.len = (uint32_t) text->len,
			.same = has_same ? (uint32_t) next->id : NONE,
			.action = patterns[text->id].action,
		};
	}
	return PK_OK;
}

/* Nodes lie breadth first, so what a node fails to is done before it. */
static PkStatus
link_nodes(PkBlocklist *list, PkCancel *cancel, PkError *err)
{
	const PkTrie *trie = &list->trie;
	void         *memory;

	PK_FORWARD(pk_calloc(trie->n_nodes, sizeof(uint32_t), &memory, err));
	list->fail = memory;
	PK_FORWARD(pk_calloc(trie->n_nodes, sizeof(uint32_t), &memory, err));
	list->suffix = memory;
	for (uint32_t node = 0; node < trie->n_nodes; node++)
	{
		const PkTrieEdge *edge = &trie->edges[trie->nodes[node].first_edge];

		if (node % POLL_NODES == 0 && pk_cancel_poll(cancel))
			return cancelled(err);
		for (uint32_t i = 0; i < trie->nodes[node].n_edges; i++, edge++)
		{
			if (node == 0)
			{
				list->root[edge->byte] = edge->node;
				continue;
			}
			list->fail[edge->node] = step(list, list->fail[node], (uint8_t) edge->byte);
			list->suffix[edge->node] = first_told(list, list->fail[edge->node]);
		}
	}
	return PK_OK;
}

/* The state after byte: the longest suffix of what was read that begins a pattern. */
static uint32_t
step(const PkBlocklist *list, uint32_t state, uint8_t byte)
{
	while (state != 0)
	{
		const PkTrieEdge *edge = pk_trie_edge(&list->trie, &list->nodes[state], byte);

		if (edge != NULL)
			return edge->node;
		state = list->fail[state];
	}
	return list->root[byte];
}

/* The node of the longest pattern that ends in state, 0 if none does. */
static uint32_t
first_told(const PkBlocklist *list, uint32_t state)
{
	return state == 0 || list->nodes[state].id >= 0 ? state : list->suffix[state];
}

static PkStatus
cancelled(PkError *err)
{
	return pk_error(err, PK_CANCELLED, "cancelled");
}

PkStatus
pk_block_scan_create(const PkBlocklist *list, const char *text, size_t len, PkBlockScan **out,
                     PkCancel *cancel, PkError *err)
{
	void    *memory;
	PkStatus status;

	PK_FORWARD(pk_calloc(1, sizeof(PkBlockScan), &memory, err));

	PkBlockScan *scan = memory;

	*scan = (PkBlockScan){.list = list, .pattern = NONE, .cancel = cancel};
	status = pk_normalize(PK_NFC, text, len, &scan->normal, &scan->is_same, cancel, err);
	if (status != PK_OK)
	{
		pk_block_scan_free(scan);
		return status;
	}
	scan->text = scan->is_same ? text : scan->normal.text;
	scan->len = scan->is_same ? len : scan->normal.len;
	*out = scan;
	return PK_OK;
}

void
pk_block_scan_free(PkBlockScan *scan)
{
	if (scan == NULL)
		return;
	pk_normalized_free(&scan->normal);
	free(scan);
}

PkStatus
pk_block_next(PkBlockScan *scan, PkBlockMatch *match, bool *found, PkError *err)
{
	const PkBlocklist *list = scan->list;

	*found = false;
	if (++scan->n_steps % POLL_STEPS == 0 && pk_cancel_poll(scan->cancel))
		return cancelled(err);
	while (scan->pattern == NONE)
	{
		scan->node = scan->node == 0 ? 0 : list->suffix[scan->node];
		while (scan->node == 0)
		{
			if (scan->at == scan->len || list->trie.n_nodes == 0)
				return PK_OK;
			if (++scan->n_steps % POLL_STEPS == 0 && pk_cancel_poll(scan->cancel))
				return cancelled(err);
			scan->state = step(list, scan->state, (uint8_t) scan->text[scan->at++]);
			scan->node = first_told(list, scan->state);
		}
		scan->pattern = (uint32_t) list->nodes[scan->node].id;
	}

	const Pattern *pattern = &list->patterns[scan->pattern];

	*match = (PkBlockMatch){.pattern = scan->pattern,
	                        .start = scan->at - pattern->len,
	                        .end = scan->at,
	                        .action = pattern->action};
	*found = true;
	scan->pattern = pattern->same;
	return PK_OK;
}

const char *
pk_block_text(const PkBlockScan *scan)
{
	return scan->text;
}

void
pk_block_source(const PkBlockScan *scan, size_t *start, size_t *end)
{
	if (!scan->is_same)
		pk_normalized_source(&scan->normal, start, end);
}

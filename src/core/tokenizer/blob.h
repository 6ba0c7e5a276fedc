/*
 * blob.h
 *    The compiled tokenizer: one position-independent block, ready for use where it lies.
 *
 * A fixed header, then sections, each on PK_ALIGNMENT bytes. Hash tables are laid out with their
 * free slots, so that opening builds nothing. Numbers are little-endian (a big-endian machine
 * refuses the magic). Everything read through a PkTokenizer was checked by pk_tokenizer_open().
 */
#ifndef PK_BLOB_H
#define PK_BLOB_H

#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/unicode.h"

#define PK_BLOB_MAGIC UINT64_C(0x314e454b4f544b50) /* "PKTOKEN1" */
#define PK_BLOB_VERSION 1

/* Ids, ranks and their pairs are packed in 20 bits each. */
#define PK_MAX_IDS 1000000u
#define PK_MAX_MERGES 1000000u
#define PK_ID_BITS 20
#define PK_ID_MASK ((UINT64_C(1) << PK_ID_BITS) - 1)

/* Bytes of an added token and of all of them: a trie takes some 40 for each. */
#define PK_MAX_ADDED_LEN 65536u
#define PK_MAX_ADDED_BYTES ((size_t) 16 << 20)

#define PK_MAX_NORMALIZERS 8
#define PK_MAX_STEPS 16

typedef enum PkSection
{
	PK_SECTION_SPELL_OFFSETS, /* uint32 (n_ids + 1): token spellings in the vocabulary's letters */
	PK_SECTION_SPELL_TEXT,    /* char */
	PK_SECTION_PIECE_OFFSETS, /* uint32 (n_ids + 1): bytes that decoding gives */
	PK_SECTION_PIECE_TEXT,    /* char */
	PK_SECTION_WORD_OFFSETS,  /* uint32 (n_ids + 1): bytes of a word that is this token */
	PK_SECTION_WORD_TEXT,     /* char */
	PK_SECTION_FLAGS,         /* uint8 (n_ids): PK_TOKEN_* */
	PK_SECTION_SPELL_TABLE,   /* uint64 (2^k): spelling to id, see hashtable.h */
	PK_SECTION_WORD_TABLE,    /* uint64 (2^k): whole word to its only id */
	PK_SECTION_MERGE_TABLE,   /* uint64 (2^k): pair of ids to rank */
	PK_SECTION_MERGE_IDS,     /* uint32 (n_merges): id that a merge of this rank makes */
	PK_SECTION_RAW_NODES,     /* PkTrieNode: added tokens looked for in the text as it is */
	PK_SECTION_RAW_EDGES,     /* PkTrieEdge */
	PK_SECTION_NORMAL_NODES,  /* PkTrieNode: added tokens looked for after normalisation */
	PK_SECTION_NORMAL_EDGES,  /* PkTrieEdge */
	PK_SECTION_PATTERNS,      /* char: texts of Split patterns */
	PK_SECTION_TEMPLATE,      /* int32: ids put before, then after the text */
	PK_SECTION_MATCH_NODES,   /* uint64: a double array over the tokens' bytes, see below */
	PK_SECTION_MATCH_TOKENS,  /* PkMatchToken (n_ids), or both are empty, see match.h */
	PK_N_SECTIONS
} PkSection;

typedef struct PkSectionPlace
{
	uint64_t offset; /* bytes from the start of the blob */
	uint64_t count;  /* items, not bytes */
} PkSectionPlace;

/* PK_SECTION_FLAGS */
#define PK_TOKEN_SPECIAL 1u
#define PK_TOKEN_ADDED 2u
#define PK_TOKEN_SINGLE_WORD 4u
#define PK_TOKEN_LSTRIP 8u
#define PK_TOKEN_RSTRIP 16u
#define PK_TOKEN_SKIPPED 32u /* left out by skip_special: its text is that of a special token */

/* PkBlobHeader.flags */
#define PK_BLOB_BYTE_LEVEL 1u    /* words are bytes; otherwise they are characters */
#define PK_BLOB_BYTE_FALLBACK 2u /* unknown characters become <0x00> tokens */
#define PK_BLOB_FUSE_UNK 4u
#define PK_BLOB_JOIN_SPACES 8u /* no decoder: tokens are joined with a space */

typedef enum PkStepKind
{
	PK_STEP_BYTE_LEVEL, /* always the last one */
	PK_STEP_SPLIT_GPT2, /* Split whose pattern is GPT-2's */
	PK_STEP_SPLIT_REGEX,
	PK_STEP_SPLIT_STRING,
	PK_STEP_DIGITS,
	PK_N_STEP_KINDS
} PkStepKind;

typedef enum PkBehavior
{
	PK_BEHAVIOR_REMOVED,
	PK_BEHAVIOR_ISOLATED,
	PK_BEHAVIOR_MERGED_WITH_PREVIOUS,
	PK_BEHAVIOR_MERGED_WITH_NEXT,
	PK_BEHAVIOR_CONTIGUOUS,
	PK_N_BEHAVIORS
} PkBehavior;

#define PK_STEP_INVERT 1u       /* Split */
#define PK_STEP_PREFIX_SPACE 2u /* ByteLevel */
#define PK_STEP_USE_REGEX 4u    /* ByteLevel */

typedef struct PkBlobStep
{
	uint32_t kind;
	uint32_t behavior;
	uint32_t flags;
	uint32_t pattern_offset; /* in PK_SECTION_PATTERNS */
	uint32_t pattern_len;
	uint32_t unused;
} PkBlobStep;

/* A node's edges are sorted by byte. id is -1 when no token ends here. */
typedef struct PkTrieNode
{
	uint32_t first_edge;
	uint32_t n_edges;
	int32_t  id;
} PkTrieNode;

typedef struct PkTrieEdge
{
	uint32_t byte;
	uint32_t node;
} PkTrieEdge;

/*
 * A node of the double array: its base, label and token. The child of a node for a byte is node
 * base ^ byte if that has the label byte + 1; 0 labels free slots. Children never lie in the first
 * 256 slots: node 0 is the root, and base 0 means no children.
 */
#define PK_MATCH_BASE_BITS 24
#define PK_MATCH_LABEL_BITS 9
#define PK_MATCH_MAX_NODES ((size_t) 1 << PK_MATCH_BASE_BITS)
#define PK_MATCH_BASE(node) ((uint32_t) (node) & (PK_MATCH_MAX_NODES - 1))
#define PK_MATCH_LABEL(node) \
	((uint32_t) ((node) >> PK_MATCH_BASE_BITS) & ((1u << PK_MATCH_LABEL_BITS) - 1))
#define PK_MATCH_ID_PLUS_1(node) ((uint32_t) ((node) >> (PK_MATCH_BASE_BITS + PK_MATCH_LABEL_BITS)))

#define PK_MATCH_BYTES 48 /* longest token in the array, and longest word that is matched */
#define PK_NO_TOKEN UINT32_MAX

/* How a token came about. One that is no word of its own has made_at PK_NO_TOKEN. */
typedef struct PkMatchToken
{
	uint32_t left, right; /* what its last merge joined; PK_NO_TOKEN for a byte */
	uint32_t made_at;     /* rank of that merge + 1; 0 for a byte */
	uint32_t shorter;     /* the longest token that it begins with, or PK_NO_TOKEN */
	uint64_t partners;    /* PK_MATCH_PARTNER() of all that a merge joins to its right */
} PkMatchToken;

#define PK_MATCH_PARTNER(id) (UINT64_C(1) << ((id) *0x9e3779b1u >> 26))

typedef struct PkBlobHeader
{
	uint64_t       magic;
	uint32_t       version;
	uint32_t       header_size;
	uint64_t       blob_size;
	uint32_t       n_ids;
	uint32_t       flags;
	int32_t        unk_id; /* or -1 */
	uint32_t       max_piece_len;
	uint32_t       n_before; /* template ids before the text */
	uint32_t       n_after;
	uint32_t       n_normalizers;
	uint32_t       n_steps;
	int32_t        alias_id; /* <|tell|> and <|tel|>: the id of both, or -1 */
	uint32_t       unused;
	uint32_t       normalizers[PK_MAX_NORMALIZERS]; /* PkNormalForm, in order */
	PkBlobStep     steps[PK_MAX_STEPS];
	int32_t        byte_ids[256];     /* byte level: token of each byte, or -1 */
	int32_t        fallback_ids[256]; /* byte fallback: <0x00> tokens, or -1 */
	PkSectionPlace sections[PK_N_SECTIONS];
} PkBlobHeader;

typedef struct PkTrie
{
	const PkTrieNode *nodes; /* nodes[0] is the root */
	const PkTrieEdge *edges;
	size_t            n_nodes; /* 0: no patterns */
	size_t            longest; /* bytes of the longest pattern */
	bool              starts[256];
} PkTrie;

struct PkTokenizer
{
	const PkBlobHeader *header;
	size_t              n_ids;
	size_t              max_piece_len;
	const uint32_t     *spell_offsets, *piece_offsets, *word_offsets;
	const char         *spell_text, *piece_text, *word_text;
	const uint8_t      *flags;
	const uint64_t     *spell_table, *word_table, *merge_table;
	uint32_t            spell_bits, word_bits, merge_bits; /* tables have 2^bits slots */
	const uint32_t     *merge_ids;
	const char         *patterns;
	const int32_t      *template_ids;
	PkTrie              raw, normal;
	const uint64_t     *match_nodes;
	const PkMatchToken *match_tokens;
	size_t              n_match_nodes;         /* 0: words are merged */
	PkRegex            *regexes[PK_MAX_STEPS]; /* NULL but for PK_STEP_SPLIT_REGEX */
};

/* Bytes of one item of a section. */
size_t pk_blob_item_size(PkSection section);

#endif

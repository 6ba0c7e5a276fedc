/* polyko--0.1.0--0.2.0.sql: redaction of personal data, curation */

-- complain if the script is sourced in psql rather than by ALTER EXTENSION
\echo Use "ALTER EXTENSION polyko UPDATE TO '0.2.0'" to load this file. \quit

-- begin: personal data

CREATE TYPE polyko_pii AS (
	kind text,
	start int,
	length int,
	match text,
	confidence real
);
COMMENT ON TYPE polyko_pii IS
	'a span of polyko_find_pii: substring(input, start, length) = match; confidence is between 0 and 1';

CREATE FUNCTION polyko_redact_pii(
	input text,
	kinds text[] DEFAULT '{acc,rrn,tell}',
	options jsonb DEFAULT '{}'
) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20;
COMMENT ON FUNCTION polyko_redact_pii(text, text[], jsonb) IS
	'replaces bank accounts, resident numbers, phone numbers and other kinds of personal data';

CREATE FUNCTION polyko_find_pii(
	input text,
	kinds text[] DEFAULT '{acc,rrn,tell}',
	options jsonb DEFAULT '{}'
) RETURNS SETOF polyko_pii
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20 ROWS 2;
COMMENT ON FUNCTION polyko_find_pii(text, text[], jsonb) IS
	'the spans that polyko_redact_pii replaces';

CREATE FUNCTION polyko_redact_trigger() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C PARALLEL UNSAFE COST 20;
COMMENT ON FUNCTION polyko_redact_trigger() IS
	'redacts the columns that are its arguments: BEFORE INSERT OR UPDATE ... FOR EACH ROW';

-- end: personal data

-- begin: curation

CREATE TABLE polyko_blocklist (
	pattern text PRIMARY KEY CHECK (length(pattern) BETWEEN 1 AND 500),
	kind text NOT NULL,
	action text NOT NULL CHECK (action IN ('drop', 'mask', 'flag'))
);
COMMENT ON TABLE polyko_blocklist IS
	'what polyko_apply_blocklist looks for: drop, mask or flag texts that contain pattern';
GRANT SELECT ON polyko_blocklist TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('polyko_blocklist', '');

CREATE TYPE polyko_blocked AS (
	pattern text,
	kind text,
	action text,
	start int,
	length int
);
COMMENT ON TYPE polyko_blocked IS
	'a match of polyko_find_blocklist: it is substring(input, start, length)';

CREATE FUNCTION polyko_apply_blocklist(input text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION polyko_apply_blocklist(text) IS
	'what polyko_blocklist leaves of a text: NULL if a pattern drops it, stars for what is masked';

CREATE FUNCTION polyko_find_blocklist(input text) RETURNS SETOF polyko_blocked
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20 ROWS 2;
COMMENT ON FUNCTION polyko_find_blocklist(text) IS
	'the patterns of polyko_blocklist that a text contains';

CREATE TABLE polyko_review (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	requested_by name NOT NULL,
	prompt text NOT NULL,
	output text,
	flags text[] NOT NULL,
	model text NOT NULL,
	seed bigint NOT NULL,
	parameters jsonb NOT NULL,
	status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'rejected')),
	reviewed_at timestamptz,
	reviewer name,
	reason text,
	CHECK ((status = 'pending') = (reviewed_at IS NULL)),
	CHECK ((status = 'pending') = (reviewer IS NULL)),
	CHECK ((status = 'rejected') = (reason IS NOT NULL))
);
CREATE INDEX polyko_review_pending ON polyko_review (id) WHERE status = 'pending';
COMMENT ON TABLE polyko_review IS
	'answers of polyko_generate_reviewed; output is NULL where the blocklist dropped it';
SELECT pg_catalog.pg_extension_config_dump('polyko_review', '');
COMMENT ON SEQUENCE polyko_review_id_seq IS 'numbers of answers in polyko_review';
SELECT pg_catalog.pg_extension_config_dump('polyko_review_id_seq', '');

-- runs as the owner, called by polyko_generate_reviewed alone: nobody can put words into a model's mouth
CREATE FUNCTION polyko_review_add(
	prompt text,
	model text,
	max_tokens int,
	temperature real,
	top_k int,
	top_p real,
	repetition_penalty real,
	stop text[],
	seed bigint,
	min_tokens int,
	options jsonb,
	output text,
	requested_by name
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
	INSERT INTO polyko_review (requested_by, prompt, output, flags, model, seed, parameters)
	VALUES (
		$13,
		$1,
		polyko_apply_blocklist($12),
		ARRAY(SELECT DISTINCT b.kind FROM polyko_find_blocklist($12) AS b ORDER BY b.kind),
		$2,
		$9,
		jsonb_build_object('max_tokens', $3, 'temperature', $4, 'top_k', $5, 'top_p', $6,
			'repetition_penalty', $7, 'stop', to_jsonb($8), 'min_tokens', $10, 'options', $11))
	RETURNING id;
END;
COMMENT ON FUNCTION polyko_review_add(text, text, int, real, int, real, real, text[], bigint, int, jsonb, text, name) IS
	'internal to polyko_generate_reviewed';
REVOKE ALL ON FUNCTION polyko_review_add(text, text, int, real, int, real, real, text[], bigint, int, jsonb, text, name)
	FROM PUBLIC;

CREATE FUNCTION polyko_generate_reviewed(
	prompt text,
	model text DEFAULT polyko_default_model(),
	max_tokens int DEFAULT 64,
	temperature real DEFAULT 0,
	top_k int DEFAULT 0,
	top_p real DEFAULT 1,
	repetition_penalty real DEFAULT 1,
	stop text[] DEFAULT '{}',
	seed bigint DEFAULT 0,
	min_tokens int DEFAULT 0,
	options jsonb DEFAULT '{}'
) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_generate_reviewed(text, text, int, real, int, real, real, text[], bigint, int, jsonb) IS
	'generates, applies the blocklist and puts the answer into polyko_review; returns its id';

CREATE FUNCTION polyko_review_approve(id bigint) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp COST 20;
COMMENT ON FUNCTION polyko_review_approve(bigint) IS
	'approves a pending answer of polyko_review and returns it; the reviewer is session_user';
REVOKE ALL ON FUNCTION polyko_review_approve(bigint) FROM PUBLIC;

CREATE FUNCTION polyko_review_reject(id bigint, reason text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp COST 20;
COMMENT ON FUNCTION polyko_review_reject(bigint, text) IS
	'rejects a pending answer of polyko_review; the reviewer is session_user';
REVOKE ALL ON FUNCTION polyko_review_reject(bigint, text) FROM PUBLIC;

-- who asked sees what he asked for; who may approve sees everything
ALTER TABLE polyko_review ENABLE ROW LEVEL SECURITY;
CREATE POLICY requester ON polyko_review FOR SELECT USING (requested_by = current_user);
CREATE POLICY reviewer ON polyko_review FOR SELECT
	USING (has_function_privilege('polyko_review_approve(bigint)'::regprocedure, 'EXECUTE'));
GRANT SELECT ON polyko_review TO PUBLIC;

-- end: curation

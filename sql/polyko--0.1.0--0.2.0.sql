/* polyko--0.1.0--0.2.0.sql: redaction of personal data */

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

-- One run per question: runs of the model are shown as DEBUG messages.
SET polyko.model = 'polyko_tiny';
CREATE FUNCTION distance(a real[], b real[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS
	'SELECT sqrt(sum((x - y)::float8 * (x - y))) FROM unnest(a, b) AS t(x, y)';
CREATE TABLE vectors AS
	SELECT i AS id, polyko_embed('문서 ' || (i % 5)) AS v FROM generate_series(1, 1000) AS i;
ANALYZE vectors;
\set VERBOSITY terse
SELECT polyko_token_count('load the model') > 0 AS loaded;

SET client_min_messages = debug1;
-- nearest neighbours: once, although the planner estimates and 1,000 rows ask
SELECT count(*) FROM (SELECT id FROM vectors
	ORDER BY distance(v, polyko_embed('문서 3')) LIMIT 5) AS t;
SELECT count(*) FROM (SELECT id FROM vectors
	WHERE distance(v, polyko_embed('문서 3', 'polyko_tiny')) < 0.01) AS t;

-- generate and generate_details ask the same question
SELECT polyko_generate('질문', max_tokens => 3) = (polyko_generate_details('질문', max_tokens => 3)).text
	AS same;

-- another option is another question; so is another function
SELECT count(polyko_generate('질문', max_tokens => 2, temperature => 1, seed => seed)) AS answers
FROM (VALUES (1), (1), (2)) AS v(seed);

-- a transaction remembers, and forgets at its end
BEGIN;
SELECT array_length(polyko_embed('기억'), 1);
SELECT array_length(polyko_embed('기억'), 1);
COMMIT;
SELECT array_length(polyko_embed('기억'), 1);

-- the planner's estimate runs no model for a column
EXPLAIN (COSTS OFF) SELECT id FROM vectors ORDER BY distance(v, polyko_embed(id::text)) LIMIT 1;
RESET client_min_messages;

-- privileges are looked at in each call, also when the answer is known
CREATE ROLE regress_polyko_reader;
CREATE SERVER cache_model FOREIGN DATA WRAPPER polyko
	OPTIONS (path '$sharedir/extension/polyko-tiny');
GRANT USAGE ON FOREIGN SERVER cache_model TO regress_polyko_reader;
BEGIN;
SET LOCAL ROLE regress_polyko_reader;
SELECT array_length(polyko_embed('권한', 'cache_model'), 1);
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER cache_model FROM regress_polyko_reader;
SET LOCAL ROLE regress_polyko_reader;
SELECT array_length(polyko_embed('권한', 'cache_model'), 1);
ROLLBACK;
DROP SERVER cache_model;
DROP ROLE regress_polyko_reader;
DROP TABLE vectors;
DROP FUNCTION distance(real[], real[]);
RESET ALL;

-- Named models make IMMUTABLE calls: generated columns, indexes, views. The default is STABLE.
CREATE TABLE answers (
	body text,
	g text GENERATED ALWAYS AS (polyko_generate(body, 'polyko_tiny', max_tokens => 3)) STORED,
	d polyko_generation
		GENERATED ALWAYS AS (polyko_generate_details(body, 'polyko_tiny', max_tokens => 3)) STORED,
	t int[] GENERATED ALWAYS AS (polyko_tokenize(body, 'polyko_tiny')) STORED,
	n int GENERATED ALWAYS AS (polyko_token_count(body, 'polyko_tiny')) STORED,
	e real[] GENERATED ALWAYS AS (polyko_embed(body, 'polyko_tiny')) STORED
);
CREATE INDEX answers_generate ON answers (polyko_generate(body, 'polyko_tiny', max_tokens => 3));
CREATE INDEX answers_details
	ON answers (((polyko_generate_details(body, 'polyko_tiny', max_tokens => 3)).finish_reason));
CREATE INDEX answers_tokenize ON answers (polyko_tokenize(body, 'polyko_tiny'));
CREATE INDEX answers_count ON answers (polyko_token_count(body, 'polyko_tiny'));
CREATE INDEX answers_detokenize ON answers (polyko_detokenize(t, 'polyko_tiny'));
CREATE INDEX answers_embed ON answers (polyko_embed(body, 'polyko_tiny'));
CREATE VIEW answers_view AS
	SELECT body, polyko_generate(body) AS g, polyko_generate_details(body) AS d,
		polyko_tokenize(body) AS t, polyko_token_count(body) AS n, polyko_embed(body) AS e,
		(SELECT count(*) FROM polyko_tokens(body)) AS rows,
		(SELECT string_agg(piece, '' ORDER BY pos) FROM polyko_generate_stream(body)) AS stream
	FROM answers;
INSERT INTO answers VALUES ('이 영화는'), (NULL), (''), ('배우가');
SELECT body, g, (d).finish_reason, t, n, array_length(e, 1) FROM answers ORDER BY body;
SELECT body, g = stream AS same, n = rows AS all_tokens FROM answers_view WHERE body <> '' ORDER BY 1;
UPDATE answers SET body = '음악이' WHERE body = '배우가';
ANALYZE answers;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT body FROM answers WHERE polyko_token_count(body, 'polyko_tiny') = 1;
SELECT body FROM answers WHERE polyko_tokenize(body, 'polyko_tiny') = polyko_tokenize('음악이');
RESET enable_seqscan;
SELECT count(*) FILTER (WHERE g IS DISTINCT FROM
	polyko_generate(body, 'polyko_tiny', max_tokens => 3)) AS stale FROM answers;

-- the default reads a setting
\set VERBOSITY sqlstate
CREATE INDEX ON answers (polyko_generate(body));
CREATE INDEX ON answers (polyko_tokenize(body));
CREATE INDEX ON answers (polyko_embed(body));
ALTER TABLE answers ADD x int GENERATED ALWAYS AS (polyko_token_count(body)) STORED;
\set VERBOSITY default
DROP VIEW answers_view;
DROP TABLE answers;

-- marks: volatility, strictness, parallel, cost, rows, support
SELECT proname, provolatile, proisstrict, proparallel, procost, prorows, prosupport
FROM pg_proc WHERE proname IN ('polyko_generate', 'polyko_generate_details',
	'polyko_generate_stream', 'polyko_tokenize', 'polyko_token_count', 'polyko_tokens',
	'polyko_detokenize', 'polyko_embed') ORDER BY proname COLLATE "C";

-- what the planner thinks: longer costs more, a larger model too, rows follow max_tokens
CREATE FUNCTION plan_of(query text) RETURNS TABLE (cost float8, n_rows float8)
LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN QUERY SELECT (plan->0->'Plan'->>'Total Cost')::float8,
		(plan->0->'Plan'->>'Plan Rows')::float8;
END
$$;
CREATE TEMP TABLE one (body text);
SELECT a.cost < b.cost AS longer_costs_more
FROM plan_of('SELECT polyko_generate(body, max_tokens => 10) FROM one') AS a,
	plan_of('SELECT polyko_generate(body, max_tokens => 1000) FROM one') AS b;
SELECT a.cost < b.cost AS tokenizing_is_cheap
FROM plan_of('SELECT polyko_tokenize(body) FROM one') AS a,
	plan_of('SELECT polyko_embed(body) FROM one') AS b;
SELECT n_rows FROM plan_of($$SELECT * FROM polyko_generate_stream('가', max_tokens => 37)$$);
SELECT n_rows FROM plan_of($$SELECT * FROM polyko_tokens('아버지가 방에 들어가신다')$$);
SELECT cost > 0 AS an_unknown_model_is_planned
FROM plan_of('SELECT polyko_generate(body, ''nobody'') FROM one');
DROP FUNCTION plan_of(text);

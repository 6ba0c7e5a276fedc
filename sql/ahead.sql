-- What is read ahead leaves nothing behind: no other user, no references, no errors of rows that nobody asked for.
CREATE TABLE nine AS SELECT i AS id, '글 ' || i AS body, NULL::text AS label FROM generate_series(1, 9) AS i;
CREATE FUNCTION find_account(name text) RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
	IF name = 'x3' THEN RAISE 'no such account'; END IF;
	RETURN 1;
END $$;
CREATE ROLE polyko_ahead_user;
CREATE SCHEMA ahead AUTHORIZATION polyko_ahead_user;
GRANT SELECT ON nine TO polyko_ahead_user;
GRANT USAGE ON SCHEMA ahead TO PUBLIC;

-- a record hides a domain whose check runs as another user
SET SESSION AUTHORIZATION polyko_ahead_user;
CREATE DOMAIN ahead.name AS text CHECK (find_account(value) IS NOT NULL);
SELECT s.id, polyko_generate(jsonb_populate_record(s.r, jsonb_build_object('f1', 'x' || s.id))::text, max_tokens => 1) IS NOT NULL AS answered
FROM (SELECT id, ROW('z'::ahead.name) AS r FROM nine OFFSET 0) AS s LIMIT 2;
SELECT current_user;
RESET SESSION AUTHORIZATION;
-- a function of ours that its owner has made to run as another user
ALTER FUNCTION polyko_token_count(text, text) SECURITY DEFINER;
SET SESSION AUTHORIZATION polyko_ahead_user;
SELECT id, polyko_generate('a' || polyko_token_count(body, CASE WHEN id > 2 THEN 'nope' ELSE 'polyko_tiny' END), max_tokens => 1) IS NOT NULL AS answered, current_user
FROM nine LIMIT 2;
SELECT current_user;
RESET SESSION AUTHORIZATION;
ALTER FUNCTION polyko_token_count(text, text) SECURITY INVOKER;
-- one of ours that reads a table which the user may not read
REVOKE SELECT ON polyko_blocklist FROM PUBLIC;
SET ROLE polyko_ahead_user;
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT id, polyko_generate(coalesce(polyko_apply_blocklist(CASE WHEN id > 2 THEN 'a' || id END), 'q'), max_tokens => 1) FROM nine LIMIT 2 LOOP
	END LOOP;
END $$;
RESET ROLE;
GRANT SELECT ON polyko_blocklist TO PUBLIC;
-- a cast of a type that a row holds
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF $1 = 'b' THEN RAISE 'bad mood'; END IF;
	RETURN '"x"'::json;
END $$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
CREATE TABLE moods AS SELECT id, CASE WHEN id % 3 = 0 THEN 'b' ELSE 'a' END::mood AS m FROM nine;
SELECT id, polyko_generate(row_to_json(s)::text, max_tokens => 1) IS NOT NULL AS answered FROM (SELECT id, m FROM moods OFFSET 0) AS s LIMIT 2;
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT s.id, polyko_generate(to_json(s.r)::text, max_tokens => 1) FROM (SELECT id, ROW(m, id) AS r FROM moods OFFSET 0) AS s LIMIT 2 LOOP
	END LOOP;
END $$;
-- a subquery that runs when it is first needed
SELECT id, polyko_generate(body || CASE WHEN id > 2 THEN (SELECT find_account('x3'))::text ELSE '' END, max_tokens => 1) IS NOT NULL AS answered FROM nine LIMIT 2;
-- built-in functions that fail with something open
SELECT id, polyko_generate(satisfies_hash_partition(CASE WHEN id > 2 THEN 'nine' END::regclass::oid, 1, 0, 1)::text || 'a', max_tokens => 1) IS NOT NULL AS answered
FROM nine LIMIT 2;
SELECT id, polyko_generate('a' || 1 / (id - 3), max_tokens => 1) IS NOT NULL AS answered FROM nine LIMIT 2;
SELECT id, polyko_generate('a' || 1 / (id - 3), max_tokens => 1) IS NOT NULL AS answered FROM nine;
-- beside parallel workers, where there is no subtransaction
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF)
SELECT polyko_generate(satisfies_hash_partition(CASE WHEN id > 2 THEN 'nine' END::regclass::oid, 1, 0, 1)::text || 'a', max_tokens => 1) IS NOT NULL AS answered
FROM nine WHERE md5(body) <> '' LIMIT 2;
SELECT polyko_generate(satisfies_hash_partition(CASE WHEN id > 2 THEN 'nine' END::regclass::oid, 1, 0, 1)::text || 'a', max_tokens => 1) IS NOT NULL AS answered
FROM nine WHERE md5(body) <> '' LIMIT 2;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
-- such errors in the middle of a change
UPDATE nine SET label = polyko_generate('a' || 1 / (id - 10), max_tokens => 1);
SELECT count(label) FROM nine;

-- a cursor is read on with the rights of whoever reads
CREATE FUNCTION open_as_owner(c refcursor) RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	r record;
BEGIN
	OPEN c FOR SELECT id, polyko_generate(body, max_tokens => 2) FROM nine;
	FETCH c INTO r;
	FETCH c INTO r;
	RETURN c;
END $$;
REVOKE USAGE ON FOREIGN SERVER polyko_tiny FROM PUBLIC;
BEGIN;
SET LOCAL ROLE polyko_ahead_user;
SELECT open_as_owner('c');
FETCH c;
ROLLBACK;
GRANT USAGE ON FOREIGN SERVER polyko_tiny TO PUBLIC;

-- the places of a role are not taken by rows that are read on
SET polyko.max_concurrent_requests = 1;
SELECT count(a) FROM (SELECT polyko_generate(body || '1', max_tokens => 4) AS a FROM nine
	WHERE polyko_generate(body, max_tokens => 2, seed => 9) <> 'zz' OFFSET 0) AS z;
RESET polyko.max_concurrent_requests;

-- a volatile function in a subquery that is an argument
CREATE SEQUENCE asked;
SELECT id, polyko_generate((SELECT k.body || nextval('asked') * 0 FROM nine AS k WHERE k.id = a.id), max_tokens => 2) IS NOT NULL AS answered,
	(SELECT currval('asked') + k.id * 0 FROM nine AS k WHERE k.id = a.id) AS number
FROM nine AS a LIMIT 3;
DROP SEQUENCE asked;

-- a recursion without an end is read no further than LIMIT
SET statement_timeout = '20s';
WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r)
SELECT i, polyko_generate('a' || i, max_tokens => 1) IS NOT NULL AS answered FROM r WHERE i <= 3 LIMIT 3;
RESET statement_timeout;

-- a cursor over one batch above another still has a row to update
BEGIN;
DECLARE c CURSOR FOR SELECT g, polyko_generate(g, max_tokens => 1) IS NOT NULL AS answered
	FROM (SELECT coalesce(polyko_generate(body, max_tokens => 1), 'x') AS g FROM nine OFFSET 0) AS z;
MOVE 3 FROM c;
UPDATE nine SET label = '여기' WHERE CURRENT OF c;
SELECT id FROM nine WHERE label = '여기';
ROLLBACK;

DROP FUNCTION open_as_owner;
DROP TABLE moods;
DROP CAST (mood AS json);
DROP FUNCTION mood_json;
DROP TYPE mood;
DROP SCHEMA ahead CASCADE;
DROP TABLE nine;
DROP FUNCTION find_account;
DROP ROLE polyko_ahead_user;

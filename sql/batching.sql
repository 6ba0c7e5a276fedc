-- Calls of many rows are computed together: which are, and that nothing else changes.
CREATE TABLE notes (id int PRIMARY KEY, body text, label text, emb real[]);
INSERT INTO notes SELECT i, (ARRAY['이 영화는 정말', '배우들의 연기가', '음악이', NULL])[1 + i % 4] || ' ' || i % 10
FROM generate_series(1, 40) AS i;
ANALYZE notes;
CREATE SEQUENCE counted;
-- the names of the nodes of a plan
CREATE FUNCTION nodes(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		line := regexp_replace(line, 'polyko_\w+\(.*\)', 'CALL');
		IF line ~ '->|^\w' THEN RETURN NEXT line; END IF;
	END LOOP;
END $$;
-- how often the model ran
CREATE FUNCTION requests(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE line text; n bigint;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		n := coalesce(n, 0) + coalesce(substring(line FROM 'Model Requests: (\d+)')::bigint, 0);
	END LOOP;
	RETURN n;
END $$;

-- batched
SELECT nodes('SELECT id, polyko_generate(body) FROM notes');
SELECT nodes('SELECT upper(polyko_generate(body)), polyko_embed(body)::text FROM notes ORDER BY label');
SELECT nodes('SELECT polyko_generate(body) FROM notes ORDER BY body LIMIT 3');
SELECT nodes('SELECT polyko_generate(body) FROM notes FOR UPDATE');
SELECT nodes('UPDATE notes SET label = polyko_generate(body), emb = polyko_embed(body)');
SELECT nodes('UPDATE notes SET label = polyko_generate(n.body) FROM notes n WHERE n.id = notes.id + 1');
SELECT nodes('INSERT INTO notes SELECT id + 100, body, polyko_generate(body) FROM notes');
SELECT nodes('CREATE TABLE made AS SELECT polyko_generate(body) FROM notes');
SELECT nodes('SELECT (polyko_generate_details(body)).* FROM notes');
SELECT nodes('SELECT * FROM (SELECT id, polyko_generate(body) AS g FROM notes OFFSET 0) AS n WHERE id < 3');
CREATE TABLE parts (id int, body text, label text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (3);
CREATE TABLE parts_2 (label text, body text, id int);
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (3) TO (100);
INSERT INTO parts SELECT id, body FROM notes WHERE id <= 5;
SELECT nodes('UPDATE parts SET label = polyko_generate(body)');
SELECT nodes('SELECT polyko_generate(body) FROM parts LIMIT 2');
SELECT nodes('SELECT id, (polyko_embed(body))[1:2] FROM notes');
SET enable_sort = off;
SET enable_seqscan = off;
SELECT nodes('SELECT id, polyko_generate(body) FROM notes ORDER BY id LIMIT 2');
RESET enable_sort;
RESET enable_seqscan;
-- above an inheritance tree; EXPLAIN knows what it shows
EXPLAIN (VERBOSE, COSTS OFF) UPDATE parts SET label = polyko_generate(n.body, 'polyko_tiny') FROM notes AS n WHERE n.id = parts.id;
UPDATE parts SET label = polyko_generate(n.body || parts.body, max_tokens => 2) FROM notes AS n WHERE n.id = parts.id;
SELECT tableoid::regclass, id, label IS NOT DISTINCT FROM polyko_generate(body || body, max_tokens => 2) AS same FROM parts ORDER BY id;
-- run-time pruning goes on
SET plan_cache_mode = force_generic_plan;
PREPARE pruned(int) AS UPDATE parts SET label = polyko_generate(body, max_tokens => 2) WHERE id < $1;
DO $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) EXECUTE pruned(0)' LOOP
		IF line ~ 'Removed' THEN RAISE NOTICE '%', trim(line); END IF;
	END LOOP;
END $$;
DEALLOCATE pruned;
RESET plan_cache_mode;
-- row by row
SELECT nodes('SELECT id FROM notes WHERE polyko_generate(body) <> ''''');
SELECT nodes('SELECT CASE WHEN id > 3 THEN polyko_generate(body) END FROM notes');
SELECT nodes('SELECT coalesce(label, polyko_generate(body)) FROM notes');
SELECT nodes('SELECT label IS NULL AND polyko_generate(body) = ''x'' FROM notes');
SELECT nodes('SELECT max(polyko_generate(body)) FROM notes');
SELECT nodes('SELECT DISTINCT polyko_generate(body) FROM notes');
SELECT nodes('SELECT random(), polyko_generate(body) FROM notes');
SELECT nodes('SELECT polyko_generate(body), generate_series(1, 2) FROM notes');
SELECT nodes('SELECT polyko_generate(body) FROM notes WHERE nextval(''counted'') > 0');
SELECT nodes('SELECT polyko_generate(v) FROM (VALUES (random()::text), (''a'')) AS t(v)');
SELECT nodes('UPDATE notes SET emb[1] = (polyko_embed(body))[1]');
ALTER FUNCTION polyko_generate STRICT;
SELECT nodes('SELECT polyko_generate(body, max_tokens => id) FROM notes');
ALTER FUNCTION polyko_generate CALLED ON NULL INPUT;
SELECT nodes('UPDATE notes SET label = ''x'' RETURNING polyko_generate(body)');
SELECT nodes('VALUES (polyko_generate(''a'')), (polyko_generate(''b''))');
SELECT nodes('SELECT polyko_generate(''a'')');
SELECT nodes('MERGE INTO notes USING notes n ON n.id = notes.id WHEN MATCHED THEN UPDATE SET label = polyko_generate(n.body)');
SET polyko.batching = off;
SELECT nodes('SELECT id, polyko_generate(body) FROM notes');
RESET polyko.batching;
-- a serial number is given when the row is returned
CREATE TABLE answers (id serial, at int GENERATED ALWAYS AS IDENTITY, question text, answer text);
INSERT INTO answers (question, answer) SELECT body, polyko_generate(body, max_tokens => 3) FROM notes ORDER BY id;
SELECT nodes('INSERT INTO answers (question, answer) SELECT body, polyko_generate(body, max_tokens => 3) FROM notes');
SELECT count(*), count(*) FILTER (WHERE id = at AND answer = polyko_generate(question, max_tokens => 3)) AS same FROM answers;

-- each different question is asked once; NULL is none. More rows than the window holds.
SELECT requests('SELECT polyko_generate(body, max_tokens => 3) FROM notes');
SELECT requests('SELECT polyko_generate(body, max_tokens => 4), polyko_generate(body, max_tokens => 4, seed => 1) FROM notes');
SELECT count(*), count(g) AS answers, count(DISTINCT g) > 20 AS "many are different"
FROM (SELECT polyko_generate(i::text, max_tokens => 3) AS g FROM generate_series(1, 200) AS i) AS t;
-- a call in an argument of another is made before it
SELECT count(*) AS same FROM
	(SELECT id, polyko_generate(body || polyko_generate(body, max_tokens => 2), max_tokens => 3) AS g FROM notes) AS a,
	LATERAL (SELECT CASE WHEN true THEN polyko_generate(body || polyko_generate(body, max_tokens => 2), max_tokens => 3) END AS g
	         FROM notes WHERE id = a.id OFFSET 0) AS b
WHERE a.g IS NOT DISTINCT FROM b.g;

-- also where it may not be needed: once
SELECT nodes('SELECT polyko_generate(coalesce(label, polyko_generate(body))), polyko_generate(body) FROM notes');
SELECT count(*), count(*) FILTER (WHERE a = (SELECT polyko_generate(b, max_tokens => 3))) AS same FROM
	(SELECT polyko_generate(coalesce(label, polyko_generate(body, max_tokens => 2)), max_tokens => 3) AS a,
	        polyko_generate(body, max_tokens => 2) AS b FROM notes WHERE body IS NOT NULL OFFSET 0) AS t;

-- n rows: fewer than 2n calls
CREATE TABLE many AS SELECT i AS id, '문장 ' || i AS body FROM generate_series(1, 100) AS i;
SELECT n, requests(format('SELECT polyko_generate(body, max_tokens => 2, seed => %s) FROM many LIMIT %s', n, n)) < 2 * n AS few
FROM unnest('{1,2,3,8,20}'::int[]) AS n;
BEGIN;
DECLARE few CURSOR FOR SELECT id, polyko_generate(body, max_tokens => 2) AS g FROM many;
FETCH 2 FROM few;
FETCH 3 FROM few;
CLOSE few;
DECLARE back SCROLL CURSOR FOR SELECT id, polyko_generate(body, max_tokens => 2) AS g FROM many;
FETCH 3 FROM back;
FETCH BACKWARD 2 FROM back;
COMMIT;

-- the row that a cursor is on, not the one that its scan is on
BEGIN;
DECLARE at CURSOR FOR SELECT id, polyko_generate(body, max_tokens => 2) AS g FROM many;
UPDATE many SET body = 'none yet' WHERE CURRENT OF at;
ROLLBACK;
BEGIN;
DECLARE at CURSOR FOR SELECT id, polyko_generate(body, max_tokens => 2) AS g FROM many;
FETCH 3 FROM at;
UPDATE many SET body = 'here' WHERE CURRENT OF at RETURNING id;
FETCH 2 FROM at;
DELETE FROM many WHERE CURRENT OF at RETURNING id;
DECLARE at_parts CURSOR FOR SELECT id, polyko_generate(body, max_tokens => 2) AS g FROM parts;
FETCH 3 FROM at_parts;
UPDATE parts SET body = 'here' WHERE CURRENT OF at_parts RETURNING id;
FETCH ALL FROM at_parts;
UPDATE parts SET body = 'past the end' WHERE CURRENT OF at_parts;
ROLLBACK;

-- what is read ahead takes no place that the statement needs
SET polyko.max_concurrent_requests = 2;
SELECT count(*) FROM (SELECT polyko_generate(body, max_tokens => 2), polyko_generate(body, max_tokens => 3),
	CASE WHEN id > 0 THEN polyko_generate(body, max_tokens => 4) END FROM many WHERE id < 12 OFFSET 0) AS t;
RESET polyko.max_concurrent_requests;

-- an error is that of its row, and comes when the row does
CREATE TABLE lengths AS SELECT i AS id, CASE i WHEN 4 THEN 0 ELSE 2 END AS n FROM generate_series(1, 8) AS i;
SELECT id, polyko_generate('가', max_tokens => n) FROM lengths LIMIT 3;
SELECT id, polyko_generate('가', max_tokens => n) FROM lengths;
SELECT id, polyko_generate('가', max_tokens => 6 / abs(id - 4)) FROM lengths WHERE id > 2 LIMIT 1;
SELECT id, polyko_generate('가', max_tokens => 6 / abs(id - 4)) FROM lengths WHERE id > 2;
BEGIN;
DECLARE c CURSOR FOR SELECT id, polyko_generate('가', max_tokens => n) AS g FROM lengths;
FETCH 3 FROM c;
SAVEPOINT s;
FETCH 1 FROM c;
ROLLBACK;

-- that of the row whose turn it is comes at once: its arguments are evaluated once
CREATE TABLE stops AS SELECT 'the' AS body, 0 AS n;
SELECT polyko_generate(body || to_tsquery('english', body)::text, max_tokens => n) FROM stops;
DROP TABLE stops;

CREATE FUNCTION checked(id int) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF id = 4 THEN RAISE 'row 4'; END IF;
	RETURN id;
END $$;
SELECT id, polyko_generate(checked(id), max_tokens => 2) IS NOT NULL AS answered FROM lengths LIMIT 3;
-- a CTE is read as far as it is needed
WITH g AS MATERIALIZED (SELECT id, polyko_generate(checked(id), max_tokens => 2) AS g FROM lengths) SELECT EXISTS (SELECT FROM g WHERE id = 3);
-- a join, too
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT n.id FROM notes AS n WHERE n.id = 3 AND EXISTS (SELECT FROM (SELECT id, polyko_generate(checked(id), max_tokens => 2) AS g FROM lengths OFFSET 0) AS s WHERE s.id <= n.id AND s.g IS NOT NULL);
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
-- what writes or returns all its rows reads all: eight calls of eight tokens, some 30 steps unless together
CREATE FUNCTION together(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text; n bigint;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		n := coalesce(n, substring(line FROM 'Model Steps: (\d+)')::bigint);
	END LOOP;
	RETURN n < 24;
END $$;
SELECT together('INSERT INTO answers (question) SELECT g FROM (SELECT polyko_generate(checked(id + 10), max_tokens => 8) AS g FROM lengths OFFSET 0) AS s');
SELECT together('CREATE TABLE made AS SELECT polyko_generate(checked(id + 20), max_tokens => 8) FROM lengths');
SELECT together('UPDATE answers SET answer = polyko_generate(checked(l.id + 30), max_tokens => 8) FROM lengths AS l WHERE l.id = answers.id');
SELECT together('SELECT polyko_generate(checked(id + 40), max_tokens => 8) FROM (SELECT id FROM lengths ORDER BY random() FOR UPDATE) AS s');
SELECT together('SELECT polyko_generate(checked(s.id + 50), max_tokens => 8) FROM (SELECT id FROM lengths ORDER BY random() LIMIT 8) AS s JOIN lengths USING (id)');
SELECT together('SELECT polyko_generate(checked(id + 60), max_tokens => 8) FROM lengths LIMIT 8');
DROP FUNCTION together;
DROP TABLE made;
CREATE DOMAIN checked_text AS text CHECK (checked(length(value)) IS NOT NULL);
SELECT id, polyko_generate(repeat('가', id)::checked_text, max_tokens => 2) IS NOT NULL AS answered FROM lengths LIMIT 3;
DROP DOMAIN checked_text;
DROP FUNCTION checked;
-- literals without a type are no values of yours
SELECT requests('SELECT polyko_generate(concat(''x'', body), max_tokens => 2) FROM many LIMIT 3') > 3 AS read_ahead;
-- built-in functions that run queries count as your own: nothing is read ahead of LIMIT
CREATE VIEW shown AS SELECT 1 AS one;
SELECT requests('SELECT polyko_generate(body || pg_get_viewdef(''shown''::regclass), max_tokens => 2) FROM many LIMIT 3');
SELECT requests('SELECT polyko_generate(body || pg_get_viewdef(''shown''::regclass), max_tokens => 2) FROM many WHERE id <= 3');
DROP VIEW shown;

-- rows that are not returned are not even read where that can be seen: numbers, locks
CREATE SEQUENCE rows_read;
CREATE FUNCTION read_for(query text, OUT answers bigint, OUT rows bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setval('rows_read', 1, false);
	EXECUTE 'SELECT count(g) FROM (' || query || ' LIMIT 3) AS t (g)' INTO answers;
	SELECT last_value INTO rows FROM rows_read;
END $$;
SELECT * FROM read_for('SELECT polyko_generate(body, max_tokens => 2) FROM (SELECT body, nextval(''rows_read'') FROM many OFFSET 0) AS s');
SELECT * FROM read_for('SELECT polyko_generate(body, max_tokens => 2) FROM many, LATERAL setval(''rows_read'', id)');
SELECT * FROM read_for('SELECT polyko_generate(body, max_tokens => 2) FROM many WHERE (SELECT nextval(''rows_read'') + id) > 0');
SELECT * FROM read_for('WITH w AS MATERIALIZED (SELECT body, nextval(''rows_read'') FROM many) SELECT polyko_generate(body, max_tokens => 2) FROM w');
SELECT requests('SELECT polyko_generate(body, max_tokens => 2) FROM (SELECT body FROM many FOR UPDATE SKIP LOCKED) AS s LIMIT 3');
DROP FUNCTION read_for;
DROP SEQUENCE rows_read;

-- parameters that change; a prepared plan keeps its node, the setting still counts
SELECT n.id, l.g = polyko_generate(n.body, max_tokens => 2) AS same
FROM notes AS n, LATERAL (SELECT polyko_generate(n.body, max_tokens => 2) AS g FROM many WHERE many.id <= n.id OFFSET 0) AS l
WHERE n.id IN (1, 2);
PREPARE p(int) AS SELECT id, polyko_generate(body, max_tokens => $1) AS g FROM many WHERE id < 4;
SET plan_cache_mode = force_generic_plan;
EXECUTE p(2);
SET polyko.batching = off;
EXECUTE p(2);
RESET polyko.batching;
RESET plan_cache_mode;

-- privileges are looked at as without
CREATE ROLE polyko_batch_user;
GRANT SELECT ON notes TO polyko_batch_user;
REVOKE EXECUTE ON FUNCTION polyko_embed FROM PUBLIC;
SET ROLE polyko_batch_user;
SELECT polyko_embed(body) FROM notes;
RESET ROLE;
GRANT EXECUTE ON FUNCTION polyko_embed TO PUBLIC;
REVOKE USAGE ON FOREIGN SERVER polyko_tiny FROM PUBLIC;
SET ROLE polyko_batch_user;
SELECT polyko_generate(body) FROM notes;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER polyko_tiny TO PUBLIC;
-- a policy that writes is asked when the row is returned
CREATE FUNCTION allows(id int) RETURNS boolean LANGUAGE sql AS $$SELECT nextval('counted') > 0$$;
CREATE POLICY counts ON notes USING (allows(id));
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SEQUENCE counted TO polyko_batch_user;
SET ROLE polyko_batch_user;
SELECT count(*) FROM (SELECT polyko_generate(body, max_tokens => 2) FROM notes LIMIT 3) AS t;
RESET ROLE;
SELECT last_value FROM counted;
DROP POLICY counts ON notes;
DROP FUNCTION allows;
REVOKE ALL ON SEQUENCE counted FROM polyko_batch_user;
REVOKE SELECT ON notes FROM polyko_batch_user;
DROP ROLE polyko_batch_user;
DROP FUNCTION nodes, requests;
DROP SEQUENCE counted;
DROP TABLE notes, answers, many, lengths, parts;

-- Calls of many rows are computed together: which are, and that nothing else changes.
CREATE TABLE notes (id int PRIMARY KEY, body text, label text, emb real[]);
INSERT INTO notes SELECT i, (ARRAY['이 영화는 정말', '배우들의 연기가', '음악이', NULL])[1 + i % 4] || ' ' || i % 10
FROM generate_series(1, 40) AS i;
ANALYZE notes;
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
-- row by row
SELECT nodes('SELECT id FROM notes WHERE polyko_generate(body) <> ''''');
SELECT nodes('SELECT CASE WHEN id > 3 THEN polyko_generate(body) END FROM notes');
SELECT nodes('SELECT coalesce(label, polyko_generate(body)) FROM notes');
SELECT nodes('SELECT label IS NULL AND polyko_generate(body) = ''x'' FROM notes');
SELECT nodes('SELECT max(polyko_generate(body)) FROM notes');
SELECT nodes('SELECT DISTINCT polyko_generate(body) FROM notes');
SELECT nodes('SELECT random(), polyko_generate(body) FROM notes');
SELECT nodes('SELECT polyko_generate(body), generate_series(1, 2) FROM notes');
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
REVOKE SELECT ON notes FROM polyko_batch_user;
DROP ROLE polyko_batch_user;
DROP FUNCTION nodes, requests;
DROP TABLE notes, answers, many, lengths;

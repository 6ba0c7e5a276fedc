-- CALL polyko_update: due rows, in the order of a key, batch by batch.
\set VERBOSITY terse
CREATE TABLE notes (id int PRIMARY KEY, body text, label text);
INSERT INTO notes SELECT i, '영화 ' || i % 4 FROM generate_series(1, 10) AS i;
CALL polyko_update('notes', 'label', $$polyko_generate(body, 'polyko_tiny', max_tokens => 2)$$, batch_rows => 4);
SELECT count(*) AS same FROM notes WHERE label = polyko_generate(body, 'polyko_tiny', max_tokens => 2);
-- nothing is due; a clause; the same again
CALL polyko_update('notes', 'label', 'NULL');
CALL polyko_update('notes', 'label', 'id::text', 'id % 2 = 0', batch_rows => 1);
CALL polyko_update('notes', 'label', 'label || ''!''', 'id % 2 = 0', batch_rows => 5);
SELECT array_agg(label ORDER BY id) FROM notes WHERE id % 2 = 0;
-- the default may be asked for; a subquery and a comment belong to an expression
CALL polyko_update('notes', 'label', 'DEFAULT', 'true -- all');
CALL polyko_update('notes', 'label', '(SELECT max(n.body) FROM notes AS n WHERE n.id = notes.id) /* body */');
SELECT count(*) FROM notes WHERE label = body;

-- exactly one expression
UPDATE notes SET label = NULL;
CALL polyko_update('notes', 'label', '');
CALL polyko_update('notes', 'label', '-- nothing');
CALL polyko_update('notes', 'label', '''a'', ''b''');
CALL polyko_update('notes', 'label', '''a'' AS b');
CALL polyko_update('notes', 'label', 'body label');
CALL polyko_update('notes', 'label', '*');
CALL polyko_update('notes', 'label', 'notes.*');
CALL polyko_update('notes', 'label', 'body FROM notes');
CALL polyko_update('notes', 'label', 'DISTINCT body');
CALL polyko_update('notes', 'label', 'body LIMIT 1');
CALL polyko_update('notes', 'label', 'body FOR UPDATE');
CALL polyko_update('notes', 'label', 'body UNION SELECT label');
CALL polyko_update('notes', 'label', '''a''), body = (''b''');
CALL polyko_update('notes', 'label', '''a''; DROP TABLE notes');
CALL polyko_update('notes', 'label', '''a'' /* ');
CALL polyko_update('notes', 'label', '''a');
CALL polyko_update('notes', 'label', '$1');
CALL polyko_update('notes', 'label', '(SELECT $2)');
CALL polyko_update('notes', 'label', 'body', 'true) OR (true');
CALL polyko_update('notes', 'label', 'body', 'true ORDER BY id');
CALL polyko_update('notes', 'label', 'body', 'id = $1');
CALL polyko_update('notes', 'label', 'body', '');
-- where the mistake is
\set VERBOSITY default
CALL polyko_update('notes', 'label', 'body + + ) 3');
\set VERBOSITY terse
-- names, types and kinds are PostgreSQL's to check, before a row is touched
CALL polyko_update('notes', 'label', 'bodi');
CALL polyko_update('notes', 'label', 'nofunction(body)', 'false');
CALL polyko_update('notes', 'id', 'body', 'false');
CALL polyko_update('notes', 'label', 'max(body)', 'false');
CALL polyko_update('notes', 'label', 'generate_series(1, 2)::text', 'false');
CALL polyko_update('notes', 'label', 'body', 'id');
-- the batch of keys can't be seen
CALL polyko_update('notes', 'label', 'k1::text');
CALL polyko_update('notes', 'label', 'polyko_keys.k1::text');
SELECT count(*) AS untouched FROM notes WHERE label IS NULL;

-- arguments
CALL polyko_update(NULL, 'label', 'body');
CALL polyko_update('notes', NULL, 'body');
CALL polyko_update('notes', 'label', NULL);
CALL polyko_update('notes', 'label', 'body', batch_rows => 0);
CALL polyko_update('notes', 'label', 'body', batch_rows => 65537);
CALL polyko_update('notes', 'label', 'body', batch_rows => NULL);
CALL polyko_update('notes', 'label', 'body', on_error => 'skip');
CALL polyko_update('notes', 'label', 'body', on_error => NULL);
CALL polyko_update('notes', 'label', 'body', options => '{"speed": 1}');
CALL polyko_update('notes', 'label', 'body', options => NULL);
CALL polyko_update('notes', 'nocolumn', 'body');
CALL polyko_update('notes', 'ctid', 'body');
CALL polyko_update(0, 'label', 'body');
CALL polyko_update('nosuch', 'label', 'body');

-- it commits, so not everywhere
BEGIN;
CALL polyko_update('notes', 'label', 'body');
ROLLBACK;
CREATE FUNCTION call_it() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL polyko_update('notes', 'label', 'body'); END $$;
SELECT call_it();
DO $$ BEGIN CALL polyko_update('notes', 'label', 'body'); EXCEPTION WHEN division_by_zero THEN NULL; END $$;
SET default_transaction_read_only = on;
CALL polyko_update('notes', 'label', 'body');
RESET default_transaction_read_only;
-- a block that may commit may call it
DO $$ BEGIN CALL polyko_update('notes', 'label', 'body', 'id < 3'); CALL polyko_update('notes', 'label', 'body', batch_rows => 3); END $$;
CREATE PROCEDURE call_twice() LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
	FOR n IN SELECT id FROM notes WHERE id < 3 ORDER BY id LOOP
		CALL polyko_update('notes', 'label', format('%L', n), format('id = %s', n));
	END LOOP;
END $$;
CALL call_twice();
SELECT id, label FROM notes ORDER BY id LIMIT 3;
DROP FUNCTION call_it;
DROP PROCEDURE call_twice;

-- what has a key
CREATE TABLE keyless (id int, label text);
CREATE UNIQUE INDEX ON keyless (id);
INSERT INTO keyless SELECT generate_series(1, 3);
\set VERBOSITY default
CALL polyko_update('keyless', 'label', '''x''');
\set VERBOSITY terse
ALTER TABLE keyless ADD k int GENERATED ALWAYS AS (id) STORED NOT NULL, ADD UNIQUE (k) DEFERRABLE;
CREATE UNIQUE INDEX ON keyless (k) WHERE k > 0;
CREATE UNIQUE INDEX ON keyless ((k + 1));
CREATE INDEX ON keyless (k);
CALL polyko_update('keyless', 'label', '''x''');
CREATE UNIQUE INDEX ON keyless (k) INCLUDE (id);
CALL polyko_update('keyless', 'label', '''x''');
DROP TABLE keyless;
-- what is a table
CREATE VIEW notes_view AS SELECT * FROM notes;
CREATE MATERIALIZED VIEW notes_kept AS SELECT * FROM notes;
CREATE FOREIGN TABLE notes_far (id int, label text) SERVER polyko_tiny;
CREATE SEQUENCE notes_seq;
\set VERBOSITY default
CALL polyko_update('notes_view', 'label', '''x''');
\set VERBOSITY terse
CALL polyko_update('notes_kept', 'label', '''x''');
CALL polyko_update('notes_far', 'label', '''x''');
CALL polyko_update('notes_seq', 'last_value', '1');
CALL polyko_update('notes_pkey', 'id', '1');
CALL polyko_update('pg_class', 'relname', '''x''');
CALL polyko_update('pg_toast.pg_toast_2618', 'chunk_seq', '1');
DROP VIEW notes_view;
DROP MATERIALIZED VIEW notes_kept;
DROP FOREIGN TABLE notes_far;
DROP SEQUENCE notes_seq;

-- keys of all kinds, in any schema and with any name; search_path leads elsewhere
CREATE SCHEMA "이상한 ""이름";
CREATE TYPE mood AS ENUM ('슬픔', '기쁨', '놀람');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN short AS varchar(9);
CREATE TABLE "이상한 ""이름"."표 하나" (
	"열쇠 ""1" text COLLATE "C", m mood, n numeric, a int[], p pair, s short, u uuid, b bytea, c char(4), label text,
	PRIMARY KEY (m, "열쇠 ""1", n, a, p, s, u, b, c));
INSERT INTO "이상한 ""이름"."표 하나"
SELECT 'k' || i % 7, (enum_range(NULL::mood))[1 + i % 3], i / 3.0, ARRAY[i, NULL], (i, 'x')::pair, 's' || i % 5, md5(i::text)::uuid, decode(md5(i::text), 'hex'), i % 100
FROM generate_series(1, 100) AS i;
CALL polyko_update('"이상한 ""이름"."표 하나"', 'label', '"열쇠 ""1" || "표 하나".n', batch_rows => 7);
SELECT count(*), count(label) FROM "이상한 ""이름"."표 하나";
DROP SCHEMA "이상한 ""이름" CASCADE;
DROP TYPE mood, pair;
DROP DOMAIN short;
-- operators of the caller's search_path don't count
CREATE SCHEMA other;
CREATE FUNCTION other.never(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN false;
CREATE OPERATOR other.= (FUNCTION = other.never, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR other.> (FUNCTION = other.never, LEFTARG = int, RIGHTARG = int);
SET search_path = other, public, pg_catalog;
CALL polyko_update('notes', 'label', '''경로 '' || (id = id)', 'true', batch_rows => 3);
RESET search_path;
SELECT count(*) FROM notes WHERE label = '경로 false';
DROP SCHEMA other CASCADE;
-- indexes in other orders, collations and operator classes
CREATE TABLE ordered (a int NOT NULL, b text NOT NULL, label int, moved int);
INSERT INTO ordered SELECT i % 5, 'b' || i FROM generate_series(1, 60) AS i;
CREATE UNIQUE INDEX ordered_key ON ordered (a DESC, b DESC NULLS LAST);
CALL polyko_update('ordered', 'label', 'coalesce(label, 0) + 1', 'true', batch_rows => 7);
DROP INDEX ordered_key;
CREATE UNIQUE INDEX ordered_key ON ordered (a, b COLLATE "C" DESC);
CALL polyko_update('ordered', 'label', 'coalesce(label, 0) + 1', 'true', batch_rows => 7);
DROP INDEX ordered_key;
CREATE UNIQUE INDEX ordered_key ON ordered (b text_pattern_ops, a DESC);
CALL polyko_update('ordered', 'label', 'coalesce(label, 0) + 1', 'true', batch_rows => 1);
DROP INDEX ordered_key;
CREATE UNIQUE INDEX ordered_key ON ordered (b text_pattern_ops);
CALL polyko_update('ordered', 'label', 'coalesce(label, 0) + 1', 'true', batch_rows => 7);
SELECT label, count(*) FROM ordered GROUP BY 1;

-- a key that the update changes, ahead or behind: once each, and it ends
CREATE TABLE walkers (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, label text);
INSERT INTO walkers SELECT generate_series(1, 20);
CREATE FUNCTION count_updates() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := OLD.n + 1; RETURN NEW; END $$;
CREATE TRIGGER count_updates BEFORE UPDATE ON walkers FOR EACH ROW EXECUTE FUNCTION count_updates();
INSERT INTO walkers VALUES (1000);
CALL polyko_update('walkers', 'id', 'id + 100', 'true', batch_rows => 3);
SELECT min(id), max(id), min(n), max(n) FROM walkers;
CALL polyko_update('walkers', 'id', '-id', 'true', batch_rows => 3);
SELECT min(id), max(id), min(n), max(n) FROM walkers;
-- another key is taken if there is one
ALTER TABLE walkers ADD k int GENERATED BY DEFAULT AS IDENTITY UNIQUE NOT NULL;
CALL polyko_update('walkers', 'id', 'id + 2000', 'true', batch_rows => 3);
SELECT min(id), max(id), min(n), max(n) FROM walkers;
ALTER TABLE walkers DROP k;
-- moved by a trigger, and due again
CREATE FUNCTION move_ahead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := OLD.id + 5000; RETURN NEW; END $$;
CREATE TRIGGER move_ahead BEFORE UPDATE ON walkers FOR EACH ROW EXECUTE FUNCTION move_ahead();
INSERT INTO walkers VALUES (1000000);
CALL polyko_update('walkers', 'label', 'NULL', batch_rows => 3);
SELECT min(n), max(n) FROM walkers WHERE id < 1000000;
DROP TABLE walkers;
DROP FUNCTION count_updates, move_ahead;

-- partitions, also when rows move between them; children by inheritance
CREATE TABLE parts (id int, g int, label text, PRIMARY KEY (id, g)) PARTITION BY LIST (g);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts SELECT i, 1 + i % 2 FROM generate_series(1, 20) AS i;
CALL polyko_update('parts', 'label', 'tableoid::regclass::text', batch_rows => 3);
CALL polyko_update('parts', 'g', '3 - g', 'true', batch_rows => 3);
SELECT tableoid::regclass, label, count(*) FROM parts GROUP BY 1, 2 ORDER BY 1;
CALL polyko_update('parts_1', 'label', '''leaf''', 'true');
SELECT label, count(*) FROM parts GROUP BY 1 ORDER BY 1;
DROP TABLE parts;
CREATE TABLE family (id int PRIMARY KEY, label text);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (family);
INSERT INTO family SELECT generate_series(1, 3);
INSERT INTO child SELECT generate_series(1, 3);
\set VERBOSITY default
CALL polyko_update('family', 'label', '''parent''');
\set VERBOSITY terse
CALL polyko_update('child', 'label', '''child''');
SELECT tableoid::regclass, label, count(*) FROM family GROUP BY 1, 2 ORDER BY 1;
DROP TABLE family, child;

-- generated columns and identities are as in an UPDATE
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, label text, length int GENERATED ALWAYS AS (length(label)) STORED);
INSERT INTO made (label) VALUES (NULL), (NULL);
CALL polyko_update('made', 'label', $$repeat('가', id)$$);
SELECT * FROM made ORDER BY id;
CALL polyko_update('made', 'length', '3', 'true');
CALL polyko_update('made', 'id', '3', 'true');
-- an empty table, a temporary one
TRUNCATE made;
CALL polyko_update('made', 'label', '''x''');
DROP TABLE made;
CREATE TEMP TABLE passing (id int PRIMARY KEY, label text);
INSERT INTO passing SELECT generate_series(1, 5);
CALL polyko_update('passing', 'label', 'id::text', batch_rows => 2);
SELECT count(label) FROM passing;
DROP TABLE passing;

-- an error takes its batch back; what was committed before stays
CREATE TABLE fails (id int PRIMARY KEY, body text, label int CHECK (label <> 13));
INSERT INTO fails SELECT i, i::text FROM generate_series(1, 20) AS i;
UPDATE fails SET body = '전화는 010-1234-5678' WHERE id = 17;
\set VERBOSITY default
\set SHOW_CONTEXT always
CALL polyko_update('fails', 'label', 'body::int', batch_rows => 5);
\set VERBOSITY terse
SELECT max(id), count(*) FROM fails WHERE label IS NOT NULL;
-- recorded: the others of the batch are done
\set VERBOSITY default
CALL polyko_update('fails', 'label', 'body::int', on_error => 'record');
\set VERBOSITY terse
SELECT id FROM fails WHERE label IS NULL ORDER BY id;
SELECT relation, set_column, key, sqlstate, message, role = current_user AS own, at > now() - interval '1 hour' AS lately FROM polyko_update_errors ORDER BY id;
-- tried again by the next call; our own messages are whole but for texts, those of functions are left out
DELETE FROM polyko_update_errors;
CREATE FUNCTION complain(body text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no number: %', body USING CONSTRAINT = body, ERRCODE = '22000'; END $$;
CALL polyko_update('fails', 'label', 'CASE id WHEN 17 THEN complain(body) ELSE length(polyko_generate(body, ''polyko_tiny'', max_tokens => 13 - id)) END', on_error => 'record');
CALL polyko_update('fails', 'label', '1 / (id - 17)', 'id > 15', on_error => 'record', batch_rows => 2);
-- one of ours that quotes an argument
CALL polyko_update('fails', 'label', 'array_length(polyko_embed(''x'', ''polyko_tiny'', pooling => body), 1)', 'id = 17', on_error => 'record');
SELECT key, sqlstate, message FROM polyko_update_errors ORDER BY id;
SELECT count(*) AS leaks FROM polyko_update_errors AS e WHERE e::text ~ '전화|010-';
-- more than rows can fail for: the job stops
CREATE FUNCTION stop_with(state text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stop' USING ERRCODE = state; END $$;
SELECT format('CALL polyko_update(%L, %L, %L, %L, on_error => %L)', 'fails', 'label', format('stop_with(%L)', state), 'id = 17', 'record')
FROM unnest('{08006,0A000,25006,42501,42704,53200,53100,53400,57014,57P01,58030,58P01,HV002,XX001}'::text[]) AS state \gexec
SELECT count(*) AS recorded FROM polyko_update_errors WHERE message ~ 'left out' AND sqlstate <> '22000';
DELETE FROM polyko_update_errors;
SELECT format('CALL polyko_update(%L, %L, %L, %L, on_error => %L)', 'fails', 'label', format('stop_with(%L)', state), 'id = 17', 'record')
FROM unnest('{22012,23505,58000,XX000,P0001}'::text[]) AS state \gexec
SELECT sqlstate, message FROM polyko_update_errors ORDER BY id;
-- others had it when it mattered: that counts as locked
CALL polyko_update('fails', 'label', $$stop_with('40001')$$, 'id = 17', on_error => 'record');
CALL polyko_update('fails', 'label', $$stop_with('40001')$$, 'id = 17');
DROP FUNCTION stop_with, complain;
DELETE FROM polyko_update_errors;
-- a deferred constraint fails for its rows, too
CREATE TABLE later (id int PRIMARY KEY, label int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO later SELECT generate_series(1, 8);
CALL polyko_update('later', 'label', 'id % 6', on_error => 'record');
CALL polyko_update('later', 'label', 'id % 6');
SELECT key, sqlstate, message FROM polyko_update_errors ORDER BY id;
SELECT count(label) FROM later;
DELETE FROM polyko_update_errors;
DROP TABLE later, fails;

-- as the caller: privileges of columns, policies, own failures
CREATE ROLE polyko_updater;
CREATE ROLE polyko_other;
CREATE TABLE guarded (id int PRIMARY KEY, owner name, body text, label text);
INSERT INTO guarded SELECT i, (ARRAY['polyko_updater', 'polyko_other'])[1 + i % 2], i::text FROM generate_series(1, 10) AS i;
SET ROLE polyko_updater;
CALL polyko_update('guarded', 'label', 'body', 'true');
RESET ROLE;
GRANT SELECT (id, body), UPDATE (label) ON guarded TO polyko_updater;
SET ROLE polyko_updater;
CALL polyko_update('guarded', 'label', 'body');
CALL polyko_update('guarded', 'body', 'body', 'true', on_error => 'record');
CALL polyko_update('guarded', 'label', 'owner', 'true', on_error => 'record');
CALL polyko_update('guarded', 'label', 'body', 'id = 1');
RESET ROLE;
UPDATE guarded SET label = NULL;
GRANT SELECT (label, owner) ON guarded TO polyko_updater;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON guarded FOR SELECT USING (id < 9);
CREATE POLICY own ON guarded FOR UPDATE USING (owner = current_user) WITH CHECK (label <> 'secret');
SET ROLE polyko_updater;
CALL polyko_update('guarded', 'label', 'body', batch_rows => 3);
CALL polyko_update('guarded', 'label', '(1 / (id - 4))::text', 'id < 6', on_error => 'record');
CALL polyko_update('guarded', 'label', '''secret''', 'id = 4', on_error => 'record');
SELECT role, key FROM polyko_update_errors;
INSERT INTO polyko_update_errors (role, relation, set_column, key, sqlstate, message)
VALUES (current_user, 'x', 'x', '{}', '22000', 'by hand');
UPDATE polyko_update_errors SET message = 'by hand';
SELECT polyko_update_error_add('x', 'x', '{}', '22000', 'by hand', current_user);
SET ROLE polyko_other;
SELECT count(*) FROM polyko_update_errors;
DELETE FROM polyko_update_errors;
SET ROLE polyko_updater;
SELECT count(*) FROM polyko_update_errors;
DELETE FROM polyko_update_errors;
RESET ROLE;
SELECT count(*) FROM polyko_update_errors;
SELECT id, label FROM guarded WHERE label IS NOT NULL ORDER BY id;
DROP TABLE guarded, notes, ordered;
DROP ROLE polyko_updater, polyko_other;

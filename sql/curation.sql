-- Blocklists, and answers that wait for a reviewer.
SELECT polyko_apply_blocklist('아직 아무것도 막지 않는다');
INSERT INTO polyko_blocklist VALUES
	('바보', 'abuse', 'mask'), ('멍청이', 'abuse', 'mask'), ('보바', 'abuse', 'mask'),
	('광고', 'spam', 'flag'), ('기밀', 'secret', 'drop'), ('외국', 'place', 'mask'),
	('살면서', 'test', 'drop'), ('괜찮', 'mood', 'flag');
INSERT INTO polyko_blocklist VALUES ('', 'empty', 'mask');
INSERT INTO polyko_blocklist VALUES ('x', 'word', 'delete');
SELECT polyko_apply_blocklist('이 바보야, 멍청이 같은 광고는 그만');
SELECT polyko_apply_blocklist('바보바보');
SELECT polyko_apply_blocklist('이것은 기밀, 바보야') IS NULL AS dropped, polyko_apply_blocklist(NULL) IS NULL AS "null";
SELECT * FROM polyko_find_blocklist('이 바보바보야, 광고와 기밀');
-- as macOS writes it: found in parts, and what is not masked stays as it is
SELECT polyko_apply_blocklist(normalize('각 바보야', NFD)) = normalize('각 ', NFD) || '**' || normalize('야', NFD) AS kept;
SELECT pattern, start, length FROM polyko_find_blocklist(normalize('각 바보야', NFD));
INSERT INTO polyko_blocklist VALUES (normalize('쉿', NFD), 'quiet', 'mask');
SELECT polyko_apply_blocklist('쉿, 조용히');
-- each statement sees the table as it is then; what was rolled back, too
BEGIN;
SELECT polyko_apply_blocklist('토마토');
SAVEPOINT a;
INSERT INTO polyko_blocklist VALUES ('토마토', 'food', 'mask');
SELECT polyko_apply_blocklist('토마토');
ROLLBACK TO a;
SELECT polyko_apply_blocklist('토마토');
COMMIT;
DO $$
DECLARE
	answers text := '';
BEGIN
	FOR i IN 1 .. 3 LOOP
		answers := answers || polyko_apply_blocklist('토마토') || ' ';
		BEGIN
			INSERT INTO polyko_blocklist VALUES ('토마토', 'food', 'mask');
			answers := answers || polyko_apply_blocklist('토마토') || ' ';
			IF i < 3 THEN RAISE EXCEPTION 'undo'; END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
		answers := answers || polyko_apply_blocklist('토마토') || E'\n';
	END LOOP;
	RAISE NOTICE '%', answers;
END $$;
DELETE FROM polyko_blocklist WHERE pattern = '토마토';
-- a large list
INSERT INTO polyko_blocklist SELECT '낱말' || i, 'many', 'mask' FROM generate_series(1, 10000) AS i;
SELECT polyko_apply_blocklist('낱말77 낱말 낱말10000번 낱말0');
SELECT count(*) FROM generate_series(1, 1000) AS i
WHERE polyko_apply_blocklist('이것은 낱말' || i) IS DISTINCT FROM '이것은 ' || repeat('*', 2 + length(i::text));
DELETE FROM polyko_blocklist WHERE kind = 'many';

-- answers to review; polyko_generate itself reads no table
CREATE ROLE polyko_writer;
CREATE ROLE polyko_other;
CREATE ROLE polyko_reviewer;
GRANT EXECUTE ON FUNCTION polyko_review_approve, polyko_review_reject TO polyko_reviewer;
SELECT polyko_generate('이 영화는 정말', max_tokens => 8, temperature => 1.2, seed => 3) AS plain;
SET ROLE polyko_writer;
SELECT polyko_generate_reviewed(NULL) IS NULL AS "no prompt";
SELECT polyko_generate_reviewed('이 영화는 정말', max_tokens => 8, temperature => 1.2, seed => s) FROM generate_series(1, 5) AS s;
SELECT polyko_generate_reviewed('x', max_tokens => -1);
SELECT id, requested_by, prompt, output, flags, model, seed, status, reviewer FROM polyko_review ORDER BY id;
SELECT parameters FROM polyko_review WHERE seed = 1;
SELECT r.output IS NOT DISTINCT FROM polyko_apply_blocklist(polyko_generate(prompt, model, max_tokens => 8, temperature => 1.2, seed => r.seed)) AS same
FROM polyko_review AS r ORDER BY id;
SELECT polyko_review_approve(1);
SELECT polyko_review_reject(1, 'no');
INSERT INTO polyko_review (requested_by, prompt, flags, model, seed, parameters) VALUES ('polyko_writer', 'x', '{}', 'm', 1, '{}');
SELECT polyko_review_add('x', 'm', 1, 0, 0, 1, 1, '{}', 0, 0, '{}', 'forged', 'polyko_other');
UPDATE polyko_review SET status = 'approved';
DELETE FROM polyko_review;
INSERT INTO polyko_blocklist VALUES ('y', 'z', 'drop');
SET ROLE polyko_other;
SELECT count(*) AS "of others" FROM polyko_review;
SELECT polyko_generate_reviewed('안녕', max_tokens => 2);
SELECT id, requested_by FROM polyko_review;
SET ROLE polyko_reviewer;
SELECT count(*) AS "all" FROM polyko_review;
SELECT polyko_review_approve(1) IS NOT NULL AS released;
SELECT polyko_review_reject(2, '어색하다');
\set VERBOSITY sqlstate
SELECT polyko_review_approve(2);
SELECT polyko_review_reject(1, 'late');
\set VERBOSITY default
SELECT polyko_review_approve(4711);
SELECT polyko_review_reject(3, NULL);
SELECT polyko_review_approve(NULL) IS NULL AS "null";
RESET ROLE;
SELECT id, status, reviewer = session_user AS "by the session's user", reviewed_at >= requested_at AS later, reason
FROM polyko_review ORDER BY id;
-- search paths of callers don't matter
CREATE SCHEMA trap;
CREATE TABLE trap.polyko_review (id bigint, status text, output text);
CREATE TABLE trap.polyko_blocklist (pattern text, kind text, action text);
INSERT INTO trap.polyko_blocklist VALUES ('영화', 'trap', 'drop');
SET search_path = trap, public;
SELECT polyko_apply_blocklist('영화');
SELECT public.polyko_review_approve(3) IS NULL AS "nothing to release", public.polyko_review_approve(4) IS NOT NULL AS released;
RESET search_path;
DROP SCHEMA trap CASCADE;
-- the model runs with the caller's rights
CREATE SERVER closed FOREIGN DATA WRAPPER polyko OPTIONS (path '$sharedir/extension/polyko-tiny');
SET ROLE polyko_writer;
SELECT polyko_generate_reviewed('x', 'closed');
RESET ROLE;
DROP SERVER closed;
BEGIN READ ONLY;
SELECT polyko_generate_reviewed('x');
ROLLBACK;
DELETE FROM polyko_review;
DELETE FROM polyko_blocklist;
DROP OWNED BY polyko_reviewer;
DROP ROLE polyko_writer, polyko_other, polyko_reviewer;

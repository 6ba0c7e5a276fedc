-- Redaction of personal data. No model runs here. All numbers are invented.
\pset format unaligned
SELECT polyko_redact_pii('신한은행 110-234-567890(홍길동)으로 보내고 010-2345-6789로 전화 주세요. 주민번호 880312-1345678');
SELECT * FROM polyko_find_pii('문의 02)345-6789, 계좌 국민 123456-01-234567');
SELECT bool_and(substring(input, start, length) = match) AS "spans are in characters"
FROM (VALUES ('🙂가나다 010-2345-6789, 주민번호 ８８０３１２－１３４５６７８')) AS t (input), polyko_find_pii(input);

-- what is outside the spans stays byte for byte
SELECT count(*) AS texts, count(*) FILTER (WHERE rebuilt = polyko_redact_pii(input)) AS same, sum(n) AS spans
FROM (SELECT input, count(*) AS n,
             string_agg(substring(input, past, start - past) || '<|' || kind || '|>', '' ORDER BY start)
             || substring(input, max(start + length)) AS rebuilt
      FROM (SELECT input, kind, start, length,
                   lag(start + length, 1, 1) OVER (PARTITION BY input ORDER BY start) AS past
            FROM (SELECT g || E'﻿\t\u0301é🙂ﬁ  ' || normalize('각 전화', NFD) || ' 010-2345-' || 6000 + g
                         || E'\r\n' || '８８０３１２－１３４５６７８ㅋ' || chr(160) || '농협 302-1234-5678-91' || chr(8203) AS input
                  FROM generate_series(1, 50) AS g) AS t,
                 polyko_find_pii(input)) AS spans
      GROUP BY input) AS t;

-- styles, and redacting again
SELECT s AS style, r, polyko_redact_pii(r, options => o) = r AS "stays"
FROM (SELECT s, jsonb_build_object('style', s) AS o,
             polyko_redact_pii('☎ 02-345-6789, 010-2345-6789, 880312-1345678, 농협 302-1234-5678-91',
                               options => jsonb_build_object('style', s)) AS r
      FROM unnest('{token,mask,label}'::text[]) AS s) AS t;

-- kinds
SELECT polyko_redact_pii('010-2345-6789 농협 302-1234-5678-91', '{acc}');
SELECT polyko_redact_pii('010-2345-6789', '{}');
SELECT kind, match FROM polyko_find_pii('외국인등록번호 920715-5789012', '{rrn}');
SELECT kind, match FROM polyko_find_pii('외국인등록번호 920715-5789012', '{rrn,frn}');
SELECT kind, match FROM polyko_find_pii('사업자등록번호 124-81-00998, 여권 M12345678, 면허 11-12-345678-90,'
	' 카드 4111-1111-1111-1111, hong@example.com, 법인등록번호 130111-0006246',
	'{brn,crn,card,passport,driver,email}');

-- what only looks like it stays
SELECT polyko_redact_pii(t) = t AS same FROM unnest(ARRAY['조선 1577-1599', '주문번호 20240303-0009123',
	'2024-03-05 14:30', '1,234,567원', 'https://example.com/board?id=01012345678', '', '<|tell|> <|acc|>']) AS t;

-- NULL, and arguments out of range
SELECT polyko_redact_pii(NULL) IS NULL AS redact, (SELECT count(*) FROM polyko_find_pii(NULL)) AS find;
SELECT polyko_redact_pii('x', NULL);
SELECT polyko_redact_pii('x', '{acc,NULL}');
SELECT polyko_redact_pii('x', '{phone}');
SELECT polyko_redact_pii('x', options => NULL);
SELECT polyko_redact_pii('x', options => '[]');
SELECT polyko_redact_pii('x', options => '{"stile": "mask"}');
SELECT polyko_redact_pii('x', options => '{"style": "blur"}');
SELECT polyko_redact_pii('x', options => '{"style": 1}');

-- a table that must not hold such data; the trigger keeps the column's own rules
CREATE DOMAIN pii_note AS text CHECK (VALUE NOT LIKE '%acc%');
CREATE TABLE pii_posts (id int, body text, memo varchar(12), note pii_note, n int,
	upper_body text GENERATED ALWAYS AS (upper(body)) STORED);
CREATE TRIGGER redact BEFORE INSERT OR UPDATE ON pii_posts
	FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger('body', 'memo', 'note');
INSERT INTO pii_posts VALUES (1, 'call 010-2345-6789', '01023456789', NULL), (2, NULL, 'x', 'y');
UPDATE pii_posts SET body = '농협 302-1234-5678-91' WHERE id = 2;
SELECT * FROM pii_posts ORDER BY id;
INSERT INTO pii_posts (memo) VALUES ('☎930-2345 abc');
INSERT INTO pii_posts (memo) VALUES ('☎930-2345abc');
INSERT INTO pii_posts (note) VALUES ('농협 302-1234-5678-91');
CREATE TRIGGER wrong BEFORE INSERT ON pii_posts
	FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger('nothing');
INSERT INTO pii_posts (id) VALUES (3);
DROP TRIGGER wrong ON pii_posts;
CREATE TRIGGER wrong BEFORE INSERT ON pii_posts
	FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger('n');
INSERT INTO pii_posts (id) VALUES (3);
DROP TRIGGER wrong ON pii_posts;
CREATE TRIGGER wrong BEFORE INSERT ON pii_posts
	FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger('upper_body');
INSERT INTO pii_posts (id) VALUES (3);
DROP TRIGGER wrong ON pii_posts;
CREATE TRIGGER wrong AFTER INSERT ON pii_posts
	FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger('body');
INSERT INTO pii_posts (id) VALUES (3);
DROP TRIGGER wrong ON pii_posts;
CREATE TRIGGER wrong BEFORE INSERT ON pii_posts
	FOR EACH ROW EXECUTE FUNCTION polyko_redact_trigger();
INSERT INTO pii_posts (id) VALUES (3);
DROP TABLE pii_posts;
DROP DOMAIN pii_note;

-- in an index
CREATE TABLE pii_texts (body text);
INSERT INTO pii_texts SELECT '번호 ' || i || ' 010-2345-6789' FROM generate_series(1, 100) AS i;
CREATE INDEX ON pii_texts (polyko_redact_pii(body));
SELECT count(*) FROM pii_texts WHERE polyko_redact_pii(body) = '번호 7 <|tell|>';
DROP TABLE pii_texts;

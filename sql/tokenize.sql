-- The tokenizer from SQL. No model runs here.
SELECT polyko_tokenize('이 영화는 정말 재미있다.', 'polyko_tiny');
SELECT polyko_token_count('이 영화는 정말 재미있다.');
SELECT * FROM polyko_tokens('이 영화는 정말', 'polyko_tiny');

-- ids and text lead to each other, also with special tokens, NFD, emoji and controls
-- (unaligned: releases of psql differ in how wide an emoji is)
\pset format unaligned
SELECT quote_literal(t) AS t, polyko_detokenize(polyko_tokenize(t)) = normalize(t) AS same
FROM unnest(ARRAY['', ' ', '안녕하세요', E'a\tb\r\n', '🙂👨‍👩‍👧', U&'\1112\1161\11AB',
	'<|endoftext|>끝', 'abc 123']) AS t;
\pset format aligned
SELECT polyko_detokenize(polyko_tokenize('<|endoftext|>끝'), skip_special => true);

-- the empty text, and NULL
SELECT polyko_tokenize(''), polyko_token_count(''), polyko_detokenize('{}') = '' AS empty;
SELECT count(*) FROM polyko_tokens('');
SELECT polyko_tokenize(NULL) IS NULL AS tokenize, polyko_token_count(NULL) IS NULL AS count,
	polyko_detokenize(NULL) IS NULL AS detokenize;
SELECT count(*) FROM polyko_tokens(NULL);

-- byte offsets cover the input: each token begins where the one before ended or stands in the
-- same character
SELECT bool_and(byte_start <= previous_end AND byte_end >= previous_end) AS without_holes,
	max(byte_end) = octet_length('한국어 🙂 영화') AS whole
FROM (SELECT *, coalesce(lag(byte_end) OVER (ORDER BY pos), 0) AS previous_end
	FROM polyko_tokens('한국어 🙂 영화')) AS t;

-- half a character, and byte 0, are U+FFFD; the rest of a character may follow
SELECT polyko_detokenize((polyko_tokenize('🙂'))[1:1]) = U&'\FFFD' AS half;

-- three functions, one answer
SELECT polyko_tokenize(t) = ARRAY(SELECT token_id FROM polyko_tokens(t) ORDER BY pos) AS same_ids,
	polyko_token_count(t) = cardinality(polyko_tokenize(t)) AS same_count
FROM (VALUES ('이 영화는 🙂 정말 재미있다.'), ('')) AS v(t);

-- arrays that are not plain
SELECT polyko_detokenize(('[5:7]=' || polyko_tokenize('이 영화는 정말')::text)::int[]);

-- a column as argument; SELECT list and FROM
CREATE TEMP TABLE texts (id int, body text);
INSERT INTO texts VALUES (1, '좋아요'), (2, NULL), (3, '별로예요');
SELECT id, polyko_token_count(body) > 0 AS has_tokens FROM texts ORDER BY id;
SELECT id, count(t.pos) = polyko_token_count(body) AS all_rows
FROM texts LEFT JOIN LATERAL polyko_tokens(body) AS t ON true GROUP BY id, body ORDER BY id;
SELECT (polyko_tokens('정말')).pos;

-- in parallel workers
SELECT set_config(name, 'on', false) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); -- 15, and later
CREATE TABLE many_texts AS SELECT '영화 ' || i AS body FROM generate_series(1, 200) AS i;
EXPLAIN (COSTS OFF) SELECT body, polyko_token_count(body) FROM many_texts;
SELECT sum(polyko_token_count(body)) > 400 AS counted FROM many_texts;
RESET ALL;
DROP TABLE many_texts;

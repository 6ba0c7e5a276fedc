-- One row a token. When rows reach the client is tested in test/t/005_stream_wire.pl.
SELECT * FROM polyko_generate_stream('이 영화는 정말', 'polyko_tiny', max_tokens => 8);
SELECT (s).pos, (s).piece
FROM (SELECT polyko_generate_stream('이 영화는 정말', max_tokens => 8) AS s) AS t;

-- together the pieces are what polyko_generate gives, also with stop strings and sampling
SELECT i, string_agg(piece, '' ORDER BY pos) = coalesce(polyko_generate('이 영화는', max_tokens => 24,
		temperature => 1, seed => i, stop => '{다,정말}'), '') AS same
FROM generate_series(1, 6) AS i,
	LATERAL polyko_generate_stream('이 영화는', max_tokens => 24, temperature => 1, seed => i,
		stop => '{다,정말}')
GROUP BY i ORDER BY i;
SELECT round(sum(s.logprob)::numeric, 3) = round(d.logprob::numeric, 3) AS same_logprob,
	count(*) = d.completion_tokens AS same_count
FROM polyko_generate_stream('오늘은', max_tokens => 10) AS s,
	polyko_generate_details('오늘은', max_tokens => 10) AS d
GROUP BY d.logprob, d.completion_tokens;

-- NULL and empty
SELECT count(*) FROM polyko_generate_stream(NULL);
SELECT polyko_generate_stream(NULL);
SELECT count(*) > 0 AS answered FROM polyko_generate_stream('', max_tokens => 2);

-- LIMIT ends it; cursors
SELECT (s).pos FROM (SELECT polyko_generate_stream('영화', max_tokens => 500, min_tokens => 500) AS s)
	AS t LIMIT 2;
BEGIN;
DECLARE c CURSOR FOR SELECT (s).pos
	FROM (SELECT polyko_generate_stream('영화', max_tokens => 500, min_tokens => 500) AS s) AS t;
FETCH 2 FROM c;
SELECT length(polyko_generate('그리고', max_tokens => 3)) >= 0 AS another_call_meanwhile;
FETCH 1 FROM c;
SAVEPOINT s;
SELECT polyko_generate('그리고', top_k => -1);
ROLLBACK TO s;
FETCH 1 FROM c;
CLOSE c;
SELECT length(polyko_generate('그리고', max_tokens => 3)) >= 0 AS after_close;
COMMIT;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT (s).pos
	FROM (SELECT polyko_generate_stream('영화', max_tokens => 3, min_tokens => 3) AS s) AS t;
COMMIT;
FETCH ALL FROM h;
CLOSE h;

-- twice in one select list, rescans, and a plpgsql loop left early
SELECT (a).pos AS a, (b).pos AS b
FROM (SELECT polyko_generate_stream('영화', max_tokens => 2, min_tokens => 2) AS a,
	polyko_generate_stream('음악', max_tokens => 3, min_tokens => 3) AS b) AS t;
SELECT i, count(*) FROM generate_series(1, 3) AS i,
	LATERAL (SELECT polyko_generate_stream('영화', max_tokens => i, min_tokens => i) OFFSET 0) AS s
GROUP BY i ORDER BY i;
DO $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT polyko_generate_stream('영화', max_tokens => 500, min_tokens => 500) LOOP
		n := n + 1;
		EXIT WHEN n = 3;
	END LOOP;
	RAISE NOTICE 'left after %', n;
END
$$;

-- Texts from the model that ships. q8 answers are the same bits on every machine.
SELECT polyko_generate('이 영화는 정말', 'polyko_tiny', max_tokens => 16);
SELECT (polyko_generate_details('이 영화는 정말', max_tokens => 16)).*;
SELECT polyko_generate('이 영화는', max_tokens => 12, temperature => 1, seed => 7) AS sampled;

-- the seed decides, and nothing else does
SELECT polyko_generate('이 영화는', max_tokens => 12, temperature => 1, seed => 1) =
	polyko_generate('이 영화는', max_tokens => 12, temperature => 1, seed => 1) AS same_seed,
	count(DISTINCT polyko_generate('이 영화는', max_tokens => 12, temperature => 1, seed => i)) > 1
		AS other_seeds
FROM generate_series(1, 5) AS i;
SELECT polyko_generate('이 영화는', max_tokens => 8) =
	polyko_generate('이 영화는', max_tokens => 8, top_k => 3, top_p => 0.5, seed => 9)
	AS greedy_ignores_them;
SELECT polyko_generate('이 영화는', max_tokens => 8) =
	polyko_generate('이 영화는', max_tokens => 8, temperature => 1, top_k => 1) AS top_1_is_greedy;
SELECT polyko_generate('이 영화는', max_tokens => 8) =
	polyko_generate('이 영화는', max_tokens => 8, temperature => 1, top_p => 1e-6)
	AS top_p_keeps_one;

-- how it ends
SELECT finish_reason, completion_tokens
FROM polyko_generate_details('이 영화는', max_tokens => 2);
SELECT finish_reason, completion_tokens >= 30 AS at_least
FROM polyko_generate_details('이 영화는', max_tokens => 30, min_tokens => 30);
SELECT d.finish_reason, d.text = split_part(whole, substr(whole, 3, 1), 1) AS cut_before_the_stop
FROM polyko_generate('이 영화는', max_tokens => 8) AS whole,
	polyko_generate_details('이 영화는', max_tokens => 8, stop => ARRAY[substr(whole, 3, 1)]) AS d;
SELECT finish_reason, prompt_tokens + completion_tokens AS at_the_context
FROM polyko_generate_details(repeat('가 ', 100), max_tokens => 2000, min_tokens => 2000);

-- the empty prompt is one <|endoftext|>; NULL gives NULL
SELECT prompt_tokens FROM polyko_generate_details('', max_tokens => 1);
SELECT polyko_generate('', max_tokens => 4) = polyko_generate('<|endoftext|>', max_tokens => 4)
	AS empty_is_endoftext;
SELECT polyko_generate(NULL) IS NULL AS generate, polyko_generate_details(NULL) IS NULL AS details;

-- PREPARE, generic plans, plpgsql
SET plan_cache_mode = force_generic_plan;
PREPARE answer(text, int) AS SELECT polyko_generate($1, 'polyko_tiny', max_tokens => $2);
EXECUTE answer('이 영화는 정말', 3);
EXECUTE answer('이 영화는 정말', 2);
RESET plan_cache_mode;
DEALLOCATE answer;
DO $$
DECLARE
	first text;
BEGIN
	FOR i IN 1..5 LOOP
		first := coalesce(first, polyko_generate('오늘은', max_tokens => 4));
		ASSERT polyko_generate('오늘은', max_tokens => 4) = first;
	END LOOP;
	BEGIN
		PERFORM polyko_generate('오늘은', temperature => -1);
	EXCEPTION WHEN invalid_parameter_value THEN
		RAISE NOTICE 'caught %', SQLSTATE;
	END;
	ASSERT polyko_generate('오늘은', max_tokens => 4) = first;
END
$$;

-- a subtransaction that is rolled back
BEGIN;
SAVEPOINT s;
SELECT length(polyko_generate('어제는', max_tokens => 3)) > 0 AS answered;
SELECT polyko_generate('어제는', top_p => 2);
ROLLBACK TO s;
SELECT length(polyko_generate('어제는', max_tokens => 3)) > 0 AS answered;
COMMIT;

-- rows alone and among others
SELECT count(*) FILTER (WHERE polyko_generate(p, max_tokens => 5) <> one) AS differ
FROM (SELECT p, polyko_generate(p, 'polyko_tiny', max_tokens => 5) AS one
	FROM unnest(ARRAY['영화가', '배우가', '음악이', '감독의']) AS p OFFSET 0) AS t;

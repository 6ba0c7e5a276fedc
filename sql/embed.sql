-- Vectors from the model that ships. They are compared with =, to the last bit.
SELECT array_length(polyko_embed('이 영화는 정말 재미있다', 'polyko_tiny'), 1);
SELECT abs(sum(x::float8 * x) - 1) < 1e-6 AS length_1 FROM unnest(polyko_embed('이 영화는')) AS x;
SELECT abs(sum(x::float8 * x) - 1) > 1e-3 AS not_normalized
FROM unnest(polyko_embed('이 영화는', "normalize" => false)) AS x;
SELECT polyko_embed('이 영화는') = polyko_embed('이 영화는', 'polyko_tiny', 'mean', true, -1, NULL, '{}')
	AS the_defaults;

-- pooling and layers
SELECT polyko_embed('이 영화는') <> polyko_embed('이 영화는', pooling => 'last') AS pooling_counts,
	polyko_embed('이 영화는') <> polyko_embed('이 영화는', layer => 1) AS layer_counts;
SELECT polyko_embed('정말', pooling => 'mean') = polyko_embed('정말', pooling => 'last')
	AS one_token_is_its_own_mean
WHERE polyko_token_count('정말') = 1;
SELECT count(DISTINCT polyko_embed('영화', layer => l)) AS different_layers
FROM generate_series(0, 2) AS l;

-- near things are nearer
CREATE FUNCTION cosine(a real[], b real[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS
	'SELECT sum(x::float8 * y) FROM unnest(a, b) AS t(x, y)';
SELECT round(cosine(polyko_embed('영화'), polyko_embed('영화'))::numeric, 5) AS itself;
SELECT cosine(polyko_embed('재미있는 영화'), polyko_embed('재미있는 영화다')) >
	cosine(polyko_embed('재미있는 영화'), polyko_embed('123 456')) AS nearer;
DROP FUNCTION cosine(real[], real[]);

-- empty, NULL, and the longest
SELECT polyko_embed('') = polyko_embed('<|endoftext|>') AS empty_is_endoftext;
SELECT polyko_embed(NULL) IS NULL AS null_is_null;

-- alone and among others
CREATE TEMP TABLE docs (id int, body text, v real[]);
INSERT INTO docs SELECT i, '문서 ' || i || ' ' || repeat('영화 ', i) FROM generate_series(1, 12) AS i;
UPDATE docs SET v = polyko_embed(body);
SELECT count(*) FILTER (WHERE v = polyko_embed(body, 'polyko_tiny')) AS equal FROM docs;
SELECT v = polyko_embed(body) AS equal FROM docs WHERE id = 7;

-- A model that ships with the extension is a foreign server: polyko_tiny.
CREATE EXTENSION polyko;

-- It continues Korean text. Greedy by default, so you will see what we see.
SELECT polyko_generate('이 영화는 정말');

-- A little chance, with a seed: the same seed gives the same text.
SELECT polyko_generate('배우들의 연기가', max_tokens => 24, temperature => 0.8, top_p => 0.9, seed => 7);

-- Text as the model sees it.
SELECT pos, token_id, token FROM polyko_tokens('이 영화는 정말 재미있다.');

-- An embedding: one vector for a text.
SELECT cardinality(e) AS dimensions, e[1:4] AS first_four
  FROM polyko_embed('정말 재미있게 봤어요', 'polyko_tiny') AS e;

-- A small table of film reviews.
CREATE TABLE review (
    id        int PRIMARY KEY,
    body      text NOT NULL,
    embedding real[],
    reply     text
);
INSERT INTO review (id, body) VALUES
    (1, '처음부터 끝까지 눈을 뗄 수 없었다. 올해 최고의 영화'),
    (2, '너무 지루해서 중간에 졸았다'),
    (3, '배우들의 연기가 훌륭하고 음악도 좋았어요'),
    (4, '돈이 아깝다. 다시는 보고 싶지 않다'),
    (5, '가족과 함께 보기 좋은 따뜻한 이야기'),
    (6, '무서운 장면이 많아서 아이들과 보기에는 무리');

-- A batch UPDATE: every row gets its embedding and a continuation.
UPDATE review
   SET embedding = polyko_embed(body, 'polyko_tiny'),
       reply = polyko_generate(body || '. 그래서', 'polyko_tiny', max_tokens => 12);
SELECT id, body, reply FROM review ORDER BY id;

-- The nearest reviews to a question, by dot product (the embeddings have length 1).
-- The question's embedding is computed once, not once a row. With pgvector: embedding::vector <#> q.
SELECT r.id, r.body, round(d.score::numeric, 3) AS score
  FROM review AS r,
       LATERAL (SELECT sum(a * b) AS score
                  FROM unnest(r.embedding, polyko_embed('연기가 좋은 영화 추천', 'polyko_tiny')) AS v(a, b)) AS d
 ORDER BY d.score DESC
 LIMIT 3;

-- Personal data is replaced before anybody reads it. No model is needed.
SELECT polyko_redact_pii('신한은행 110-234-567890(홍길동)으로 보내고 010-2345-6789로 전화 주세요.');

-- Which models there are, and what they are.
SELECT name, architecture, parameters, context, quantization FROM polyko_models;

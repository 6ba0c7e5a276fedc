-- Redaction around the model: by the call, or by the server. All numbers are invented.
\pset format unaligned
-- the number begins in the prompt and ends in the answer
SELECT polyko_generate('제 번호는 010-1234-', max_tokens => 12, temperature => 1.2, seed => 141) AS answer
UNION ALL
SELECT polyko_generate('제 번호는 010-1234-', max_tokens => 12, temperature => 1.2, seed => 141,
                       options => '{"redact": true}');
SELECT (polyko_generate_details('제 번호는 010-1234-', max_tokens => 12, temperature => 1.2, seed => 141,
                                options => '{"redact": true}')).text;

-- in a stream the tokens of a number have no id, and the pieces are the answer
SELECT (s).pos, (s).token_id IS NULL AS hidden, (s).piece
FROM (SELECT polyko_generate_stream('제 번호는 010-1234-', max_tokens => 12, temperature => 1.2, seed => 141,
                                    options => '{"redact": true}') AS s) AS t;
SELECT count(*) AS different
FROM generate_series(1, 60) AS seed, unnest('{제 번호는 010-1234-,전화 02-345-,☎ ,"신한은행 110-234-"}'::text[]) AS p
WHERE polyko_generate(p, 'polyko_tiny', max_tokens => 16, temperature => 1.3, seed => seed,
                      options => '{"redact": true}')
   IS DISTINCT FROM (SELECT coalesce(string_agg(piece, '' ORDER BY pos), '')
                     FROM polyko_generate_stream(p, 'polyko_tiny', max_tokens => 16, temperature => 1.3,
                                                 seed => seed, options => '{"redact": true}'));
SELECT count(*) > 0 AS "some were redacted", count(*) FILTER (WHERE plain ~ '<.tell.>') AS "by the model"
FROM (SELECT polyko_generate(p, 'polyko_tiny', max_tokens => 16, temperature => 1.3, seed => seed) AS plain,
             polyko_generate(p, 'polyko_tiny', max_tokens => 16, temperature => 1.3, seed => seed,
                             options => '{"redact": true}') AS redacted
      FROM generate_series(1, 60) AS seed, unnest('{제 번호는 010-1234-,전화 02-345-}'::text[]) AS p) AS t
WHERE plain <> redacted;

-- the administrator's decision: no call undoes it
CREATE SERVER careful FOREIGN DATA WRAPPER polyko
	OPTIONS (path '$sharedir/extension/polyko-tiny', redact_output 'on');
SELECT polyko_generate('제 번호는 010-1234-', 'careful', max_tokens => 12, temperature => 1.2, seed => 141);
SELECT polyko_generate('제 번호는 010-1234-', 'careful', max_tokens => 12, temperature => 1.2, seed => 141,
                       options => '{"redact": false}');
ALTER SERVER careful OPTIONS (SET redact_output 'off');
SELECT polyko_generate('제 번호는 010-1234-', 'careful', max_tokens => 12, temperature => 1.2, seed => 141);
ALTER SERVER careful OPTIONS (SET redact_output 'maybe');
DROP SERVER careful;

SELECT polyko_generate('x', options => '{"redact": 1}');
SELECT polyko_generate('x', options => '{"redakt": true}');
SELECT polyko_embed('x', options => '{"redact": true}');

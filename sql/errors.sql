-- Bad arguments: SQLSTATEs, then messages with their numbers.
\set VERBOSITY sqlstate
SELECT polyko_generate('가', temperature => -1);
SELECT polyko_generate('가', temperature => 'NaN');
SELECT polyko_generate('가', temperature => 'Infinity');
SELECT polyko_generate('가', top_p => 2);
SELECT polyko_generate('가', top_p => 0);
SELECT polyko_generate('가', top_k => -1);
SELECT polyko_generate('가', repetition_penalty => 0);
SELECT polyko_generate('가', max_tokens => 0);
SELECT polyko_generate('가', min_tokens => -1);
SELECT polyko_generate('가', min_tokens => 65);
SELECT polyko_generate('가', stop => ARRAY['']);
SELECT polyko_generate('가', options => '{"lora": 1}');
SELECT polyko_generate('가', options => '[]');
SELECT polyko_embed('가', pooling => 'max');
SELECT polyko_embed('가', layer => 99);
SELECT polyko_embed('가', layer => -2);
SELECT polyko_embed('가', options => '{"a": 1}');
SELECT polyko_detokenize('{-1}');
SELECT polyko_detokenize('{2147483647}');
SELECT polyko_detokenize('{{1,2},{3,4}}');

-- not in this version
SELECT polyko_embed('가', dims => 128);

-- NULL where a value is needed
SELECT polyko_generate('가', NULL);
SELECT polyko_generate('가', max_tokens => NULL);
SELECT polyko_generate('가', temperature => NULL);
SELECT polyko_generate('가', top_k => NULL);
SELECT polyko_generate('가', top_p => NULL);
SELECT polyko_generate('가', repetition_penalty => NULL);
SELECT polyko_generate('가', stop => NULL);
SELECT polyko_generate('가', stop => '{NULL}');
SELECT polyko_generate('가', stop => array_fill('끝'::text, '{65}'));
SELECT polyko_generate('가', stop => ARRAY[repeat('끝', 1366)]);
SELECT polyko_generate('가', seed => NULL);
SELECT polyko_generate('가', min_tokens => NULL);
SELECT polyko_generate('가', options => NULL);
SELECT polyko_generate_details('가', NULL);
SELECT polyko_generate_stream('가', NULL);
SELECT polyko_tokenize('가', NULL);
SELECT polyko_token_count('가', NULL);
SELECT polyko_tokens('가', NULL);
SELECT polyko_detokenize('{1}', NULL);
SELECT polyko_detokenize('{1}', skip_special => NULL);
SELECT polyko_detokenize('{1,NULL}');
SELECT polyko_embed('가', NULL);
SELECT polyko_embed('가', pooling => NULL);
SELECT polyko_embed('가', "normalize" => NULL);
SELECT polyko_embed('가', layer => NULL);
SELECT polyko_embed('가', options => NULL);

-- limits
SELECT polyko_generate('가', max_tokens => 2049);
SELECT polyko_generate(repeat('가 ', 10000));
SELECT polyko_embed(repeat('가 ', 10000));
SELECT polyko_generate_stream(repeat('가 ', 10000));

-- no such model
SELECT polyko_generate('가', 'nobody');
SELECT polyko_tokenize('가', 'nobody');
SELECT polyko_detokenize('{1}', 'nobody');
SELECT polyko_embed('가', 'nobody');

\set VERBOSITY default
SELECT polyko_generate('가', max_tokens => 2049);
SELECT polyko_generate('가', max_tokens => 0);
SELECT polyko_generate('가', min_tokens => 65);
SELECT polyko_generate('가', stop => '{"가",""}');
SELECT polyko_generate('가', stop => '{"가",NULL}');
SELECT polyko_generate('가', options => '{"lora": "x"}');
SELECT polyko_generate('가', NULL);
SELECT polyko_generate('가', temperature => -1);
SELECT polyko_embed('가', dims => 128);
SELECT polyko_embed('가', pooling => 'max');
SELECT polyko_embed('가', layer => 99);
SELECT polyko_detokenize('{1,2,-7}');
-- never with the text, however long
SELECT polyko_embed(repeat('비밀 ', 400000));
SELECT polyko_generate('비밀' || repeat('가 ', 10000));

-- a limit that a superuser lowers
SET polyko.max_tokens_limit = 10;
SELECT polyko_generate('가');
RESET polyko.max_tokens_limit;

-- the session works on
SELECT length(polyko_generate('가', max_tokens => 2)) >= 0 AS answered;

-- Settings: who may set them, and what they take.
LOAD 'polyko';
SELECT name, context, vartype, unit, min_val, boot_val
  FROM pg_settings WHERE name LIKE 'polyko.%' ORDER BY name COLLATE "C";
SET polyko.no_such_setting = 1;
SET polyko.kernels = 'sse9';
SET polyko.threads = 2;
SET polyko.kv_cache_size = '1GB';
SET polyko.max_batch_tokens = 7;
SET polyko.image_directory = '/tmp';

-- max_tokens_limit bounds what a call may ask for
SET polyko.max_tokens_limit = 8;
SELECT polyko_generate('이 영화는', max_tokens => 9);
SELECT completion_tokens <= 8 AS within FROM polyko_generate_details('이 영화는', max_tokens => 8);
RESET polyko.max_tokens_limit;

-- Models are foreign servers: options, validator, and what can't be a model.
\set VERBOSITY default
SET client_min_messages = warning;

SELECT fdwname, fdwhandler, fdwvalidator::regproc FROM pg_foreign_data_wrapper WHERE fdwname = 'polyko';
SELECT srvname, srvoptions FROM pg_foreign_server WHERE srvname = 'polyko_tiny';

-- options that are no options
CREATE SERVER m FOREIGN DATA WRAPPER polyko OPTIONS (file '/x');
CREATE SERVER m FOREIGN DATA WRAPPER polyko OPTIONS (path 'models/x');
CREATE SERVER m FOREIGN DATA WRAPPER polyko OPTIONS (path '/x', quantization 'q5');
CREATE SERVER m FOREIGN DATA WRAPPER polyko OPTIONS (path '/x', fingerprint 'beef');
ALTER FOREIGN DATA WRAPPER polyko OPTIONS (ADD path '/x');
CREATE USER MAPPING FOR CURRENT_USER SERVER polyko_tiny OPTIONS (user 'x');

-- a missing path is a warning: restores and standbys need the server
CREATE SERVER gone FOREIGN DATA WRAPPER polyko OPTIONS (path '/nonexistent/model');
SELECT polyko_generate('안녕', 'gone');
SELECT polyko_embed('안녕', 'gone');
SELECT polyko_tokenize('안녕', 'gone');
SELECT name, loaded, problem FROM polyko_models WHERE name = 'gone';
DROP SERVER gone;

-- a server without a path
CREATE SERVER empty FOREIGN DATA WRAPPER polyko;
SELECT polyko_generate('안녕', 'empty');
SELECT name, problem FROM polyko_models WHERE name = 'empty';
DROP SERVER empty;

-- names that are no models
SELECT polyko_generate('안녕', 'nobody');
SELECT polyko_generate('안녕', NULL);
SELECT polyko_generate('안녕', '');
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER other;
SELECT polyko_generate('안녕', 'elsewhere');
DROP FOREIGN DATA WRAPPER other CASCADE;

-- the default model
SELECT polyko_default_model();
SET polyko.model = 'nobody';
SELECT polyko_default_model();
SELECT polyko_token_count('안녕');
SELECT polyko_token_count('안녕', 'polyko_tiny') > 0 AS named;
RESET polyko.model;

-- one's own server on the same files, other quantizations, other names
CREATE SERVER "한글 모델" FOREIGN DATA WRAPPER polyko OPTIONS (path '$sharedir/extension/polyko-tiny', quantization 'q4');
SELECT polyko_tokenize('안녕', '한글 모델') = polyko_tokenize('안녕', 'polyko_tiny') AS same_tokens;
SELECT length(polyko_generate('이 영화는', '한글 모델', max_tokens => 4)) > 0 AS answers;
ALTER SERVER "한글 모델" OPTIONS (SET quantization 'f16');
SELECT cardinality(polyko_embed('이 영화는', '한글 모델'));
ALTER SERVER "한글 모델" OPTIONS (SET quantization 'f32');
SELECT cardinality(polyko_embed('이 영화는', '한글 모델'));

-- what a server says of itself
SELECT name, architecture, parameters, layers, hidden_size, context, vocabulary, quantization, loaded,
       numerics, problem
  FROM polyko_models ORDER BY name COLLATE "C";

-- a pinned model answers only while its content is the pinned one
SELECT fingerprint FROM polyko_models WHERE name = 'polyko_tiny' \gset
ALTER SERVER "한글 모델" OPTIONS (ADD fingerprint :'fingerprint');
SELECT polyko_token_count('안녕', '한글 모델') > 0 AS pinned;
ALTER SERVER "한글 모델" OPTIONS (SET fingerprint '00000000000000000000000000000000');
\set VERBOSITY sqlstate
SELECT polyko_token_count('안녕', '한글 모델');
\set VERBOSITY default

-- DDL is transactional and renames are seen at once
BEGIN;
ALTER SERVER "한글 모델" OPTIONS (DROP fingerprint, SET quantization 'q8');
ALTER SERVER "한글 모델" RENAME TO renamed;
SELECT polyko_embed('영화', 'renamed') = polyko_embed('영화', 'polyko_tiny') AS same_bits;
SELECT polyko_token_count('안녕', '한글 모델');
ROLLBACK;
SELECT polyko_token_count('안녕', 'renamed');
DROP SERVER "한글 모델";
SELECT polyko_token_count('안녕', '한글 모델');

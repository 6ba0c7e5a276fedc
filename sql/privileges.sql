-- Who may do what.
\set VERBOSITY default
SET client_min_messages = error;
DROP ROLE IF EXISTS regress_polyko_user, regress_polyko_files;
RESET client_min_messages;
CREATE ROLE regress_polyko_user;
CREATE ROLE regress_polyko_files;
GRANT pg_read_server_files TO regress_polyko_files;
GRANT USAGE ON FOREIGN DATA WRAPPER polyko TO regress_polyko_user, regress_polyko_files;

-- a path is for those who may read the server's files
SET ROLE regress_polyko_user;
CREATE SERVER mine FOREIGN DATA WRAPPER polyko OPTIONS (path '/');
CREATE SERVER mine FOREIGN DATA WRAPPER polyko OPTIONS (quantization 'q8');
ALTER SERVER mine OPTIONS (ADD path '/etc');
DROP SERVER mine;

SET ROLE regress_polyko_files;
CREATE SERVER theirs FOREIGN DATA WRAPPER polyko OPTIONS (path '$sharedir/extension/polyko-tiny');
SELECT polyko_token_count('안녕', 'theirs') > 0 AS own_model;

-- the model that ships is for all, others need USAGE
SET ROLE regress_polyko_user;
SELECT polyko_token_count('안녕', 'polyko_tiny') > 0 AS shipped_model;
SELECT polyko_token_count('안녕', 'theirs');
SELECT polyko_generate('안녕', 'theirs');
SELECT polyko_embed('안녕', 'theirs');
SELECT name, loaded, problem FROM polyko_models ORDER BY name COLLATE "C";
SET ROLE regress_polyko_files;
GRANT USAGE ON FOREIGN SERVER theirs TO regress_polyko_user;
SET ROLE regress_polyko_user;
SELECT polyko_token_count('안녕', 'theirs') > 0 AS granted;

-- a right that is taken away is missed within the transaction
BEGIN;
SELECT polyko_token_count('안녕', 'theirs') > 0 AS granted;
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER theirs FROM regress_polyko_user;
SET ROLE regress_polyko_user;
SELECT polyko_token_count('안녕', 'theirs');
ROLLBACK;

-- administration
SET ROLE regress_polyko_user;
SELECT polyko_load_model('polyko_tiny');
SELECT polyko_verify_model('polyko_tiny');
SELECT polyko_prune_images();
SELECT count(*) FROM polyko_images;
SET polyko.kernels = 'scalar';
SET polyko.max_tokens_limit = 10000;
SET polyko.model = 'theirs';
RESET ROLE;

-- granting EXECUTE does not give the model
GRANT EXECUTE ON FUNCTION polyko_load_model(text) TO regress_polyko_user;
REVOKE USAGE ON FOREIGN SERVER theirs FROM regress_polyko_user;
SET ROLE regress_polyko_user;
SELECT polyko_load_model('theirs');
SELECT polyko_load_model('polyko_tiny');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION polyko_load_model(text) FROM regress_polyko_user;
RESET polyko.model;
DROP SERVER theirs;
DROP OWNED BY regress_polyko_user, regress_polyko_files;
DROP ROLE regress_polyko_user, regress_polyko_files;

/* polyko--0.1.0.sql: types, wrapper, default model, functions, views, in the order of their use */

\echo Use "CREATE EXTENSION polyko" to load this file. \quit

-- Models are servers of this wrapper.

CREATE FUNCTION polyko_fdw_validator(options text[], catalog oid) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C STRICT PARALLEL SAFE COST 1;
COMMENT ON FUNCTION polyko_fdw_validator(text[], oid) IS 'checks the options of a model';

CREATE FOREIGN DATA WRAPPER polyko NO HANDLER VALIDATOR polyko_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER polyko IS 'language models: each server is a model';

CREATE SERVER polyko_tiny FOREIGN DATA WRAPPER polyko
	OPTIONS (path '$sharedir/extension/polyko-tiny', quantization 'q8');
COMMENT ON SERVER polyko_tiny IS 'demonstration model that ships with polyko';
GRANT USAGE ON FOREIGN SERVER polyko_tiny TO PUBLIC;

CREATE FUNCTION polyko_default_model() RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE COST 1;
COMMENT ON FUNCTION polyko_default_model() IS 'the model that the setting polyko.model names';

-- Models and images.

CREATE FUNCTION polyko_load_model(model text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION polyko_load_model(text) IS
	'builds the image of a model if it is missing, and reads it into the page cache';
REVOKE ALL ON FUNCTION polyko_load_model(text) FROM PUBLIC;

CREATE FUNCTION polyko_verify_model(model text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION polyko_verify_model(text) IS
	'reads the whole image of a model and compares it with its checksum: true, or an error';
REVOKE ALL ON FUNCTION polyko_verify_model(text) FROM PUBLIC;

CREATE FUNCTION polyko_list_models(
	OUT name text, OUT architecture text, OUT parameters bigint, OUT layers integer,
	OUT hidden_size integer, OUT context integer, OUT vocabulary integer, OUT quantization text,
	OUT image_bytes bigint, OUT loaded boolean, OUT numerics integer, OUT unicode_version text,
	OUT fingerprint text, OUT problem text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000 ROWS 10;
COMMENT ON FUNCTION polyko_list_models() IS 'rows of the view polyko_models';

CREATE VIEW polyko_models AS SELECT * FROM polyko_list_models();
COMMENT ON VIEW polyko_models IS
	'the models of this database; loaded: the image is built; problem: why a model can''t be used';
GRANT SELECT ON polyko_models TO PUBLIC;

CREATE FUNCTION polyko_list_images(
	OUT file text, OUT fingerprint text, OUT quantization text, OUT layout integer,
	OUT numerics integer, OUT unicode_version text, OUT bytes bigint,
	OUT created timestamp with time zone, OUT checkpoint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000 ROWS 10;
COMMENT ON FUNCTION polyko_list_images() IS 'rows of the view polyko_images';
REVOKE ALL ON FUNCTION polyko_list_images() FROM PUBLIC;

CREATE VIEW polyko_images AS SELECT * FROM polyko_list_images();
COMMENT ON VIEW polyko_images IS
	'the images on this server; checkpoint: where it came from, if that is still there unchanged';

CREATE FUNCTION polyko_prune_images() RETURNS integer
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION polyko_prune_images() IS
	'removes images whose checkpoint changed or is gone; returns how many files';
REVOKE ALL ON FUNCTION polyko_prune_images() FROM PUBLIC;

-- begin: functions that run a model or its tokenizer

-- Rows of the functions below. A later version may add attributes, never change these.

CREATE TYPE polyko_generation AS (
	text text,
	finish_reason text,
	prompt_tokens int,
	completion_tokens int,
	logprob float8
);
COMMENT ON TYPE polyko_generation IS
	'an answer of polyko_generate_details: finish_reason is stop, length or stop_string; logprob is summed over the completion tokens';

CREATE TYPE polyko_piece AS (
	pos int,
	token_id int,
	piece text,
	logprob real
);
COMMENT ON TYPE polyko_piece IS 'a token of polyko_generate_stream; pos counts from 1';

CREATE TYPE polyko_token AS (
	pos int,
	token_id int,
	token text,
	byte_start int,
	byte_end int
);
COMMENT ON TYPE polyko_token IS
	'a token of polyko_tokens; pos counts from 1, the bytes [byte_start, byte_end) of the input from 0';

-- Costs, and rows of the set-returning functions, from the size of the model and the arguments.
CREATE FUNCTION polyko_support(internal) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION polyko_support(internal) IS 'planner support of the functions of polyko';

-- IMMUTABLE when the model is named: output depends on the arguments and the model's content
-- alone. The default of model is STABLE and makes such a call STABLE.

CREATE FUNCTION polyko_generate(
	prompt text,
	model text DEFAULT polyko_default_model(),
	max_tokens int DEFAULT 64,
	temperature real DEFAULT 0,
	top_k int DEFAULT 0,
	top_p real DEFAULT 1,
	repetition_penalty real DEFAULT 1,
	stop text[] DEFAULT '{}',
	seed bigint DEFAULT 0,
	min_tokens int DEFAULT 0,
	options jsonb DEFAULT '{}'
) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL RESTRICTED COST 100000 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_generate(text, text, int, real, int, real, real, text[], bigint, int, jsonb) IS
	'continues prompt; gives the continuation alone';

CREATE FUNCTION polyko_generate_details(
	prompt text,
	model text DEFAULT polyko_default_model(),
	max_tokens int DEFAULT 64,
	temperature real DEFAULT 0,
	top_k int DEFAULT 0,
	top_p real DEFAULT 1,
	repetition_penalty real DEFAULT 1,
	stop text[] DEFAULT '{}',
	seed bigint DEFAULT 0,
	min_tokens int DEFAULT 0,
	options jsonb DEFAULT '{}'
) RETURNS polyko_generation
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL RESTRICTED COST 100000 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_generate_details(text, text, int, real, int, real, real, text[], bigint, int, jsonb) IS
	'continues prompt as polyko_generate; gives also why it ended, token counts and log-probability';

CREATE FUNCTION polyko_generate_stream(
	prompt text,
	model text DEFAULT polyko_default_model(),
	max_tokens int DEFAULT 64,
	temperature real DEFAULT 0,
	top_k int DEFAULT 0,
	top_p real DEFAULT 1,
	repetition_penalty real DEFAULT 1,
	stop text[] DEFAULT '{}',
	seed bigint DEFAULT 0,
	min_tokens int DEFAULT 0,
	options jsonb DEFAULT '{}'
) RETURNS SETOF polyko_piece
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL RESTRICTED COST 100000 ROWS 64 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_generate_stream(text, text, int, real, int, real, real, text[], bigint, int, jsonb) IS
	'continues prompt as polyko_generate, a row for each token; in a select list rows are sent while it computes';

CREATE FUNCTION polyko_tokenize(input text, model text DEFAULT polyko_default_model()) RETURNS int[]
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_tokenize(text, text) IS 'token ids of a text';

CREATE FUNCTION polyko_token_count(input text, model text DEFAULT polyko_default_model()) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_token_count(text, text) IS 'how many tokens a text has';

CREATE FUNCTION polyko_tokens(input text, model text DEFAULT polyko_default_model())
RETURNS SETOF polyko_token
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100 ROWS 32 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_tokens(text, text) IS 'the tokens of a text and where they lie in it';

CREATE FUNCTION polyko_detokenize(
	tokens int[],
	model text DEFAULT polyko_default_model(),
	skip_special boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION polyko_detokenize(int[], text, boolean) IS 'the text of token ids';

CREATE FUNCTION polyko_embed(
	input text,
	model text DEFAULT polyko_default_model(),
	pooling text DEFAULT 'mean',
	"normalize" boolean DEFAULT true,
	layer int DEFAULT -1,
	dims int DEFAULT NULL,
	options jsonb DEFAULT '{}'
) RETURNS real[]
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL RESTRICTED COST 100000 SUPPORT polyko_support;
COMMENT ON FUNCTION polyko_embed(text, text, text, boolean, int, int, jsonb) IS
	'pooled hidden states of a text: a vector of the model''s hidden size';

-- end: functions that run a model or its tokenizer

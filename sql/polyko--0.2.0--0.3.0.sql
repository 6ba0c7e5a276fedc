/* polyko--0.2.0--0.3.0.sql: one engine for all sessions, statistics, batch jobs */

-- complain if the script is sourced in psql rather than by ALTER EXTENSION
\echo Use "ALTER EXTENSION polyko UPDATE TO '0.3.0'" to load this file. \quit

-- begin: statistics

CREATE FUNCTION polyko_stat_counters(
	OUT datid oid, OUT model text, OUT roleid oid,
	OUT requests bigint, OUT cancels bigint, OUT errors bigint,
	OUT prompt_tokens bigint, OUT generated_tokens bigint, OUT reused_tokens bigint,
	OUT queue_time double precision, OUT run_time double precision,
	OUT steps bigint, OUT step_rows bigint, OUT stats_reset timestamptz
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100 ROWS 20;
COMMENT ON FUNCTION polyko_stat_counters() IS 'the rows of pg_stat_polyko, without names';

CREATE FUNCTION polyko_stat_engine(
	OUT pid int, OUT ready boolean, OUT started_at timestamptz, OUT starts bigint,
	OUT kernels text, OUT sessions int, OUT requests bigint, OUT running int, OUT waiting int,
	OUT weight_bytes bigint, OUT kv_max_bytes bigint, OUT kv_used_bytes bigint,
	OUT kv_cached_bytes bigint, OUT buffer_bytes bigint, OUT uncounted_requests bigint,
	OUT problem text
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100 ROWS 1;
COMMENT ON FUNCTION polyko_stat_engine() IS 'the row of pg_stat_polyko_engine';

CREATE FUNCTION polyko_stat_models(
	OUT model text, OUT bytes bigint, OUT requests int, OUT load_time double precision
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100 ROWS 4;
COMMENT ON FUNCTION polyko_stat_models() IS 'models that the engine program has mapped';

CREATE FUNCTION polyko_stat_activity(
	OUT pid int, OUT datid oid, OUT roleid oid, OUT model text, OUT request_id bigint,
	OUT kind text, OUT phase text, OUT prompt_tokens int, OUT computed_tokens int,
	OUT generated_tokens int, OUT max_tokens int, OUT age double precision
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100 ROWS 50;
COMMENT ON FUNCTION polyko_stat_activity() IS 'the rows of pg_stat_polyko_activity, without names';

CREATE FUNCTION polyko_stat_progress(
	OUT pid int, OUT datid oid, OUT command text, OUT model text, OUT relid oid,
	OUT started_at timestamptz, OUT done bigint, OUT total bigint, OUT failed bigint,
	OUT locked bigint, OUT batches bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100 ROWS 2;
COMMENT ON FUNCTION polyko_stat_progress() IS 'the rows of pg_stat_progress_polyko, without names';

CREATE FUNCTION polyko_stat_reset() RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION polyko_stat_reset() IS 'sets the counters of pg_stat_polyko to zero, for all databases';
REVOKE ALL ON FUNCTION polyko_stat_reset() FROM PUBLIC;

CREATE VIEW pg_stat_polyko AS
SELECT c.datid, d.datname, c.model, c.roleid, r.rolname,
	c.requests, c.cancels, c.errors, c.prompt_tokens, c.generated_tokens, c.reused_tokens,
	CASE WHEN c.run_time > 0
		THEN (c.prompt_tokens - c.reused_tokens + c.generated_tokens) / c.run_time * 1000 END
		AS tokens_per_second,
	c.queue_time, c.run_time,
	CASE WHEN c.steps > 0 THEN c.step_rows::double precision / c.steps END AS batch_fill,
	m.bytes AS weight_bytes, e.kv_used_bytes + e.kv_cached_bytes AS kv_bytes, e.buffer_bytes,
	c.stats_reset
FROM polyko_stat_counters() AS c
	LEFT JOIN pg_catalog.pg_database AS d ON d.oid = c.datid
	LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = c.roleid
	LEFT JOIN polyko_stat_engine() AS e ON true
	-- one name may stand for several: another database's, or before and after ALTER SERVER
	LEFT JOIN (SELECT model, sum(bytes)::bigint AS bytes FROM polyko_stat_models() GROUP BY model) AS m
		ON m.model = c.model;
COMMENT ON VIEW pg_stat_polyko IS 'what requests cost, for each database, model and role';
GRANT SELECT ON pg_stat_polyko TO PUBLIC;

CREATE VIEW pg_stat_polyko_engine AS SELECT * FROM polyko_stat_engine();
COMMENT ON VIEW pg_stat_polyko_engine IS 'the engine program: one row, none unless polyko is preloaded';
GRANT SELECT ON pg_stat_polyko_engine TO PUBLIC;

CREATE VIEW pg_stat_polyko_activity AS
SELECT a.pid, a.datid, d.datname, a.roleid, r.rolname, a.model, a.request_id, a.kind, a.phase,
	a.prompt_tokens, a.computed_tokens, a.generated_tokens, a.max_tokens, a.age
FROM polyko_stat_activity() AS a
	LEFT JOIN pg_catalog.pg_database AS d ON d.oid = a.datid
	LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.roleid;
COMMENT ON VIEW pg_stat_polyko_activity IS 'requests that run or wait in the engine program';
GRANT SELECT ON pg_stat_polyko_activity TO PUBLIC;

CREATE VIEW pg_stat_progress_polyko AS
SELECT p.pid, p.datid, d.datname, p.command, p.model, p.relid, p.started_at, p.done, p.total,
	p.failed, p.locked, p.batches
FROM polyko_stat_progress() AS p
	LEFT JOIN pg_catalog.pg_database AS d ON d.oid = p.datid;
COMMENT ON VIEW pg_stat_progress_polyko IS 'conversions of models and polyko_update at work';
GRANT SELECT ON pg_stat_progress_polyko TO PUBLIC;

-- end: statistics

-- begin: batch updates

CREATE PROCEDURE polyko_update(
	target regclass,
	set_column name,
	expression text,
	where_clause text DEFAULT NULL,
	batch_rows int DEFAULT 256,
	on_error text DEFAULT 'raise',
	options jsonb DEFAULT '{}'
)
AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON PROCEDURE polyko_update(regclass, name, text, text, int, text, jsonb) IS
	'sets a column of the rows that are due, in batches that are committed one by one';

CREATE TABLE polyko_update_errors (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	role name NOT NULL,
	relation text NOT NULL,
	set_column name NOT NULL,
	key jsonb NOT NULL,
	sqlstate text NOT NULL,
	message text NOT NULL
);
CREATE INDEX polyko_update_errors_role ON polyko_update_errors (role, relation);
COMMENT ON TABLE polyko_update_errors IS
	'rows that polyko_update could not do, with on_error => ''record''; message holds no text of the row';
SELECT pg_catalog.pg_extension_config_dump('polyko_update_errors', '');
COMMENT ON SEQUENCE polyko_update_errors_id_seq IS 'numbers of rows in polyko_update_errors';
SELECT pg_catalog.pg_extension_config_dump('polyko_update_errors_id_seq', '');

-- runs as the owner, called by polyko_update alone
CREATE FUNCTION polyko_update_error_add(
	relation text,
	set_column name,
	key jsonb,
	sqlstate text,
	message text,
	role name
) RETURNS void
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
	INSERT INTO polyko_update_errors (relation, set_column, key, sqlstate, message, role)
	VALUES ($1, $2, $3, $4, $5, $6);
END;
COMMENT ON FUNCTION polyko_update_error_add(text, name, jsonb, text, text, name) IS
	'internal to polyko_update';
REVOKE ALL ON FUNCTION polyko_update_error_add(text, name, jsonb, text, text, name) FROM PUBLIC;

-- a role sees its own, and may clear them away
ALTER TABLE polyko_update_errors ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON polyko_update_errors USING (role = current_user);
GRANT SELECT, DELETE ON polyko_update_errors TO PUBLIC;

-- pg_dump reads the sequences of these tables, also with --schema-only; the owner of a database dumps it
GRANT SELECT ON SEQUENCE polyko_review_id_seq, polyko_update_errors_id_seq TO PUBLIC;

-- end: batch updates

#!/bin/bash
# upgrade.sh
#    pg_upgrade from one PostgreSQL to another keeps models, grants, and every answer.
#
# Usage: OLD=15 NEW=17 upgrade.sh, where both are installed in Debian's places (check-matrix runs
# it in a tree). Builds and installs polyko for both. Prints TAP lines and the totals.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

OLD=${OLD:-15} NEW=${NEW:-17}
n=0 n_failed=0

main() {
	trap remove_work EXIT
	make_work
	for version in "$OLD" "$NEW"; do
		use "$version"
		(cd "$work/src" && as_tester make clean PG_CONFIG="$PG_CONFIG") >"$work/log/clean" 2>&1
		build_and_install WERROR=1 >"$work/log/build$version" 2>&1 ||
			{ grep -vE "^gcc " "$work/log/build$version" | tail -20; say "1..0"; die "no build for $version"; }
	done
	use "$OLD"
	start_cluster
	fill | sql >"$work/log/fill" 2>&1 || { cat "$work/log/fill"; exit 1; }
	answers >"$work/log/before" 2>&1
	is_true "answers before the upgrade" test "$(grep -c '^[a-z_]*: .' "$work/log/before")" = 10
	stop_cluster
	upgrade
	answers >"$work/log/after" 2>&1
	is_true "servers, options, grants, comments, answers and the index are the same after it" \
		diff "$work/log/before" "$work/log/after"
	is_true "a role without USAGE is refused after it as before" refuses_stranger
	stop_cluster
	say "$((n - n_failed)) passed, $n_failed failed, 0 skipped"
	[ $n_failed = 0 ]
}

use() {
	cluster=v$1
	PG_CONFIG=/usr/lib/postgresql/$1/bin/pg_config
}

is_true() {
	local what=$1 verdict=ok
	shift
	n=$((n + 1))
	"$@" || { verdict="not ok" n_failed=$((n_failed + 1)); }
	say "$verdict $n - $what"
}

sql() { as_tester_with_input "$(pg_bin)/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

fill() {
	cat <<'SQL'
CREATE EXTENSION polyko;
CREATE ROLE app;
CREATE ROLE stranger;
CREATE SERVER "영화-평" FOREIGN DATA WRAPPER polyko
    OPTIONS (path '$sharedir/extension/polyko-tiny', quantization 'q4');
COMMENT ON SERVER "영화-평" IS '영화 평을 쓰는 모델';
GRANT USAGE ON FOREIGN SERVER "영화-평" TO app;
CREATE TABLE review (
    id int PRIMARY KEY,
    body text,
    tokens int GENERATED ALWAYS AS (polyko_token_count(body, '영화-평')) STORED,
    embedding real[] GENERATED ALWAYS AS (polyko_embed(body, '영화-평')) STORED
);
CREATE INDEX ON review (polyko_token_count(body, 'polyko_tiny'));
CREATE VIEW short AS SELECT id, polyko_generate(body, '영화-평', max_tokens => 8) AS reply FROM review;
INSERT INTO review VALUES (1, '이 영화는 정말'), (2, '배우들의 연기가'), (3, '');
CALL polyko_update('review', 'body', 'body || 1 / (id - 3)', 'id = 3', on_error => 'record');
SQL
}

# Each line "name: value"; the same before and after.
answers() {
	sql <<'SQL'
SELECT 'extension: ' || extversion FROM pg_extension WHERE extname = 'polyko';
SELECT 'server: ' || srvname || ' ' || array_to_string(srvoptions, ' ') || ' ' || srvacl::text
  FROM pg_foreign_server WHERE srvname = '영화-평';
SELECT 'comment: ' || obj_description(oid, 'pg_foreign_server')
  FROM pg_foreign_server WHERE srvname = '영화-평';
SET ROLE app;
SELECT 'generate: ' || polyko_generate('이 영화는 정말', '영화-평', max_tokens => 16);
SELECT 'sampled: ' || polyko_generate('이 영화는 정말', max_tokens => 16, temperature => 1, seed => 3);
RESET ROLE;
SELECT 'embedding: ' || md5(polyko_embed('좋은 영화', '영화-평')::text);
SELECT 'stored: ' || md5(string_agg(id || ' ' || tokens || ' ' || embedding::text, ';' ORDER BY id))
  FROM review WHERE embedding = polyko_embed(body, '영화-평');
SELECT 'view: ' || string_agg(reply, '|' ORDER BY id) FROM short;
SELECT 'failures: ' || string_agg(relation || key::text || sqlstate, ' ' ORDER BY id)
  FROM polyko_update_errors;
SET enable_seqscan = off;
SELECT 'index: ' || count(*) FROM review WHERE polyko_token_count(body, 'polyko_tiny') > 0;
SQL
}

upgrade() {
	local old_bin
	old_bin=$(pg_bin)
	use "$NEW"
	start_cluster
	stop_cluster
	is_true "pg_upgrade from $OLD to $NEW succeeds" run_pg_upgrade "$old_bin"
	as_tester "$(pg_bin)/pg_ctl" -D "$work/$cluster" -w -l "$work/log/server" start >/dev/null
}

run_pg_upgrade() {
	(cd "$work/tmp" && as_tester "$(pg_bin)/pg_upgrade" -b "$1" -B "$(pg_bin)" -d "$work/v$OLD" \
		-D "$work/v$NEW" -s "$work/sock" -U "$PGUSER") >"$work/log/upgrade" 2>&1 ||
		{ cat "$work/log/upgrade"; find "$work" -path '*pg_upgrade_output*' -name '*.log' -exec tail {} +; return 1; }
}

refuses_stranger() {
	local message
	message=$(sql -c 'SET ROLE stranger' -c "SELECT polyko_generate('x', '영화-평')" 2>&1 </dev/null || true)
	case $message in *"permission denied for foreign server"*) ;; *) say "$message"; return 1;; esac
}

main "$@"

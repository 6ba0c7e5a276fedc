#!/bin/bash
# pii.sh
#    bench/pii.sh FILE [RUNS]: polyko_redact_pii beside the usual chain of regexp_replace calls, through
#    SQL, in turns, in one session of a throw-away cluster. FILE: UTF-8 text, a row a line. polyko must be
#    installed ("make install").
#
# The chain has the expressions with which EleutherAI/dps replaces cards, resident numbers, phones and
# accounts (dps/spark/utils/korean_prep.py), as far as they match anything. Each figure is the median time
# of a pass over the table less that of length(), which reads it too.
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"

main() {
	local file=$1 runs=${2:-5} length redact chain
	[ -r "$file" ] || die "$file can't be read"
	trap remove_work EXIT
	make_work
	start_cluster "log_min_messages = warning" "max_parallel_workers_per_gather = 0" "jit = off"
	tr -d '\r' <"$file" >"$work/tmp/rows"
	chmod a+r "$work/tmp/rows"
	measure "$runs" >"$work/log/times" || { cat "$work/log/times" >&2; die "psql failed"; }
	length=$(median "$work/log/times" 1)
	redact=$(median "$work/log/times" 2)
	chain=$(median "$work/log/times" 3)
	awk -v l="$length" -v r="$redact" -v c="$chain" -v n="$runs" -v b="$(wc -c <"$work/tmp/rows")" 'BEGIN {
		printf "reading the table        %8.0f ms, median of %d\n", l, n
		printf "polyko_redact_pii        %8.0f ms, %5.0f MB/s\n", r - l, b / (r - l) / 1e3
		printf "chain of regexp_replace  %8.0f ms, %5.0f MB/s\n", c - l, b / (c - l) / 1e3
		printf "ratio                    %8.1f\n", (c - l) / (r - l)
	}'
	echo "ratios of the runs       $(awk '{ printf " %.1f", ($3 - $1) / ($2 - $1) }' "$work/log/times")"
}

# A line a run: milliseconds of length(), polyko_redact_pii and the chain.
measure() {
	as_tester_with_input "$(pg_bin)/psql" -XAtq -v ON_ERROR_STOP=1 -f - <<-SQL
		CREATE EXTENSION polyko;
		CREATE TABLE rows (body text) WITH (autovacuum_enabled = off);
		COPY rows FROM '$work/tmp/rows' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ESCAPE E'\x02');
		VACUUM FREEZE rows;
		CREATE FUNCTION pass(query text) RETURNS float8 LANGUAGE plpgsql AS \$\$
		DECLARE
			start timestamptz := clock_timestamp();
		BEGIN
			EXECUTE query;
			RETURN extract(epoch FROM clock_timestamp() - start) * 1000;
		END \$\$;
		SELECT string_agg(pass('SELECT sum(length(' || f || ')) FROM rows')::text, ' ' ORDER BY n)
		FROM generate_series(1, $1) AS run, (VALUES
			(1, 'body'),
			(2, 'polyko_redact_pii(body)'),
			(3, \$\$regexp_replace(regexp_replace(regexp_replace(regexp_replace(body,
				'([0-9]{4}-){3}[0-9]{4}', '<|crd|>', 'g'),
				'[0-9]{6}-[0-9]{7}', '<|rrn|>', 'g'),
				'([0-9]{2,3}-[0-9]{3,4}-[0-9]{4})|([0-9]{2,3}[0-9]{3,4}[0-9]{4})', '<|tel|>', 'g'),
				'[0-9]{11,14}|[0-9,-]{3,6}-[0-9,-]{2,6}-[0-9,-]{2,7}', '<|acc|>', 'g')\$\$)) AS t (n, f)
		GROUP BY run ORDER BY run;
	SQL
}

# Of a column of a file.
median() {
	cut -d' ' -f"$2" "$1" | sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

main "$@"

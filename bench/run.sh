#!/bin/bash
# run.sh
#    make bench, make bench-serve: builds and installs polyko, starts a throw-away cluster, and lets
#    run.pl measure in it; or, called as run.sh serve, two of them for serve.pl.
#
# The settings are environment variables, which make makes of its own: see bench/README.md. The
# cluster, its images and the built programs lie in a temporary directory that is removed at the
# end; polyko itself stays installed, as after make demo. Results go to build/bench/, build/bench-serve/.
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"

main() {
	[ -n "${POLYKO_NO_SETUP:-}" ] || scripts/setup.sh build
	trap remove_all EXIT
	make_work
	find_checkpoint
	build
	export BENCH_THREADS=${BENCH_THREADS:-$(nproc)} BENCH_KERNELS=${BENCH_KERNELS:-auto}
	if [ "${1:-}" = serve ]; then
		start_cluster_to_serve
	else
		start_measured_cluster
	fi
	export CHECKPOINT BENCH_WORK=$work BENCH_DATA=$work/data
	export BENCH_CLI=$work/src/build/polyko_cli BENCH_ACCOUNT=
	[ "$(id -u)" != 0 ] || BENCH_ACCOUNT=$(test_account)
	BENCH_PSQL=$(pg_bin)/psql BENCH_POSTGRES=$(pg_major)
	BENCH_PROGRAMS=${BENCH_PROGRAMS:-$(echo "$work"/src/build/bench-*/bench)}
	export BENCH_PSQL BENCH_POSTGRES BENCH_PROGRAMS
	perl "bench/${1:-run}.pl"
}

# Nothing is drafted unless a part says so: made-up weights repeat themselves more than real ones.
start_measured_cluster() {
	start_cluster "log_min_messages = warning" "polyko.threads = $BENCH_THREADS" \
		"polyko.kernels = '$BENCH_KERNELS'" "polyko.prompt_lookup_num_tokens = 0" "$@"
}

# The engine program in one, and without preloading for what is compared in the other.
start_cluster_to_serve() {
	export BENCH_LOCAL_PORT=5433 BENCH_TINY=$work/src/models/polyko-tiny
	cluster=local start_measured_cluster "port = $BENCH_LOCAL_PORT"
	start_measured_cluster "shared_preload_libraries = 'polyko'"
}

remove_all() {
	[ -z "${work:-}" ] || cluster=local stop_cluster
	remove_work
}

# CHECKPOINT becomes absolute. The copy of polyko-tiny can be read by the server in any case.
find_checkpoint() {
	BENCH_MODEL=$(basename "${CHECKPOINT:-polyko-tiny}")
	export BENCH_MODEL
	CHECKPOINT=${CHECKPOINT:-$work/src/models/polyko-tiny}
	[ -f "$CHECKPOINT/config.json" ] || die "no config.json in $CHECKPOINT"
	CHECKPOINT=$(cd "$CHECKPOINT" && pwd)
	as_tester test -r "$CHECKPOINT/config.json" ||
		die "$(test_account), the account of the server, cannot read $CHECKPOINT"
}

build() {
	say "bench: building and installing with PostgreSQL $(pg_major)'s PGXS"
	if ! { build_and_install &&
		(cd "$work/src" && as_tester make -j"$(nproc)" -f test/unit/unit.mk bench); } \
		>"$work/log/build" 2>&1; then
		tail -40 "$work/log/build" >&2
		die "the build failed"
	fi
}

main "$@"

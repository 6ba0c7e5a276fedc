#!/bin/bash
# check.sh
#    make check: set-up, then every stage of the tests with this machine's PostgreSQL.
#
# Usage: check.sh [STAGE...]      (default: all stages below but the first two of the matrix)
# Works on a private copy of the clone in a temporary directory; as root, servers and tests run
# there as the account postgres. make install puts polyko into this machine's PostgreSQL (root, or
# sudo). No existing cluster is touched: servers of the tests have their own directories and Unix
# sockets. CC chooses the compiler, TESTS the TAP tests of stage tap (a space between names). A stage
# is PASS, FAIL or SKIP; the last line counts the tests.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

default_stages="lint build unit root asan fuzz-replay install regress isolation preloaded tap"
CC=${CC:-gcc}
settings=()
n_passed=0 n_failed=0 n_skipped=0

main() {
	local stages=("$@")
	[ ${#stages[@]} -gt 0 ] || read -ra stages <<<"$default_stages"
	[ -n "${POLYKO_NO_SETUP:-}" ] || scripts/setup.sh build check
	trap remove_work EXIT
	make_work
	say "check: PostgreSQL $(pg_major 2>/dev/null || echo none), $CC, tests run as $(test_account) in $work"
	for stage in "${stages[@]}"; do
		run_stage "$stage"
	done
	print_totals
	[ $n_failed = 0 ]
}

# Tests run with warnings as errors. unit needs no server.
in_copy() { (cd "$work/src" && as_tester "$@"); }
make_in_copy() { in_copy make -j"$(nproc)" CC="$CC" PG_CONFIG="$PG_CONFIG" WERROR=1 "$@"; }

stage_lint() { make_in_copy headercheck && echo "ok - headers stand alone" && in_copy .ci/lint/all.sh; }
stage_build() {
	make_in_copy && echo "ok - $CC builds without a warning" &&
		in_copy .ci/lint/exports.sh polyko.so "$(pg_major)"
}
stage_unit() { make_in_copy unit PROVE_FLAGS=-v RUNNER="${RUNNER:-}"; }
# What the account of the tests may not do (files of others, a small file system) is tried as root.
stage_root() {
	local tests
	[ "$(id -u)" = 0 ] || { echo "ok - # SKIP not root"; return 0; }
	tests=$(cd "$work/src" && grep -lE 'geteuid|mount\(' test/unit/*/*.c | xargs)
	(cd "$work/src" && env -u MAKEFLAGS -u MAKELEVEL make unit CC="$CC" WERROR=1 PROVE_FLAGS=-v \
		TESTS="$tests" TMPDIR="$work/tmp")
}
stage_asan() { make_in_copy unit-asan PROVE_FLAGS=-v; }
stage_tsan() { make_in_copy unit-tsan PROVE_FLAGS=-v; }
stage_fuzz-replay() { make_in_copy fuzz-replay; }
# With a seed, so that what a check says of a change depends on the change; `make fuzz` goes new ways.
stage_fuzz() { make_in_copy fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-12}" FUZZ_SEED="${FUZZ_SEED:-1}"; }
stage_install() {
	(cd "$work/src" && as_root env -u MAKEFLAGS -u MAKELEVEL make CC="$CC" PG_CONFIG="$PG_CONFIG" \
		WERROR=1 install) && echo "ok - installed into $("$PG_CONFIG" --sharedir)"
}
stage_regress() {
	with_cluster make_in_copy installcheck ISOLATION= TAP_TESTS= ||
		{ cat "$work/src/regression.diffs" 2>/dev/null; return 1; }
}
stage_isolation() {
	[ -d test/isolation/specs ] || { echo "ok - # SKIP no isolation tests"; return 0; }
	with_cluster make_in_copy installcheck REGRESS= TAP_TESTS= ||
		{ cat "$work/src/output_iso/regression.diffs" 2>/dev/null; return 1; }
}
# Both again on a server with the engine program: the same expected output.
stage_preloaded() {
	settings=("shared_preload_libraries = 'polyko'")
	with_cluster make_in_copy installcheck TAP_TESTS= ||
		{ cat "$work/src/regression.diffs" "$work/src/output_iso/regression.diffs" 2>/dev/null; return 1; }
}
# Root can make a small file system for the test of a full disk; without it that test is skipped.
stage_tap() {
	local small=$work/small status=0
	if [ "$(id -u)" = 0 ] && mkdir -p "$small" &&
		mount -t tmpfs -o size=64m,mode=0777 tmpfs "$small" 2>/dev/null; then
		export POLYKO_SMALL_DISK=$small
	fi
	make_in_copy installcheck REGRESS= ISOLATION= PROVE_FLAGS=-v \
		${TESTS:+PROVE_TESTS="$TESTS"} || status=1
	[ -z "${POLYKO_SMALL_DISK:-}" ] || umount "$small"
	return $status
}

# make check-large CHECKPOINT=DIR: minutes on a model of real size, not part of make check.
stage_large() {
	make_in_copy installcheck REGRESS= ISOLATION= PROVE_TESTS=test/large/large_model.pl \
		PROVE_FLAGS=-v
}

# A fresh cluster around a command, with the extra ${settings[@]}.
with_cluster() {
	local status=0
	rm -rf "$work/data"
	start_cluster "${settings[@]}" || return 1
	"$@" || status=$?
	stop_cluster
	return $status
}

run_stage() {
	local name=$1 log=$work/log/$1 begin=$SECONDS verdict=PASS passed failed skipped
	if ("stage_$name") >"$log" 2>&1; then :; else verdict=FAIL; fi
	read -r passed failed skipped < <(count_tests "$log")
	if [ $verdict = FAIL ] && [ "$failed" = 0 ]; then failed=1; fi
	if [ $((passed + failed + skipped)) = 0 ]; then
		say "$name: no test ran" >>"$log"
		verdict=FAIL failed=1
	fi
	[ "$failed" = 0 ] || verdict=FAIL
	[ "$verdict$passed" != PASS0 ] || verdict=SKIP
	printf '%-4s %-12s %s passed, %s failed, %s skipped (%s s)\n' $verdict "$name" \
		"$passed" "$failed" "$skipped" $((SECONDS - begin))
	[ $verdict != FAIL ] || show_failure "$log"
	[ "$skipped" = 0 ] || show_skips "$log"
	sed -n 's/^# measured: /     /p' "$log"
	n_passed=$((n_passed + passed)) n_failed=$((n_failed + failed)) n_skipped=$((n_skipped + skipped))
}

# TAP lines of the tests and lines of pg_regress (15 has its own form): passed failed skipped.
count_tests() {
	awk '/^ok [-0-9].*# SKIP/ || /^ok [0-9]+ # skip/ { skipped++; next }
		/^ok [-0-9]/ || /^(test|    ) .*\.\.\. ok / { passed++ }
		/^not ok [-0-9]/ || /^(test|    ) .*\.\.\. FAILED/ { failed++ }
		END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

show_skips() {
	grep -iE '^ok .*# skip' "$1" | sed 's/^ok [0-9 -]*/     /' | sort | uniq -c | head -20 || true
}

show_failure() {
	grep -nE '^not ok|\.\.\. FAILED| at [^ ]+ line [0-9]+|rror:|ERROR: |runtime error|No such file' "$1" | head -30 | sed 's/^/    /' || true
	say "    ... end of the log:"
	grep -vE '^(/[^ ]*/)?(gcc|clang|[a-z0-9_]*-linux-gnu-gcc) -' "$1" | tail -60 | cut -c1-300 | sed 's/^/    /'
}

print_totals() {
	say "$n_passed passed, $n_failed failed, $n_skipped skipped"
}

main "$@"

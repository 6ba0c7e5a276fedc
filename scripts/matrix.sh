#!/bin/bash
# matrix.sh
#    make check-matrix: the other compiler, TSan, fuzzing, PostgreSQL 17 and 18, arm64, pg_upgrade.
#
# Usage: matrix.sh [PART...]      PART: clang tsan fuzz arm64 pg17 pg18 upgrade (default: all)
# The trees of trees.sh need root and namespaces; where these are missing, their parts are SKIP.
# The last line counts the tests of all parts.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

private=/private # in a tree: the directory of the clone
n_passed=0 n_failed=0 n_skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

main() {
	local parts=("$@")
	[ ${#parts[@]} -gt 0 ] || parts=(clang tsan fuzz arm64 pg17 pg18 upgrade)
	scripts/setup.sh build check matrix
	for part in "${parts[@]}"; do
		run_part "$part"
	done
	say "$n_passed passed, $n_failed failed, $n_skipped skipped"
	[ $n_failed = 0 ]
}

part_clang() { CC=clang host_check build unit install regress; }
# Where threads run: all but the kernels' arithmetic and what prepares and reads text.
part_tsan() {
	local tests
	tests=$(find test/unit -name 'test_*.c' ! -path '*/curate/*' ! -path '*/pii/*' ! -path '*/sample/*' \
		! -path '*/tokenizer/*' \( ! -path '*/kernels/*' -o -name test_blas.c \) | sort | xargs)
	TESTS=$tests host_check tsan
}
part_fuzz() { CC=clang host_check fuzz; }
# What depends on the processor. The emulator takes minutes for threads that wait for one another.
part_arm64() {
	local tests
	tests=$(find test/unit -name 'test_*.c' ! -path '*/serve/*' ! -path '*/cli/*' ! -name test_reuse.c \
		! -name test_scheduler.c ! -name test_draft.c | sort | xargs)
	tree_check arm64 unit CC=aarch64-linux-gnu-gcc RUNNER=qemu-aarch64-static TESTS="$tests"
}
# The programs of unit need no PostgreSQL; they run with the oldest and the newest compiler.
# 17 lies between 15 and 18, which run all TAP tests: here those of dump, upgrade, procedures and
# background workers, where versions differ.
part_pg17() {
	tree_check trixie "build install regress isolation preloaded tap" \
		PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config \
		TESTS="$(printf 'test/t/%s.pl ' 001_load 007_upgrade 010_dump 015_update 016_engine)"
}
part_pg18() {
	tree_check sid "build unit install regress isolation preloaded tap" \
		PG_CONFIG=/usr/lib/postgresql/18/bin/pg_config
}
part_upgrade() { in_tree trixie env OLD=15 NEW=17 scripts/upgrade.sh; }

host_check() { POLYKO_NO_SETUP=1 scripts/check.sh "$@"; }

# tree_check TREE "STAGES" VARIABLE=VALUE...
tree_check() {
	local tree=$1 stages=$2
	shift 2
	# shellcheck disable=SC2086
	in_tree "$tree" env POLYKO_NO_SETUP=1 "$@" scripts/check.sh $stages
}

# Run a command in a tree, in a fresh copy of the clone under a directory that only root reads, as a home
# may be.
in_tree() {
	local tree=$1 dir
	shift
	scripts/trees.sh make "$tree"
	dir=${POLYKO_CACHE:-/var/cache/polyko}/$tree$private/polyko
	rm -rf "$dir"
	mkdir -p "$dir"
	chmod 700 "${dir%/polyko}"
	tar --exclude=./.git --exclude=./build --exclude=./dist --exclude='*.o' --exclude='*.d' \
		--exclude='*.so' -cf - . | tar -C "$dir" -xf -
	scripts/trees.sh run "$tree" sh -c 'cd "$0/polyko" && exec "$@"' "$private" "$@"
}

# Why trees can't be used here; nothing if they can.
no_trees() {
	if [ "$(id -u)" != 0 ]; then
		echo "not root"
	elif ! unshare --mount --pid --fork true 2>/dev/null; then
		echo "no namespaces here"
	fi
}

run_part() {
	local name=$1 begin=$SECONDS passed=0 failed=0 skipped=0 why=
	case $name in arm64|pg17|pg18|upgrade) why=$(no_trees);; esac
	if [ -n "$why" ]; then
		say "SKIP $name: $why"
		n_skipped=$((n_skipped + 1))
		return
	fi
	say "---- $name"
	("part_$name") </dev/null 2>&1 | tee "$log" | grep -vE '^[0-9]+ passed, ' || true
	read -r passed failed skipped < <(last_totals)
	n_passed=$((n_passed + passed)) n_failed=$((n_failed + failed)) n_skipped=$((n_skipped + skipped))
	[ "$failed" = 0 ] && say "PASS $name ($((SECONDS - begin)) s)" || say "FAIL $name ($((SECONDS - begin)) s)"
}

# The totals in the last line; a part that did not come so far has failed.
last_totals() {
	tail -1 "$log" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\1 \2 \4/p' |
		awk '{ print $1, $2, $3 + 0; seen = 1 } END { if (!seen) print 0, 1, 0 }' 
}

main "$@"

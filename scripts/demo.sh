#!/bin/bash
# demo.sh
#    make demo: set-up, build, install, and a tour of polyko in a throw-away cluster.
#
# The cluster lives in a temporary directory with a Unix socket of its own, and is removed at the
# end. polyko itself stays installed; "make uninstall" takes it away. DEMO_SQL shows another file.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

main() {
	scripts/setup.sh build
	trap remove_work EXIT
	make_work
	say "demo: building with PostgreSQL $(pg_major)'s PGXS"
	build_and_install >"$work/log/build" 2>&1 || { tail -40 "$work/log/build" >&2; die "the build failed"; }
	say "demo: installed into $("$PG_CONFIG" --sharedir) and $("$PG_CONFIG" --pkglibdir)"
	start_cluster "log_min_messages = warning"
	say "demo: a throw-away cluster of PostgreSQL runs in $work (as $(test_account)); each statement"
	say "      is shown before its result"
	as_tester "$(pg_bin)/psql" -X -v ON_ERROR_STOP=1 --echo-all -P pager=off \
		-f "$work/src/${DEMO_SQL:-scripts/demo.sql}"
	say "demo: done; the cluster is removed. Now: README.md (README.ko.md)"
}

main "$@"

# shellcheck shell=bash
# lib.sh
#    Shell functions shared by the scripts here; sourced by bash, prints nothing by itself.
#    repo is the root of the clone; every script that sources this runs with it as its directory.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo" || exit
export LC_ALL=C.UTF-8 LANG=C.UTF-8
PG_CONFIG=${PG_CONFIG:-pg_config}

say() { printf '%s\n' "$*"; }
die() { printf 'polyko: %s\n' "$*" >&2; exit 1; }

# Run a command as root, by sudo if need be.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		sudo "$@"
	else
		die "root is needed for: $*
Run this as root, or as a user who may use sudo (without a terminal: without a password)."
	fi
}

# The account for servers and tests, which PostgreSQL refuses to run as root.
test_account() {
	if [ "$(id -u)" != 0 ]; then
		id -un
	elif id postgres >/dev/null 2>&1; then
		echo postgres
	else
		echo nobody
	fi
}

# Run a command as the test account with a clean environment, in the directory we are in, or in
# $work if that account may not enter it.
as_tester() { as_tester_with_input "$@" </dev/null; }
as_tester_with_input() {
	local run=()
	[ "$(id -u)" = 0 ] && run=(runuser -u "$(test_account)" --)
	case $PWD in "$work"/*) ;; *) run=(env -C "$work" "${run[@]}");; esac
	"${run[@]}" env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS HOME="$work" TMPDIR="$work/tmp" "$@"
}

# Set $work to a new temporary directory of the test account, and put a copy of the clone in
# $work/src. The clone may lie under a home that only root can read; the copy never does.
# Socket paths end at 107 bytes, so a long or closed TMPDIR is not used.
make_work() {
	local base=${TMPDIR:-/tmp} account
	account=$(test_account)
	if [ ${#base} -gt 40 ] ||
	   { [ "$(id -u)" = 0 ] && ! runuser -u "$account" -- test -x "$base" -a -w "$base"; }; then
		base=/tmp
	fi
	work=$(mktemp -d "$base/polyko.XXXXXX")
	mkdir -p "$work/src" "$work/tmp" "$work/log" "$work/sock"
	tar -C "$repo" --exclude=./.git --exclude=./build --exclude=./dist --exclude='*.o' \
		--exclude='*.d' --exclude='*.so' --exclude=./results --exclude=./tmp_check -cf - . |
		tar -C "$work/src" -xf -
	chmod -R u+rwX,go+rX "$work"
	[ "$(id -u)" != 0 ] || chown -R "$account:" "$work"
}

pg_bin() { "$PG_CONFIG" --bindir; }
pg_major() { "$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/'; }

# A cluster of its own in $work/$cluster (data): Unix socket in $work/sock, no TCP port. Sets PGHOST for psql.
# "$@" are extra settings, as in: start_cluster "shared_buffers = 64MB".
start_cluster() {
	local data=$work/${cluster:-data}
	export PGHOST=$work/sock PGPORT=5432 PGDATABASE=postgres
	PGUSER=$(test_account); export PGUSER
	as_tester "$(pg_bin)/initdb" -D "$data" -A trust -N -E UTF8 --locale=C.UTF-8 \
		>"$work/log/initdb" 2>&1 || { cat "$work/log/initdb" >&2; return 1; }
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$work/sock'" "fsync = off" \
		"$@" >>"$data/postgresql.conf"
	as_tester "$(pg_bin)/pg_ctl" -D "$data" -w -l "$work/log/server" start \
		>"$work/log/pg_ctl" 2>&1 || { cat "$work/log/pg_ctl" "$work/log/server" >&2; return 1; }
}
stop_cluster() {
	local data=${work:-/nonexistent}/${cluster:-data}
	[ ! -f "$data/postmaster.pid" ] ||
		as_tester "$(pg_bin)/pg_ctl" -D "$data" -w -m fast stop >/dev/null 2>&1 || true
}

remove_work() {
	stop_cluster
	[ -z "${work:-}" ] || rm -rf "$work"
}

# Build in $work/src and install into this machine's PostgreSQL, which needs root.
build_and_install() {
	(cd "$work/src" && as_tester make -j"$(nproc)" PG_CONFIG="$PG_CONFIG" "$@") &&
		(cd "$work/src" && as_root env -u MAKEFLAGS -u MAKELEVEL make install \
			PG_CONFIG="$PG_CONFIG" "$@")
}

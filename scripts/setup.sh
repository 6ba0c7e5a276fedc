#!/bin/bash
# setup.sh
#    Installs the missing Debian packages of packages.txt and says what and why.
#
# Usage: setup.sh [build] [check] [matrix]      (default: build)
# Nothing is missing: apt is not called. No cluster is created or started: while PostgreSQL is
# being installed, a file in /etc/postgresql-common/createcluster.d says so; then it is removed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

dropin=/etc/postgresql-common/createcluster.d/polyko-setup.conf

main() {
	local groups=("${@:-build}") missing
	if own_postgresql; then
		say "setup: PostgreSQL is the one of $PG_CONFIG; its packages are left alone"
	fi
	if ! command -v dpkg-query >/dev/null; then
		say "setup: this is not Debian; install the equivalents of scripts/packages.txt yourself"
		return 0
	fi
	missing=$(missing_packages "${groups[@]}")
	if [ -z "$missing" ]; then
		say "setup: every package is there (${groups[*]}); apt is not called"
		return 0
	fi
	say "setup: to be installed with apt-get:"
	say "$missing" | sed 's/^/    /'
	# shellcheck disable=SC2046
	install_packages $(say "$missing" | awk '{ print $1 }')
}

# A PostgreSQL that is not Debian's, named by PG_CONFIG.
own_postgresql() {
	local pgxs
	pgxs=$("$PG_CONFIG" --pgxs 2>/dev/null) && [ -f "$pgxs" ] &&
		! dpkg-query -S "$pgxs" >/dev/null 2>&1
}

# "name  why" of each package of these groups that is not installed.
missing_packages() {
	local group name why major pattern
	major=$(debian_pg_major)
	pattern=" $* "
	while read -r group name why; do
		case $group in ''|'#'*) continue;; esac
		[ "${pattern#* "$group" }" != "$pattern" ] || continue
		case $name in postgresql-*) ! own_postgresql || continue;; esac
		case $name in *-15) name=${name%15}$major;; libclang-rt-*) name=$(clang_runtime);; esac
		[ -n "$name" ] || continue
		is_installed "$name" || printf '%-26s %s\n' "$name" "$why"
	done <scripts/packages.txt
}

is_installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The major version of PostgreSQL that this Debian release has.
debian_pg_major() {
	case $(. /etc/os-release; echo "${VERSION_CODENAME:-}") in
		bookworm) echo 15;;
		trixie) echo 17;;
		*) ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -1 | grep . || echo 18;;
	esac
}

# libFuzzer's package carries the version of the release's clang.
clang_runtime() {
	case $(. /etc/os-release; echo "${VERSION_CODENAME:-}") in
		bookworm) echo libclang-rt-14-dev;;
		*) echo;;
	esac
}

install_packages() {
	say "setup: PostgreSQL's packages are told not to create a cluster ($dropin, removed afterwards)"
	as_root mkdir -p "$(dirname $dropin)"
	echo 'create_main_cluster = false' | as_root tee $dropin >/dev/null
	trap 'as_root rm -f $dropin' EXIT
	apt_get update
	apt_get install -y --no-install-recommends "$@"
	say "setup: done"
}

# The order of options is for machines without a terminal: no question, conffiles are kept.
apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 \
		-o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 \
		${POLYKO_APT_OPTIONS:-} "$@" </dev/null
}

main "$@"

#!/bin/bash
# trees.sh
#    Makes and enters the Debian trees in which make check-matrix builds for other releases.
#
# Usage: trees.sh make NAME        makes it, or does nothing if it is there
#        trees.sh run NAME CMD...  runs a command in it as root, in namespaces of its own
# NAME: trixie (PostgreSQL 17, and 15 for pg_upgrade), sid (PostgreSQL 18), arm64 (cross compiler).
# Trees are cached in $POLYKO_CACHE (/var/cache/polyko); a change of this file makes them anew.
# Mounts live in a mount namespace and end with the command, whatever happens to it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

cache=${POLYKO_CACHE:-/var/cache/polyko}
stamp=$(sha256sum <"$repo/scripts/trees.sh" | cut -c1-16)
common="gcc libc6-dev make perl binutils libipc-run-perl libjansson-dev libxxhash-dev libicu-dev
	libopenblas0-pthread"

main() {
	local action=${1:-} name=${2:-}
	[ "$(id -u)" = 0 ] || die "trees need root"
	case $name in trixie|sid|arm64) ;; *) die "no such tree: $name";; esac
	tree=$cache/$name
	shift 2
	case $action in
		make) make_tree "$name";;
		run) run_in_tree "$@";;
		*) die "trees.sh make|run NAME";;
	esac
}

make_tree() {
	if [ "$(cat "$tree/.polyko-tree" 2>/dev/null)" = "$stamp" ]; then
		say "tree $1: cached in $tree"
		return 0
	fi
	say "tree $1: making it in $tree"
	rm -rf --one-file-system "$tree"
	mkdir -p "$cache"
	case $1 in
		arm64) bootstrap bookworm;;
		*) bootstrap "$1";;
	esac
	no_cluster
	"fill_$1"
	chroot "$tree" apt-get clean
	rm -rf "$tree"/var/lib/apt/lists/*
	echo "$stamp" >"$tree/.polyko-tree"
}

# The mirror this machine uses itself.
mirror() {
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk '$2 !~ /-/ && $3 == "main" { print $1; exit }'
}

bootstrap() {
	local url
	url=$(mirror)
	[ -n "$url" ] || die "this machine's apt sources name no Debian mirror"
	debootstrap --variant=minbase "$1" "$tree" "$url" >"$tree.log" 2>&1 ||
		{ tail -20 "$tree.log" >&2; die "debootstrap $1 failed"; }
	# A sid that is not refreshed has an old Release file.
	printf '%s\n' 'Acquire::Check-Valid-Until "false";' 'APT::Install-Recommends "false";' \
		'Dpkg::Options { "--force-unsafe-io"; };' >"$tree/etc/apt/apt.conf.d/90polyko"
	! ls /etc/apt/apt.conf.d/*proxy* >/dev/null 2>&1 ||
		cp /etc/apt/apt.conf.d/*proxy* "$tree/etc/apt/apt.conf.d/"
	cp /etc/resolv.conf "$tree/etc/resolv.conf" 2>/dev/null || true
	printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
	chmod +x "$tree/usr/sbin/policy-rc.d"
}

no_cluster() {
	mkdir -p "$tree/etc/postgresql-common/createcluster.d"
	echo 'create_main_cluster = false' >"$tree/etc/postgresql-common/createcluster.d/polyko.conf"
}

tree_apt() {
	run_in_tree env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@" \
		>>"$tree.log" 2>&1 </dev/null || { tail -20 "$tree.log" >&2; die "apt-get $* failed"; }
}

fill_sid() {
	tree_apt update
	tree_apt install -y $common postgresql-18 postgresql-server-dev-18
}

# PostgreSQL 15 of bookworm beside 17: the server with the libraries it needs, and of its headers
# and PGXS only the files, as their package would bring clang 14.
fill_trixie() {
	tree_apt update
	tree_apt install -y $common postgresql-17 postgresql-server-dev-17
	echo "deb $(mirror) bookworm main" >"$tree/etc/apt/sources.list.d/bookworm.list"
	printf 'Package: *\nPin: release n=bookworm\nPin-Priority: 50\n' \
		>"$tree/etc/apt/preferences.d/bookworm"
	tree_apt update
	tree_apt install -y postgresql-15
	run_in_tree sh -c 'cd /tmp && apt-get download -q postgresql-server-dev-15 &&
		dpkg -x postgresql-server-dev-15_*.deb / && rm postgresql-server-dev-15_*.deb' \
		>>"$tree.log" 2>&1 || die "no headers of PostgreSQL 15"
}

# A cross compiler and arm64 libraries; qemu-user runs what it builds.
fill_arm64() {
	run_in_tree dpkg --add-architecture arm64
	tree_apt update
	tree_apt install -y make perl gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static \
		libjansson-dev:arm64 libxxhash-dev:arm64 libicu-dev:arm64 libopenblas0-pthread:arm64
}

# --kill-child: nothing of the tree outlives this command.
run_in_tree() {
	unshare --mount --pid --fork --kill-child -- /bin/sh -c '
		mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" &&
		mount -t tmpfs tmpfs "$0/dev/shm" && mount -t tmpfs tmpfs "$0/run" &&
		exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
			TERM=dumb LC_ALL=C.UTF-8 "$@"' "$tree" "$@"
}

main "$@"

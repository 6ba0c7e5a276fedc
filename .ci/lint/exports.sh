#!/bin/bash
# exports.sh
#    The symbols polyko.so shows to others: PostgreSQL's entry points and our prefixes, nothing
#    else; and OpenBLAS is not among its needed libraries.
#    Usage: exports.sh LIBRARY [MAJOR VERSION OF POSTGRESQL]
set -euo pipefail
lib=$1
inside=

# pkpg_ is visible on PostgreSQL 15 only: later ones hide what is not marked for export.
[ "${2:-15}" -gt 15 ] || inside='|pkpg_[a-z0-9_]+'
unknown=$(nm -D --defined-only "$lib" | awk '{ print $3 }' |
	grep -vE "^(_PG_init|Pg_magic_func|pg_finfo_polyko_[a-z0-9_]+|polyko_[a-z0-9_]+$inside)\$" |
	grep -vE '^(_init|_fini|__bss_start|_edata|_end|__asan.*|__odr_asan.*)$' || true)
if [ -n "$unknown" ]; then
	echo "$unknown" | sed 's/^/exported without our prefix: /'
	echo "not ok - exported names of $(basename "$lib")"
	exit 1
fi
if readelf -d "$lib" | grep -E 'NEEDED.*(blas|lapack|gomp)'; then
	echo "not ok - $(basename "$lib") does not link OpenBLAS"
	exit 1
fi
echo "ok - exported names of $(basename "$lib")"

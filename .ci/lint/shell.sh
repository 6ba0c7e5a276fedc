#!/bin/bash
# shell.sh
#    The scripts parse, and shellcheck (where it is installed) finds no error in them.
#    Usage: shell.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
bad=0
while read -r script; do
	bash -n "$script" || bad=1
	! command -v shellcheck >/dev/null || shellcheck -s bash -S error "$script" || bad=1
done < <(find scripts .ci bench -name '*.sh' -o -path './.ci/run' -o -path '.ci/run' | sort)
[ $bad = 0 ] && echo "ok - scripts parse" || { echo "not ok - scripts parse"; exit 1; }

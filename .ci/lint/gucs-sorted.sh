#!/bin/bash
# gucs-sorted.sh
#    The settings stand in alphabetical order in src/pg/guc.c, and both READMEs name each.
#    Usage: gucs-sorted.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
bad=0
names=$(tr -d '\n' <src/pg/guc.c | grep -oE 'DefineCustom[A-Za-z]+Variable\([[:space:]]*"polyko\.[a-z_]+"' |
	grep -oE 'polyko\.[a-z_]+' || true)
[ -n "$names" ] || { echo "src/pg/guc.c: no setting found"; bad=1; }
if ! diff <(echo "$names") <(echo "$names" | LC_ALL=C sort -u) >/dev/null; then
	echo "src/pg/guc.c: not in alphabetical order:"
	diff <(echo "$names") <(echo "$names" | LC_ALL=C sort -u) || true
	bad=1
fi
for readme in README.md README.ko.md; do
	for name in $names; do
		grep -q "$name" $readme || { echo "$readme: does not name $name"; bad=1; }
	done
done
[ $bad = 0 ] && echo "ok - settings are sorted and documented" ||
	{ echo "not ok - settings are sorted and documented"; exit 1; }

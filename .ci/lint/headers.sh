#!/bin/bash
# headers.sh
#    Each source says what it is on its first lines, each header has a guard of its own name, and no
#    two files of src/ share a name. Usage: headers.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
bad=0
complain() { echo "$*"; bad=1; }

while read -r file; do
	name=$(basename "$file")
	head -2 "$file" | tr '\n' ' ' | grep -qF "/*  * $name" ||
		complain "$file: does not begin with a comment that names it"
	head -3 "$file" | tail -1 | grep -qE '^ \*    [^ ]' ||
		complain "$file: its third line does not say its purpose"
done < <(find src -name '*.[ch]' | sort)

while read -r file; do
	guard=$(basename "$file" .h | tr 'a-z-' 'A-Z_')
	grep -qE "^#ifndef (PK|PKPG)_${guard}_H$" "$file" || grep -qE "^#ifndef ${guard}_H$" "$file" ||
		complain "$file: guard is not PK_${guard}_H or PKPG_${guard}_H"
	[ "$(grep -cE '^#(ifndef|define) [A-Z0-9_]+_H$' "$file")" = 2 ] ||
		complain "$file: guard is not written twice"
done < <(find src -name '*.h' | sort)

find src -name '*.[ch]' -exec basename {} \; | sort | uniq -d | grep . | sed 's/$/: two files have this name/' && bad=1
[ $bad = 0 ] && echo "ok - headers and names of files" || { echo "not ok - headers and names of files"; exit 1; }

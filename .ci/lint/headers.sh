#!/bin/bash
# headers.sh
#    Each source says what it is on its first lines, each header has a guard of its own name, and no
#    two files of src/ share a name. Usage: headers.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
bad=0
complain() { echo "$*"; bad=1; }

mapfile -t sources < <(find src -name '*.[ch]' | sort)
[ ${#sources[@]} -gt 0 ] || complain "src: no sources"
purpose='^ \*    [^ ]'
declare -A first_of guards_of
while IFS=: read -r file line; do
	guards_of[$file]+="$line "
done < <(grep -rHoE --include='*.h' '^#(ifndef|define) [A-Z0-9_]+_H$' src)
for file in "${sources[@]}"; do
	name=${file##*/}
	mapfile -t -n 3 line <"$file"
	[[ ${line[0]:-} == '/*' && ${line[1]:-} == " * $name"* ]] ||
		complain "$file: does not begin with a comment that names it"
	[[ ${line[2]:-} =~ $purpose ]] || complain "$file: its third line does not say its purpose"
	[ -z "${first_of[$name]:-}" ] || complain "$name: two files have this name"
	first_of[$name]=$file
	[[ $file == *.h ]] || continue
	name=${name%.h} name=${name^^} guard="((PK|PKPG)_)?${name//-/_}_H"
	[[ ${guards_of[$file]:-} =~ ^#ifndef\ $guard\ #define\ $guard\ $ &&
		${BASH_REMATCH[1]} == "${BASH_REMATCH[3]}" ]] ||
		complain "$file: guard is not PK_${name}_H or PKPG_${name}_H, written twice"
done

[ $bad = 0 ] && echo "ok - headers and names of files" || { echo "not ok - headers and names of files"; exit 1; }

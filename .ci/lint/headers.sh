#!/bin/bash
# headers.sh
#    Each source says what it is on its first lines, each header has a guard of its own name, and no
#    two files of src/ share a name. Usage: headers.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
bad=0
complain() { echo "$*"; bad=1; }

mapfile -t sources < <(find src -name '*.[ch]' | sort)
headers=() purpose='^ \*    [^ ]'
declare -A first_of n_guards guard_of
for file in "${sources[@]}"; do
	name=${file##*/}
	mapfile -t -n 3 line <"$file"
	[[ ${line[0]:-} == '/*' && ${line[1]:-} == " * $name"* ]] ||
		complain "$file: does not begin with a comment that names it"
	[[ ${line[2]:-} =~ $purpose ]] || complain "$file: its third line does not say its purpose"
	[ -z "${first_of[$name]:-}" ] || complain "$name: two files have this name"
	first_of[$name]=$file
	[[ $file != *.h ]] || headers+=("$file")
done

while IFS=: read -r file guard; do
	guard_of[$file]=$guard
done < <(grep -HoE '^#ifndef [A-Z0-9_]+_H$' "${headers[@]}" | sed 's/:#ifndef /:/')
while IFS=: read -r file n; do
	n_guards[$file]=$n
done < <(grep -HcE '^#(ifndef|define) [A-Z0-9_]+_H$' "${headers[@]}")
for file in "${headers[@]}"; do
	name=${file##*/} name=${name%.h} name=${name^^} name=${name//-/_}
	[[ ${guard_of[$file]:-} =~ ^((PK|PKPG)_)?${name}_H$ ]] ||
		complain "$file: guard is not PK_${name}_H or PKPG_${name}_H"
	[ "${n_guards[$file]}" = 2 ] || complain "$file: guard is not written twice"
done

[ $bad = 0 ] && echo "ok - headers and names of files" || { echo "not ok - headers and names of files"; exit 1; }

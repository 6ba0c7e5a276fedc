#!/bin/bash
# layers.sh
#    Reads every #include "..." of src/ against the table of allowed directions,
#    and lets third-party headers into the one file that knows each. Usage: layers.sh [ROOT]
set -euo pipefail
cd "${1:-.}"

# folder: what it may include (its own folder always). model holds the tokenizer's tables in its
# images; the other siblings do not know each other.
table='
src/core/base:
src/core/kernels: core/base
src/core/pii: core/base
src/core/curate: core/base core/tokenizer
src/core/model: core/base core/kernels core/tokenizer
src/core/tokenizer: core/base
src/core/sample: core/base core/kernels
src/core/infer: core/base core/kernels core/model core/tokenizer
src/core/engine: core/base core/kernels core/model core/tokenizer core/sample core/infer
src/core/serve: core/base core/kernels core/model core/tokenizer core/sample core/infer core/engine
src/pg: core/base core/pii core/curate core/kernels core/model core/tokenizer core/sample core/infer core/engine core/serve pg
src/cli: core/base core/kernels core/model core/tokenizer core/sample core/infer core/engine core/serve cli
'

# header pattern -> the only files that may include it (nothing after the blank: no file at all)
third_party='
^jansson\.h$ src/core/base/json.c
^xxhash\.h$ src/core/base/hash.c
^unicode/ src/core/tokenizer/unicode.c src/core/tokenizer/normalize.c src/core/tokenizer/regex.c src/core/pii/chars.c
^(cblas|openblas|f77blas)
'

declare -A allowed_of
only_of=() patterns=()

main() {
	local bad=0 file header
	read_tables
	while IFS=: read -r file header; do
		check_third_party "$file" "$header" || bad=1
		case $file in src/core/*|src/pg/*|src/cli/*) check_direction "$file" "$header" || bad=1;; esac
	done < <(grep -rHoE --include='*.[ch]' '^[ \t]*#[ \t]*include[ \t]*["<][^">]+' src |
		sed -E 's/:[ \t]*#[ \t]*include[ \t]*["<]/:/')
	[ $bad = 0 ] && echo "ok - includes follow the layers" || { echo "not ok - includes follow the layers"; exit 1; }
}

read_tables() {
	local own allowed pattern only
	while IFS=': ' read -r own allowed; do
		[ -z "$own" ] || allowed_of[$own]=$allowed
	done <<<"$table"
	while read -r pattern only; do
		[ -z "$pattern" ] || { patterns+=("$pattern"); only_of+=("$only"); }
	done <<<"$third_party"
}

check_direction() {
	local file=$1 header=$2 own allowed target
	case $file in
		src/core/*) own=${file%/*};;
		src/pg/*) own=src/pg;;
		*) own=src/cli;;
	esac
	case $header in
		core/*/*) target=${header%/*};;
		pg/*) target=pg;;
		cli/*) target=cli;;
		postgres.h|postgres_ext.h|fmgr.h|utils/*|catalog/*|storage/*|miscadmin.h|libpq-fe.h) target=postgresql;;
		*) return 0;;
	esac
	if [ $target = postgresql ]; then
		[ $own = src/pg ] && return 0
		echo "$file: includes PostgreSQL's $header; only src/pg may"
		return 1
	fi
	case $header in *_internal.h)
		[ "src/$target" = "$own" ] && return 0
		echo "$file: includes $header, internal to another folder"
		return 1;;
	esac
	[ "src/$target" != "$own" ] || return 0
	allowed=${allowed_of[$own]:-}
	case " $allowed " in *" $target "*) return 0;; esac
	echo "$file: may not include $header (allowed: ${allowed:-libc})"
	return 1
}

check_third_party() {
	local i
	for i in "${!patterns[@]}"; do
		[[ $2 =~ ${patterns[i]} ]] || continue
		case " ${only_of[i]} " in *" $1 "*) continue;; esac
		echo "$1: includes $2; only ${only_of[i]:-no file} may"
		return 1
	done
	return 0
}

main

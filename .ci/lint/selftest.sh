#!/bin/bash
# selftest.sh
#    Each lint can fail: a copy of the tree that breaks one rule makes the lint of that rule fail,
#    and the same copy unbroken does not. Prints TAP lines.
set -euo pipefail
lint=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$lint/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
leave_out=(--exclude=./.git --exclude=./build --exclude='*.so' --exclude='*.o'
	--exclude='*.safetensors')

# fails LINT "what it finds" COMMAND...: run in a copy, the command breaks the rule.
fails() {
	local script=$1 what=$2
	shift 2
	rm -rf "$work/tree"
	mkdir "$work/tree"
	tar -C "$root" "${leave_out[@]}" -cf - . | tar -C "$work/tree" -xf -
	if ! "$lint/$script" "$work/tree" >/dev/null 2>&1; then
		echo "not ok - $script passes what is right, before $what"
		bad=1
		return
	fi
	(cd "$work/tree" && "$@")
	if "$lint/$script" "$work/tree" >/dev/null 2>&1; then
		echo "not ok - $script finds $what"
		bad=1
	else
		echo "ok - $script finds $what"
	fi
}
append() { printf '%s\n' "$2" >>"$1"; }
rename_first() { sed -i "0,/$2/s//$3/" "$1"; }

fails layers.sh "a call upwards" append src/core/base/status.c '#include "core/model/model.h"'
fails layers.sh "a call between siblings" append src/core/sample/stop.h '#include "core/tokenizer/tokenizer.h"'
fails layers.sh "PostgreSQL in core" append src/core/base/alloc.c '#include "postgres.h"'
fails layers.sh "jansson outside json.c" append src/core/base/alloc.c '#include <jansson.h>'
fails headers.sh "a source without its name" rename_first src/core/base/alloc.c 'alloc.c' 'allot.c'
fails headers.sh "a wrong guard" rename_first src/core/base/alloc.h 'PK_ALLOC_H' 'PK_ALLOT_H'
fails headers.sh "a purpose that is missing" sed -i 3d src/core/base/alloc.h
fails headers.sh "a guard written once" sed -i '/^#define PK_ALLOC_H/d' src/core/base/alloc.h
fails headers.sh "a name used twice" cp src/core/base/alloc.c src/core/model/alloc.c
fails tests-listed.sh "a regress test that is not listed" append sql/forgotten.sql 'SELECT 1;'
fails tests-listed.sh "an answer without a question" append expected/forgotten.out 'x'
fails gucs-sorted.sh "a setting out of order" append src/pg/guc.c 'DefineCustomBoolVariable("polyko.aaa", x);'
fails words.sh "unfinished work" append src/core/base/alloc.c "/* T""ODO */"
fails words.sh "a path of one machine" append scripts/lib.sh "ls /wo""rk/main"
fails readmes.sh "a section in one language only" append README.ko.md '## 하나 더'
fails readmes.sh "a link that leads nowhere" append README.md '[x](#nowhere-at-all)'
fails meta.sh "two versions" rename_first META.json '"version": "' '"version": "9'
fails shell.sh "a broken script" append scripts/lib.sh 'if then'

printf 'int unmarked_name(void); int unmarked_name(void) { return 1; }\n' >"$work/x.c"
"${CC:-gcc}" -shared -fPIC -o "$work/x.so" "$work/x.c"
if "$lint/exports.sh" "$work/x.so" >/dev/null; then
	echo "not ok - exports.sh finds a foreign name"
	bad=1
else
	echo "ok - exports.sh finds a foreign name"
fi
exit $bad

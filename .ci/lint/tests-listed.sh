#!/bin/bash
# tests-listed.sh
#    No test is forgotten: REGRESS of the Makefile = sql/ = expected/, isolation specs have
#    answers, fuzz targets have a corpus, unit tests lie in a folder of src/core,
#    or in cli.
#    Usage: tests-listed.sh [ROOT]
set -euo pipefail
cd "${1:-.}"
bad=0
same() {
	[ "$2" = "$3" ] || { echo "$1 differ:"; diff <(echo "$2") <(echo "$3") || true; bad=1; }
}

listed=$(sed -e ':a' -e '/\\$/N; s/\\\n//; ta' Makefile | sed -n 's/^REGRESS *= *//p' | tr -s ' \t' '\n' | sort)
[ -n "$listed" ] || { echo "Makefile: REGRESS is empty"; bad=1; }
inputs=$(find sql -name '*.sql' ! -name 'polyko--*' -printf '%f\n' | sed 's/\.sql$//' | sort)
outputs=$(find expected -name '*.out' -printf '%f\n' | sed -E 's/(_[0-9])?\.out$//' | sort -u)
same "REGRESS and sql/" "$listed" "$inputs"
same "REGRESS and expected/" "$listed" "$outputs"

specs=$(find test/isolation/specs -name '*.spec' -printf '%f\n' 2>/dev/null | sed 's/\.spec$//' | sort || true)
answers=$(find test/isolation/expected -name '*.out' -printf '%f\n' 2>/dev/null |
	sed -E 's/(_[0-9])?\.out$//' | sort -u || true)
same "isolation specs and their expected/" "$specs" "$answers"

while read -r target; do
	name=${target##*/} name=${name%.c}
	[ -n "$(ls -A "test/fuzz/corpus/${name#fuzz_}" 2>/dev/null)" ] ||
		{ echo "$target: no corpus"; bad=1; }
done < <(find test/fuzz -name 'fuzz_*.c' 2>/dev/null | sort)

while read -r test; do
	layer=${test%/*} layer=${layer##*/}
	[ -d "src/core/$layer" ] || [ "$layer" = cli ] || { echo "$test: no such folder in src/core"; bad=1; }
	case ${test##*/} in test_*) ;; *) echo "$test: not named test_*.c, never run"; bad=1;; esac
done < <(find test/unit -mindepth 2 -name '*.c' 2>/dev/null | sort)
[ $bad = 0 ] && echo "ok - every test is run" || { echo "not ok - every test is run"; exit 1; }

#!/bin/bash
# all.sh
#    Every lint of the sources, then the proof that each can fail. Prints TAP lines.
#    (exports.sh needs a built polyko.so: the build stage of scripts/check.sh runs it.)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
bad=0
for script in layers headers tests-listed gucs-sorted words readmes meta shell; do
	.ci/lint/$script.sh . || bad=1
done
.ci/lint/selftest.sh || bad=1
exit $bad

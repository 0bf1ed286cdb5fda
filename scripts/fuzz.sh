#!/usr/bin/env bash
# Fuzzes every decoder for a short while, two at a time for each processor. Usage: scripts/fuzz.sh [SECONDS]
#
# To be guided by what an input reaches, a target is compiled with all that it imports once more, minutes of a machine with an empty
# cache. Less than ten seconds are not worth that: then inputs are drawn from the seeds unguided, by the tests as they are.
set -euo pipefail
export seconds=${1:-5}
work=$(mktemp -d)
export work
trap 'rm -rf "$work"' EXIT

# package DIR NUMBER: its binary is linked once for all of its targets, one after the other, each of which waits for half of its time.
package() {
	local dir=$1 bin=$work/$2.test log=$work/$2.log cache try target
	cache=$(go env GOCACHE)/fuzz/$(go list "$dir")
	if [ "$seconds" -lt 10 ]; then
		go test -c -vet=off -ldflags=-w -o "$bin" "$dir"
	else
		GOFLAGS= go test -c -vet=off -ldflags=-w -fuzz . -o "$bin" "$dir" # the race detector's flags would only slow it down
	fi
	cd "$dir"
	grep -ho '^func Fuzz[A-Za-z0-9_]*' ./*_test.go | sed 's/^func //' | sort -u | while read -r target; do
		echo "fuzz $dir $target"
		# Go's fuzzer sometimes takes the end of its own time for a failure, without an
		# input that failed: such a run is done again.
		for try in 1 2 3; do
			"$bin" -test.run '^$' -test.fuzz "^${target}\$" -test.fuzztime "${seconds}s" -test.fuzzminimizetime 10x -test.parallel 1 -test.fuzzcachedir "$cache" >"$log" 2>&1 && break
			if [ "$try" -eq 3 ] || grep -q 'Failing input\|panic:' "$log" || ! grep -q 'context deadline exceeded' "$log"; then
				cat "$log"
				return 1
			fi
		done
	done
}
export -f package
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | awk '{print $0, NR}' | xargs -P "$((2 * $(nproc)))" -L1 bash -euo pipefail -c 'package "$@"' package

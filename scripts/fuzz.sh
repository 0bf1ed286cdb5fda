#!/usr/bin/env bash
# Fuzzes every decoder for a short while. Usage: scripts/fuzz.sh [SECONDS]
set -euo pipefail
seconds=${1:-5}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do
	grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u | while read -r target; do
		echo "fuzz $dir $target"
		# Go's fuzzer sometimes takes the end of its own time for a failure, without an
		# input that failed: such a run is done again.
		for try in 1 2 3; do
			go test -run '^$' -fuzz "^${target}\$" -fuzztime "${seconds}s" -fuzzminimizetime 10x "$dir" >"$log" 2>&1 && break
			if [ "$try" -eq 3 ] || grep -q 'Failing input\|panic:' "$log" || ! grep -q 'context deadline exceeded' "$log"; then
				cat "$log"
				exit 1
			fi
		done
	done
done

#!/bin/sh
# canary_fuzz.sh FUZZER CANARY ITERATIONS FILE... - runs the fuzzer, then the build with a planted bug.
# The first must survive; a sanitizer must kill the second, or the fuzzer would miss real bugs too.
fuzzer=$1 canary=$2 iterations=$3
shift 3
log=$canary.log
"$fuzzer" "$iterations" "$@" 2> "$fuzzer.log" || { echo "not ok ptx_fuzz.run: see $fuzzer.log"; exit 1; }
if "$canary" "$iterations" "$@" > "$log" 2>&1; then
	echo "not ok ptx_fuzz.canary: the planted bug was not found"
	exit 1
elif grep -Eq "AddressSanitizer: heap-buffer-overflow|ptx_fuzz.c:[0-9:]+ runtime error: (load|store)" "$log"; then
	echo "ok ptx_fuzz.canary"
else
	echo "not ok ptx_fuzz.canary: it died of something else, see $log"
	exit 1
fi

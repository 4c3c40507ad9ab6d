#!/bin/sh
# ring_fuzz.sh - the fuzzer survives; the build with one address check in 64 left out dies of an abort or a sanitizer.
build/tests/ring_fuzz 2>build/tests/ring_fuzz.log || {
	echo "not ok ring_fuzz.run: see build/tests/ring_fuzz.log"
	exit 1
}
if build/tests/ring_fuzz_canary >build/tests/ring_fuzz_canary.log 2>&1; then
	echo "not ok ring_fuzz.canary: the planted bug was not found"
	exit 1
elif grep -Eq "address outside the window|AddressSanitizer" build/tests/ring_fuzz_canary.log; then
	echo "ok ring_fuzz.canary"
else
	echo "not ok ring_fuzz.canary: it died of something else"
	exit 1
fi

#!/usr/bin/env bash
# refusals_test.sh - programs that cannot run get NVIDIA's error and exactly one line that says why.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
# NAME, wanted error, pattern of the one line from the library, command...
refused() {
	local name=$1 want=$2 line=$3 got
	shift 3
	got=$(timeout 60 env "$@" 2>"$errors")
	if [ "$got" = "$want" ] && [ "$(grep -c '^agileos: ' "$errors")" = 1 ] &&
		grep -q "^agileos.*$line" "$errors"; then
		echo "ok refusals.$name"
	else
		echo "not ok refusals.$name: $got; $(tr '\n' '|' <"$errors")"
		bad=1
	fi
}

refused machine_code_only cudaErrorNoKernelImageForDevice 'no PTX' build/tests/refusals_sass
[ -e /dev/nvidiactl ] ||
	refused no_device cudaErrorNoDevice 'no NVIDIA driver\|no device' AGILEOS_DEVICE=gpu build/tests/refusals_ptx
got=$(timeout 60 build/tests/refusals_ptx 2>&1)
if [ "$got" = cudaSuccess ]; then
	echo "ok refusals.none"
else
	echo "not ok refusals.none: $got"
	bad=1
fi
exit $bad

#!/usr/bin/env bash
# demo_test.sh: the demo as a test case.
cd "$(dirname "$0")/.." || exit 1
out=$(timeout 240 bash examples/demo.sh 2>&1)
if [ "$(tail -n 1 <<<"$out")" = "demo: ok" ]; then
	echo "ok demo"
else
	sed 's/^/  /' <<<"$out"
	echo "not ok demo: last line is not 'demo: ok'"
	exit 1
fi

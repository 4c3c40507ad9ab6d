#!/usr/bin/env bash
# errors_test.sh - names and texts of errors are those of the toolkit's own runtime.
cd "$(dirname "$0")/../.." || exit 1
ours=$(timeout 20 build/tests/e2e/errors) && theirs=$(timeout 20 build/native/e2e/errors) ||
	{ echo "not ok errors.run: a program failed"; exit 1; }
if [ "$(wc -l <<<"$theirs")" -gt 100 ] && [ "$ours" = "$theirs" ]; then
	echo "ok errors.texts"
else
	echo "not ok errors.texts: $(diff <(echo "$theirs") <(echo "$ours") | head -3 | tr '\n' '|')"
	exit 1
fi

#!/usr/bin/env bash
# asan_test.sh - the end-to-end programs through a worker under ASan and UBSan, then clients under them, then clients
# that are killed. The worker must end well, with no report of its own or of LSan. With arguments, runs those programs
# only.
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-asan-XXXXXX")
export AGILEOS_SOCKET="$dir/w.sock" XDG_CACHE_HOME="$dir/cache"
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
worker=
trap '[ -n "$worker" ] && kill -9 "$worker" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
bad=0
result() { # NAME, then empty or the reason
	if [ -z "$2" ]; then echo "ok asan.$1"; else echo "not ok asan.$1: $2"; bad=1; fi
}
program() { # NAME, command...
	local name=$1 rc
	shift
	timeout 100 "$@" >"$dir/out" 2>&1
	rc=$?
	[ $rc = 0 ] && rc=
	result "$name" "${rc:+exit $rc: $(grep -E '^not ok|ERROR|runtime error' "$dir/out" | head -3 | tr '\n' '|')}"
}

build/asan/bin/agileos worker --device soft --socket "$AGILEOS_SOCKET" 2>"$dir/log" &
worker=$!
for _ in $(seq 200); do build/bin/agileos status >/dev/null 2>&1 && break; sleep 0.05; done

if [ $# -gt 0 ]; then
	for p in "$@"; do program "$p" "$p"; done
else
	for p in build/tests/e2e/*; do
		case $p in *.so | */errors) continue ;; esac
		program "worker.${p##*/}" "$p"
	done
	for p in build/asan/e2e/*; do program "client.${p##*/}" "$p"; done
	for i in $(seq 20); do
		build/tests/worker_load victim "$i" >/dev/null 2>&1 &
		victim=$!
		sleep 0.$((RANDOM % 30 + 10))
		kill -9 $victim
		wait $victim 2>/dev/null
	done
	for _ in $(seq 100); do
		left=$(build/bin/agileos status | sed -n 's/^clients \([0-9]*\).*/\1/p')
		[ "$left" = 0 ] && break
		sleep 0.1
	done
	result worker.kills "$([ "$left" = 0 ] || echo "$left clients are left")"
fi
kill -TERM "$worker"
wait "$worker"
rc=$?
worker=
grep -v "serving\|fault in kernel\|module refused" "$dir/log" >"$dir/report"
[ $rc = 0 ] && rc=
result worker.end "${rc:+exit $rc: $(grep -E 'ERROR|runtime error|SUMMARY|leak' "$dir/report" | head -3 | tr '\n' '|')}"
[ -n "$rc" ] && cp "$dir/report" build/asan_test.log
exit $bad

#!/usr/bin/env bash
# daemon_test.sh - the end-to-end programs as clients of one daemon, whose kernels differ from a private
# worker's: strangers share it, so they clear memory and wait in hardware only for threads that come.
# DAEMON_DEVICE=gpu: on a GPU.
set -u
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-daemon-XXXXXX")
export AGILEOS_SOCKET="$dir/w.sock" XDG_CACHE_HOME="$dir"
worker=
trap '[ -n "$worker" ] && kill -9 "$worker" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
build/bin/agileos worker --device "${DAEMON_DEVICE:-soft}" --socket "$AGILEOS_SOCKET" 2>"$dir/log" &
worker=$!
for _ in $(seq 100); do build/bin/agileos status >/dev/null 2>&1 && break; sleep 0.05; done
bad=0
for program in build/tests/e2e/* build/tests/client_meet; do
	name=$(basename "$program")
	case $name in *.so | *_shared | two | errors) continue ;; esac
	if timeout 120 "$program" >"$dir/out" 2>&1 && ! grep -q '^not ok' "$dir/out"; then
		echo "ok daemon.$name"
	else
		bad=1
		echo "not ok daemon.$name: $(grep -m1 -v '^ok ' "$dir/out")"
	fi
done
clients=$(build/bin/agileos status | sed -n 's/^clients \([0-9]*\), .*/\1/p')
if [ "$clients" = 0 ]; then echo "ok daemon.lives"; else echo "not ok daemon.lives: clients '$clients'"; bad=1; fi
exit $bad

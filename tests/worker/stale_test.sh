#!/usr/bin/env bash
# stale_test.sh - what one client's kernels leave in shared and local memory another one's do not find, unless the
# operator says --no-scrub; a private worker clears nothing, its kernels are all of one program.
set -u
cd "$(dirname "$0")/../.."
bin=build/bin/agileos
stale=build/tests/worker_stale
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-stale-XXXXXX")
export AGILEOS_SOCKET="$dir/w.sock" XDG_CACHE_HOME="$dir/cache"
mkdir -m 700 "$dir/cache"
worker=
trap '[ -n "$worker" ] && kill -9 "$worker" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
bad=0
result() { # NAME, then empty or the reason
	if [ -z "$2" ]; then echo "ok stale.$1"; else echo "not ok stale.$1: $2"; bad=1; fi
}
with() { # options of the worker: one client leaves, another looks; the answers to $left, $found
	$bin worker --device "${STALE_DEVICE:-soft}" --socket "$AGILEOS_SOCKET" "$@" 2>"$dir/log" &
	worker=$!
	for _ in $(seq 100); do $bin status >/dev/null 2>&1 && break; sleep 0.05; done
	status=$($bin status)
	left=$(timeout 60 $stale leave)
	found=$(timeout 60 $stale look)
	own=$(timeout 60 $stale both)
	kill "$worker"
	wait "$worker" 2>/dev/null
	worker=
}
all=$(((48 * 1024 / 4 + 64 * 128) * 264))
nothing="shared=0 local=0 nonzero=0 looked=$all"

with
result "cleared" "$([ "$found" = "$nothing" ] || echo "$found")"
result "cleared_of_its_own" "$([ "$own" = "$nothing" ] || echo "$own")"
result "left" "$([ "$left" = "shared=0 local=0 nonzero=0 looked=0" ] || echo "$left")"
result "quiet" "$(grep 'NO SCRUB' "$dir/log"; echo "$status" | grep 'NO SCRUB')"

# The same modules, from a cache that has them in the other form.
with --no-scrub
read -r shared local < <(sed -n 's/^shared=\([0-9]*\) local=\([0-9]*\) .*/\1 \2/p' <<<"$found")
result "not_cleared" "$([ "${shared:-0}" -gt 0 ] && [ "${local:-0}" -gt 0 ] || echo "$found")"
result "loud" "$(grep -q 'NO SCRUB' "$dir/log" && echo "$status" | grep -q 'NO SCRUB' || cat "$dir/log")"

with
result "cleared_again" "$([ "$found" = "$nothing" ] || echo "$found")"

unset AGILEOS_SOCKET
own=$(AGILEOS_DEVICE="${STALE_DEVICE:-soft}" timeout 60 $stale both)
shared=$(sed -n 's/^shared=\([0-9]*\) .*/\1/p' <<<"$own")
result "private" "$([ "${shared:-0}" -gt 0 ] || echo "$own")"
exit $bad

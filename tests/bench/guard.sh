#!/usr/bin/env bash
# guard.sh [SHIFT] - what the guard costs kernels: tests/bench/bench_kernels.cu natively, through a worker, through one
# that records no violations, one that clears no shared and local memory, and one whose kernels wait wherever they
# like, in one go; one table. SHIFT:
# problems so many powers of two smaller. Without a GPU (BENCH_DEVICE=soft) the worker as it is takes the place of the
# native run: only the difference means something.
set -eu
cd "$(dirname "$0")/../.."
out=build/bench
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-bench-XXXXXX")
export AGILEOS_SOCKET="$dir/w.sock"
worker=
trap '[ -z "$worker" ] || kill "$worker" 2>/dev/null || true; rm -rf "$dir"' EXIT
device=${BENCH_DEVICE:-gpu}
[ "$device" = gpu ] && smaller=${1:-0} || smaller=${1:-12}

through() { # FILE, options of the worker
	file=$1
	shift
	build/bin/agileos worker --device "$device" --socket "$AGILEOS_SOCKET" "$@" 2>"$dir/log" &
	worker=$!
	for _ in $(seq 200); do build/bin/agileos status >/dev/null 2>&1 && break; sleep 0.05; done
	$out/bench_kernels "$smaller" >"$file" || { cat "$dir/log" >&2; exit 1; }
	kill "$worker"
	wait "$worker" || true
	worker=
}

through $out/kernels.reports.txt
through $out/kernels.quiet.txt --no-report
through $out/kernels.stale.txt --no-scrub
through $out/kernels.free.txt --no-meet
if [ "$device" = gpu ]; then
	$out/native_bench_kernels "$smaller" >$out/kernels.native.txt
else
	cp $out/kernels.reports.txt $out/kernels.native.txt
fi
${LUA:-lua5.4} tests/bench/compare.lua $out/kernels.native.txt "guarded=$out/kernels.reports.txt" \
	"without reports=$out/kernels.quiet.txt" "no clearing=$out/kernels.stale.txt" "no meeting=$out/kernels.free.txt"

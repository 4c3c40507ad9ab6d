#!/usr/bin/env bash
# limits_test.sh - what one client can take of a real worker, and that another goes on meanwhile.
set -u
cd "$(dirname "$0")/../.."
bin=build/bin/agileos
load=build/tests/worker_load
greedy=build/tests/worker_greedy
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-limits-XXXXXX")
export AGILEOS_SOCKET="$dir/w.sock"
worker=
trap '[ -n "$worker" ] && kill -9 "$worker" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
bad=0
result() { # NAME, then empty or the reason
	if [ -z "$2" ]; then echo "ok limits.$1"; else echo "not ok limits.$1: $2"; bad=1; fi
}
start() { # further options of the worker
	$bin worker --device "${FAILURE_DEVICE:-soft}" --socket "$AGILEOS_SOCKET" "$@" 2>>"$dir/log" &
	worker=$!
	for _ in $(seq 100); do $bin status >/dev/null 2>&1 && return; sleep 0.05; done
	echo "not ok limits.start: the worker does not answer"
	exit 1
}

why=
for wrong in 0 x 5X 5MM -1 99999999999999999999 17179869184G; do
	$bin worker --device soft --socket "$dir/x" --max-memory $wrong >/dev/null 2>&1
	[ $? = 2 ] || why="$why $wrong"
done
result "option" "${why:+taken:$why}"

start --max-memory 192M
$load steady "$dir/stop" >"$dir/steady" 2>&1 &
steady=$!
$greedy memory >"$dir/memory" 2>&1
$greedy arrays >>"$dir/memory" 2>&1 &
client=$!
for _ in $(seq 100); do grep -q arrays= "$dir/memory" && break; sleep 0.1; done
seen=$($bin status)
wait $client
read -r device host total < <(sed -n 's/^device=\([0-9]*\) host=\([0-9]*\) total=\([0-9]*\)$/\1 \2 \3/p' "$dir/memory")
arrays=$(sed -n 's/^arrays=//p' "$dir/memory")
all=$(cat "$dir/memory")
# What is left below one sink mapping (64 MiB) may not be had.
result "memory.device" "$([ "${device:-0}" -gt 128 ] && [ "$device" -le 192 ] || echo "$all")"
result "memory.arrays" "$([ "${arrays:-0}" -ge 120 ] && [ "$arrays" -le 192 ] || echo "$all")"
result "memory.host" "$([ "${host:-0}" -ge 96 ] && [ "$host" -le 192 ] || echo "$all")"
result "memory.info" "$([ "${total:-0}" = 192 ] || echo "$all")"
result "memory.status" "$(echo "$seen" | grep -q 'each client may have 192 MiB' || echo "$seen")"
result "grid" "$($greedy grid | grep -q cudaErrorInvalidValue || $greedy grid)"
n=$($greedy streams | sed -n 's/^streams=//p')
result "streams" "$([ "${n:-0}" -ge 1000 ] && [ "$n" -le 1025 ] || echo "$n")"
n=$(timeout 60 $greedy child | sed -n 's/^doubled=\([0-9]*\) cuda.*/\1/p')
result "graphs_in_graphs" "$([ "${n:-64}" -lt 24 ] || echo "doubled $n times")"

# A client that is killed while a call of its waits for its own endless kernel.
$greedy array >"$dir/array" 2>&1 &
client=$!
for _ in $(seq 100); do grep -q waiting "$dir/array" && break; sleep 0.05; done
sleep 0.2
kill -9 $client
wait $client 2>/dev/null
for _ in $(seq 100); do
	left=$($bin status | sed -n 's/^clients \([0-9]*\).*/\1/p')
	[ "$left" = 1 ] && break
	sleep 0.1
done
result "waiting_client_killed" "$([ "$left" = 1 ] || echo "${left:-no} clients are left")"
touch "$dir/stop"
wait $steady
rc=$?
result "neighbour" "$([ $rc = 0 ] || echo "it ended with $rc: $(cat "$dir/steady")")"

# Nobody but root may look into the worker, whoever it runs as: then its files in /proc are root's.
kill -9 "$worker"
wait "$worker" 2>/dev/null
mkdir "$dir/own"
export AGILEOS_SOCKET="$dir/own/w.sock" HOME="$dir/own"
as=
if [ "$(id -u)" = 0 ]; then
	chmod 711 "$dir"
	chown 65534 "$dir/own"
	as="setpriv --reuid=65534 --clear-groups"
fi
: >"$dir/log"
$as $bin worker --device soft --socket "$AGILEOS_SOCKET" 2>"$dir/own.log" &
worker=$!
for _ in $(seq 100); do grep -q serving "$dir/own.log" && break; sleep 0.05; done
owner=$(stat -c %u "/proc/$worker/mem" 2>&1)
result "not_traceable" "$([ "$owner" = 0 ] || echo "owner $owner: $(cat "$dir/own.log")")"
exit $bad

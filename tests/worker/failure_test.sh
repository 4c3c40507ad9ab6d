#!/usr/bin/env bash
# failure_test.sh - ends that nobody asked for: 200 clients killed under load while another computes (KILLS sets
# another number); kernels without end; the worker killed while clients wait; a client that connects and says nothing or
# nonsense.  FAILURE_DEVICE=gpu runs it on a GPU.
set -u
cd "$(dirname "$0")/../.."
bin=build/bin/agileos
load=build/tests/worker_load
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-failure-XXXXXX")
export AGILEOS_SOCKET="$dir/w.sock"
worker=
trap '[ -n "$worker" ] && kill -9 "$worker" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
bad=0
result() { # NAME, then empty or the reason
	if [ -z "$2" ]; then echo "ok failure.$1"; else echo "not ok failure.$1: $2"; bad=1; fi
}
start() { # further options of the worker
	$bin worker --device "${FAILURE_DEVICE:-soft}" --socket "$AGILEOS_SOCKET" "$@" 2>>"$dir/log" &
	worker=$!
	for _ in $(seq 100); do $bin status >/dev/null 2>&1 && return; sleep 0.05; done
	echo "not ok failure.start: the worker does not answer"
	exit 1
}

# MiB of device memory that are free while no client is there.
free_mib() {
	for _ in $(seq 100); do
		$bin status | grep -q '^clients 0,' && break
		sleep 0.1
	done
	$bin status | sed -n 's/^memory \([0-9]*\) MiB.*/\1/p'
}

# A client that computes and checks, beside as many that are killed at some moment of their first 100 ms.
kills() {
	rm -f "$dir/stop"
	$load steady "$dir/stop" >"$dir/steady" 2>&1 &
	steady=$!
	sleep 0.3
	for i in $(seq "$1"); do
		$load victim "$i" >/dev/null 2>&1 &
		victim=$!
		sleep 0.0$((RANDOM % 90 + 10))
		kill -9 $victim
		wait $victim 2>/dev/null
	done
}

# A GPU's driver keeps some memory for later (up to 32 MiB were seen after the first kills, and no more after 500): it
# is looked at once it has it, and may still differ by a few of its blocks of 2 MiB.
start
kills 40
touch "$dir/stop"
wait $steady
before=$(free_mib)
[ "${FAILURE_DEVICE:-soft}" = soft ] || before=$((before - 8))
kills "${KILLS:-200}"
# The last ones' ends are still being cleared up.
for _ in $(seq 100); do
	left=$($bin status | sed -n 's/^clients \([0-9]*\).*/\1/p')
	[ "$left" = 1 ] && break
	sleep 0.1
done
touch "$dir/stop"
wait $steady
rc=$?
after=$(free_mib)
why=
[ $rc = 0 ] || why="the other client ended with $rc: $(cat "$dir/steady")"
result "kills.neighbour" "$why"
result "kills.sessions_end" "$([ "$left" = 1 ] || echo "$left clients are left")"
result "kills.memory_returns" "$([ "$after" -ge "$before" ] || echo "$before MiB were free, then $after")"
result "kills.worker_lives" "$(kill -0 $worker 2>/dev/null || echo "it is gone")"
result "kills.windows_return" "$(grep -c 'closed off' "$dir/log" | sed 's/^0$//')"

# Kernels without end, of clients that live: whoever needs a quiet moment gets one, once the limit has passed; with
# SIGKILL at once. Nobody else notices, and `agileos status` answers throughout.
stop() { kill -TERM $worker; wait $worker; worker=; }
stop
start --kernel-limit 2
rm -f "$dir/stop"
$load steady "$dir/stop" >"$dir/steady" 2>&1 &
steady=$!
for behind in 0 3000 "0 stuck"; do
	$load hog $behind >"$dir/hog" 2>&1 &
	hog=$!
	for _ in $(seq 100); do grep -q hogging "$dir/hog" && break; sleep 0.05; done
	sleep 0.5
	result "hog${behind/ /_}.status" "$(timeout 2 $bin status >/dev/null || echo "no answer")"
	why=$(timeout 30 $load quick 2>&1)
	result "hog${behind/ /_}.others" "$([ $? = 0 ] || echo "a client beside it: $why")"
	wait $hog
	result "hog${behind/ /_}.ended" "$(grep -q 'result=cudaErrorLaunchTimeout' "$dir/hog" || cat "$dir/hog")"
	$load hog $behind >"$dir/hog" 2>&1 &
	hog=$!
	for _ in $(seq 100); do grep -q hogging "$dir/hog" && break; sleep 0.05; done
	kill -9 $hog
	wait $hog 2>/dev/null
	why=$(timeout 1.5 $load quick 2>&1)
	result "hog${behind/ /_}.killed" "$([ $? = 0 ] || echo "a client after it: $why")"
done
$load held >"$dir/held" 2>&1
result "held.fault" "$(grep -q 'result=cudaErrorIllegalAddress' "$dir/held" || cat "$dir/held")"
touch "$dir/stop"
wait $steady
rc=$?
result "hog.neighbour" "$([ $rc = 0 ] || echo "exit $rc: $(cat "$dir/steady")")"

# Hostile connections: silence, and nonsense.
python3 - "$AGILEOS_SOCKET" 2>/dev/null <<'PY' || true
import os, socket, sys
for data in (b"", b"x", b"\0" * 80, os.urandom(80), os.urandom(4096)):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    if data:
        s.send(data)
    s.close()
PY
result "hostile_connections" "$($bin status >/dev/null 2>&1 || echo "the worker does not answer")"

# The worker dies: waits end, within a second.
$load wait >"$dir/wait" 2>&1 &
waiter=$!
for _ in $(seq 100); do grep -q waiting "$dir/wait" && break; sleep 0.05; done
sleep 0.2
kill -9 $worker
wait $worker 2>/dev/null
worker=
t0=$(date +%s%N)
wait $waiter
rc=$?
ms=$((($(date +%s%N) - t0) / 1000000))
result "worker_killed.error" "$([ $rc = 0 ] || echo "exit $rc: $(cat "$dir/wait")")"
result "worker_killed.soon" "$([ $ms -le 1000 ] || echo "$ms ms")"

# A clean end: SIGTERM with clients there.
start
$load wait >"$dir/wait" 2>&1 &
waiter=$!
for _ in $(seq 100); do grep -q waiting "$dir/wait" && break; sleep 0.05; done
kill -TERM $worker
wait $worker
rc=$?
worker=
wait $waiter
wrc=$?
why=
[ $rc = 0 ] && [ $wrc = 0 ] || why="worker $rc, client $wrc: $(cat "$dir/wait")"
result "sigterm" "$why"

# The context itself dies, as only an unguarded kernel can make it: everyone is told at once, the worker ends.
if [ "${FAILURE_DEVICE:-soft}" = soft ]; then
start --unguarded
rm -f "$dir/stop"
$load steady "$dir/stop" >"$dir/steady" 2>&1 &
steady=$!
sleep 0.3
$load poke >"$dir/poke" 2>&1
t0=$(date +%s%N)
wait $steady
rc=$?
wait $worker
wrc=$?
worker=
ms=$((($(date +%s%N) - t0) / 1000000))
result "context_dies.poker" "$(grep -q IllegalAddress "$dir/poke" || cat "$dir/poke")"
result "context_dies.others" "$([ $rc = 3 ] || [ $rc = 4 ] || echo "exit $rc: $(cat "$dir/steady")")"
result "context_dies.worker" "$([ $wrc = 1 ] || echo "exit $wrc")"
result "context_dies.soon" "$([ $ms -le 2000 ] || echo "$ms ms")"
fi

# A private worker: starts by itself, ends with its client, leaves nothing; and dynamic programs by `agileos run`.
unset AGILEOS_SOCKET XDG_RUNTIME_DIR
export TMPDIR="$dir/private"
mkdir "$TMPDIR"
AGILEOS_DEVICE=${FAILURE_DEVICE:-soft} $bin run -- $load poke >"$dir/poke" 2>&1
result "private.guarded" "$(grep -q IllegalAddress "$dir/poke" || cat "$dir/poke")"
for _ in $(seq 60); do [ -z "$(ls "$TMPDIR")" ] && break; sleep 0.05; done
result "private.leaves_nothing" "$(ls "$TMPDIR")"
exit $bad

#!/usr/bin/env bash
# demo.sh: the main job. Two tenants, a protected service and a rogue in one CUDA context; twice on softgpu (guard off,
# guard on), once on a GPU.
# Last line `demo: ok`, or the first thing that differs from what must be, and a non-zero exit.
set -u
cd "$(dirname "$0")/.."
bin=build/bin/agileos
ex=build/examples
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-demo-XXXXXX")
worker=
trap '[ -n "$worker" ] && kill "$worker" 2>/dev/null; wait; rm -rf "$dir"' EXIT

fail() {
	echo "demo: FAILED: $*"
	for f in "$dir"/*.log; do [ -s "$f" ] && sed "s|^|  $(basename "$f"): |" "$f" | tail -n 15; done
	exit 1
}
say() { printf '\n== %s\n' "$*"; }
# Waits up to $1 seconds until the rest of the line succeeds.
until_true() {
	local n=$(($1 * 20))
	shift
	while ! "$@" >/dev/null 2>&1; do
		n=$((n - 1))
		[ $n -gt 0 ] || return 1
		sleep 0.05
	done
}
secret_of_neighbour=0x6e65696768626f75
overwritten=0xdeadbeefdeadbeef

# world NAME OPTIONS...: the whole cast under one worker; fills the associative arrays below.
declare -A got result neighbour service heat
world() {
	local name=$1
	shift
	export AGILEOS_SOCKET="$dir/$name.sock"
	$bin worker --socket "$AGILEOS_SOCKET" "$@" 2>"$dir/worker-$name.log" &
	worker=$!
	until_true 20 $bin status || fail "$name: the worker does not answer"

	rm -f "$dir/stop" "$dir/addr"
	$ex/neighbour "$dir/addr" "$dir/stop" >"$dir/neighbour-$name.log" 2>&1 &
	local nb=$!
	until_true 30 test -s "$dir/addr" || fail "$name: the neighbour does not start"
	$ex/heat2d examples/heat2d/discs.txt "$dir/$name" >"$dir/heat2d-$name.log" 2>&1 &
	local hs=$!
	sleep 0.3

	local vault line
	vault=$($bin status | sed -n 's/.*service ledger.*state \(0x[0-9a-f]*\).*/\1/p')
	[ -n "$vault" ] || fail "$name: status names no ledger"
	for target in neighbour service; do
		local addr=$vault
		[ $target = neighbour ] && addr=$(cat "$dir/addr")
		line=$($ex/rogue $target "$addr" 2>>"$dir/rogue-$name.log")
		got[$name.$target]=$(sed -n 's/.*read=\([^ ]*\).*/\1/p' <<<"$line")
		result[$name.$target]=$(sed -n 's/.*result=\([^ ]*\).*/\1/p' <<<"$line")
		[ -n "${got[$name.$target]}" ] || fail "$name: rogue said: $line"
	done
	# What the service holds now is its own business; a second look by the rogue shows whether its write arrived.
	line=$($ex/rogue again "$vault" 2>/dev/null)
	got[$name.again]=$(sed -n 's/.*read=\([^ ]*\).*/\1/p' <<<"$line")

	wait $hs
	heat[$name]=$?
	touch "$dir/stop"
	wait $nb
	neighbour[$name]=$?
	service[$name]=$($bin status | grep -q 'service ledger.*intact' && echo intact || echo damaged)
	$bin status >"$dir/status-$name.txt"
	kill -TERM "$worker"
	wait "$worker"
	local rc=$?
	worker=
	[ $rc = 0 ] || fail "$name: the worker ended with $rc"
}

say "the same source, linked with NVIDIA's runtime"
if $ex/native_heat2d examples/heat2d/discs.txt "$dir/native" >"$dir/native.log" 2>&1; then
	gpu=1
	cat "$dir/native.log"
else
	gpu=0
	echo "does not run here: $(tail -n 1 "$dir/native.log")"
fi

worlds=on
if [ $gpu = 0 ]; then
	say "guard off (softgpu only)"
	world off --device soft --unguarded
	cat "$dir/heat2d-off.log" "$dir/neighbour-off.log"
	worlds="off on"
fi
say "guard on"
world on --device auto
cat "$dir/heat2d-on.log" "$dir/neighbour-on.log"
cat "$dir/status-on.txt"

say "what the rogue got"
printf '%-6s %-10s %-20s %-26s %s\n' guard target "read" "CUDA told it" "victim afterwards"
for w in $worlds; do
	for t in neighbour service; do
		victim=${service[$w]}
		[ $t = service ] || victim=$([ "${neighbour[$w]}" = 0 ] && echo correct || echo corrupted)
		printf '%-6s %-10s %-20s %-26s %s\n' $w $t "${got[$w.$t]}" "${result[$w.$t]}" "$victim"
	done
done
say "fault records"
grep -E 'fault' "$dir/worker-on.log" || fail "no fault was recorded"

if [ $gpu = 0 ]; then
	[ "${got[off.neighbour]}" = $secret_of_neighbour ] ||
		fail "guard off: the rogue should have read the neighbour's secret"
	[ "${neighbour[off]}" = 1 ] || fail "guard off: the rogue should have corrupted the neighbour"
	[ "${got[off.again]}" = $overwritten ] ||
		fail "guard off: the rogue should have overwritten the service's secret"
	[ "${service[off]}" = damaged ] || fail "guard off: the service should have noticed"
fi
[ "${got[on.neighbour]}" != $secret_of_neighbour ] || fail "the rogue read the neighbour's secret"
[ "${got[on.again]}" != $overwritten ] || fail "the rogue reached the service"
[ "${got[off.service]-none}" != "${got[on.service]}" ] || fail "the rogue read the service's secret"
for t in neighbour service; do
	[ "${result[on.$t]}" = cudaErrorIllegalAddress ] || fail "the rogue was told ${result[on.$t]}"
done
[ "${neighbour[on]}" = 0 ] || fail "the neighbour saw wrong data"
[ "${service[on]}" = intact ] || fail "the service is damaged"
[ "${heat[on]}" = 0 ] || fail "heat2d did not finish correctly"
grep -q 'signed by the ledger' "$dir/heat2d-on.log" || fail "heat2d got no signature"
[ -s "$dir/on.png" ] && [ -s "$dir/on.f32" ] || fail "heat2d left no files"
mkdir -p build/demo && cp "$dir/on.png" build/demo/heat2d.png && echo "picture: build/demo/heat2d.png"
echo "demo: ok"

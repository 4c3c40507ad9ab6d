#!/usr/bin/env bash
# cache_test.sh - what a client of the worker's own user can do to the module cache: a forged file is believed by a
# worker without a key (that is the known limit, and shows that the forgery is good), not by one with; a file under
# another's name is believed by none; and the directory does not grow without end.
set -u
cd "$(dirname "$0")/../.."
bin=build/bin/agileos
load=build/tests/worker_load
dir=$(mktemp -d "${TMPDIR:-/tmp}/agileos-cache-XXXXXX")
export AGILEOS_SOCKET="$dir/w.sock" XDG_CACHE_HOME="$dir/cache"
mkdir -m 700 "$dir/cache"
worker=
trap '[ -n "$worker" ] && kill "$worker" 2>/dev/null; wait 2>/dev/null; rm -rf "$dir"' EXIT
bad=0
result() { # NAME, then empty or the reason
	if [ -z "$2" ]; then echo "ok cache.$1"; else echo "not ok cache.$1: $2"; bad=1; fi
}
once() { # options of the worker: one program, from its start to its end
	: >"$dir/log"
	$bin worker --device soft --socket "$AGILEOS_SOCKET" "$@" 2>"$dir/log" &
	worker=$!
	for _ in $(seq 100); do $bin status >/dev/null 2>&1 && break; sleep 0.05; done
	timeout 20 $load poke >"$dir/out" 2>&1
	kill "$worker"
	wait "$worker" 2>/dev/null
	worker=
}
# Rewrites every file's sum as someone without the key can; with an argument, after a change of the code.
forge() {
	python3 - "$dir/cache/agileos" "$@" <<'PY'
import glob, hashlib, hmac, sys
for path in glob.glob(sys.argv[1] + "/*.module"):
    data = bytearray(open(path, "rb").read())
    name = bytes.fromhex(path.split("/")[-1][:64])
    if len(sys.argv) > 2:
        at = data.rfind(b"\n\tret;")
        data[at:at + 2] = b"\n "          # the same text, in other bytes
    data[56:88] = bytes(32)
    data[56:88] = hmac.new(b"", name + bytes(data), hashlib.sha256).digest()
    open(path, "wb").write(data)
PY
}
head -c 32 /dev/urandom >"$dir/key"

once
n=$(ls "$dir/cache/agileos" | wc -l)
result "written" "$([ "$n" -ge 1 ] || echo "$n files")"
once
result "read" "$(grep -q damaged "$dir/log" && cat "$dir/log")"
forge changed
once
result "forged_without_key" "$(grep -q damaged "$dir/log" && echo "the test's forgery is no good")"
once --cache-key "$dir/key"
result "forged_with_key" "$(grep -q "not this worker" "$dir/log" || echo "believed")"
result "works_all_the_same" "$(grep -q IllegalAddress "$dir/out" || cat "$dir/out")"
once --cache-key "$dir/key"
result "own_with_key" "$(grep -q damaged "$dir/log" && cat "$dir/log")"
exec 9<"$dir/key"
once --cache-key fd:9
exec 9<&-
result "own_with_key.descriptor" "$(grep -q damaged "$dir/log" && cat "$dir/log")"
once --group "$(id -gn)"
result "shared_worker" "$(grep -q "not this worker" "$dir/log" || echo "another worker's file is believed")"
printf short >"$dir/short"
timeout 5 $bin worker --device soft --socket "$dir/x" --cache-key "$dir/short" 2>/dev/null
result "short_key" "$([ $? = 1 ] || echo "taken")"

# One module's file under another's name.
once
for f in "$dir"/cache/agileos/*.module; do
	other=$(basename "$f" | tr '0-9a-f' '1-9a-f0')
	mv "$f" "$dir/cache/agileos/$other"
	real=$f
done
cp "$dir/cache/agileos/$other" "$real"
mv "$real" "$dir/keep"
once
result "made_again" "$([ -f "$real" ] || echo "no file")"
python3 - "$dir/keep" "$real" "$dir/cache/agileos/$other" <<'PY'
import hashlib, hmac, sys
data = bytearray(open(sys.argv[1], "rb").read())
name = bytes.fromhex(sys.argv[3].split("/")[-1][:64])
data[56:88] = bytes(32)
data[56:88] = hmac.new(b"", name + bytes(data), hashlib.sha256).digest()
open(sys.argv[2], "wb").write(data)
PY
once
result "another_name" "$(grep -q damaged "$dir/log" || echo "believed")"

# Old files go first.
head -c 3000000 /dev/zero >"$dir/cache/agileos/old.module"
touch -d 2001-01-01 "$dir/cache/agileos/old.module"
rm -f "$real"
AGILEOS_CACHE_MB=2 once
result "room.old" "$([ ! -e "$dir/cache/agileos/old.module" ] || echo "it is still there")"
result "room.new" "$([ -e "$real" ] || echo "the new one went")"
exit $bad

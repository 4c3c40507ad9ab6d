#!/usr/bin/env bash
# preload_test.sh - the mimalloc inside our libraries beside one that is the program's malloc, under settings meant for
# that one; and our libraries loaded by a program that knows nothing of them until then.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
report() {
	if [ "$2" = 0 ]; then echo "ok preload.$1"; else echo "not ok preload.$1: $3"; bad=1; fi
}
settings="MIMALLOC_VERBOSE=1 MIMALLOC_SHOW_STATS=1 MIMALLOC_LIMIT_OS_ALLOC=1 MIMALLOC_PAGE_RESET=1"

for p in pinned pinned_shared; do
	timeout 100 env LD_PRELOAD="$PWD/build/tests/libmimalloc.so" build/tests/e2e/$p >/dev/null 2>"$errors"
	report $p $? "$(tail -3 "$errors" | tr '\n' '|')"
	# shellcheck disable=SC2086
	timeout 100 env $settings build/tests/e2e/$p >/dev/null 2>"$errors"
	report "${p}_settings" $? "$(tail -3 "$errors" | tr '\n' '|')"
	! grep -q mimalloc "$errors"
	report "${p}_silent" $? "$(grep -m1 mimalloc "$errors")"
done

timeout 100 python3 - 2>"$errors" <<'PY'
import ctypes, threading
def use():
    cuda = ctypes.CDLL("build/lib/libcudart.so.13")
    for n in (1, 5000, 3 << 20):
        p = ctypes.c_void_p()
        assert cuda.cudaMallocHost(ctypes.byref(p), ctypes.c_size_t(n)) == 0
        ctypes.memset(p.value, 7, n)
        assert cuda.cudaFreeHost(p) == 0
    done.append(1)
done = []
for _ in range(4):
    t = threading.Thread(target=use)
    t.start()
    t.join()
assert len(done) == 4
PY
report loaded_late $? "$(tail -1 "$errors")"
exit $bad

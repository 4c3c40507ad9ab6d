#!/bin/sh
# fatbin_fuzz.sh - mutated fat binaries through the reader of the client, with sanitizers.
exec build/tests/client_fatbin_asan "${FUZZ_ROUNDS:-4000}"

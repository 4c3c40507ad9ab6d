#!/usr/bin/env bash
# growth_test.sh - growth.cu on a softgpu with room for it; the memory is hardly touched.
unset AGILEOS_SOCKET
AGILEOS_SOFTGPU_MEMORY=16384 exec "$(dirname "$0")/../../build/tests/worker_growth"

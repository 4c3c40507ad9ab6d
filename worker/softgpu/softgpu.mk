# softgpu's processor: decode and execution of PTX.  The Driver side is driver.mk's.
SOFT_EXEC_SRC := $(sort $(wildcard worker/softgpu/exec_*.c))
SOFT_EXEC_OBJ := $(call objs,$(SOFT_EXEC_SRC))
SOFT_EXEC_ASAN := $(call asan_objs,$(SOFT_EXEC_SRC))

# Handlers are loops for the vectoriser.  No contraction: an fma exists only where PTX says so.
SOFT_SIMD_CFLAGS := -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off -fno-strict-aliasing
CFLAGS_worker_softgpu_exec_simd_sse2 := $(SOFT_SIMD_CFLAGS)
CFLAGS_worker_softgpu_exec_simd_avx2 := $(SOFT_SIMD_CFLAGS) -mavx2 -mfma -mbmi -mbmi2 -mlzcnt -mpopcnt
CFLAGS_worker_softgpu_exec_scalar := -ffp-contract=off -fno-strict-aliasing
CFLAGS_worker_softgpu_exec_atom := -ffp-contract=off -fno-strict-aliasing
CFLAGS_worker_softgpu_exec_matrix := -ffp-contract=off -fno-strict-aliasing

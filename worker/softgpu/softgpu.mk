# softgpu's processor: decode and execution of PTX.  The Driver side is driver.mk's.
SOFT_EXEC_SRC := $(sort $(wildcard worker/softgpu/exec_*.c))
SOFT_EXEC_OBJ := $(call objs,$(SOFT_EXEC_SRC))
SOFT_EXEC_ASAN := $(call asan_objs,$(SOFT_EXEC_SRC))

# Handlers are loops for the vectoriser.  No contraction: an fma exists only where PTX says so.
SOFT_SIMD_CFLAGS := -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off -fno-strict-aliasing
CFLAGS_worker_softgpu_exec_simd_sse2 = $(SOFT_SIMD_CFLAGS)
CFLAGS_worker_softgpu_exec_simd_avx2 = $(SOFT_SIMD_CFLAGS) -mavx2 -mfma -mbmi -mbmi2 -mlzcnt -mpopcnt
# The sanitizers' copies need no speed, only to build soon.
build/asan/obj/worker/softgpu/exec_simd_sse2.o: SOFT_SIMD_CFLAGS := -ffp-contract=off -fno-strict-aliasing
build/asan/obj/worker/softgpu/exec_simd_avx2.o: SOFT_SIMD_CFLAGS := -ffp-contract=off -fno-strict-aliasing
CFLAGS_worker_softgpu_exec_scalar := -ffp-contract=off -fno-strict-aliasing
CFLAGS_worker_softgpu_exec_atom := -ffp-contract=off -fno-strict-aliasing
CFLAGS_tests_softgpu_exec_alu := -frounding-math -ffp-contract=off -fno-strict-aliasing
CFLAGS_worker_softgpu_exec_matrix := -ffp-contract=off -fno-strict-aliasing

# --- tests: each exec_<name>.c links the processor, the parser and the harness; .cu files become PTX ---------------
SOFT_EXEC_TESTS := exec_nvcc exec_alu exec_flow exec_ptx exec_misuse exec_cluster exec_matrix exec_fuzz
SOFT_EXEC_PTX := build/tests/softgpu/exec_kernels.ptx build/tests/softgpu/exec_matrix_kernels.ptx
SOFT_EXEC_LIBS := -lm -pthread
SOFT_EXEC_HARNESS := tests/softgpu/exec_harness.c
SOFT_EXEC_LINK := $(call objs,$(SOFT_EXEC_HARNESS)) $(SOFT_EXEC_OBJ) $(PTX_OBJ)
SOFT_EXEC_LINK_ASAN := $(call asan_objs,$(SOFT_EXEC_HARNESS)) $(SOFT_EXEC_ASAN) $(PTX_ASAN_OBJ)

build/tests/softgpu/%.ptx: tests/softgpu/%.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 $< -o $@

define soft_exec_test
build/tests/softgpu/$(1): $(call objs,tests/softgpu/$(1).c) $(SOFT_EXEC_LINK) $(SOFT_EXEC_PTX)
	@mkdir -p $$(@D)
	$(CC) $$(filter %.o,$$^) $(SOFT_EXEC_LIBS) -o $$@
build/asan/tests/softgpu/$(1): $(call asan_objs,tests/softgpu/$(1).c) $(SOFT_EXEC_LINK_ASAN) $(SOFT_EXEC_PTX)
	@mkdir -p $$(@D)
	$(CC) $(ASAN_FLAGS) $$(filter %.o,$$^) $(SOFT_EXEC_LIBS) -o $$@
TESTS += build/tests/softgpu/$(1) build/asan/tests/softgpu/$(1)
endef
$(foreach t,$(SOFT_EXEC_TESTS),$(eval $(call soft_exec_test,$(t))))

# --- speed ---------------------------------------------------------------------------------------------------------
build/tests/bench/%.ptx: tests/bench/%.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 $< -o $@
build/tests/bench/bench_softgpu: $(call objs,tests/bench/bench_softgpu.c) $(SOFT_EXEC_LINK)
	@mkdir -p $(@D)
	$(CC) $^ $(SOFT_EXEC_LIBS) -o $@
bench-softgpu: build/tests/bench/bench_softgpu build/tests/bench/softgpu_kernels.ptx
	build/tests/bench/bench_softgpu
.PHONY: bench-softgpu

# --- registers: the estimate beside what ptxas takes ---
build/tests/softgpu/exec_regs: $(call objs,tests/softgpu/exec_regs.c) $(SOFT_EXEC_LINK)
	@mkdir -p $(@D)
	$(CC) $^ $(SOFT_EXEC_LIBS) -o $@
SOFT_REGS_PTX := build/tests/softgpu/exec_kernels.ptx build/tests/softgpu/exec_matrix_kernels.ptx \
	$(patsubst %,build/tests/guard_ptx/%.ptx,basic generic grid math matrix output pointers texture variables warp)
build/tests/softgpu/registers: tests/softgpu/registers_test.lua build/tests/softgpu/exec_regs build/bin/agileos-guard \
		$(SOFT_REGS_PTX)
	@printf '#!/bin/sh\nPTXAS=%s exec %s %s %s %s build/tests/softgpu/guarded %s\n' $(CUDA_HOME)/bin/ptxas \
		$(LUA) $< build/tests/softgpu/exec_regs build/bin/agileos-guard "$(SOFT_REGS_PTX)" > $@
	@chmod +x $@
TESTS += build/tests/softgpu/registers

# The rewriter: PTX in, guarded PTX out (guard.c is the pass list), and the trusted device runtime that guarded code
# calls.

REWRITE_SRC := $(addprefix guard/,align.c callee.c cluster.c compose.c define.c dump.c fence.c foresee.c guard.c \
	inline.c link.c matrix.c meet.c ops.c poll.c print.c prune.c relocate.c report.c result.c scrub.c soft.c \
	space.c strip.c texture.c warp.c)
REWRITE_OBJ := $(call objs,$(REWRITE_SRC))
REWRITE_ASAN_OBJ := $(call asan_objs,$(REWRITE_SRC))

# The runtime: CUDA C++ -> PTX -> a C array.
build/gen/guard_runtime.ptx: guard/rt/runtime.cu guard/device.h
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 -rdc=true -O3 -I. $< -o $@

build/gen/guard_runtime.c: build/gen/guard_runtime.ptx guard/rt/embed.lua
	$(LUA) guard/rt/embed.lua $< guard_runtime_ptx > $@

# Barriers in software, which are linked to clients' modules.
build/gen/guard_soft.ptx: guard/soft/barrier.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 -rdc=true -O3 $< -o $@

build/gen/guard_soft.c: build/gen/guard_soft.ptx guard/rt/embed.lua
	$(LUA) guard/rt/embed.lua $< guard_soft_ptx whole > $@

GUARD_TEXTS := guard_runtime guard_soft
$(foreach t,$(GUARD_TEXTS),$(eval build/obj/build/gen/$(t).o build/asan/obj/build/gen/$(t).o: build/gen/$(t).c))
REWRITE_OBJ += $(GUARD_TEXTS:%=build/obj/build/gen/%.o)
REWRITE_ASAN_OBJ += $(GUARD_TEXTS:%=build/asan/obj/build/gen/%.o)

# Tests: goldens, and what nvcc makes of tests/guard/cu.  link_*.cu are relocatable pieces of one module.
GUARD_CU := $(wildcard tests/guard/cu/*.cu)
GUARD_CU_PTX := $(GUARD_CU:tests/guard/cu/%.cu=build/tests/guard_ptx/%.ptx)

build/tests/guard_ptx/link_%.ptx: tests/guard/cu/link_%.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 -rdc=true -I. $< -o $@

build/tests/guard_ptx/%.ptx: tests/guard/cu/%.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 -I. $< -o $@

build/tests/rewrite_test: build/obj/tests/guard/rewrite_test.o $(REWRITE_OBJ) $(PTX_OBJ) \
		$(call objs,$(wildcard guard/verify*.c)) $(GUARD_CU_PTX)
	@mkdir -p $(@D)
	$(CC) $(filter %.o,$^) -o $@

build/tests/rewrite_test_asan: build/asan/obj/tests/guard/rewrite_test.o $(REWRITE_ASAN_OBJ) $(PTX_ASAN_OBJ) \
		$(call asan_objs,$(wildcard guard/verify*.c)) $(GUARD_CU_PTX)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) $(filter %.o,$^) -o $@

TESTS += build/tests/rewrite_test build/tests/rewrite_test_asan

# Original and guarded kernels side by side on softgpu's processor.
SEMANTICS_SRC := tests/guard/semantics_test.c tests/softgpu/exec_harness.c $(sort $(wildcard guard/verify*.c)) \
	$(sort $(wildcard worker/softgpu/exec_*.c))

build/tests/semantics_test: $(call objs,$(SEMANTICS_SRC)) $(REWRITE_OBJ) $(PTX_OBJ) $(GUARD_CU_PTX)
	@mkdir -p $(@D)
	$(CC) $(filter %.o,$^) -lm -pthread -o $@

build/tests/semantics_test_asan: $(call asan_objs,$(SEMANTICS_SRC)) $(REWRITE_ASAN_OBJ) $(PTX_ASAN_OBJ) $(GUARD_CU_PTX)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) $(filter %.o,$^) -lm -pthread -o $@

TESTS += build/tests/semantics_test build/tests/semantics_test_asan

build/tests/rewrite_fuzz_asan: build/asan/obj/tests/guard/rewrite_fuzz.o $(REWRITE_ASAN_OBJ) $(PTX_ASAN_OBJ) \
		$(call asan_objs,$(wildcard guard/verify*.c))
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) $(filter %.o,$^) -o $@

build/tests/rewrite_fuzz: build/tests/rewrite_fuzz_asan $(GUARD_CU_PTX)
	@printf '#!/bin/sh\nexec %s 1500 tests/guard/rewrite/*.ptx build/tests/guard_ptx/*.ptx\n' $< > $@
	@chmod +x $@

TESTS += build/tests/rewrite_fuzz

build/tests/guard_dump: tests/guard/dump_test.lua build/bin/agileos-guard
	@printf '#!/bin/sh\nexec %s %s build/bin/agileos-guard\n' $(LUA) $< > $@
	@chmod +x $@

TESTS += build/tests/guard_dump

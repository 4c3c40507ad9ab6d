# The worker and the program agileos: everything trusted but the guard's own processes.
# Other fragments' lists are not there yet when this one is read, so files are named by pattern.
WORKER_SRC := $(filter-out worker/main.c,$(sort $(wildcard worker/*.c)))
WORKER_OBJ := $(call objs,$(WORKER_SRC))
WORKER_SOFT_OBJ := $(call objs,$(sort $(wildcard worker/softgpu/soft_*.c worker/softgpu/exec_*.c)))
WORKER_GUARD_OBJ := $(call objs,$(filter-out guard/tool_main.c,$(sort $(wildcard guard/*.c)))) \
	build/obj/build/gen/guard_runtime.o build/obj/build/gen/guard_soft.o
WORKER_GEN_OBJ := $(patsubst %,build/obj/build/gen/%.o,worker_table driver_none driver_nv driver_soft)
WORKER_GEN := $(addprefix build/gen/,driver.h msg.h worker_calls.h)

$(WORKER_OBJ) build/obj/worker/main.o $(call asan_objs,$(WORKER_SRC)): | $(WORKER_GEN) build/gen/build_id.h

# What decides a module's guarded form is part of its name in the cache.
build/gen/build_id.h: $(sort $(wildcard guard/*.c guard/*.h guard/*.def guard/rt/*.cu worker/prepared.c worker/cache.c))
	@mkdir -p $(@D)
	@echo "#define AG_BUILD_ID \"$$(cat $^ | sha256sum | cut -c1-32)\"" > $@

build/bin/agileos: build/obj/worker/main.o $(WORKER_OBJ) $(WINDOW_OBJ) $(ADAPTERS_OBJ) $(WORKER_GUARD_OBJ) \
		$(WORKER_SOFT_OBJ) $(WORKER_GEN_OBJ) $(MALLOC_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -lm -ldl

BINS += build/bin/agileos

build/obj/tests/alloc/window_soft.o: tests/alloc/window_test.c | build/gen/driver.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -DWINDOW_ON_SOFT -MMD -MP -c $< -o $@

build/tests/window_soft: build/obj/tests/alloc/window_soft.o $(WINDOW_OBJ) $(WORKER_SOFT_OBJ) $(PTX_OBJ) \
		$(WORKER_GEN_OBJ:%worker_table.o=)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -lm

TESTS += build/tests/window_soft

# Unit tests: the worker's objects on a recording driver, under the sanitizers.
WORKER_TEST_SRC := tests/worker/stream_test.c tests/worker/serve_test.c tests/worker/ring_test.c \
	tests/worker/limits_test.c
WORKER_TESTS := $(patsubst tests/worker/%_test.c,%,$(WORKER_TEST_SRC))
WORKER_TEST_OBJ := $(call asan_objs,$(WORKER_SRC) $(WINDOW_SRC) tests/worker/fake.c \
	$(filter-out guard/tool_main.c,$(sort $(wildcard guard/*.c))) \
	$(patsubst %,build/gen/%.c,guard_runtime guard_soft worker_table driver_none driver_nv driver_soft))
$(WORKER_TEST_OBJ) $(WORKER_TESTS:%=build/asan/obj/tests/worker/%_test.o): | $(WORKER_GEN) build/gen/build_id.h

build/tests/worker_limits: WORKER_TEST_WRAP := -Wl,--wrap=prepared_get,--wrap=prepared_put
build/tests/worker_%: build/asan/obj/tests/worker/%_test.o $(WORKER_TEST_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -pthread $(WORKER_TEST_WRAP) -o $@ $^ -lm -ldl

TESTS += $(WORKER_TESTS:%=build/tests/worker_%)

# Failures, with real processes.
build/tests/worker_load: tests/worker/load.cu
build/tests/worker_growth: tests/worker/growth.cu
build/tests/worker_greedy: tests/worker/greedy.cu
build/tests/worker_stale: tests/worker/stale.cu
WORKER_CLIENTS := $(addprefix build/tests/worker_,load growth greedy stale)
$(WORKER_CLIENTS): $(LINK_LIBS) | build/bin/agileos
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -O1 -o $@ $(filter %.cu,$^) -Lbuild/lib
tests/worker/failure_test.sh: build/tests/worker_load build/bin/agileos
tests/worker/growth_test.sh: build/tests/worker_growth build/bin/agileos
tests/worker/limits_test.sh: build/tests/worker_greedy build/tests/worker_load build/bin/agileos
tests/worker/cache_test.sh: build/tests/worker_load build/bin/agileos
tests/worker/stale_test.sh: build/tests/worker_stale build/bin/agileos
TESTS += $(patsubst %,tests/worker/%_test.sh,failure growth limits cache stale)

# The fuzzer of rings, and its canary.
RING_FUZZ_WRAP := -Wl,--wrap=prepared_get,--wrap=prepared_put
build/tests/ring_fuzz: build/asan/obj/tests/fuzz/ring_fuzz.o $(WORKER_TEST_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -pthread $(RING_FUZZ_WRAP) -o $@ $^ -lm -ldl
build/tests/ring_fuzz_canary: tests/fuzz/ring_fuzz.c $(WORKER_TEST_OBJ)
	@mkdir -p $(@D)
	$(CC) $(filter-out -O2,$(CFLAGS)) -O1 $(ASAN_FLAGS) $(CPPFLAGS) -DFUZZ_CANARY $(RING_FUZZ_WRAP) \
		-Wl,--wrap=session_covers -o $@ $^ -lm -ldl
build/asan/obj/tests/fuzz/ring_fuzz.o: | $(WORKER_GEN) build/gen/build_id.h
tests/fuzz/ring_fuzz.sh: build/tests/ring_fuzz build/tests/ring_fuzz_canary
TESTS += tests/fuzz/ring_fuzz.sh

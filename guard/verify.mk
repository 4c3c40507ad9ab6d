# The verifier, the helper process and `agileos guard`.

VERIFY_SRC := guard/verify.c guard/verify_ctl.c guard/verify_stmt.c guard/verify_form.c guard/verify_lex.c \
		guard/verify_flow.c \
	guard/verify_matrix.c guard/verify_cluster.c guard/verify_scrub.c guard/verify_meet.c
VERIFY_OBJ := $(call objs,$(VERIFY_SRC))
VERIFY_ASAN_OBJ := $(call asan_objs,$(VERIFY_SRC))

build/tests/verify_test: build/obj/tests/guard/verify_test.o $(VERIFY_OBJ)
	@mkdir -p $(@D)
	$(CC) -o $@ $^

build/tests/verify_test_asan: build/asan/obj/tests/guard/verify_test.o $(VERIFY_ASAN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^

TESTS += build/tests/verify_test build/tests/verify_test_asan

build/tests/mutate_test: build/obj/tests/guard/mutate_test.o $(VERIFY_OBJ)
	@mkdir -p $(@D)
	$(CC) -o $@ $^

TESTS += build/tests/mutate_test

build/tests/verify_fuzz: $(call asan_objs,tests/fuzz/verify_fuzz.c tests/fuzz/texts.c) $(VERIFY_ASAN_OBJ) \
		build/tests/verify_fuzz_canary
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $(filter %.o,$^)

build/tests/verify_fuzz_canary: tests/fuzz/verify_fuzz.c build/asan/obj/tests/fuzz/texts.o $(VERIFY_ASAN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(filter-out -O2,$(CFLAGS)) -O1 $(ASAN_FLAGS) $(CPPFLAGS) -DFUZZ_CANARY -o $@ $^

TESTS += build/tests/verify_fuzz

HELPER_SRC := guard/helper.c guard/zygote.c guard/sandbox.c
HELPER_OBJ := $(call objs,$(HELPER_SRC))
HELPER_ASAN_OBJ := $(call asan_objs,$(HELPER_SRC))
GUARD_ALL_OBJ := $(HELPER_OBJ) $(call objs,guard/cli.c) $(REWRITE_OBJ) $(PTX_OBJ) $(VERIFY_OBJ)
GUARD_ALL_ASAN_OBJ := $(HELPER_ASAN_OBJ) $(call asan_objs,guard/cli.c) $(REWRITE_ASAN_OBJ) $(PTX_ASAN_OBJ) \
		$(VERIFY_ASAN_OBJ)

build/bin/agileos-guard: build/obj/guard/tool_main.o $(GUARD_ALL_OBJ)
	@mkdir -p $(@D)
	$(CC) -o $@ $^

build/tests/helper_test: build/obj/tests/guard/helper_test.o $(GUARD_ALL_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^

build/tests/helper_test_asan: build/asan/obj/tests/guard/helper_test.o $(GUARD_ALL_ASAN_OBJ) build/tests/helper_test
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -pthread -o $@ $(filter %.o,$^)

BINS += build/bin/agileos-guard
TESTS += build/tests/helper_test build/tests/helper_test_asan

build/tests/attack_test: $(call objs,tests/guard/attack_test.c tests/guard/world.c tests/softgpu/exec_harness.c) \
		$(VERIFY_OBJ) \
		$(REWRITE_OBJ) $(PTX_OBJ) $(call objs,$(sort $(wildcard worker/softgpu/exec_*.c)))
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -lm

build/tests/attack_test_asan: $(call asan_objs,tests/guard/attack_test.c tests/guard/world.c \
		tests/softgpu/exec_harness.c) $(VERIFY_ASAN_OBJ) \
		$(REWRITE_ASAN_OBJ) $(PTX_ASAN_OBJ) $(call asan_objs,$(sort $(wildcard worker/softgpu/exec_*.c)))
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -pthread -o $@ $^ -lm

TESTS += build/tests/attack_test build/tests/attack_test_asan

# Loops cut into strips: the rounds they do, the violations they report.
STRIP_SRC := tests/guard/strip_test.c tests/guard/world.c tests/softgpu/exec_harness.c
build/tests/strip_test: $(call objs,$(STRIP_SRC)) $(REWRITE_OBJ) $(PTX_OBJ) \
		$(call objs,$(sort $(wildcard worker/softgpu/exec_*.c)))
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -lm

TESTS += build/tests/strip_test

# What others left in shared and local memory.
build/tests/scrub_test: $(call objs,tests/guard/scrub_test.c tests/guard/world.c tests/softgpu/exec_harness.c) \
		$(VERIFY_OBJ) $(REWRITE_OBJ) $(PTX_OBJ) $(call objs,$(sort $(wildcard worker/softgpu/exec_*.c)))
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -lm

TESTS += build/tests/scrub_test

CONTAIN_OBJ := $(call objs,tests/fuzz/texts.c tests/guard/world.c tests/softgpu/exec_harness.c) $(VERIFY_OBJ) \
		$(REWRITE_OBJ) \
	$(PTX_OBJ) $(call objs,$(sort $(wildcard worker/softgpu/exec_*.c)))
build/tests/contain_fuzz: build/obj/tests/fuzz/contain_fuzz.o $(CONTAIN_OBJ) build/tests/contain_fuzz_canary
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $(filter %.o,$^) -lm

build/tests/contain_fuzz_canary: tests/fuzz/contain_fuzz.c $(CONTAIN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -DFUZZ_CANARY -o $@ $^ -lm

TESTS += build/tests/contain_fuzz

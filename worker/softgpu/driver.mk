# softgpu's Driver side: the CUDA Driver API in C, one function soft_<symbol> per exported symbol it supports.
SOFT_DRV_SRC := $(sort $(wildcard worker/softgpu/soft_*.c))
SOFT_DRV_OBJ := $(call objs,$(SOFT_DRV_SRC))
SOFT_DRV_ASAN := $(call asan_objs,$(SOFT_DRV_SRC))
SOFT_DRV_GEN := build/gen/soft_decl.h build/gen/soft_errors.h

$(SOFT_DRV_OBJ) $(SOFT_DRV_ASAN): | $(SOFT_DRV_GEN)

# Declarations of every soft_<symbol> by the type that cuda.h gives the symbol: a definition that differs does not
# compile.
build/gen/soft_decl.h: worker/softgpu/soft_gen.lua $(CUDA_HOME)/include/cuda.h
	@mkdir -p $(@D)
	$(CC) -E -P -D__CUDA_API_VERSION_INTERNAL $(CUDA_HOME)/include/cuda.h | $(LUA) $< declarations > $@

build/gen/soft_errors.h: worker/softgpu/soft_gen.lua api/strings.lua $(CUDA_HOME)/include/cuda.h
	@mkdir -p $(@D)
	$(LUA) $< errors $(CUDA_HOME)/include/cuda.h > $@

# For the tests: cuX -> soft_cuX, under the public names of cuda.h.
build/gen/soft_direct.h: worker/softgpu/soft_gen.lua $(CUDA_HOME)/include/cuda.h
	@mkdir -p $(@D)
	$(CC) -E -P $(CUDA_HOME)/include/cuda.h | $(LUA) $< direct > $@

# Tests: programs against cuda.h, linked with the Driver side, the processor and the PTX parser.
SOFT_DRV_TESTS := $(patsubst tests/softgpu/%.c,%,$(sort $(wildcard tests/softgpu/driver_*.c)))
SOFT_DRV_TEST_BINS := $(addprefix build/tests/soft_,$(SOFT_DRV_TESTS)) \
	$(addprefix build/tests/soft_asan_,$(SOFT_DRV_TESTS))
TESTS += $(SOFT_DRV_TEST_BINS)

$(foreach t,$(SOFT_DRV_TESTS),$(eval CFLAGS_tests_softgpu_$(t) := -DSOFT_DIRECT))
$(patsubst %,build/obj/tests/softgpu/%.o,$(SOFT_DRV_TESTS)) \
$(patsubst %,build/asan/obj/tests/softgpu/%.o,$(SOFT_DRV_TESTS)): | build/gen/soft_direct.h

LDFLAGS_nomem := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap,--wrap=pthread_create
SOFT_DRV_TEST_EXEC := $(sort $(wildcard worker/softgpu/exec_*.c))
.SECONDARY: $(call objs,$(SOFT_DRV_TEST_EXEC)) $(call asan_objs,$(SOFT_DRV_TEST_EXEC)) \
	$(patsubst %,build/obj/tests/softgpu/%.o,$(SOFT_DRV_TESTS)) \
	$(patsubst %,build/asan/obj/tests/softgpu/%.o,$(SOFT_DRV_TESTS))

build/tests/soft_driver_%: build/obj/tests/softgpu/driver_%.o $(SOFT_DRV_OBJ) \
		$(call objs,$(SOFT_DRV_TEST_EXEC)) $(PTX_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread $(LDFLAGS_$*) -o $@ $^ -lm

build/tests/soft_asan_driver_%: build/asan/obj/tests/softgpu/driver_%.o $(SOFT_DRV_ASAN) \
		$(call asan_objs,$(SOFT_DRV_TEST_EXEC)) $(PTX_ASAN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -pthread $(LDFLAGS_$*) -o $@ $^ -lm

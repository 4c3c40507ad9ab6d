# The client's core (api/client/): what every link form holds besides the Runtime and the exported names.
CLIENT_SRC := $(filter-out api/client/rt_%,$(sort $(wildcard api/client/*.c))) alloc/range.c $(SMALL_SRC)
CLIENT_OBJ := $(call objs,$(CLIENT_SRC))
$(CLIENT_OBJ) $(call asan_objs,$(CLIENT_SRC)): | build/gen/.stamp

# Its tests: against a worker of their own (tests/client/fake.c), plain and with sanitizers.
CLIENT_TEST_SRC := tests/client/core_test.c tests/client/fake.c
CLIENT_TEST_GEN = $(filter-out build/gen/cuda_exports.c,$(GEN_CLIENT_SRC))
TESTS += build/tests/client_core build/tests/client_core_asan
$(call objs,$(CLIENT_TEST_SRC)) $(call asan_objs,$(CLIENT_TEST_SRC)): | build/gen/.stamp

.SECONDEXPANSION:
build/tests/client_core: $(call objs,$(CLIENT_TEST_SRC)) $(CLIENT_OBJ) $$(call objs,$$(CLIENT_TEST_GEN))
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -l:libzstd.a -l:liblz4.a -ldl

build/tests/client_core_asan: $(call asan_objs,$(CLIENT_TEST_SRC) $(CLIENT_SRC)) $$(call asan_objs,$$(CLIENT_TEST_GEN))
	@mkdir -p $(@D)
	$(CC) -pthread $(ASAN_FLAGS) -o $@ $^ -l:libzstd.a -l:liblz4.a -ldl

# Pinned and managed memory.
PINNED_TEST_SRC := tests/client/pinned_test.c tests/client/fake.c
TESTS += build/tests/client_pinned build/tests/client_pinned_asan
$(call objs,$(PINNED_TEST_SRC)) $(call asan_objs,$(PINNED_TEST_SRC)): | build/gen/.stamp
build/tests/client_pinned: $(call objs,$(PINNED_TEST_SRC)) $(CLIENT_OBJ) $$(call objs,$$(CLIENT_TEST_GEN))
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -l:libzstd.a -l:liblz4.a -ldl
build/tests/client_pinned_asan: $(call asan_objs,$(PINNED_TEST_SRC) $(CLIENT_SRC)) \
	$$(call asan_objs,$$(CLIENT_TEST_GEN))
	@mkdir -p $(@D)
	$(CC) -pthread $(ASAN_FLAGS) -o $@ $^ -l:libzstd.a -l:liblz4.a -ldl

# A program's own mimalloc, as it would be preloaded.
build/tests/libmimalloc.so: build/mimalloc/src/static.c
	@mkdir -p $(@D)
	$(CC) -O2 -w -shared -fPIC -ftls-model=initial-exec -DMI_MALLOC_OVERRIDE -DMI_SHARED_LIB \
		-DMI_SHARED_LIB_EXPORT -DNDEBUG -Ibuild/mimalloc/include -o $@ $< -lpthread
tests/client/preload_test.sh: build/tests/libmimalloc.so build/tests/e2e/pinned build/tests/e2e/pinned_shared ;
TESTS += tests/client/preload_test.sh

# Fat binaries in every form nvcc packs them.
FATBIN_TEST := $(patsubst %,build/tests/fatbin/%.fatbin,default size speed balance none all many arch machine) \
	build/tests/fatbin/sm_90.ptx
FATBIN_PTX90 := -gencode arch=compute_90,code=[sm_90,compute_90]
FATBIN_FLAGS_default := $(FATBIN_PTX90)
FATBIN_FLAGS_size := $(FATBIN_PTX90) -compress-mode size
FATBIN_FLAGS_speed := $(FATBIN_PTX90) -compress-mode speed
FATBIN_FLAGS_balance := $(FATBIN_PTX90) -compress-mode balance
FATBIN_FLAGS_none := $(FATBIN_PTX90) -no-compress
FATBIN_FLAGS_all := $(FATBIN_PTX90) -Xfatbin -compress-all
FATBIN_FLAGS_many := $(foreach a,75 80 90 100,-gencode arch=compute_$(a),code=compute_$(a)) \
	-gencode arch=compute_90,code=sm_90
FATBIN_FLAGS_arch := -gencode arch=compute_90a,code=[sm_90a,compute_90a]
FATBIN_FLAGS_machine := -gencode arch=compute_90,code=sm_90
build/tests/fatbin/%.fatbin: tests/client/fatbin_kernel.cu
	@mkdir -p $(@D)
	$(NVCC) -fatbin $(FATBIN_FLAGS_$*) -o $@ $<
build/tests/fatbin/sm_90.ptx: tests/client/fatbin_kernel.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=compute_90 -o $@ $<

TESTS += build/tests/client_fatbin build/tests/client_fatbin_asan tests/fuzz/fatbin_fuzz.sh
$(call objs,tests/client/fatbin_test.c) $(call asan_objs,tests/client/fatbin_test.c): | build/gen/.stamp
build/tests/client_fatbin build/tests/client_fatbin_asan: | $(FATBIN_TEST)
build/tests/client_fatbin: $(call objs,tests/client/fatbin_test.c) $(CLIENT_OBJ) $$(call objs,$$(CLIENT_TEST_GEN))
	@mkdir -p $(@D)
	$(CC) -pthread -o $@ $^ -l:libzstd.a -l:liblz4.a -ldl
build/tests/client_fatbin_asan: $(call asan_objs,tests/client/fatbin_test.c $(CLIENT_SRC)) \
	$$(call asan_objs,$$(CLIENT_TEST_GEN))
	@mkdir -p $(@D)
	$(CC) -pthread $(ASAN_FLAGS) -o $@ $^ -l:libzstd.a -l:liblz4.a -ldl

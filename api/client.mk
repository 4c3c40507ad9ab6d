# The client's core (api/client/): what every link form holds besides the Runtime and the exported names.
CLIENT_SRC := $(addprefix api/client/,core.c session.c launcher.c ring.c ids.c wait.c stream.c event.c hostfunc.c memory.c memapi.c pool.c heap.c \
	copy.c copy3d.c module.c library.c func.c link.c launch.c fatbin.c context.c device.c printf.c) alloc/range.c
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

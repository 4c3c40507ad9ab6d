# The whole worker, and clients, under the sanitizers: the end-to-end programs again.
# softgpu's fragment is read after this one, so its files are named by pattern.
ASAN_WORKER_OBJ := $(call asan_objs,worker/main.c $(WORKER_SRC) $(WINDOW_SRC) $(ADAPTERS_SRC) \
	$(filter-out guard/tool_main.c,$(sort $(wildcard guard/*.c))) \
	$(sort $(wildcard worker/softgpu/soft_*.c worker/softgpu/exec_*.c)) \
	$(patsubst %,build/gen/%.c,guard_runtime guard_soft adapters worker_table driver_none driver_nv driver_soft))
$(ASAN_WORKER_OBJ): | $(WORKER_GEN) build/gen/build_id.h
build/asan/bin/agileos: $(ASAN_WORKER_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -pthread -o $@ $^ -lm -ldl

# A client's archive needs no hidden names here: nothing else is linked.
ASAN_CLIENT_OBJ := $(call asan_objs,$(CLIENT_SRC) $(RT_SRC) $(GEN_CLIENT_SRC) $(GEN_RUNTIME_SRC))
build/asan/lib/libcudart_static.a: $(ASAN_CLIENT_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) crs $@ $^

ASAN_E2E := memory streams graphs misc pools
build/asan/e2e/%: tests/e2e/%.cu tests/e2e/check.h build/asan/lib/libcudart_static.a
	@mkdir -p $(@D)
	$(E2E_NVCC) $(addprefix -Xcompiler ,-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all) \
		-o $@ $< -Lbuild/asan/lib $(CODECS)

tests/e2e/asan_test.sh: build/asan/bin/agileos $(ASAN_E2E:%=build/asan/e2e/%) $(E2E:%=build/tests/e2e/%) \
	build/tests/e2e/two build/tests/worker_load ;
TESTS += tests/e2e/asan_test.sh

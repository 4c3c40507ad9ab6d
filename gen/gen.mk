# The generator, and build/gen/* that it makes.  One run makes all files and touches only those whose content
# changed; the stamp says
# when it last ran.
GEN := build/bin/agileos-gen
GEN_LUA_CFLAGS := $(shell pkg-config --cflags lua5.4 2>/dev/null || echo -I/usr/include/lua5.4)
GEN_LUA_LIBS := $(shell pkg-config --libs lua5.4 2>/dev/null || echo -llua5.4)
GEN_LLVM := $(firstword $(wildcard /usr/lib/llvm-14 /usr/lib/llvm-*))
# libclang brings its own stddef.h with libclang-common; gcc's serves where that is missing.
export AGILEOS_GEN_CFLAGS := -idirafter $(shell $(CC) -print-file-name=include)

GEN_SRC := gen/main.c gen/scan.c
CFLAGS_gen_main := $(GEN_LUA_CFLAGS)
CFLAGS_gen_scan := $(GEN_LUA_CFLAGS) -I$(GEN_LLVM)/include
BINS += $(GEN)

$(GEN): $(call objs,$(GEN_SRC))
	@mkdir -p $(@D)
	$(CC) $^ -o $@ -L$(GEN_LLVM)/lib -lclang $(GEN_LUA_LIBS)

GEN_DATA := $(wildcard gen/*.lua gen/templates/*.lua api/*.lua)
GEN_HEADERS := $(addprefix build/gen/,msg.h driver.h calls.h worker_calls.h rt_calls.h procaddress.h errors.h)
GEN_SOURCES := $(addprefix build/gen/,driver_none.c driver_nv.c driver_soft.c client_table.c cuda_exports.c \
	worker_table.c \
	cudart_lowered.c cudart_exports.c procaddress.c errors.c client_auto.c)
GEN_LISTS := $(addprefix build/gen/,libcuda.map libcudart.map cuda.syms cudart.syms)
GEN_FILES := $(GEN_HEADERS) $(GEN_SOURCES) $(GEN_LISTS)

GEN_CUDA_H := $(wildcard $(addprefix $(CUDA_HOME)/include/,cuda.h cudaTypedefs.h cuda_runtime_api.h driver_types.h))
build/gen/.stamp: $(GEN) $(GEN_DATA) $(GEN_CUDA_H)
	@mkdir -p $(@D)
	@mkdir -p build/gen/tests
	$(GEN) . all build/gen $(CUDA_HOME)/include
	@touch $@
$(GEN_FILES): build/gen/.stamp ;

# Sources elsewhere include these before any dependency file exists.
GEN_USERS = $(filter-out gen/%,$(wildcard api/*/*.c worker/*.c worker/softgpu/soft_*.c))
$(call objs,$(GEN_USERS) $(GEN_SOURCES)) $(call asan_objs,$(GEN_USERS) $(GEN_SOURCES)): | build/gen/.stamp

# For the parts that link them.
GEN_CLIENT_SRC := $(addprefix build/gen/,client_table.c client_auto.c cuda_exports.c procaddress.c errors.c \
	driver_none.c)
GEN_RUNTIME_SRC := build/gen/cudart_lowered.c build/gen/cudart_exports.c
GEN_WORKER_SRC := build/gen/worker_table.c build/gen/driver_none.c build/gen/driver_nv.c build/gen/driver_soft.c

opcodes: $(GEN)
	$(GEN) . opcodes build/gen $(CUDA_HOME)/include

coverage: $(GEN)
	@mkdir -p build/gen
	@$(GEN) . coverage build/gen $(CUDA_HOME)/include

.PHONY: opcodes

# Tests: the generated ones of auto functions, plain and under the sanitizers, and the generator's own.
GEN_TEST_SRC := build/gen/tests/auto_test.c build/gen/client_auto.c build/gen/driver_none.c
build/gen/tests/auto_test.c: build/gen/.stamp ;
$(call objs,$(GEN_TEST_SRC)) $(call asan_objs,$(GEN_TEST_SRC)): | build/gen/.stamp
build/tests/gen_auto: $(call objs,$(GEN_TEST_SRC))
	@mkdir -p $(@D)
	$(CC) $^ -o $@
build/tests/gen_auto_asan: $(call asan_objs,$(GEN_TEST_SRC))
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) $^ -o $@
build/tests/gen: tests/gen/run.lua $(GEN) build/gen/.stamp
	@mkdir -p $(@D)
	@printf '#!/bin/sh\nGEN=%s CUDA_HOME=%s exec %s tests/gen/run.lua\n' $(GEN) $(CUDA_HOME) $(LUA) > $@
	@chmod +x $@
TESTS += build/tests/gen build/tests/gen_auto build/tests/gen_auto_asan

# Rewrites what is committed for review: golden output, classes, signatures.
listings: $(GEN) build/gen/.stamp
	UPDATE=1 GEN=$(GEN) CUDA_HOME=$(CUDA_HOME) $(LUA) tests/gen/run.lua
.PHONY: listings

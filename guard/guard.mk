# The PTX parser: text to struct ptx_module.  The guard, softgpu and their tests link $(PTX_OBJ).

PTX_SRC := $(addprefix guard/,lex.c parse.c parse_body.c parse_decl.c parse_expr.c parse_func.c parse_init.c \
	parse_operand.c parse_scope.c ptx_dump.c ptx_mem.c ptx_tables.c)
PTX_OBJ := $(call objs,$(PTX_SRC))
PTX_ASAN_OBJ := $(call asan_objs,$(PTX_SRC))

PTX_TEST_LINK := -Wl,--wrap=calloc,--wrap=realloc

build/tests/guard_parse: build/obj/tests/guard/parse_test.o $(PTX_OBJ)
	@mkdir -p $(@D)
	$(CC) $^ $(PTX_TEST_LINK) -o $@

build/tests/guard_parse_asan: build/asan/obj/tests/guard/parse_test.o $(PTX_ASAN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) $^ $(PTX_TEST_LINK) -o $@

TESTS += build/tests/guard_parse build/tests/guard_parse_asan

# The same texts, and real compiler output, through ptxas: both must read them alike.
PTX_CORPUS := build/tests/guard/corpus.ptx build/tests/guard/corpus_debug.ptx
build/tests/guard/corpus.ptx: tests/guard/parse/corpus.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 -lineinfo -rdc=true $< -o $@
build/tests/guard/corpus_debug.ptx: tests/guard/parse/corpus.cu
	@mkdir -p $(@D)
	$(NVCC) -ptx -arch=sm_90 -G $< -o $@

build/tests/guard_parse_ptxas: build/tests/guard_parse tests/guard/parse_ptxas.lua $(PTX_CORPUS)
	@printf '#!/bin/sh\nexec %s tests/guard/parse_ptxas.lua build/tests/guard_parse build/tests/guard/parse %s\n' \
		'$(LUA)' '$(PTX_CORPUS)' > $@ && chmod +x $@

TESTS += build/tests/guard_parse_ptxas

# The fuzzer, its fixed run, and the proof that it bites.
PTX_FUZZ_ITERATIONS ?= 6000
build/tests/ptx_fuzz: build/asan/obj/tests/fuzz/ptx_fuzz.o $(PTX_ASAN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) $^ -o $@

build/tests/ptx_fuzz_canary: tests/fuzz/ptx_fuzz.c $(PTX_ASAN_OBJ)
	@mkdir -p $(@D)
	$(CC) $(filter-out -O2,$(CFLAGS)) -O1 $(ASAN_FLAGS) $(CPPFLAGS) -DAG_CANARY $^ -o $@

build/tests/guard_parse_fuzz: build/tests/ptx_fuzz build/tests/ptx_fuzz_canary tests/fuzz/canary_fuzz.sh
	@printf '#!/bin/sh\nexec tests/fuzz/canary_fuzz.sh %s %s tests/guard/parse/*.ptx\n' \
		'build/tests/ptx_fuzz build/tests/ptx_fuzz_canary' '$(PTX_FUZZ_ITERATIONS)' > $@ && chmod +x $@

TESTS += build/tests/guard_parse_fuzz

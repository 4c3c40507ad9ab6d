# The client's part of alloc: the range allocator, and its tests.
RANGE_SRC := alloc/range.c
RANGE_OBJ := $(call objs,$(RANGE_SRC))
TESTS += build/tests/range_test build/tests/range_test_asan

build/tests/range_test: build/obj/tests/alloc/range_test.o $(RANGE_OBJ)
	@mkdir -p $(@D)
	$(CC) -o $@ $^

build/tests/range_test_asan: build/asan/obj/tests/alloc/range_test.o $(call asan_objs,$(RANGE_SRC))
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -o $@ $^

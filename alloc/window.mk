# Windows: the worker's side of a client's memory.
WINDOW_SRC := alloc/window.c alloc/prim_driver.c
WINDOW_OBJ := $(call objs,$(WINDOW_SRC))
WINDOW_ASAN := $(call asan_objs,$(WINDOW_SRC))
$(WINDOW_OBJ) $(WINDOW_ASAN) build/obj/tests/alloc/window_test.o \
		build/asan/obj/tests/alloc/window_test.o: | build/gen/driver.h

build/tests/window_asan: build/asan/obj/tests/alloc/window_test.o $(WINDOW_ASAN)
	@mkdir -p $(@D)
	$(CC) $(ASAN_FLAGS) -pthread -o $@ $^

TESTS += build/tests/window_asan

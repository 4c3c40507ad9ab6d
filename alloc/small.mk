# Small blocks of the client's host memory: mimalloc, from Debian's source package, on ranges of the window.
SMALL_SRC := alloc/small.c alloc/mimalloc.c
SMALL_OBJ := $(call objs,$(SMALL_SRC))

# Once; where there is no apt, put include/ and src/ of the version that .ci/mimalloc names into build/mimalloc.
build/mimalloc/src/static.c:
	bash .ci/mimalloc

# Segments of 4 MiB instead of 32: what a program pins for its first small block, and the least that can come back.
build/mimalloc/small/types.h: build/mimalloc/src/static.c alloc/small.mk
	@mkdir -p $(@D)
	sed 's/^\(#define MI_SEGMENT_SHIFT  *( \)9 + MI_SEGMENT_SLICE_SHIFT)/\1 6 + MI_SEGMENT_SLICE_SHIFT)/' \
		build/mimalloc/include/mimalloc-types.h > $@

# As system headers: its warnings are not ours to mend.
CFLAGS_alloc_mimalloc := -Wno-maybe-uninitialized -isystem build/mimalloc/include -isystem build/mimalloc/src \
	-isystem build/mimalloc
CFLAGS_alloc_small := -isystem build/mimalloc/include
$(SMALL_OBJ) $(call asan_objs,$(SMALL_SRC)): build/mimalloc/small/types.h

# The worker's malloc, from the same sources.  Other programs of ours keep the system's.
MALLOC_OBJ := build/obj/alloc/malloc.o
CFLAGS_alloc_malloc := -Wno-maybe-uninitialized -ftls-model=initial-exec -isystem build/mimalloc/include \
	-isystem build/mimalloc/src
$(MALLOC_OBJ): build/mimalloc/src/static.c

TESTS += build/tests/small_test build/tests/small_test_asan
SMALL_WRAP := -Wl,--wrap=calloc,--wrap=malloc
build/tests/small_test: build/obj/tests/alloc/small_test.o $(SMALL_OBJ) $(RANGE_OBJ)
	@mkdir -p $(@D)
	$(CC) -pthread $(SMALL_WRAP) -o $@ $^

build/tests/small_test_asan: build/asan/obj/tests/alloc/small_test.o $(call asan_objs,$(SMALL_SRC) $(RANGE_SRC))
	@mkdir -p $(@D)
	$(CC) -pthread $(ASAN_FLAGS) $(SMALL_WRAP) -o $@ $^

# AgileOS. `make` builds everything into build/, `make check` tests it, `make demo` shows it.
# Each folder describes itself in <folder>.mk; this file holds only what they share.

all:

SHELL := /bin/bash
# Empty counts as unset: the first make of a fresh machine runs before .ci/deps has fetched a toolkit.
ifeq ($(strip $(CUDA_HOME)),)
CUDA_HOME := $(firstword $(wildcard /usr/local/cuda $(CURDIR)/build/cuda))
endif
export CUDA_HOME
NVCC      := $(CUDA_HOME)/bin/nvcc
LUA       := lua5.4
CC        := gcc
CXX       := g++
AR        := ar
LD        := ld
OBJCOPY   := objcopy
WARN      := -Wall -Wextra -Werror
CFLAGS    := -std=gnu11 -O2 -g $(WARN) -fPIC -fvisibility=hidden -pthread -fno-semantic-interposition
CPPFLAGS  := -I. -Ibuild/gen -I$(CUDA_HOME)/include -D_GNU_SOURCE
ASAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# Where this tree stands, in a header: one that was moved or copied is built for its new place.
PREFIX_H := \#define AG_BUILD_PREFIX "$(abspath build)"
$(shell echo '$(PREFIX_H)' | cmp -s - build/gen/prefix.h || \
	(mkdir -p build/gen && echo '$(PREFIX_H)' > build/gen/prefix.h))

objs      = $(patsubst %.c,build/obj/%.o,$(1))
asan_objs = $(patsubst %.c,build/asan/obj/%.o,$(1))

# What `all` builds and `check` runs; the fragments append.
BINS  :=
LIBS  :=
TESTS := tests/tidy.lua

include $(wildcard */*.mk */*/*.mk)

all: $(BINS) $(LIBS)

build/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c $< -o $@

build/asan/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -O2,$(CFLAGS)) -O1 $(ASAN_FLAGS) $(CPPFLAGS) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c $< -o $@

check: all $(TESTS)
	$(LUA) tests/run.lua $(TESTS)

clean:
	rm -rf build

-include $(shell find build/obj build/asan/obj -name '*.d' 2>/dev/null)

.PHONY: all check clean demo coverage
.DELETE_ON_ERROR:

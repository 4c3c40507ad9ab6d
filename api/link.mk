# The link forms.  One set of objects; what differs is which names stay global.
#   libcudart_static.a  the Runtime + the core      libcuda.a    the Driver + the core
#   libcudart.so.13     the same, shared            libcuda.so.1 the same, shared
# Any of them may be linked together: each keeps its core local, and the first one asked serves the process.
# An archive holds one relocatable object with zstd and lz4 inside: a program needs libc, libpthread and libdl besides.
RT_SRC := $(wildcard api/client/rt_*.c)
CORE_OBJ = $(CLIENT_OBJ) $(call objs,$(filter-out build/gen/cuda_exports.c,$(GEN_CLIENT_SRC)))
CUDA_OBJ = $(call objs,build/gen/cuda_exports.c)
CUDART_OBJ = $(call objs,$(RT_SRC) $(GEN_RUNTIME_SRC))
CODECS := $(shell for l in zstd lz4; do $(CC) -print-file-name=lib$$l.a; done)

LINK_LIBS := build/lib/libcuda.a build/lib/libcudart_static.a build/lib/libcuda.so.1 build/lib/libcudart.so.13
LIBS += $(LINK_LIBS)

# Each form starts as one object in which only CUDA's own names are global.
# Expanded when make runs: fragments read later define what these hold.
.SECONDEXPANSION:
build/obj/link/cuda.o: $$(CUDA_OBJ) build/gen/cuda.syms
build/obj/link/cudart.o: $$(CUDART_OBJ) build/gen/cudart.syms
build/obj/link/%.o: $$(CORE_OBJ)
	@mkdir -p $(@D)
	$(LD) -r -o $@.all $(filter %.o,$^) $(CODECS)
	$(OBJCOPY) --keep-global-symbols=build/gen/$*.syms $@.all $@
	@rm -f $@.all

# In an archive the names are hidden besides, as NVIDIA's are: a shared library with a Runtime of its own must not be
# bound to the program's. A reference that calls a name hidden makes it so.
build/lib/libcuda.a: build/obj/link/cuda.o api/link.mk
build/lib/libcudart_static.a: build/obj/link/cudart.o api/link.mk
build/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	(echo '.section .note.GNU-stack,"",@progbits'; sed 's/.*/.globl &; .hidden &/' \
		$(<:build/obj/link/%.o=build/gen/%.syms)) | $(AS) -o $(<:%.o=%.hidden) -
	$(LD) -r -o $(<:%.o=%.a.o) $< $(<:%.o=%.hidden)
	$(AR) crs $@ $(<:%.o=%.a.o)

# No libcuda.so beside libcuda.so.1: -lcuda takes the archive, and the program runs with no environment set;
# -l:libcuda.so.1 takes the other.
# nodelete: the core stays while any other copy may use its table.
SHARED = $(CC) -shared -Wl,-soname,$(@F) -Wl,--version-script,$(filter %.map,$^) -Wl,-z,nodelete -Wl,-z,defs \
	-Wl,-Bsymbolic -o $@ $(filter %.o,$^) -ldl -lpthread
build/lib/libcuda.so.1: build/obj/link/cuda.o build/gen/libcuda.map
	@mkdir -p $(@D)
	$(SHARED)
build/lib/libcudart.so.13: build/obj/link/cudart.o build/gen/libcudart.map
	@mkdir -p $(@D)
	$(SHARED)
	ln -sf $(@F) build/lib/libcudart.so

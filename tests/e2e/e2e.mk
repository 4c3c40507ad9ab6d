# End-to-end programs: ordinary CUDA, built by plain nvcc against build/lib; each starts its own worker when it runs.
# `make e2e-native` builds the same sources against NVIDIA's runtime, to be run on a machine with a GPU.
E2E := memory barriers vmm reset drv_vectoradd threads streams graphs kernels output faults driver perthread arrays \
	pools misc ptx58 clusters rdc pinned surfaces surface_bounds \
	memory_shared streams_shared pinned_shared
E2E_NVCC := $(NVCC) -std=c++17 -O1 -w -I.
E2E_FLAGS_driver := -lcuda
E2E_FLAGS_vmm := -lcuda
E2E_FLAGS_misc := -lcuda
E2E_FLAGS_ptx58 := -arch=sm_90 --extended-lambda
E2E_FLAGS_clusters := -arch=sm_90
E2E_FLAGS_drv_vectoradd := -lcuda
E2E_FLAGS_perthread := -default-stream per-thread
E2E_FLAGS_rdc := -rdc=true
E2E_SRC = $(if $(filter rdc,$(1)),tests/e2e/rdc_main.cu tests/e2e/rdc_other.cu,tests/e2e/$(patsubst %_shared,%,$(1)).cu)
E2E_SHARED = -cudart shared -Xlinker -rpath=$(abspath build/lib)

define e2e_program
build/tests/e2e/$(1): $(call E2E_SRC,$(1)) tests/e2e/check.h $$(LINK_LIBS) | build/bin/agileos
	@mkdir -p $$(@D)
	$$(E2E_NVCC) -o $$@ $(call E2E_SRC,$(1)) $$(E2E_FLAGS_$(1)) \
		$(if $(filter %_shared,$(1)),$$(E2E_SHARED)) -Lbuild/lib
build/native/e2e/$(1): $(call E2E_SRC,$(1)) tests/e2e/check.h
	@mkdir -p $$(@D)
	$$(E2E_NVCC) -o $$@ $(call E2E_SRC,$(1)) $$(E2E_FLAGS_$(1)) -L$(CUDA_HOME)/lib64/stubs
endef
$(foreach p,$(E2E),$(eval $(call e2e_program,$(p))))

# A program with the static Runtime and a library with the shared one. The library finds its Runtime by path: it needs
# no environment either.
TWO = $(E2E_NVCC) -Xlinker -rpath='$$ORIGIN'
TWO_SRC := tests/e2e/two_main.cu tests/e2e/two_library.cu tests/e2e/two.h tests/e2e/check.h
build/tests/e2e/two: $(TWO_SRC) $(LINK_LIBS) | build/bin/agileos
	@mkdir -p $(@D)
	$(E2E_NVCC) -shared -Xcompiler -fPIC $(E2E_SHARED) -o $(@D)/libtwo.so tests/e2e/two_library.cu -Lbuild/lib
	$(TWO) -o $@ tests/e2e/two_main.cu -L$(@D) -ltwo -Lbuild/lib
build/native/e2e/two: $(TWO_SRC)
	@mkdir -p $(@D)
	$(E2E_NVCC) -shared -Xcompiler -fPIC -cudart shared -Xlinker -rpath=$(CUDA_HOME)/lib64 -o $(@D)/libtwo.so \
		tests/e2e/two_library.cu
	$(TWO) -o $@ tests/e2e/two_main.cu -L$(@D) -ltwo

TESTS += $(E2E:%=build/tests/e2e/%) build/tests/e2e/two tests/e2e/exports_test.lua
tests/e2e/daemon_test.sh: $(E2E:%=build/tests/e2e/%) build/tests/client_meet ;
TESTS += tests/e2e/daemon_test.sh
e2e-native: $(patsubst %,build/native/e2e/%,$(filter-out %_shared,$(E2E)) two)
.PHONY: e2e-native

# The same program with PTX and with machine code alone.
REFUSALS_sass := -gencode arch=compute_90,code=sm_90
build/tests/refusals_%: tests/client/refusals.cu $(LINK_LIBS) | build/bin/agileos
	@mkdir -p $(@D)
	$(E2E_NVCC) $(REFUSALS_$*) -o $@ $< -Lbuild/lib
tests/client/refusals_test.sh: build/tests/refusals_sass build/tests/refusals_ptx ;
TESTS += tests/client/refusals_test.sh

# What differs from NVIDIA's promises or goes beyond them, and so is no end-to-end test.
BEYOND := $(addprefix build/tests/client_,recover captured meet)
$(BEYOND): build/tests/client_%: tests/client/%.cu tests/e2e/check.h $(LINK_LIBS) | build/bin/agileos
	@mkdir -p $(@D)
	$(E2E_NVCC) -arch=sm_90 -o $@ $< -Lbuild/lib
TESTS += $(BEYOND)

# Error texts beside those of the toolkit's runtime.
$(eval $(call e2e_program,errors))
tests/e2e/errors_test.sh: build/tests/e2e/errors build/native/e2e/errors ;
TESTS += tests/e2e/errors_test.sh

# The examples, each built twice from one source: against our libraries, and (native_*) against NVIDIA's.
EXAMPLES := heat2d neighbour rogue
EXAMPLE_BINS := $(EXAMPLES:%=build/examples/%) build/examples/native_heat2d

build/examples/heat2d build/examples/native_heat2d: $(wildcard examples/heat2d/*) adapters/ledger/ledger.cuh
build/examples/neighbour: examples/tenants/neighbour.cu
build/examples/rogue: examples/tenants/rogue.cu

$(EXAMPLES:%=build/examples/%): $(LINK_LIBS)
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -O2 $(filter %.cu,$^) -o $@ -Lbuild/lib

build/examples/native_%:
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -O2 $(filter %.cu,$^) -o $@

all: $(EXAMPLE_BINS)

# Installs what is missing, builds, shows the main job.
demo:
	bash .ci/deps
	$(MAKE) -j2 all
	bash examples/demo.sh

TESTS += examples/demo_test.sh

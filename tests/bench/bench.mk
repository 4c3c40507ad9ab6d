# Benchmarks, each built twice. On a machine with a GPU: `make bench` runs both forms in one go and prints the ratios.
BENCHES := bench_api bench_kernels
$(foreach b,$(BENCHES),$(eval build/bench/native_$(b) build/bench/$(b): tests/bench/$(b).cu))
$(BENCHES:%=build/bench/%): $(LINK_LIBS) | build/bin/agileos
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -O2 -w -arch=sm_90 $(filter %.cu,$^) -o $@ -Lbuild/lib
$(BENCHES:%=build/bench/native_%):
	@mkdir -p $(@D)
	$(NVCC) -std=c++17 -O2 -w -arch=sm_90 $(filter %.cu,$^) -o $@

# What the guard costs kernels, with and without reports.
bench-guard: build/bench/native_bench_kernels build/bench/bench_kernels
	LUA=$(LUA) tests/bench/guard.sh

bench: $(BENCHES:%=build/bench/native_%) $(BENCHES:%=build/bench/%)
	for b in $(BENCHES); do \
		build/bench/native_$$b >build/bench/$$b.native.txt && build/bench/$$b >build/bench/$$b.ours.txt && \
		$(LUA) tests/bench/compare.lua build/bench/$$b.native.txt build/bench/$$b.ours.txt; done
.PHONY: bench bench-guard

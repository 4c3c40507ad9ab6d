# Protected services: adapters/<name>/manifest.lua, <name>.c, <name>.cu. Device code becomes text inside the worker.
ADAPTERS := $(sort $(patsubst adapters/%/manifest.lua,%,$(wildcard adapters/*/manifest.lua)))
ADAPTERS_SRC := $(foreach a,$(ADAPTERS),adapters/$(a)/$(a).c)
ADAPTERS_OBJ := $(call objs,$(ADAPTERS_SRC)) build/obj/build/gen/adapters.o

build/gen/gate_slots.h: adapters/collect.lua $(wildcard adapters/*/manifest.lua)
	@mkdir -p $(@D)
	$(LUA) $< slots $(ADAPTERS) > $@

define adapter_rules
build/gen/adapter_$(1).ptx: adapters/$(1)/$(1).cu $$(wildcard adapters/$(1)/*.h) adapters/gate.cuh \
		build/gen/gate_slots.h
	$$(NVCC) -ptx -rdc=true -arch=compute_90 -O3 -include build/gen/gate_slots.h $$< -o $$@
endef
$(foreach a,$(ADAPTERS),$(eval $(call adapter_rules,$(a))))

build/gen/adapters.c: adapters/collect.lua $(wildcard adapters/*/manifest.lua) \
		$(foreach a,$(ADAPTERS),build/gen/adapter_$(a).ptx)
	$(LUA) $< table $(foreach a,$(ADAPTERS),$(a)=build/gen/adapter_$(a).ptx) > $@

$(ADAPTERS_OBJ): | build/gen/driver.h

-- driver.lua -> driver.h, driver_none.c, driver_nv.c, driver_soft.c: the table of Driver entry points and who fills it.
local U = require("gen.util")
local T = {}

function T.header(g)
	local b = U.buffer()
	b([[
/* Generated from cuda.h: the Driver table, one member per exported name of libcuda (all versions, per-thread twins
 * included).
 * Filled by ag_driver_load_nv (NVIDIA's libcuda), ag_driver_load_soft (softgpu), or a client core (agc_own_table). */
#ifndef AG_GEN_DRIVER_H
#define AG_GEN_DRIVER_H

#ifndef __CUDA_API_VERSION_INTERNAL
#define __CUDA_API_VERSION_INTERNAL
#endif
#include <cuda.h>
#include <cudaProfiler.h>

struct ag_driver {]])
	for _, f in ipairs(g.cuda.functions) do b("\t%s (*%s)(%s);", f.ret.spell, f.name, U.parameters(f)) end
	b([[
};
#define AG_DRIVER_NAMES %d

/* Every member returns CUDA_ERROR_NOT_SUPPORTED. */
extern const struct ag_driver ag_driver_none;

/* 0, or -1 when there is no NVIDIA driver on this machine; then the table is ag_driver_none.  AGILEOS_DRIVER names
 * another libcuda.
 * Names that the installed driver lacks return CUDA_ERROR_NOT_SUPPORTED. */
int ag_driver_load_nv(struct ag_driver *d);
/* soft_<name> where softgpu defines it, CUDA_ERROR_NOT_SUPPORTED elsewhere. */
void ag_driver_load_soft(struct ag_driver *d);

/* The id that only our own libcuda answers in cuGetExportTable: a worker must never take a client library for its
 * driver. */
#define AG_OWN_LIBRARY_UUID { { 'A', 'g', 'i', 'l', 'e', 'O', 'S', ' ', 'c', 'l', 'i', 'e', 'n', 't', 0, 1 } }

#endif]], #g.cuda.functions)
	return b:text()
end

function T.none(g)
	local b = U.buffer()
	b("/* Generated: the Driver table in which nothing is supported. */\n#include \"driver.h\"\n")
	for _, f in ipairs(g.cuda.functions) do
		b("static %s none_%s(%s)\n{\n\t%s\n\treturn CUDA_ERROR_NOT_SUPPORTED;\n}\n", f.ret.spell, f.name,
			U.parameters(f), U.unused(f))
	end
	b("const struct ag_driver ag_driver_none = {")
	for _, f in ipairs(g.cuda.functions) do b("\t.%s = none_%s,", f.name, f.name) end
	b("};")
	return b:text()
end

function T.nv(g)
	local b = U.buffer()
	b([[
/* Generated: fills the Driver table from NVIDIA's libcuda. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "driver.h"

static const struct { const char *name; size_t offset; } members[] = {]])
	for _, f in ipairs(g.cuda.functions) do b("\t{ \"%s\", offsetof(struct ag_driver, %s) },", f.name, f.name) end
	b([[
};

/* LD_LIBRARY_PATH may lead to our own libcuda, which would start a worker, which would load it ... */
static int is_ours(void *library)
{
	CUresult (*ask)(const void **, const CUuuid *);
	*(void **)&ask = dlsym(library, "cuGetExportTable");
	const CUuuid own = AG_OWN_LIBRARY_UUID;
	const void *table = NULL;
	return ask && ask(&table, &own) == CUDA_SUCCESS;
}

static void *open_driver(void)
{
	const char *chosen = getenv("AGILEOS_DRIVER");
	const char *const places[] = { chosen && *chosen ? chosen : "libcuda.so.1",
		"/usr/lib/x86_64-linux-gnu/libcuda.so.1",
		"/usr/lib64/libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1",
			"/usr/lib/aarch64-linux-gnu/libcuda.so.1" };
	size_t n = chosen && *chosen ? 1 : sizeof places / sizeof *places;
	for (size_t i = 0; i < n; i++) {
		void *library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
		if (library && !is_ours(library))
			return library;
		if (library)
			dlclose(library);
	}
	return NULL;
}

int ag_driver_load_nv(struct ag_driver *d)
{
	*d = ag_driver_none;
	void *library = open_driver();
	if (!library)
		return -1;
	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		void *entry = dlsym(library, members[i].name);
		if (entry)
			memcpy((char *)d + members[i].offset, &entry, sizeof entry);
	}
	return 0;
}]])
	return b:text()
end

function T.soft(g)
	local b = U.buffer()
	b("/* Generated: fills the Driver table from softgpu. */\n#include \"driver.h\"\n")
	for _, f in ipairs(g.cuda.functions) do
		b("%s soft_%s(%s) __attribute__((weak));", f.ret.spell, f.name, U.parameters(f))
	end
	b("\nvoid ag_driver_load_soft(struct ag_driver *d)\n{\n\t*d = ag_driver_none;")
	for _, f in ipairs(g.cuda.functions) do
		b("\tif (soft_%s)\n\t\td->%s = soft_%s;", f.name, f.name, f.name)
	end
	b("}")
	return b:text()
end

return T

/* library.c - libraries and their kernels: modules that belong to no context.  A library is loaded when it is made;
 * its CUkernel is a second handle of the module's function.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct library { ag_id id; struct agc_module *module; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define LIBRARY(l, h) \
	AGC_FOUND(struct library, l, AGC_READY, agc_id_state(AG_K_LIBRARY, h, NULL), CUDA_ERROR_INVALID_HANDLE)

static CUresult load(CUlibrary *out, const void *image, size_t size)
{
	AGC_READY();
	if (!out || !image)
		return CUDA_ERROR_INVALID_VALUE;
	struct library *l = calloc(1, sizeof *l);
	if (!l || !(l->id = agc_id_new(AG_K_LIBRARY, l))) {
		free(l);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	CUresult r = agc_module_load(image, size, NULL, &l->module);
	if (r) {
		agc_id_free(l->id);
		free(l);
		return r;
	}
	*agc_module_owner(l->module) = l->id;
	*out = (CUlibrary)(uintptr_t)l->id;
	return CUDA_SUCCESS;
}

CUresult call_cuLibraryLoadData(CUlibrary *out, const void *image, CUjit_option *jit, void **jit_values, unsigned njit,
                                CUlibraryOption *options, void **values, unsigned n)
{
	if ((njit && (!jit || !jit_values)) || (n && (!options || !values)))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = load(out, image, 0);
	agc_jit_logs(njit, jit, jit_values, r);
	return r;
}

CUresult call_cuLibraryLoadFromFile(CUlibrary *out, const char *path, CUjit_option *jit, void **jit_values,
				    unsigned njit, CUlibraryOption *options, void **values, unsigned n)
{
	void *data;
	size_t size;
	AGC_READY();
	if ((njit && (!jit || !jit_values)) || (n && (!options || !values)))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_read_file(path, &data, &size);
	if (r)
		return r;
	r = load(out, data, size);
	agc_jit_logs(njit, jit, jit_values, r);
	free(data);
	return r;
}

CUresult call_cuLibraryUnload(CUlibrary h)
{
	LIBRARY(l, h);
	agc_id_free(l->id);
	CUresult r = agc_module_unload(l->module);
	free(l);
	return r;
}

static CUresult kernel_handle(struct agc_function *f, CUkernel *out)
{
	pthread_mutex_lock(&lock);
	if (!f->kernel_id)
		f->kernel_id = agc_id_new(AG_K_KERNEL, f);
	*out = (CUkernel)(uintptr_t)f->kernel_id;
	pthread_mutex_unlock(&lock);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult call_cuLibraryGetKernel(CUkernel *out, CUlibrary h, const char *name)
{
	LIBRARY(l, h);
	if (!out || !name)
		return CUDA_ERROR_INVALID_VALUE;
	struct agc_function *f = agc_module_find(l->module, name);
	return f ? kernel_handle(f, out) : CUDA_ERROR_NOT_FOUND;
}

CUresult call_cuLibraryGetKernelCount(unsigned *count, CUlibrary h)
{
	LIBRARY(l, h);
	return AGC_GIVE(count, agc_module_kernels(l->module));
}

CUresult call_cuLibraryEnumerateKernels(CUkernel *out, unsigned n, CUlibrary h)
{
	LIBRARY(l, h);
	if (!out && n)
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned i = 0; i < n && i < agc_module_kernels(l->module); i++) {
		CUresult r = kernel_handle(agc_module_kernel(l->module, i), &out[i]);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

CUresult call_cuLibraryGetModule(CUmodule *out, CUlibrary h)
{
	LIBRARY(l, h);
	AGC_CURRENT();
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_module_fresh(l->module);
	if (r == CUDA_SUCCESS)
		*out = (CUmodule)(uintptr_t)agc_module_id(l->module);
	return r;
}

static CUresult variable(CUlibrary h, const char *name, CUdeviceptr *addr, size_t *size, bool want_managed)
{
	uint64_t at, bytes;
	bool managed;
	LIBRARY(l, h);
	if (!name || (!addr && !size))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_module_fresh(l->module);
	if (r == CUDA_SUCCESS)
		r = agc_module_global(l->module, name, &at, &bytes, &managed);
	if (r)
		return r;
	if (want_managed && !managed)
		return CUDA_ERROR_NOT_FOUND;
	if (addr)
		*addr = at;
	if (size)
		*size = bytes;
	return CUDA_SUCCESS;
}

CUresult call_cuLibraryGetGlobal(CUdeviceptr *addr, size_t *size, CUlibrary h, const char *name)
{
	return variable(h, name, addr, size, false);
}
CUresult call_cuLibraryGetManaged(CUdeviceptr *addr, size_t *size, CUlibrary h, const char *name)
{
	return variable(h, name, addr, size, true);
}

CUresult call_cuLibraryGetUnifiedFunction(void **fn, CUlibrary h, const char *symbol)
{
	LIBRARY(l, h);
	(void)l;
	/* Unified function pointers exist only where kernels can call host code. */
	return fn && symbol ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuKernelGetFunction(CUfunction *out, CUkernel h)
{
	AGC_KERNEL(f, h);
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	*out = (CUfunction)(uintptr_t)agc_function_id(f);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult call_cuKernelGetLibrary(CUlibrary *out, CUkernel h)
{
	AGC_KERNEL(f, h);
	return AGC_GIVE(out, (CUlibrary)(uintptr_t)*agc_module_owner(f->module));
}

CUresult call_cuKernelGetName(const char **name, CUkernel h)
{
	AGC_KERNEL(f, h);
	return AGC_GIVE(name, f->name);
}

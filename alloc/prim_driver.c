/* prim_driver.c - the window's primitives on the Driver table.  Owns nothing but the scrubbing stream of each struct
 * prim. */
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "alloc.h"
#include "driver.h"
#include "prim.h"

int prim_open(struct prim *p, const struct ag_driver *d)
{
	CUdevice dev;
	CUstream s;

	memset(p, 0, sizeof *p);
	p->d = d;
	CUresult r = d->cuCtxGetDevice(&dev);
	if (r)
		return r;
	r = d->cuStreamCreate(&s, CU_STREAM_NON_BLOCKING);
	if (r)
		return r;
	p->device = dev;
	p->stream = s;
	return 0;
}

void prim_close(struct prim *p)
{
	if (p->stream)
		p->d->cuStreamDestroy_v2(p->stream);
	p->stream = NULL;
}

int prim_reserve(const struct prim *p, uint64_t addr, uint64_t bytes)
{
	CUdeviceptr got = 0;
	CUresult r = p->d->cuMemAddressReserve(&got, bytes, AG_GRANULE, addr, 0);

	if (r)
		return r;
	if (got == addr)
		return 0;
	p->d->cuMemAddressFree(got, bytes);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

int prim_unreserve(const struct prim *p, uint64_t addr, uint64_t bytes) { return p->d->cuMemAddressFree(addr, bytes); }

int prim_create(const struct prim *p, uint64_t bytes, uint64_t *handle)
{
	CUmemAllocationProp prop;
	CUmemGenericAllocationHandle h;

	memset(&prop, 0, sizeof prop);
	prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
	prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
	prop.location.id = p->device;
	CUresult r = p->d->cuMemCreate(&h, bytes, &prop, 0);
	if (r == CUDA_SUCCESS)
		*handle = h;
	return r;
}

int prim_release(const struct prim *p, uint64_t handle) { return p->d->cuMemRelease(handle); }

int prim_map(const struct prim *p, uint64_t addr, uint64_t bytes, uint64_t handle)
{
	return p->d->cuMemMap(addr, bytes, 0, handle, 0);
}

int prim_unmap(const struct prim *p, uint64_t addr, uint64_t bytes) { return p->d->cuMemUnmap(addr, bytes); }

int prim_access(const struct prim *p, uint64_t addr, uint64_t bytes)
{
	CUmemAccessDesc desc;

	memset(&desc, 0, sizeof desc);
	desc.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
	desc.location.id = p->device;
	desc.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	return p->d->cuMemSetAccess(addr, bytes, &desc, 1);
}

int prim_zero(const struct prim *p, uint64_t addr, uint64_t bytes)
{
	CUresult r = p->d->cuMemsetD32Async(addr, 0, bytes / 4, p->stream);

	return r ? r : p->d->cuStreamSynchronize(p->stream);
}

int prim_host_map(const struct prim *p, uint64_t addr, uint64_t bytes, int *fd)
{
	CUresult r = CUDA_ERROR_OUT_OF_MEMORY;
	int f = memfd_create("agileos-host", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (f < 0)
		return r;
	/* Sealed: a client that shrank the file could make the worker's own reads fault. */
	if (ftruncate(f, (off_t)bytes) || fcntl(f, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto close;
	void *at = mmap((void *)(uintptr_t)addr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, f, 0);
	if (at == MAP_FAILED)
		goto close;
	if ((uint64_t)(uintptr_t)at != addr)
		goto unmap;
	r = p->d->cuMemHostRegister_v2(at, bytes, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
	if (r)
		goto unmap;
	CUdeviceptr dp = 0;
	r = p->d->cuMemHostGetDevicePointer_v2(&dp, at, 0);
	if (r == CUDA_SUCCESS && dp == addr) {
		*fd = f;
		return 0;
	}
	if (r == CUDA_SUCCESS)
		r = CUDA_ERROR_NOT_SUPPORTED;
	p->d->cuMemHostUnregister(at);
unmap:
	munmap(at, bytes);
close:
	close(f);
	return r;
}

void prim_host_unmap(const struct prim *p, uint64_t addr, uint64_t bytes, int fd)
{
	void *at = (void *)(uintptr_t)addr;

	p->d->cuMemHostUnregister(at);
	munmap(at, bytes);
	close(fd);
}

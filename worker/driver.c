/* driver.c - chooses the driver (NVIDIA's, else softgpu) and owns the worker's context and what all sessions share on
 * the device. */
#include <stdlib.h>
#include <string.h>
#include "session.h"

static const char *error_name(const struct ag_driver *d, CUresult r)
{
	const char *name = NULL;

	return d->cuGetErrorName(r, &name) == CUDA_SUCCESS && name ? name : "unknown error";
}

/* Is there a driver with a device? */
static bool try_gpu(struct worker *w, bool wanted)
{
	int n = 0;

	if (ag_driver_load_nv(&w->driver)) {
		if (wanted)
			worker_log("no NVIDIA driver (libcuda.so.1) on this machine");
		return false;
	}
	CUresult r = w->driver.cuInit(0);
	if (r == CUDA_SUCCESS)
		r = w->driver.cuDeviceGetCount(&n);
	if (r == CUDA_SUCCESS && n > 0)
		return true;
	if (wanted)
		worker_log("NVIDIA's driver has no usable device: %s", r ? error_name(&w->driver, r) : "none present");
	return false;
}

static bool try_soft(struct worker *w)
{
	int n = 0;

	ag_driver_load_soft(&w->driver);
	CUresult r = w->driver.cuInit(0);
	if (r == CUDA_SUCCESS)
		r = w->driver.cuDeviceGetCount(&n);
	if (r == CUDA_SUCCESS && n > 0)
		return true;
	worker_log("softgpu does not start: error %d", (int)r);
	return false;
}

static CUresult make_context(struct worker *w)
{
	const struct ag_driver *d = w->d;
	int least = 0, greatest = 0, memops = 0, major = 0, minor = 0;
	CUresult r = d->cuDeviceGet(&w->dev, 0);

	/* Room for local memory once made is kept: making it waits for all kernels (quiet.h). */
	if (!r)
		r = d->cuDevicePrimaryCtxSetFlags_v2(w->dev, CU_CTX_SCHED_AUTO | CU_CTX_LMEM_RESIZE_TO_MAX);
	if (!r)
		r = d->cuDevicePrimaryCtxRetain(&w->ctx, w->dev);
	if (!r)
		r = d->cuCtxSetCurrent(w->ctx);
	if (!r)
		r = d->cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, w->dev);
	if (!r)
		r = d->cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, w->dev);
	w->sm = major * 10 + minor;
	/* Completion words are written by the GPU in stream order; without that there is no waiting for anything. */
	if (!r)
		r = d->cuDeviceGetAttribute(&memops, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, w->dev);
	if (!r && !memops)
		r = CUDA_ERROR_NOT_SUPPORTED;
	if (!r)
		r = d->cuDriverGetVersion(&w->driver_version);
	if (!r)
		r = d->cuCtxGetStreamPriorityRange(&least, &greatest);
	if (!r)
		r = d->cuStreamCreateWithPriority(&w->control, CU_STREAM_NON_BLOCKING, greatest);
	return r;
}

/* Managed memory that prefers the device: kernels poll it there. Where the host may not touch such memory while kernels
 * run, pinned memory does, which kernels poll across the bus. */
static CUresult make_kill_words(struct worker *w)
{
	const struct ag_driver *d = w->d;
	const CUmemLocation here = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = w->dev };
	size_t bytes = (size_t)AG_WINDOW_COUNT * KILL_STRIDE;
	int concurrent = 0;
	void *p = NULL;
	CUresult r = d->cuDeviceGetAttribute(&concurrent, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, w->dev);

	if (!r && !concurrent) {
		r = d->cuMemHostAlloc(&p, bytes, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
		w->kill = (CUdeviceptr)(uintptr_t)p;
	} else if (!r) {
		r = d->cuMemAllocManaged(&w->kill, bytes, CU_MEM_ATTACH_GLOBAL);
		if (!r)
			r = d->cuMemAdvise_v2(w->kill, bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, here);
		w->kill_managed = true;
	}
	return r;
}

static CUresult make_shared(struct worker *w)
{
	const struct ag_driver *d = w->d;
	void *p = NULL;
	CUresult r = make_kill_words(w);

	if (!r)
		r = d->cuMemHostAlloc(&p, AG_WINDOW_COUNT * RECORDS_STRIDE,
		                      CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
	_Static_assert(sizeof(struct guard_records) <= RECORDS_STRIDE, "records fit their place");
	if (!r) {
		CUdeviceptr dp = 0;
		w->records = p;
		r = d->cuMemHostGetDevicePointer_v2(&dp, p, 0);
		if (!r && dp != (CUdeviceptr)(uintptr_t)p)
			r = CUDA_ERROR_NOT_SUPPORTED;
	}
	return r ? r : textures_open(w);
}

int driver_open(struct worker *w, const char *which)
{
	bool any = strcmp(which, "auto") == 0, gpu = strcmp(which, "gpu") == 0;

	if (!any && !gpu && strcmp(which, "soft")) {
		worker_log("--device takes gpu, soft or auto, not %s", which);
		return -1;
	}
	/* The driver reads these once.  All hardware queues there are, where many clients share them: it makes the
	 * context 350 ms later (H200), too much for one program's start.  No module loading at launch time, which waits
	 * for other work. */
	if (!w->private_mode)
		setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
	setenv("CUDA_MODULE_LOADING", "EAGER", 0);
	w->d = &w->driver;
	w->soft = false;
	if (!((any || gpu) && try_gpu(w, gpu))) {
		if (gpu || !try_soft(w))
			return -1;
		w->soft = true;
	}
	if (w->unguarded && !w->soft) {
		worker_log("--unguarded is for softgpu only: on a GPU it would hand every client everyone's memory");
		return -1;
	}
	CUresult r = make_context(w);
	if (!r)
		r = make_shared(w);
	if (r) {
		worker_log("the device cannot be used: %s", error_name(w->d, r));
		return -1;
	}
	device_snapshot(w);
	return 0;
}

void driver_close(struct worker *w)
{
	if (w->dead) /* nothing in a dead context can be released; the process's end does it */
		return;
	textures_close(w);
	w->d->cuStreamDestroy_v2(w->control);
	if (w->kill_managed)
		w->d->cuMemFree_v2(w->kill);
	else
		w->d->cuMemFreeHost((void *)(uintptr_t)w->kill);
	w->d->cuMemFreeHost(w->records);
	w->d->cuDevicePrimaryCtxRelease_v2(w->dev);
}

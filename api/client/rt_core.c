/* rt_core.c - the Runtime's per-thread state: last error, current device, initialisation.  No locks: everything is
 * thread-local. */
#include "runtime.h"

static __thread cudaError_t last_error;
static __thread int current_device;
static __thread bool
	device_set; /* cudaSetDevice was called: its context wins over none, not over the Driver's choice */
__thread bool rt_per_thread_default;

/* Driver results without a number of their own in cudaError_t; all others are equal (driver_types.h). */
cudaError_t rt_from_driver(CUresult r)
{
	switch (r) {
	case CUDA_ERROR_INVALID_SOURCE: return cudaErrorInvalidSource;
	case CUDA_ERROR_CONTEXT_ALREADY_CURRENT: return cudaErrorInvalidValue;
	case CUDA_ERROR_DEINITIALIZED: return cudaErrorCudartUnloading;
	default: return (cudaError_t)r;
	}
}

cudaError_t rt_error(cudaError_t e)
{
	if (e != cudaSuccess && e != cudaErrorNotReady)
		last_error = e;
	return e;
}

cudaError_t rt_return(CUresult r)
{
	return r == CUDA_SUCCESS ? cudaSuccess : rt_error(rt_from_driver(r));
}

int rt_device(void) { return current_device; }

static CUresult use_primary(int device)
{
	CUdevice dev;
	CUcontext ctx;
	CUresult r = rt_cu()->cuDeviceGet(&dev, device);
	if (r) return r;
	if ((r = rt_cu()->cuDevicePrimaryCtxRetain(&ctx, dev))) return r;
	return rt_cu()->cuCtxSetCurrent(ctx);
}

CUresult rt_init(void)
{
	CUcontext ctx = NULL;
	CUresult r = rt_cu()->cuInit(0);
	if (r) return r;
	if ((r = rt_cu()->cuCtxGetCurrent(&ctx))) return r;
	return ctx ? CUDA_SUCCESS : use_primary(current_device);
}

cudaError_t rt_cudaGetLastError(void)
{
	cudaError_t e = last_error;
	/* A sticky error (the context is gone) is reported again and again; others are cleared by asking. */
	last_error = cudaSuccess;
	return e;
}

cudaError_t rt_cudaPeekAtLastError(void) { return last_error; }

cudaError_t rt_cudaGetDeviceCount(int *count)
{
	if (!count) return rt_error(cudaErrorInvalidValue);
	*count = 0;
	CUresult r = rt_cu()->cuInit(0);
	if (!r) r = rt_cu()->cuDeviceGetCount(count);
	if (!r && *count == 0) r = CUDA_ERROR_NO_DEVICE;
	return rt_return(r);
}

cudaError_t rt_cudaSetDevice(int device)
{
	int count = 0;
	CUresult r = rt_cu()->cuInit(0);
	if (!r) r = rt_cu()->cuDeviceGetCount(&count);
	if (r) return rt_return(r);
	if (device < 0 || device >= count) return rt_error(cudaErrorInvalidDevice);
	/* Since CUDA 12 this creates the primary context at once. */
	if ((r = use_primary(device))) return rt_return(r);
	current_device = device;
	device_set = true;
	return cudaSuccess;
}

cudaError_t rt_cudaInitDevice(int device, unsigned deviceFlags, unsigned flags)
{
	CUdevice dev;
	CUcontext ctx;
	(void)deviceFlags;
	if (flags & ~(unsigned)cudaInitDeviceFlagsAreValid) return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_cu()->cuInit(0);
	if (!r) r = rt_cu()->cuDeviceGet(&dev, device);
	if (!r) r = rt_cu()->cuDevicePrimaryCtxRetain(&ctx, dev);
	return rt_return(r);
}

cudaError_t rt_cudaGetDevice(int *device)
{
	CUcontext ctx = NULL;
	CUdevice dev;
	if (!device) return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_cu()->cuInit(0);
	if (r) return rt_return(r);
	/* A context made current through the Driver decides, as in NVIDIA's Runtime. */
	if (!device_set && rt_cu()->cuCtxGetCurrent(&ctx) == CUDA_SUCCESS && ctx &&
	    rt_cu()->cuCtxGetDevice(&dev) == CUDA_SUCCESS)
		current_device = (int)dev;
	*device = current_device;
	return cudaSuccess;
}

cudaError_t rt_cudaSetValidDevices(int *devices, int n)
{
	int count = 0;
	CUresult r = rt_cu()->cuInit(0);
	if (!r) r = rt_cu()->cuDeviceGetCount(&count);
	if (r) return rt_return(r);
	if (n < 0 || (n > 0 && !devices)) return rt_error(cudaErrorInvalidValue);
	for (int i = 0; i < n; i++)
		if (devices[i] < 0 || devices[i] >= count) return rt_error(cudaErrorInvalidDevice);
	/* The list says where a context may be made implicitly; the first entry becomes the default. */
	if (n > 0 && !device_set) current_device = devices[0];
	return cudaSuccess;
}

cudaError_t rt_cudaDeviceReset(void)
{
	CUdevice dev;
	CUresult r = rt_cu()->cuInit(0);
	if (!r) r = rt_cu()->cuDeviceGet(&dev, current_device);
	if (!r) r = rt_cu()->cuDevicePrimaryCtxReset_v2(dev);
	if (!r) r = rt_cu()->cuCtxSetCurrent(NULL);
	return rt_return(r);
}

cudaError_t rt_cudaRuntimeGetVersion(int *version)
{
	if (!version) return rt_error(cudaErrorInvalidValue);
	*version = CUDART_VERSION;
	return cudaSuccess;
}

cudaError_t rt_cudaDriverGetVersion(int *version)
{
	if (!version) return rt_error(cudaErrorInvalidValue);
	/* 0 where there is no driver: documented, not an error. */
	if (rt_cu()->cuDriverGetVersion(version) != CUDA_SUCCESS) *version = 0;
	return cudaSuccess;
}

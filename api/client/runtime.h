/* runtime.h - the Runtime shim's own state: what its lowered (generated) and hand-written functions share.
 *
 * The Runtime is lowered onto the Driver: rt_cudaX makes Driver calls through rt_cu() and keeps only what NVIDIA's
 * Runtime keeps besides the Driver: the last error and current device of each thread, and the registered fatbins.
 * This state belongs to each copy of the Runtime (static or shared), as with NVIDIA's; what it calls is the one core
 * of the process.
 */
#ifndef AG_RUNTIME_H
#define AG_RUNTIME_H

#include "client.h"
#include "driver.h"
#include <cuda_runtime_api.h>
#include "rt_calls.h"

static inline const struct ag_driver *rt_cu(void) { return agc_table(); }

/* Every Runtime function that can fail returns through one of these: the thread's last error becomes `e` unless it is
 * success. cudaErrorNotReady is returned but never remembered, as NVIDIA documents for cudaStreamQuery and
 * cudaEventQuery. */
cudaError_t rt_error(cudaError_t e);
cudaError_t rt_return(CUresult r);         /* the same for a Driver result; numbers are equal where both exist */
cudaError_t rt_from_driver(CUresult r);    /* the mapping alone */

/* Initialises the Driver and makes a context current on this thread (the primary context of its current device unless
 * the program made another one current through the Driver API). */
CUresult rt_init(void);
int rt_device(void);                       /* the thread's current device */

/* Set around functions without a stream argument when called by their _ptds name. */
extern __thread bool rt_per_thread_default;
static inline cudaStream_t rt_stream(cudaStream_t s)
{
	return !s && rt_per_thread_default ? cudaStreamPerThread : s;
}

/* --- registered fatbins (rt_fatbin.c) ----------------------------------------------------------- */
/* The kernel behind a host stub's address (or a cudaKernel_t given in its place); loads its fatbin on first use. */
CUresult rt_kernel(const void *func, CUkernel *k);
/* The device variable behind a host symbol's address. cudaErrorInvalidSymbol when it is none. */
cudaError_t rt_symbol(const void *symbol, CUdeviceptr *addr, size_t *bytes);

/* What nvcc's host code calls; declared in no CUDA header that C can include (crt/host_runtime.h is C++). */
#define RT_EXPORT __attribute__((visibility("default")))
void **__cudaRegisterFatBinary(void *wrapper);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int thread_limit,
			    void *tid, void *bid, void *bdim, void *gdim, int *wsize);
void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext, size_t bytes, int constant,
		       int global);
void __cudaRegisterManagedVar(void **handle, void **host, char *device, const char *name, int ext, size_t bytes,
			      int constant, int global);
void __cudaRegisterHostVar(void **handle, const char *name, char *host, size_t bytes);
void __cudaRegisterUnifiedTable(void **handle, void *table);
char __cudaInitModule(void **handle);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream);
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *func);
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t shared,
			       cudaStream_t stream);
cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t shared,
				    cudaStream_t stream);

/* --- copies (rt_copy.c) --------------------------------------------------------------------------- */
cudaError_t rt_copy(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind, cudaStream_t stream, bool async);

#endif

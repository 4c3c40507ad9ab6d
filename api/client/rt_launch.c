/* rt_launch.c - kernel launches through the Runtime: the <<<>>> protocol of nvcc's stubs and the explicit calls. */
#include <stdlib.h>
#include <string.h>
#include "runtime.h"

/* --- <<<>>>: push, then the stub pops.  Nested only by kernel arguments that launch themselves. --- */

struct config { dim3 grid, block; size_t shared; cudaStream_t stream; };
enum { MAX_NESTED = 64 };
static __thread struct config configs[MAX_NESTED];
static __thread unsigned nconfigs;

RT_EXPORT unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
	if (nconfigs == MAX_NESTED) {
		rt_error(cudaErrorLaunchFailure);
		return 1;               /* non-zero: the stub is not called */
	}
	configs[nconfigs++] = (struct config){ grid, block, shared, stream };
	return 0;
}

RT_EXPORT cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
	if (!nconfigs) return rt_error(cudaErrorMissingConfiguration);
	struct config *c = &configs[--nconfigs];
	*grid = c->grid;
	*block = c->block;
	*shared = c->shared;
	*(cudaStream_t *)stream = c->stream;
	return cudaSuccess;
}

RT_EXPORT cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *func)
{
	CUkernel k = NULL;
	CUresult r = rt_kernel(func, &k);
	if (r) {
		*kernel = NULL;
		return rt_return(r);
	}
	*kernel = (cudaKernel_t)k;
	return cudaSuccess;
}

/* cudaLaunchAttribute and CUlaunchAttribute have one layout (driver_types.h): ids and unions are defined equal. */
_Static_assert(sizeof(cudaLaunchAttribute) == sizeof(CUlaunchAttribute), "launch attributes differ");

static CUlaunchConfig driver_config(const cudaLaunchConfig_t *c)
{
	return (CUlaunchConfig){
		.gridDimX = c->gridDim.x, .gridDimY = c->gridDim.y, .gridDimZ = c->gridDim.z,
		.blockDimX = c->blockDim.x, .blockDimY = c->blockDim.y, .blockDimZ = c->blockDim.z,
		.sharedMemBytes = (unsigned)c->dynamicSmemBytes, .hStream = (CUstream)rt_stream(c->stream),
		.attrs = (CUlaunchAttribute *)c->attrs, .numAttrs = c->numAttrs,
	};
}

/* --- launches ------------------------------------------------------------------------------ */

static cudaError_t launch(CUkernel k, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t stream,
			  bool cooperative)
{
	/* Impossible dimensions are the Driver's to refuse: INVALID_VALUE, under both names since CUDA 13. */
	if (shared > 0xffffffffu) return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();         /* this thread may not have made any call before */
	if (r) return rt_return(r);
	CUfunction f = (CUfunction)k;   /* cuLaunchKernel takes a CUkernel for the current context */
	CUstream s = (CUstream)rt_stream(stream);
	if (cooperative)
		return rt_return(rt_cu()->cuLaunchCooperativeKernel(f, grid.x, grid.y, grid.z, block.x, block.y,
								    block.z, (unsigned)shared, s, args));
	return rt_return(rt_cu()->cuLaunchKernel(f, grid.x, grid.y, grid.z, block.x, block.y, block.z,
						 (unsigned)shared, s, args, NULL));
}

RT_EXPORT cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t shared,
					 cudaStream_t stream)
{
	/* __cudaGetKernel failed before and left its error; a NULL kernel keeps that error current. */
	if (!kernel) {
		cudaError_t e = rt_cudaPeekAtLastError();
		return e ? e : rt_error(cudaErrorInvalidDeviceFunction);
	}
	return launch((CUkernel)kernel, grid, block, args, shared, stream, false);
}

RT_EXPORT cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void **args, size_t shared,
					      cudaStream_t stream)
{
	return __cudaLaunchKernel(kernel, grid, block, args, shared, stream ? stream : cudaStreamPerThread);
}

static cudaError_t launch_func(const void *func, dim3 grid, dim3 block, void **args, size_t shared,
			       cudaStream_t stream, bool cooperative)
{
	CUkernel k;
	CUresult r = rt_kernel(func, &k);
	return r ? rt_return(r) : launch(k, grid, block, args, shared, stream, cooperative);
}

cudaError_t rt_cudaLaunchKernel(const void *func, dim3 grid, dim3 block, void **args, size_t shared,
				cudaStream_t stream)
{
	return launch_func(func, grid, block, args, shared, stream, false);
}

cudaError_t rt_cudaLaunchCooperativeKernel(const void *func, dim3 grid, dim3 block, void **args, size_t shared,
					   cudaStream_t stream)
{
	return launch_func(func, grid, block, args, shared, stream, true);
}

cudaError_t rt_cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *func, void **args)
{
	CUkernel k;
	if (!c || (c->numAttrs && !c->attrs)) return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_kernel(func, &k);
	if (r) return rt_return(r);
	CUlaunchConfig d = driver_config(c);
	return rt_return(rt_cu()->cuLaunchKernelEx(&d, (CUfunction)k, args, NULL));
}

/* --- functions as objects --------------------------------------------------------------------- */

cudaError_t rt_cudaGetKernel(cudaKernel_t *kernel, const void *func)
{
	if (!kernel) return rt_error(cudaErrorInvalidValue);
	return __cudaGetKernel(kernel, func);
}

static CUresult function_of(const void *func, CUfunction *f)
{
	CUkernel k;
	CUresult r = rt_kernel(func, &k);
	return r ? r : rt_cu()->cuKernelGetFunction(f, k);
}

cudaError_t rt_cudaGetFuncBySymbol(cudaFunction_t *function, const void *symbol)
{
	if (!function) return rt_error(cudaErrorInvalidValue);
	return rt_return(function_of(symbol, (CUfunction *)function));
}

cudaError_t rt_cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *func)
{
	CUfunction f;
	if (!a) return rt_error(cudaErrorInvalidValue);
	CUresult r = function_of(func, &f);
	if (r) return rt_return(r);
	memset(a, 0, sizeof *a);
	struct { CUfunction_attribute attr; void *field; bool wide;
	} rows[] = {
		{ CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &a->sharedSizeBytes, true },
		{ CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, &a->constSizeBytes, true },
		{ CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, &a->localSizeBytes, true },
		{ CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &a->maxThreadsPerBlock, false },
		{ CU_FUNC_ATTRIBUTE_NUM_REGS, &a->numRegs, false },
		{ CU_FUNC_ATTRIBUTE_PTX_VERSION, &a->ptxVersion, false },
		{ CU_FUNC_ATTRIBUTE_BINARY_VERSION, &a->binaryVersion, false },
		{ CU_FUNC_ATTRIBUTE_CACHE_MODE_CA, &a->cacheModeCA, false },
		{ CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, &a->maxDynamicSharedSizeBytes, false },
		{ CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, &a->preferredShmemCarveout, false },
		{ CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, &a->clusterDimMustBeSet, false },
		{ CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, &a->requiredClusterWidth, false },
		{ CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, &a->requiredClusterHeight, false },
		{ CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH, &a->requiredClusterDepth, false },
		{ CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE, &a->clusterSchedulingPolicyPreference,
		  false },
		{ CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, &a->nonPortableClusterSizeAllowed, false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int v = 0;
		if ((r = rt_cu()->cuFuncGetAttribute(&v, rows[i].attr, f))) return rt_return(r);
		if (rows[i].wide) *(size_t *)rows[i].field = (size_t)v;
		else *(int *)rows[i].field = v;
	}
	return cudaSuccess;
}

cudaError_t rt_cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attr, int value)
{
	CUfunction f;
	CUresult r = function_of(func, &f);
	/* Numbers are equal from 8 on: the Runtime only offers the settable ones. */
	if (!r) r = rt_cu()->cuFuncSetAttribute(f, (CUfunction_attribute)attr, value);
	return rt_return(r);
}

cudaError_t rt_cudaFuncSetCacheConfig(const void *func, enum cudaFuncCache config)
{
	CUfunction f;
	CUresult r = function_of(func, &f);
	if (!r) r = rt_cu()->cuFuncSetCacheConfig(f, (CUfunc_cache)config);
	return rt_return(r);
}

cudaError_t rt_cudaFuncGetName(const char **name, const void *func)
{
	CUfunction f;
	if (!name) return rt_error(cudaErrorInvalidValue);
	CUresult r = function_of(func, &f);
	if (!r) r = rt_cu()->cuFuncGetName(name, f);
	return rt_return(r);
}

cudaError_t rt_cudaFuncGetParamInfo(const void *func, size_t i, size_t *offset, size_t *bytes)
{
	CUfunction f;
	CUresult r = function_of(func, &f);
	if (!r) r = rt_cu()->cuFuncGetParamInfo(f, i, offset, bytes);
	return rt_return(r);
}

cudaError_t rt_cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *func, int block,
								      size_t shared, unsigned flags)
{
	CUfunction f;
	CUresult r = function_of(func, &f);
	if (!r) r = rt_cu()->cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, f, block, shared, flags);
	return rt_return(r);
}

cudaError_t rt_cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *func, int block, size_t shared)
{
	return rt_cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, func, block, shared, 0);
}

cudaError_t rt_cudaOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, const void *func, int blocks, int block)
{
	CUfunction f;
	CUresult r = function_of(func, &f);
	if (!r) r = rt_cu()->cuOccupancyAvailableDynamicSMemPerBlock(bytes, f, blocks, block);
	return rt_return(r);
}

cudaError_t rt_cudaOccupancyMaxPotentialClusterSize(int *size, const void *func, const cudaLaunchConfig_t *c)
{
	CUfunction f;
	if (!c) return rt_error(cudaErrorInvalidValue);
	CUresult r = function_of(func, &f);
	CUlaunchConfig d = driver_config(c);
	if (!r) r = rt_cu()->cuOccupancyMaxPotentialClusterSize(size, f, &d);
	return rt_return(r);
}

cudaError_t rt_cudaOccupancyMaxActiveClusters(int *n, const void *func, const cudaLaunchConfig_t *c)
{
	CUfunction f;
	if (!c) return rt_error(cudaErrorInvalidValue);
	CUresult r = function_of(func, &f);
	CUlaunchConfig d = driver_config(c);
	if (!r) r = rt_cu()->cuOccupancyMaxActiveClusters(n, f, &d);
	return rt_return(r);
}

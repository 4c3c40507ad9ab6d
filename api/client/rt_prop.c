/* rt_prop.c - device properties: one row per field of cudaDeviceProp, filled from device attributes. */
#include <string.h>
#include "runtime.h"

struct row { size_t offset; unsigned bytes; CUdevice_attribute attr; };
#define ROW(field, attr) \
	{ \
		offsetof(struct cudaDeviceProp, field), sizeof(((struct cudaDeviceProp *)0)->field), \
			CU_DEVICE_ATTRIBUTE_##attr \
	}

static const struct row rows[] = {
	ROW(sharedMemPerBlock, MAX_SHARED_MEMORY_PER_BLOCK),
	ROW(regsPerBlock, MAX_REGISTERS_PER_BLOCK),
	ROW(warpSize, WARP_SIZE),
	ROW(memPitch, MAX_PITCH),
	ROW(maxThreadsPerBlock, MAX_THREADS_PER_BLOCK),
	ROW(maxThreadsDim[0], MAX_BLOCK_DIM_X),
	ROW(maxThreadsDim[1], MAX_BLOCK_DIM_Y),
	ROW(maxThreadsDim[2], MAX_BLOCK_DIM_Z),
	ROW(maxGridSize[0], MAX_GRID_DIM_X),
	ROW(maxGridSize[1], MAX_GRID_DIM_Y),
	ROW(maxGridSize[2], MAX_GRID_DIM_Z),
	ROW(totalConstMem, TOTAL_CONSTANT_MEMORY),
	ROW(major, COMPUTE_CAPABILITY_MAJOR),
	ROW(minor, COMPUTE_CAPABILITY_MINOR),
	ROW(textureAlignment, TEXTURE_ALIGNMENT),
	ROW(texturePitchAlignment, TEXTURE_PITCH_ALIGNMENT),
	ROW(multiProcessorCount, MULTIPROCESSOR_COUNT),
	ROW(integrated, INTEGRATED),
	ROW(canMapHostMemory, CAN_MAP_HOST_MEMORY),
	ROW(maxTexture1D, MAXIMUM_TEXTURE1D_WIDTH),
	ROW(maxTexture1DMipmap, MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH),
	ROW(maxTexture2D[0], MAXIMUM_TEXTURE2D_WIDTH),
	ROW(maxTexture2D[1], MAXIMUM_TEXTURE2D_HEIGHT),
	ROW(maxTexture2DMipmap[0], MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH),
	ROW(maxTexture2DMipmap[1], MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT),
	ROW(maxTexture2DLinear[0], MAXIMUM_TEXTURE2D_LINEAR_WIDTH),
	ROW(maxTexture2DLinear[1], MAXIMUM_TEXTURE2D_LINEAR_HEIGHT),
	ROW(maxTexture2DLinear[2], MAXIMUM_TEXTURE2D_LINEAR_PITCH),
	ROW(maxTexture2DGather[0], MAXIMUM_TEXTURE2D_GATHER_WIDTH),
	ROW(maxTexture2DGather[1], MAXIMUM_TEXTURE2D_GATHER_HEIGHT),
	ROW(maxTexture3D[0], MAXIMUM_TEXTURE3D_WIDTH),
	ROW(maxTexture3D[1], MAXIMUM_TEXTURE3D_HEIGHT),
	ROW(maxTexture3D[2], MAXIMUM_TEXTURE3D_DEPTH),
	ROW(maxTexture3DAlt[0], MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE),
	ROW(maxTexture3DAlt[1], MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE),
	ROW(maxTexture3DAlt[2], MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE),
	ROW(maxTextureCubemap, MAXIMUM_TEXTURECUBEMAP_WIDTH),
	ROW(maxTexture1DLayered[0], MAXIMUM_TEXTURE1D_LAYERED_WIDTH),
	ROW(maxTexture1DLayered[1], MAXIMUM_TEXTURE1D_LAYERED_LAYERS),
	ROW(maxTexture2DLayered[0], MAXIMUM_TEXTURE2D_LAYERED_WIDTH),
	ROW(maxTexture2DLayered[1], MAXIMUM_TEXTURE2D_LAYERED_HEIGHT),
	ROW(maxTexture2DLayered[2], MAXIMUM_TEXTURE2D_LAYERED_LAYERS),
	ROW(maxTextureCubemapLayered[0], MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH),
	ROW(maxTextureCubemapLayered[1], MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS),
	ROW(maxSurface1D, MAXIMUM_SURFACE1D_WIDTH),
	ROW(maxSurface2D[0], MAXIMUM_SURFACE2D_WIDTH),
	ROW(maxSurface2D[1], MAXIMUM_SURFACE2D_HEIGHT),
	ROW(maxSurface3D[0], MAXIMUM_SURFACE3D_WIDTH),
	ROW(maxSurface3D[1], MAXIMUM_SURFACE3D_HEIGHT),
	ROW(maxSurface3D[2], MAXIMUM_SURFACE3D_DEPTH),
	ROW(maxSurface1DLayered[0], MAXIMUM_SURFACE1D_LAYERED_WIDTH),
	ROW(maxSurface1DLayered[1], MAXIMUM_SURFACE1D_LAYERED_LAYERS),
	ROW(maxSurface2DLayered[0], MAXIMUM_SURFACE2D_LAYERED_WIDTH),
	ROW(maxSurface2DLayered[1], MAXIMUM_SURFACE2D_LAYERED_HEIGHT),
	ROW(maxSurface2DLayered[2], MAXIMUM_SURFACE2D_LAYERED_LAYERS),
	ROW(maxSurfaceCubemap, MAXIMUM_SURFACECUBEMAP_WIDTH),
	ROW(maxSurfaceCubemapLayered[0], MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH),
	ROW(maxSurfaceCubemapLayered[1], MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS),
	ROW(surfaceAlignment, SURFACE_ALIGNMENT),
	ROW(concurrentKernels, CONCURRENT_KERNELS),
	ROW(ECCEnabled, ECC_ENABLED),
	ROW(pciBusID, PCI_BUS_ID),
	ROW(pciDeviceID, PCI_DEVICE_ID),
	ROW(pciDomainID, PCI_DOMAIN_ID),
	ROW(tccDriver, TCC_DRIVER),
	ROW(asyncEngineCount, ASYNC_ENGINE_COUNT),
	ROW(unifiedAddressing, UNIFIED_ADDRESSING),
	ROW(memoryBusWidth, GLOBAL_MEMORY_BUS_WIDTH),
	ROW(l2CacheSize, L2_CACHE_SIZE),
	ROW(persistingL2CacheMaxSize, MAX_PERSISTING_L2_CACHE_SIZE),
	ROW(maxThreadsPerMultiProcessor, MAX_THREADS_PER_MULTIPROCESSOR),
	ROW(streamPrioritiesSupported, STREAM_PRIORITIES_SUPPORTED),
	ROW(globalL1CacheSupported, GLOBAL_L1_CACHE_SUPPORTED),
	ROW(localL1CacheSupported, LOCAL_L1_CACHE_SUPPORTED),
	ROW(sharedMemPerMultiprocessor, MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
	ROW(regsPerMultiprocessor, MAX_REGISTERS_PER_MULTIPROCESSOR),
	ROW(managedMemory, MANAGED_MEMORY),
	ROW(isMultiGpuBoard, MULTI_GPU_BOARD),
	ROW(multiGpuBoardGroupID, MULTI_GPU_BOARD_GROUP_ID),
	ROW(hostNativeAtomicSupported, HOST_NATIVE_ATOMIC_SUPPORTED),
	ROW(pageableMemoryAccess, PAGEABLE_MEMORY_ACCESS),
	ROW(concurrentManagedAccess, CONCURRENT_MANAGED_ACCESS),
	ROW(computePreemptionSupported, COMPUTE_PREEMPTION_SUPPORTED),
	ROW(canUseHostPointerForRegisteredMem, CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM),
	ROW(cooperativeLaunch, COOPERATIVE_LAUNCH),
	ROW(sharedMemPerBlockOptin, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
	ROW(pageableMemoryAccessUsesHostPageTables, PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES),
	ROW(directManagedMemAccessFromHost, DIRECT_MANAGED_MEM_ACCESS_FROM_HOST),
	ROW(maxBlocksPerMultiProcessor, MAX_BLOCKS_PER_MULTIPROCESSOR),
	ROW(accessPolicyMaxWindowSize, MAX_ACCESS_POLICY_WINDOW_SIZE),
	ROW(reservedSharedMemPerBlock, RESERVED_SHARED_MEMORY_PER_BLOCK),
	ROW(hostRegisterSupported, HOST_REGISTER_SUPPORTED),
	ROW(sparseCudaArraySupported, SPARSE_CUDA_ARRAY_SUPPORTED),
	ROW(hostRegisterReadOnlySupported, READ_ONLY_HOST_REGISTER_SUPPORTED),
	ROW(timelineSemaphoreInteropSupported, TIMELINE_SEMAPHORE_INTEROP_SUPPORTED),
	ROW(memoryPoolsSupported, MEMORY_POOLS_SUPPORTED),
	ROW(gpuDirectRDMASupported, GPU_DIRECT_RDMA_SUPPORTED),
	ROW(gpuDirectRDMAFlushWritesOptions, GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS),
	ROW(gpuDirectRDMAWritesOrdering, GPU_DIRECT_RDMA_WRITES_ORDERING),
	ROW(memoryPoolSupportedHandleTypes, MEMPOOL_SUPPORTED_HANDLE_TYPES),
	ROW(deferredMappingCudaArraySupported, DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED),
	ROW(ipcEventSupported, IPC_EVENT_SUPPORTED),
	ROW(clusterLaunch, CLUSTER_LAUNCH),
	ROW(unifiedFunctionPointers, UNIFIED_FUNCTION_POINTERS),
	ROW(deviceNumaConfig, NUMA_CONFIG),
	ROW(deviceNumaId, NUMA_ID),
	ROW(mpsEnabled, MPS_ENABLED),
	ROW(hostNumaId, HOST_NUMA_ID),
	ROW(gpuPciDeviceID, GPU_PCI_DEVICE_ID),
	ROW(gpuPciSubsystemID, GPU_PCI_SUBSYSTEM_ID),
	ROW(hostNumaMultinodeIpcSupported, HOST_NUMA_MULTINODE_IPC_SUPPORTED),
};

cudaError_t rt_cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
	CUdevice dev;
	CUuuid uuid;
	size_t total;
	if (!p) return rt_error(cudaErrorInvalidValue);
	const struct ag_driver *d = rt_cu();
	CUresult r = d->cuInit(0);
	if (r) return rt_return(r);
	if (d->cuDeviceGet(&dev, device)) return rt_error(cudaErrorInvalidDevice);
	memset(p, 0, sizeof *p);
	if ((r = d->cuDeviceGetName(p->name, sizeof p->name, dev)) || (r = d->cuDeviceGetUuid_v2(&uuid, dev)) ||
	    (r = d->cuDeviceTotalMem_v2(&total, dev)))
		return rt_return(r);
	memcpy(&p->uuid, &uuid, sizeof p->uuid);
	p->totalGlobalMem = total;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int v = 0;
		if ((r = d->cuDeviceGetAttribute(&v, rows[i].attr, dev))) return rt_return(r);
		if (rows[i].bytes == sizeof(size_t)) *(size_t *)((char *)p + rows[i].offset) = (size_t)v;
		else *(int *)((char *)p + rows[i].offset) = v;
	}
	return cudaSuccess;
}

cudaError_t rt_cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device)
{
	CUdevice dev;
	if (!value) return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_cu()->cuInit(0);
	if (r) return rt_return(r);
	if (rt_cu()->cuDeviceGet(&dev, device)) return rt_error(cudaErrorInvalidDevice);
	/* cudaDeviceAttr and CUdevice_attribute number the same attributes alike (driver_types.h). */
	return rt_return(rt_cu()->cuDeviceGetAttribute(value, (CUdevice_attribute)attr, dev));
}

/* Documented: the device that matches the most of the properties that are set. There is little to weigh: capability,
 * then memory. */
cudaError_t rt_cudaChooseDevice(int *device, const struct cudaDeviceProp *want)
{
	int count = 0, best = 0, best_score = -1;
	if (!device || !want) return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_cu()->cuInit(0);
	if (!r) r = rt_cu()->cuDeviceGetCount(&count);
	if (r) return rt_return(r);
	for (int i = 0; i < count; i++) {
		struct cudaDeviceProp p;
		cudaError_t e = rt_cudaGetDeviceProperties(&p, i);
		if (e) return e;
		int score = (p.major > want->major || (p.major == want->major && p.minor >= want->minor)) * 4 +
			    (p.totalGlobalMem >= want->totalGlobalMem) * 2 +
			    (p.multiProcessorCount >= want->multiProcessorCount);
		if (score > best_score) { best_score = score; best = i; }
	}
	*device = best;
	return cudaSuccess;
}

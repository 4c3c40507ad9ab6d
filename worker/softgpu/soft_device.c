/* soft_device.c - the device: its name, its attributes, its memory's size.
 *
 * The attributes are an H200's (SXM, 132 SMs, sm_90), except those that announce something this device does not do
 * (GPUDirect, sparse arrays, IPC, multicast, fabric): these are 0, because programs ask before they use them. */
#include "soft_internal.h"

static bool initialized;

bool soft_device_ok(CUdevice dev)
{
	return dev == 0;
}

static const struct attribute {
	CUdevice_attribute id;
	int value;
} attributes[] = {
#define A(name, value) { CU_DEVICE_ATTRIBUTE_##name, value }
	A(MAX_THREADS_PER_BLOCK, 1024),
	A(MAX_BLOCK_DIM_X, 1024),
	A(MAX_BLOCK_DIM_Y, 1024),
	A(MAX_BLOCK_DIM_Z, 64),
	A(MAX_GRID_DIM_X, 2147483647),
	A(MAX_GRID_DIM_Y, 65535),
	A(MAX_GRID_DIM_Z, 65535),
	A(MAX_SHARED_MEMORY_PER_BLOCK, 49152),
	A(TOTAL_CONSTANT_MEMORY, 65536),
	A(WARP_SIZE, 32),
	A(MAX_PITCH, 2147483647),
	A(MAX_REGISTERS_PER_BLOCK, 65536),
	A(CLOCK_RATE, 1980000),
	A(TEXTURE_ALIGNMENT, 512),
	A(GPU_OVERLAP, 1),
	A(MULTIPROCESSOR_COUNT, SOFT_SM_COUNT),
	A(KERNEL_EXEC_TIMEOUT, 0),
	A(INTEGRATED, 0),
	A(CAN_MAP_HOST_MEMORY, 1),
	A(COMPUTE_MODE, CU_COMPUTEMODE_DEFAULT),
	A(MAXIMUM_TEXTURE1D_WIDTH, 131072),
	A(MAXIMUM_TEXTURE2D_WIDTH, 131072),
	A(MAXIMUM_TEXTURE2D_HEIGHT, 65536),
	A(MAXIMUM_TEXTURE3D_WIDTH, 16384),
	A(MAXIMUM_TEXTURE3D_HEIGHT, 16384),
	A(MAXIMUM_TEXTURE3D_DEPTH, 16384),
	A(MAXIMUM_TEXTURE2D_LAYERED_WIDTH, 32768),
	A(MAXIMUM_TEXTURE2D_LAYERED_HEIGHT, 32768),
	A(MAXIMUM_TEXTURE2D_LAYERED_LAYERS, 2048),
	A(SURFACE_ALIGNMENT, 512),
	A(CONCURRENT_KERNELS, 1),
	A(ECC_ENABLED, 1),
	A(PCI_BUS_ID, 1),
	A(PCI_DEVICE_ID, 0),
	A(TCC_DRIVER, 0),
	A(MEMORY_CLOCK_RATE, 3201000),
	A(GLOBAL_MEMORY_BUS_WIDTH, 6144),
	A(L2_CACHE_SIZE, 62914560),
	A(MAX_THREADS_PER_MULTIPROCESSOR, 2048),
	A(ASYNC_ENGINE_COUNT, 3),
	A(UNIFIED_ADDRESSING, 1),
	A(MAXIMUM_TEXTURE1D_LAYERED_WIDTH, 32768),
	A(MAXIMUM_TEXTURE1D_LAYERED_LAYERS, 2048),
	A(CAN_TEX2D_GATHER, 1),
	A(MAXIMUM_TEXTURE2D_GATHER_WIDTH, 32768),
	A(MAXIMUM_TEXTURE2D_GATHER_HEIGHT, 32768),
	A(MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE, 8192),
	A(MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE, 8192),
	A(MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE, 32768),
	A(PCI_DOMAIN_ID, 0),
	A(TEXTURE_PITCH_ALIGNMENT, 32),
	A(MAXIMUM_TEXTURECUBEMAP_WIDTH, 32768),
	A(MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH, 32768),
	A(MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS, 2046),
	A(MAXIMUM_SURFACE1D_WIDTH, 32768),
	A(MAXIMUM_SURFACE2D_WIDTH, 131072),
	A(MAXIMUM_SURFACE2D_HEIGHT, 65536),
	A(MAXIMUM_SURFACE3D_WIDTH, 16384),
	A(MAXIMUM_SURFACE3D_HEIGHT, 16384),
	A(MAXIMUM_SURFACE3D_DEPTH, 16384),
	A(MAXIMUM_SURFACE1D_LAYERED_WIDTH, 32768),
	A(MAXIMUM_SURFACE1D_LAYERED_LAYERS, 2048),
	A(MAXIMUM_SURFACE2D_LAYERED_WIDTH, 32768),
	A(MAXIMUM_SURFACE2D_LAYERED_HEIGHT, 32768),
	A(MAXIMUM_SURFACE2D_LAYERED_LAYERS, 2048),
	A(MAXIMUM_SURFACECUBEMAP_WIDTH, 32768),
	A(MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH, 32768),
	A(MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS, 2046),
	A(MAXIMUM_TEXTURE1D_LINEAR_WIDTH, 268435456),
	A(MAXIMUM_TEXTURE2D_LINEAR_WIDTH, 131072),
	A(MAXIMUM_TEXTURE2D_LINEAR_HEIGHT, 65000),
	A(MAXIMUM_TEXTURE2D_LINEAR_PITCH, 2097120),
	A(MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH, 32768),
	A(MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT, 32768),
	A(COMPUTE_CAPABILITY_MAJOR, 9),
	A(COMPUTE_CAPABILITY_MINOR, 0),
	A(MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH, 32768),
	A(STREAM_PRIORITIES_SUPPORTED, 1),
	A(GLOBAL_L1_CACHE_SUPPORTED, 1),
	A(LOCAL_L1_CACHE_SUPPORTED, 1),
	A(MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 233472),
	A(MAX_REGISTERS_PER_MULTIPROCESSOR, 65536),
	A(MANAGED_MEMORY, 1),
	A(MULTI_GPU_BOARD, 0),
	A(MULTI_GPU_BOARD_GROUP_ID, 0),
	A(HOST_NATIVE_ATOMIC_SUPPORTED, 0),
	A(SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO, 2),
	A(PAGEABLE_MEMORY_ACCESS, 0),
	A(CONCURRENT_MANAGED_ACCESS, 1),
	A(COMPUTE_PREEMPTION_SUPPORTED, 1),
	A(CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 1),
	A(CAN_USE_STREAM_MEM_OPS_V1, 0),
	A(CAN_USE_64_BIT_STREAM_MEM_OPS_V1, 0),
	A(CAN_USE_STREAM_WAIT_VALUE_NOR_V1, 0),
	A(COOPERATIVE_LAUNCH, 1),
	A(COOPERATIVE_MULTI_DEVICE_LAUNCH, 0),
	A(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448),
	A(CAN_FLUSH_REMOTE_WRITES, 0),
	A(HOST_REGISTER_SUPPORTED, 1),
	A(PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES, 0),
	A(DIRECT_MANAGED_MEM_ACCESS_FROM_HOST, 0),
	A(VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1),
	A(HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 1),
	A(HANDLE_TYPE_WIN32_HANDLE_SUPPORTED, 0),
	A(HANDLE_TYPE_WIN32_KMT_HANDLE_SUPPORTED, 0),
	A(MAX_BLOCKS_PER_MULTIPROCESSOR, 32),
	A(GENERIC_COMPRESSION_SUPPORTED, 0),
	A(MAX_PERSISTING_L2_CACHE_SIZE, 39321600),
	A(MAX_ACCESS_POLICY_WINDOW_SIZE, 134213632),
	A(GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED, 0),
	A(RESERVED_SHARED_MEMORY_PER_BLOCK, 1024),
	A(SPARSE_CUDA_ARRAY_SUPPORTED, 0),
	A(READ_ONLY_HOST_REGISTER_SUPPORTED, 1),
	A(TIMELINE_SEMAPHORE_INTEROP_SUPPORTED, 0),
	A(MEMORY_POOLS_SUPPORTED, 1),
	A(GPU_DIRECT_RDMA_SUPPORTED, 0),
	A(GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS, 0),
	A(GPU_DIRECT_RDMA_WRITES_ORDERING, 0),
	A(MEMPOOL_SUPPORTED_HANDLE_TYPES, 0),
	A(CLUSTER_LAUNCH, 1),
	A(DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED, 0),
	A(CAN_USE_64_BIT_STREAM_MEM_OPS, 1),
	A(CAN_USE_STREAM_WAIT_VALUE_NOR, 1),
	A(DMA_BUF_SUPPORTED, 0),
	A(IPC_EVENT_SUPPORTED, 0),
	A(MEM_SYNC_DOMAIN_COUNT, 4),
	A(TENSOR_MAP_ACCESS_SUPPORTED, 0),
	A(HANDLE_TYPE_FABRIC_SUPPORTED, 0),
	A(UNIFIED_FUNCTION_POINTERS, 0),
	A(NUMA_CONFIG, CU_DEVICE_NUMA_CONFIG_NONE),
	A(NUMA_ID, -1),
	A(MULTICAST_SUPPORTED, 0),
	A(MPS_ENABLED, 0),
	A(HOST_NUMA_ID, 0),
	A(D3D12_CIG_SUPPORTED, 0),
	A(MEM_DECOMPRESS_ALGORITHM_MASK, 0),
	A(MEM_DECOMPRESS_MAXIMUM_LENGTH, 0),
	A(VULKAN_CIG_SUPPORTED, 0),
	A(GPU_PCI_DEVICE_ID, 0x233510de),
	A(GPU_PCI_SUBSYSTEM_ID, 0x18be10de),
	A(HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1),
	A(HOST_NUMA_MEMORY_POOLS_SUPPORTED, 0),
	A(HOST_NUMA_MULTINODE_IPC_SUPPORTED, 0),
	A(HOST_MEMORY_POOLS_SUPPORTED, 0),
	A(HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1),
	A(HOST_ALLOC_DMA_BUF_SUPPORTED, 0),
	A(ONLY_PARTIAL_HOST_NATIVE_ATOMIC_SUPPORTED, 0),
#undef A
};

CUresult soft_enter_any(void)
{
	if (soft_in_callback)
		return CUDA_ERROR_NOT_PERMITTED;
	soft_lock();
	if (initialized)
		return CUDA_SUCCESS;
	soft_unlock();
	return CUDA_ERROR_NOT_INITIALIZED;
}

CUresult soft_leave(CUresult r)
{
	soft_unlock();
	return r;
}

CUresult soft_cuInit(unsigned int flags)
{
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	soft_lock();
	CUresult r = initialized ? CUDA_SUCCESS : soft_memory_init();
	initialized = initialized || r == CUDA_SUCCESS;
	return soft_leave(r);
}

CUresult soft_cuDriverGetVersion(int *version)
{
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	*version = SOFT_DRIVER_VERSION;
	return CUDA_SUCCESS;
}

/* The checks that every query of a device begins with. */
static CUresult check(const void *out, CUdevice dev)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	soft_unlock();
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	return soft_device_ok(dev) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult soft_cuDeviceGetCount(int *count)
{
	CUresult r = check(count, 0);
	if (!r)
		*count = 1;
	return r;
}

CUresult soft_cuDeviceGet(CUdevice *device, int ordinal)
{
	CUresult r = check(device, ordinal);
	if (!r)
		*device = ordinal;
	return r;
}

CUresult soft_cuDeviceGetName(char *name, int len, CUdevice dev)
{
	CUresult r = check(name, dev);
	if (!r && len <= 0)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		snprintf(name, (size_t)len, "AgileOS softgpu (H200-like)");
	return r;
}

CUresult soft_cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev)
{
	CUresult r = check(uuid, dev);
	if (!r)
		memcpy(uuid->bytes, "AgileOS softgpu", sizeof uuid->bytes);
	return r;
}

CUresult soft_cuDeviceGetUuid(CUuuid *uuid, CUdevice dev)
{
	return soft_cuDeviceGetUuid_v2(uuid, dev);
}

CUresult soft_cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
	CUresult r = check(bytes, dev);
	if (r)
		return r;
	uint64_t free_bytes, total;
	soft_lock();
	soft_memory_info(&free_bytes, &total);
	soft_unlock();
	*bytes = total;
	return CUDA_SUCCESS;
}

CUresult soft_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice dev)
{
	CUresult r = check(value, dev);
	if (r)
		return r;
	for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
		if (attributes[i].id == attribute) {
			*value = attributes[i].value;
			return CUDA_SUCCESS;
		}
	}
	return CUDA_ERROR_INVALID_VALUE;
}

static int attribute(CUdevice_attribute id)
{
	int value = 0;
	soft_cuDeviceGetAttribute(&value, id, 0);
	return value;
}

CUresult soft_cuDeviceGetProperties(CUdevprop *prop, CUdevice dev)
{
	CUresult r = check(prop, dev);
	if (r)
		return r;
	*prop = (CUdevprop){
		.maxThreadsPerBlock = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
		.maxThreadsDim = { 1024, 1024, 64 },
		.maxGridSize = { 2147483647, 65535, 65535 },
		.sharedMemPerBlock = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
		.totalConstantMemory = attribute(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY),
		.SIMDWidth = 32,
		.memPitch = attribute(CU_DEVICE_ATTRIBUTE_MAX_PITCH),
		.regsPerBlock = attribute(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK),
		.clockRate = attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
		.textureAlign = attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT),
	};
	return CUDA_SUCCESS;
}

CUresult soft_cuDeviceComputeCapability(int *major, int *minor, CUdevice dev)
{
	CUresult r = check(major && minor ? major : NULL, dev);
	if (r)
		return r;
	*major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
	*minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
	return CUDA_SUCCESS;
}

CUresult soft_cuDeviceGetPCIBusId(char *id, int len, CUdevice dev)
{
	CUresult r = check(id, dev);
	if (!r && len < 13)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		snprintf(id, (size_t)len, "%04X:%02X:%02X.0", attribute(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID),
			attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID), attribute(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID));
	return r;
}

CUresult soft_cuDeviceGetByPCIBusId(CUdevice *dev, const char *id)
{
	CUresult r = check(dev && id ? dev : NULL, 0);
	if (r)
		return r;
	unsigned domain = 0, bus, device, function = 0;
	if (sscanf(id, "%x:%x:%x.%x", &domain, &bus, &device, &function) < 3) {
		domain = function = 0;
		if (sscanf(id, "%x:%x.%x", &bus, &device, &function) < 2)
			return CUDA_ERROR_INVALID_VALUE;
	}
	if (domain != 0 || bus != (unsigned)attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) || device != 0 || function != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	*dev = 0;
	return CUDA_SUCCESS;
}

CUresult soft_cuDeviceCanAccessPeer(int *can, CUdevice dev, CUdevice peer)
{
	CUresult r = check(can, dev);
	if (!r && !soft_device_ok(peer))
		r = CUDA_ERROR_INVALID_DEVICE;
	if (!r)
		*can = 0; /* a device is not its own peer */
	return r;
}

CUresult soft_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attrib, CUdevice src, CUdevice dst)
{
	(void)attrib;
	CUresult r = check(value, src);
	return r ? r : soft_device_ok(dst) && src != dst ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_DEVICE;
}

CUresult soft_cuDeviceGetExecAffinitySupport(int *pi, CUexecAffinityType type, CUdevice dev)
{
	CUresult r = check(pi, dev);
	if (!r && type != CU_EXEC_AFFINITY_TYPE_SM_COUNT)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*pi = 0; /* no MPS server */
	return r;
}

CUresult soft_cuDeviceGetTexture1DLinearMaxWidth(size_t *max, CUarray_format format, unsigned channels, CUdevice dev)
{
	CUresult r = check(max, dev);
	if (!r && (channels < 1 || channels > 4 || channels == 3 || format < CU_AD_FORMAT_UNSIGNED_INT8 ||
			format > CU_AD_FORMAT_FLOAT))
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*max = (size_t)attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH);
	return r;
}

/* The link to the host does no atomics natively, as over PCI Express. */
CUresult soft_cuDeviceGetHostAtomicCapabilities(unsigned int *out, const CUatomicOperation *operations, unsigned int n,
	CUdevice dev)
{
	CUresult r = check(n && operations ? out : NULL, dev);
	for (unsigned i = 0; i < n && !r; i++)
		if (operations[i] < 0 || operations[i] >= CU_ATOMIC_OPERATION_MAX)
			r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		memset(out, 0, n * sizeof *out);
	return r;
}

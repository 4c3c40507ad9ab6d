/* device.c - devices and versions, answered from the snapshot in the shared segment; errors' names; cuInit and
 * cuGetProcAddress.
 *
 * A session has its window on one device, so a program sees one device, number 0.
 */
#include "internal.h"
#include "errors.h"
#include "procaddress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN_VERSION 13000

static const struct ag_device_info *info_of(CUdevice dev)
{
	return dev == 0 ? &agc_s.shm->device[0] : NULL;
}

#define DEVICE(i, dev)                                                                                               \
	const struct ag_device_info *i;                                                                              \
	do {                                                                                                         \
		AGC_READY();                                                                                         \
		i = info_of(dev);                                                                                    \
		if (!i)                                                                                              \
			return CUDA_ERROR_INVALID_DEVICE;                                                            \
	} while (0)

CUresult call_cuInit(unsigned flags)
{
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (atomic_load_explicit(&agc_s.state, memory_order_acquire) == AGC_LIVE)
		return CUDA_SUCCESS;
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");
	/* As with NVIDIA's driver, an empty list hides all devices; which one is meant otherwise is the worker's
	 * matter. */
	if (visible && (!*visible || *visible == '-' || strcmp(visible, "NoDevFiles") == 0))
		return CUDA_ERROR_NO_DEVICE;
	return agc_connect();
}

CUresult call_cuDriverGetVersion(int *version)
{
	return AGC_GIVE(version, OWN_VERSION);
}

CUresult call_cuDeviceGetCount(int *count)
{
	AGC_READY();
	return AGC_GIVE(count, 1);
}

CUresult call_cuDeviceGet(CUdevice *dev, int ordinal)
{
	AGC_READY();
	if (!dev)
		return CUDA_ERROR_INVALID_VALUE;
	if (ordinal != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	*dev = 0;
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceGetName(char *name, int len, CUdevice dev)
{
	DEVICE(i, dev);
	if (!name || len <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(name, (size_t)len, "%.255s", i->name);
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev)
{
	DEVICE(i, dev);
	if (!uuid)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(uuid->bytes, i->uuid, sizeof uuid->bytes);
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
	DEVICE(i, dev);
	return AGC_GIVE(bytes, i->total_mem);
}

/* What differs between the device and a client's view of it: abilities that have no sound meaning through a window. */
static bool own_attribute(int *value, CUdevice_attribute a)
{
	switch (a) {
	case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM: /* registered memory outside the window has
									     no device address */
	case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
	case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES:
	case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES:
	case CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_GENERIC_COMPRESSION_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_MPS_ENABLED:
		*value = 0;
		return true;
	case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
	case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
	case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
	case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
	case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
	case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
		*value = 1;
		return true;
	default:
		return false;
	}
}

CUresult call_cuDeviceGetAttribute(int *value, CUdevice_attribute a, CUdevice dev)
{
	DEVICE(i, dev);
	if (!value || (int)a <= 0 || (unsigned)a >= AG_MAX_ATTRS || !i->attr_ok[a])
		return CUDA_ERROR_INVALID_VALUE;
	if (!own_attribute(value, a))
		*value = i->attr[a];
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceComputeCapability(int *major, int *minor, CUdevice dev)
{
	DEVICE(i, dev);
	if (!major || !minor)
		return CUDA_ERROR_INVALID_VALUE;
	*major = i->attr[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
	*minor = i->attr[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceGetProperties(CUdevprop *p, CUdevice dev)
{
	DEVICE(i, dev);
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	*p = (CUdevprop){
		.maxThreadsPerBlock = i->attr[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
		.maxThreadsDim = { i->attr[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X],
				   i->attr[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y],
				   i->attr[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z] },
		.maxGridSize = { i->attr[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X],
				 i->attr[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y],
				 i->attr[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z] },
		.sharedMemPerBlock = i->attr[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK],
		.totalConstantMemory = i->attr[CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY],
		.SIMDWidth = i->attr[CU_DEVICE_ATTRIBUTE_WARP_SIZE],
		.memPitch = i->attr[CU_DEVICE_ATTRIBUTE_MAX_PITCH],
		.regsPerBlock = i->attr[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK],
		.clockRate = i->attr[CU_DEVICE_ATTRIBUTE_CLOCK_RATE],
		.textureAlign = i->attr[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT],
	};
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceGetPCIBusId(char *text, int len, CUdevice dev)
{
	DEVICE(i, dev);
	if (!text || len <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	int n = snprintf(text, (size_t)len, "%04x:%02x:%02x.0", i->attr[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] & 0xffff,
			 i->attr[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] & 0xff,
			 i->attr[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] & 0xff);
	return n < len ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuDeviceGetByPCIBusId(CUdevice *dev, const char *text)
{
	unsigned domain = 0, bus, device, function = 0;
	AGC_READY();
	if (!dev || !text)
		return CUDA_ERROR_INVALID_VALUE;
	if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &device, &function) < 3) {
		domain = 0;
		if (sscanf(text, "%x:%x.%x", &bus, &device, &function) < 2)
			return CUDA_ERROR_INVALID_VALUE;
	}
	const int32_t *a = info_of(0)->attr;
	if ((int)domain != a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] || (int)bus != a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] ||
	    (int)device != a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID])
		return CUDA_ERROR_INVALID_DEVICE;
	*dev = 0;
	return CUDA_SUCCESS;
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

CUresult call_cuGetErrorName(CUresult error, const char **text)
{
	if (!text)
		return CUDA_ERROR_INVALID_VALUE;
	const struct ag_error *e = ag_driver_error((int)error);
	*text = e ? e->name : NULL;
	return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuGetErrorString(CUresult error, const char **text)
{
	if (!text)
		return CUDA_ERROR_INVALID_VALUE;
	const struct ag_error *e = ag_driver_error((int)error);
	*text = e ? e->text : NULL;
	return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* --- entry points ------------------------------------------------------------------------------------------------- */

CUresult call_cuGetProcAddress_v2(const char *symbol, void **fn, int version, cuuint64_t flags,
				  CUdriverProcAddressQueryResult *status)
{
	CUdriverProcAddressQueryResult why = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
	if (!symbol || !fn ||
	    flags & ~(cuuint64_t)(CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM))
		return CUDA_ERROR_INVALID_VALUE;
	*fn = agc_proc_find(&agc_own_table, symbol, version, flags, &why);
	if (*fn)
		why = CU_GET_PROC_ADDRESS_SUCCESS;
	if (status)
		*status = why;
	/* Documented: with a status to fill, an unknown name is not an error. */
	return *fn || status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* The private tables behind this are NVIDIA's own interfaces between its libraries; ours do not use them. */
CUresult call_cuGetExportTable(const void **table, const CUuuid *id)
{
	if (!table || !id)
		return CUDA_ERROR_INVALID_VALUE;
	*table = NULL;
	return CUDA_ERROR_NOT_FOUND;
}

CUresult call_cuProfilerStart(void) { return agc_current(); }
CUresult call_cuProfilerStop(void) { return agc_current(); }

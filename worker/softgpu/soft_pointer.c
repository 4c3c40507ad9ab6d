/* soft_pointer.c - what a pointer is: attributes of addresses, advice and prefetch of managed memory. */
#include "soft_internal.h"

static CUresult host_pointer(const struct soft_range *r, uint64_t addr, void *out)
{
	if (!soft_is_host(r->type) && r->type != SOFT_R_MANAGED)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(out, &addr, sizeof addr);
	return CUDA_SUCCESS;
}

#define PUT(type, value) (*(type *)out = (type)(value), CUDA_SUCCESS)

static CUresult attribute(const struct soft_range *r, uint64_t addr, CUpointer_attribute which, void *out)
{
	bool host = soft_is_host(r->type);
	bool host_located = r->type == SOFT_R_VMM && r->phys->prop.location.type != CU_MEM_LOCATION_TYPE_DEVICE;
	switch (which) {
	case CU_POINTER_ATTRIBUTE_CONTEXT:
		if (!r->ctx)
			return CUDA_ERROR_INVALID_VALUE;
		return PUT(CUcontext, r->ctx);
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		return PUT(CUmemorytype, host || host_located ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
		return PUT(CUdeviceptr, addr);
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
		return host_pointer(r, addr, out);
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
		return PUT(int, r->sync_memops);
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:
		return PUT(unsigned long long, r->buffer_id);
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
		return PUT(int, r->type == SOFT_R_MANAGED);
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
		return PUT(int, host_located ? CU_DEVICE_INVALID : 0);
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
		return PUT(int, 0);
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
		return PUT(CUdeviceptr, r->e.base);
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
		return PUT(size_t, r->e.size);
	case CU_POINTER_ATTRIBUTE_MAPPED:
		return PUT(int, 1);
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
		return PUT(unsigned long long, r->type == SOFT_R_VMM ? r->phys->prop.requestedHandleTypes : 0);
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
		return PUT(CUmemAccess_flags, r->access);
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
		return PUT(CUmemoryPool, r->pool);
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
		return PUT(size_t, r->e.size);
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
		return PUT(CUdeviceptr, r->e.base);
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
		return PUT(unsigned long long, r->buffer_id);
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

/* What an unknown pointer answers where the API defines an answer; zero of the attribute's size. */
static bool absent(CUpointer_attribute which, void *out)
{
	switch (which) {
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
	case CU_POINTER_ATTRIBUTE_MAPPED:
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
		*(int *)out = 0;
		return true;
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
		*(int *)out = CU_DEVICE_INVALID;
		return true;
	case CU_POINTER_ATTRIBUTE_P2P_TOKENS:
		memset(out, 0, sizeof(CUDA_POINTER_ATTRIBUTE_P2P_TOKENS));
		return true;
	case CU_POINTER_ATTRIBUTE_CONTEXT:
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
		*(uint64_t *)out = 0;
		return true;
	default:
		return false;
	}
}

CUresult soft_cuPointerGetAttribute(void *data, CUpointer_attribute which, CUdeviceptr addr)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_range *range = soft_range_at(addr);
	return soft_leave(data && range ? attribute(range, addr, which, data) : CUDA_ERROR_INVALID_VALUE);
}

CUresult soft_cuPointerGetAttributes(unsigned int n, CUpointer_attribute *which, void **data, CUdeviceptr addr)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!n || !which || !data)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_range *range = soft_range_at(addr);
	for (unsigned i = 0; i < n; i++) {
		if (!data[i] || !absent(which[i], data[i]))
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		if (range && attribute(range, addr, which[i], data[i]))
			absent(which[i], data[i]);
	}
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuPointerSetAttribute(const void *value, CUpointer_attribute which, CUdeviceptr addr)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_range *range = soft_range_at(addr);
	if (!value || !range || which != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS || range->type == SOFT_R_MANAGED ||
			soft_is_host(range->type))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	range->sync_memops = *(const int *)value != 0;
	return soft_leave(CUDA_SUCCESS);
}

/* --- managed memory: host and device share the pages, so advice is kept for the queries and moves nothing --- */

static struct soft_range *managed(uint64_t addr, uint64_t n)
{
	struct soft_range *r = soft_range_at(addr);
	return r && r->type == SOFT_R_MANAGED && n && soft_range_ok(addr, n, false) ? r : NULL;
}

static CUresult location_ok(CUmemLocation l)
{
	if (l.type == CU_MEM_LOCATION_TYPE_DEVICE)
		return soft_device_ok(l.id) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
	bool host = l.type == CU_MEM_LOCATION_TYPE_HOST || l.type == CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT ||
		(l.type == CU_MEM_LOCATION_TYPE_HOST_NUMA && l.id == 0);
	return host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult soft_cuMemAdvise_v2(CUdeviceptr addr, size_t n, CUmem_advise advice, CUmemLocation location)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_range *m = managed(addr, n);
	if (!m)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	bool set = advice == CU_MEM_ADVISE_SET_READ_MOSTLY || advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION ||
		advice == CU_MEM_ADVISE_SET_ACCESSED_BY;
	bool device = location.type == CU_MEM_LOCATION_TYPE_DEVICE;
	switch (advice) {
	case CU_MEM_ADVISE_SET_READ_MOSTLY:
	case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
		m->advice.read_mostly = set;
		break;
	case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
		r = location_ok(location);
		if (!r)
			m->advice.preferred = location;
		break;
	case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
		m->advice.preferred = (CUmemLocation){ 0 };
		break;
	case CU_MEM_ADVISE_SET_ACCESSED_BY:
	case CU_MEM_ADVISE_UNSET_ACCESSED_BY:
		r = location_ok(location);
		if (!r)
			*(device ? &m->advice.accessed_by_device : &m->advice.accessed_by_host) = set;
		break;
	default:
		r = CUDA_ERROR_INVALID_VALUE;
	}
	return soft_leave(r);
}

/* The older form names a device, or CU_DEVICE_CPU. */
static CUmemLocation old_location(CUdevice dev)
{
	return dev == CU_DEVICE_CPU ? (CUmemLocation){ .type = CU_MEM_LOCATION_TYPE_HOST }
		: (CUmemLocation){ .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = dev };
}

CUresult soft_cuMemAdvise(CUdeviceptr addr, size_t n, CUmem_advise advice, CUdevice dev)
{
	return soft_cuMemAdvise_v2(addr, n, advice, old_location(dev));
}

CUresult soft_cuMemPrefetchAsync_v2(CUdeviceptr addr, size_t n, CUmemLocation location, unsigned int flags, CUstream hs)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	struct soft_range *m = managed(addr, n);
	r = !m || flags ? CUDA_ERROR_INVALID_VALUE : location_ok(location);
	if (!r)
		m->advice.prefetched = location;
	return soft_leave(r);
}

CUresult soft_cuMemPrefetchAsync(CUdeviceptr addr, size_t n, CUdevice dev, CUstream s)
{
	return soft_cuMemPrefetchAsync_v2(addr, n, old_location(dev), 0, s);
}

CUresult soft_cuStreamAttachMemAsync(CUstream hs, CUdeviceptr addr, size_t n, unsigned int flags)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	struct soft_range *m = soft_range_at(addr);
	bool mode = flags == CU_MEM_ATTACH_GLOBAL || flags == CU_MEM_ATTACH_HOST || flags == CU_MEM_ATTACH_SINGLE;
	if (!m || m->type != SOFT_R_MANAGED || m->e.base != addr || (n && n != m->e.size) || !mode ||
			(flags == CU_MEM_ATTACH_SINGLE && s->legacy))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	return soft_leave(CUDA_SUCCESS);
}

static int old_id(CUmemLocation l)
{
	return l.type == CU_MEM_LOCATION_TYPE_DEVICE ? l.id : l.type == CU_MEM_LOCATION_TYPE_INVALID ? CU_DEVICE_INVALID
		: CU_DEVICE_CPU;
}

static CUresult range_attribute(const struct soft_range *m, CUmem_range_attribute which, int *out, size_t count)
{
	size_t n = 0;
	switch (which) {
	case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
		*out = m->advice.read_mostly;
		return CUDA_SUCCESS;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
		*out = old_id(m->advice.preferred);
		return CUDA_SUCCESS;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
		*out = old_id(m->advice.prefetched);
		return CUDA_SUCCESS;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
		*out = (int)m->advice.preferred.type;
		return CUDA_SUCCESS;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
		*out = m->advice.preferred.id;
		return CUDA_SUCCESS;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
		*out = (int)m->advice.prefetched.type;
		return CUDA_SUCCESS;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
		*out = m->advice.prefetched.id;
		return CUDA_SUCCESS;
	case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
		if (m->advice.accessed_by_device && n < count)
			out[n++] = 0;
		if (m->advice.accessed_by_host && n < count)
			out[n++] = CU_DEVICE_CPU;
		while (n < count)
			out[n++] = CU_DEVICE_INVALID;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult soft_cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute which, CUdeviceptr addr, size_t n)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_range *m = managed(addr, n);
	bool list = which == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY;
	if (!data || !m || size < 4 || size % 4 || (!list && size != 4))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	return soft_leave(range_attribute(m, which, data, size / 4));
}

CUresult soft_cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *which, size_t count,
	CUdeviceptr addr, size_t n)
{
	if (!data || !sizes || !which || !count)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = CUDA_SUCCESS;
	for (size_t i = 0; i < count && !r; i++)
		r = soft_cuMemRangeGetAttribute(data[i], sizes[i], which[i], addr, n);
	return r;
}

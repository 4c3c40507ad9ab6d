/* memapi.c - the API's functions on memory, over memory.c: device, pinned, managed and registered memory, and what is
 * known of pointers.
 *
 * Pinned and managed memory is host memory in the window, at one address for everyone.  Memory that a program
 * registers lies outside the window, so it has no device address; copies from and to it are staged, like those of
 * pageable memory.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#define PITCH_ALIGN 512u             /* what NVIDIA's driver gives on current devices */

/* --- device memory ------------------------------------------------------------------------------------------------ */

CUresult call_cuMemAlloc_v2(CUdeviceptr *out, size_t bytes)
{
	uint64_t addr;
	AGC_CURRENT();
	if (!out || bytes == 0)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_device_alloc(bytes, 512, AGC_B_DEVICE, 0, &addr);
	if (r == CUDA_SUCCESS)
		*out = addr;
	return r;
}

CUresult call_cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width, size_t height, unsigned elem)
{
	size_t bytes;
	if (!out || !pitch || !width || !height || (elem != 4 && elem != 8 && elem != 16) ||
	    width > SIZE_MAX - PITCH_ALIGN)
		return CUDA_ERROR_INVALID_VALUE;
	size_t p = (width + PITCH_ALIGN - 1) / PITCH_ALIGN * PITCH_ALIGN;
	if (__builtin_mul_overflow(p, height, &bytes))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = call_cuMemAlloc_v2(out, bytes);
	if (r == CUDA_SUCCESS)
		*pitch = p;
	return r;
}

/* NVIDIA's driver waits for all work before it frees; programs rely on that. */
static CUresult free_block(uint64_t addr, bool host)
{
	struct agc_block b;
	if (!host && agc_graph_holds(addr))
		return agc_sync_all();
	if (!agc_block_at(addr, &b) || b.kind == AGC_B_PRIVATE || b.kind == AGC_B_MODULE || b.kind == AGC_B_VMM ||
	    host != (b.kind == AGC_B_HOST))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_sync_all(), f = agc_device_free(addr);
	return r ? r : f;
}

CUresult call_cuMemFree_v2(CUdeviceptr p)
{
	AGC_CURRENT();
	return p ? free_block(p, false) : CUDA_SUCCESS;
}

CUresult call_cuMemGetInfo_v2(size_t *avail, size_t *total)
{
	struct rep_meminfo rep;
	AGC_CURRENT();
	struct msg_meminfo *m = agc_begin(AG_OP_meminfo, sizeof *m, 0);
	if (!m)
		return agc_error();
	CUresult r = agc_call(m, &rep, sizeof rep, NULL, NULL);
	if (r)
		return r;
	uint64_t spare = agc_device_spare(), all = rep.free > UINT64_MAX - spare ? UINT64_MAX : rep.free + spare;
	if (avail)
		*avail = all < rep.total ? all : rep.total;
	if (total)
		*total = rep.total;
	return CUDA_SUCCESS;
}

CUresult call_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr p)
{
	struct agc_block b;
	AGC_CURRENT();
	if (!agc_block_find(p, &b) || b.kind == AGC_B_PRIVATE)
		return CUDA_ERROR_NOT_FOUND;
	if (base)
		*base = b.addr;
	if (size)
		*size = b.bytes;
	return CUDA_SUCCESS;
}

/* --- pinned and managed memory ------------------------------------------------------------------------------------ */

CUresult call_cuMemHostAlloc(void **out, size_t bytes, unsigned flags)
{
	uint64_t addr;
	AGC_CURRENT();
	if (!out ||
	    flags & ~(unsigned)(CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED))
		return CUDA_ERROR_INVALID_VALUE;
	if (bytes == 0) {
		*out = NULL;
		return CUDA_SUCCESS;
	}
	CUresult r = agc_host_block_alloc(bytes, bytes >= 4096 ? 4096 : 64, AGC_B_HOST, flags, &addr);
	if (r == CUDA_SUCCESS)
		*out = (void *)(uintptr_t)addr;
	return r;
}

CUresult call_cuMemAllocHost_v2(void **out, size_t bytes)
{
	return call_cuMemHostAlloc(out, bytes, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE);
}

CUresult call_cuMemFreeHost(void *p)
{
	AGC_CURRENT();
	return p ? free_block((uint64_t)(uintptr_t)p, true) : CUDA_SUCCESS;
}

CUresult call_cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned flags)
{
	uint64_t addr;
	AGC_CURRENT();
	if (!out || bytes == 0 || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_host_block_alloc(bytes, bytes >= 4096 ? 4096 : 512, AGC_B_MANAGED, flags, &addr);
	if (r == CUDA_SUCCESS)
		*out = addr;
	return r;
}

/* --- registered memory -------------------------------------------------------------------------------------------- */

struct registered { uint64_t addr, bytes; unsigned flags; struct agc_ctx *ctx; struct registered *next; };
static struct registered *all_registered;
static pthread_mutex_t registered_lock = PTHREAD_MUTEX_INITIALIZER;

/* The registration that holds addr, copied out. */
static bool registered_find(uint64_t addr, struct registered *out)
{
	if (!__atomic_load_n(&all_registered, __ATOMIC_RELAXED))
		return false;
	pthread_mutex_lock(&registered_lock);
	struct registered *e = all_registered;
	while (e && addr - e->addr >= e->bytes)
		e = e->next;
	if (e)
		*out = *e;
	pthread_mutex_unlock(&registered_lock);
	return e != NULL;
}

bool agc_registered(const void *p, size_t bytes)
{
	struct registered e;
	return registered_find((uint64_t)(uintptr_t)p, &e) && bytes <= e.bytes - ((uint64_t)(uintptr_t)p - e.addr);
}

static CUresult registered_add(uint64_t addr, size_t bytes, unsigned flags)
{
	struct registered *n = malloc(sizeof *n);
	if (!n)
		return CUDA_ERROR_OUT_OF_MEMORY;
	pthread_mutex_lock(&registered_lock);
	bool overlaps = false;
	for (struct registered *e = all_registered; e; e = e->next)
		overlaps |= addr < e->addr + e->bytes && e->addr < addr + bytes;
	if (!overlaps) {
		*n = (struct registered){ addr, bytes, flags, agc_t.ctx, all_registered };
		all_registered = n;
	}
	pthread_mutex_unlock(&registered_lock);
	if (overlaps)
		free(n);
	return overlaps ? CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED : CUDA_SUCCESS;
}

CUresult call_cuMemHostRegister_v2(void *p, size_t bytes, unsigned flags)
{
	static atomic_bool said;
	uint64_t addr = (uint64_t)(uintptr_t)p;
	AGC_CURRENT();
	if (!p || bytes == 0 || addr + bytes < addr ||
	    flags & ~(unsigned)(CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
				CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY))
		return CUDA_ERROR_INVALID_VALUE;
	if (agc_in_window(p, 0))
		return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	if (flags & (CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_IOMEMORY)) {
		if (!atomic_exchange(&said, true))
			agc_log("host memory outside the window cannot be mapped for the device: allocate it with "
				"cudaHostAlloc or cudaMallocManaged");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	return registered_add(addr, bytes, flags);
}

CUresult call_cuMemHostUnregister(void *p)
{
	AGC_CURRENT();
	pthread_mutex_lock(&registered_lock);
	struct registered **e = &all_registered, *gone;
	while (*e && (*e)->addr != (uint64_t)(uintptr_t)p)
		e = &(*e)->next;
	gone = *e;
	if (gone)
		*e = gone->next;
	pthread_mutex_unlock(&registered_lock);
	free(gone);
	return gone ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

CUresult call_cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *p, unsigned flags)
{
	struct agc_block b;
	AGC_CURRENT();
	if (!out || flags)
		return CUDA_ERROR_INVALID_VALUE;
	uint64_t addr = (uint64_t)(uintptr_t)p;
	if (agc_registered(p, 1))
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!agc_block_find(addr, &b) || (b.kind != AGC_B_HOST && b.kind != AGC_B_MANAGED))
		return CUDA_ERROR_INVALID_VALUE;
	*out = addr;
	return CUDA_SUCCESS;
}

CUresult call_cuMemHostGetFlags(unsigned *flags, void *p)
{
	struct agc_block b;
	struct registered e;
	AGC_CURRENT();
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (agc_block_find((uint64_t)(uintptr_t)p, &b) && b.kind == AGC_B_HOST)
		*flags = b.flags | CU_MEMHOSTALLOC_DEVICEMAP;
	else if (registered_find((uint64_t)(uintptr_t)p, &e))
		*flags = e.flags;
	else
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

/* --- what is known of a pointer ----------------------------------------------------------------------------------- */

union value { uint64_t u64; uint32_t u32; int32_t i32; bool flag; void *ptr; };

/* Attributes of a block of the window.  CUDA_ERROR_INVALID_VALUE where the attribute has no value for it. */
static CUresult of_block(const struct agc_block *b, uint64_t p, CUpointer_attribute a, union value *v, size_t *size)
{
	bool host = b->kind == AGC_B_HOST;
	*size = 8;
	v->u64 = 0;
	switch (a) {
	case CU_POINTER_ATTRIBUTE_CONTEXT:          v->ptr = agc_ctx_handle(b->ctx); break;
	case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
		*size = 4;
		v->u32 = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
		break;
	case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:   v->u64 = p; break;
	case CU_POINTER_ATTRIBUTE_HOST_POINTER:
		if (!host && b->kind != AGC_B_MANAGED)
			return CUDA_ERROR_INVALID_VALUE;
		v->u64 = p;
		break;
	case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:      *size = sizeof(bool); v->flag = b->flags & 0x80000000u; break;
	case CU_POINTER_ATTRIBUTE_BUFFER_ID:        v->u64 = b->id; break;
	case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:  v->u64 = b->id; break;
	case CU_POINTER_ATTRIBUTE_IS_MANAGED:
		*size = sizeof(bool);
		v->flag = b->kind == AGC_B_MANAGED || (b->kind == AGC_B_MODULE && agc_is_host((void *)(uintptr_t)p));
		break;
	case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:   *size = 4; v->i32 = b->ctx ? b->ctx->device : 0; break;
	case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
	case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
		*size = sizeof(bool);
		break;
	case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
	case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: v->u64 = b->addr; break;
	case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
	case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:     v->u64 = b->bytes; break;
	case CU_POINTER_ATTRIBUTE_MAPPED:           *size = sizeof(bool); v->flag = true; break;
	case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: break;
	case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
		*size = 4;
		v->u32 = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE;
		break;
	case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:   v->u64 = b->pool; break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

/* Registered memory outside the window: host memory without a device address. */
static CUresult of_registered(const struct registered *e, uint64_t p, CUpointer_attribute a, union value *v,
			      size_t *size)
{
	struct agc_block b = {
		.addr = e->addr, .bytes = e->bytes, .ctx = e->ctx, .flags = e->flags, .kind = AGC_B_HOST
	};
	if (a == CU_POINTER_ATTRIBUTE_DEVICE_POINTER)
		return CUDA_ERROR_INVALID_VALUE;
	return of_block(&b, p, a, v, size);
}

/* What is known of the memory at a pointer. */
struct known { bool block, host; struct agc_block b; struct registered r; };

static void look_up(uint64_t p, struct known *k)
{
	k->block = agc_in_window((void *)(uintptr_t)p, 0) && agc_block_find(p, &k->b) && k->b.kind != AGC_B_PRIVATE;
	k->host = !k->block && registered_find(p, &k->r);
}

static CUresult attribute(const struct known *k, uint64_t p, CUpointer_attribute a, union value *v, size_t *size)
{
	if (k->block)
		return of_block(&k->b, p, a, v, size);
	return k->host ? of_registered(&k->r, p, a, v, size) : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuPointerGetAttribute(void *data, CUpointer_attribute a, CUdeviceptr p)
{
	struct known k;
	union value v;
	size_t size;
	AGC_CURRENT();
	if (!data)
		return CUDA_ERROR_INVALID_VALUE;
	look_up(p, &k);
	CUresult r = attribute(&k, p, a, &v, &size);
	if (r == CUDA_SUCCESS)
		memcpy(data, &v, size);
	return r;
}

/* Documented: for a pointer CUDA does not know, every attribute gets its null value and the call succeeds. */
CUresult call_cuPointerGetAttributes(unsigned n, CUpointer_attribute *attributes, void **data, CUdeviceptr p)
{
	struct agc_block none = { .ctx = NULL };
	struct known k;
	AGC_CURRENT();
	if (!n || !attributes || !data)
		return CUDA_ERROR_INVALID_VALUE;
	look_up(p, &k);
	for (unsigned i = 0; i < n; i++) {
		union value v;
		size_t size;
		if (attribute(&k, p, attributes[i], &v, &size) != CUDA_SUCCESS) {
			CUresult known = of_block(&none, p, attributes[i], &v, &size);
			if (known && attributes[i] != CU_POINTER_ATTRIBUTE_HOST_POINTER)
				return CUDA_ERROR_INVALID_VALUE;
			v.u64 = 0;
			if (attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
				v.i32 = AGC_NOWHERE;
		}
		if (!data[i])
			return CUDA_ERROR_INVALID_VALUE;
		memcpy(data[i], &v, size);
	}
	return CUDA_SUCCESS;
}

CUresult call_cuPointerSetAttribute(const void *value, CUpointer_attribute a, CUdeviceptr p)
{
	struct agc_block b;
	AGC_CURRENT();
	if (!value || a != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS || !agc_block_find(p, &b) || b.kind == AGC_B_PRIVATE)
		return CUDA_ERROR_INVALID_VALUE;
	b.flags = (b.flags & 0x7fffffffu) | (*(const unsigned *)value ? 0x80000000u : 0);
	agc_block_mark(&b);
	return CUDA_SUCCESS;
}

/* --- advice about managed memory ---------------------------------------------------------------------------------- */

static bool place_of(CUmemLocation loc, int16_t *place)
{
	if (loc.type == CU_MEM_LOCATION_TYPE_DEVICE && loc.id == 0)
		*place = 0;
	else if (loc.type == CU_MEM_LOCATION_TYPE_HOST || loc.type == CU_MEM_LOCATION_TYPE_HOST_NUMA ||
		 loc.type == CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT)
		*place = AGC_AT_HOST;
	else
		return false;
	return true;
}

static bool managed_range(uint64_t p, size_t count, struct agc_block *b)
{
	return count && agc_block_find(p, b) && b->kind == AGC_B_MANAGED &&
	       count <= (b->bytes + 4095) / 4096 * 4096 - (p - b->addr);
}

CUresult call_cuMemPrefetchAsync_v2(CUdeviceptr p, size_t count, CUmemLocation loc, unsigned flags, CUstream stream)
{
	struct agc_block b;
	int16_t place;
	AGC_CURRENT();
	if (!agc_stream_of(stream))
		return CUDA_ERROR_INVALID_HANDLE;
	if (flags || !managed_range(p, count, &b))
		return CUDA_ERROR_INVALID_VALUE;
	if (!place_of(loc, &place))
		return loc.type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE;
	b.prefetched = place;
	agc_block_mark(&b);
	return CUDA_SUCCESS;
}

CUresult call_cuMemAdvise_v2(CUdeviceptr p, size_t count, CUmem_advise advice, CUmemLocation loc)
{
	struct agc_block b;
	int16_t place = AGC_NOWHERE;
	AGC_CURRENT();
	if (!managed_range(p, count, &b))
		return CUDA_ERROR_INVALID_VALUE;
	bool placed = advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION || advice == CU_MEM_ADVISE_SET_ACCESSED_BY ||
		      advice == CU_MEM_ADVISE_UNSET_ACCESSED_BY;
	if (placed && !place_of(loc, &place))
		return loc.type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE;
	switch (advice) {
	case CU_MEM_ADVISE_SET_READ_MOSTLY:          b.read_mostly = true; break;
	case CU_MEM_ADVISE_UNSET_READ_MOSTLY:        b.read_mostly = false; break;
	case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:   b.preferred = place; break;
	case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION: b.preferred = AGC_NOWHERE; break;
	case CU_MEM_ADVISE_SET_ACCESSED_BY:          b.accessed_by |= place == 0; break;
	case CU_MEM_ADVISE_UNSET_ACCESSED_BY:        b.accessed_by &= place != 0; break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	agc_block_mark(&b);
	return CUDA_SUCCESS;
}

static int32_t location_type(int16_t place)
{
	return place == AGC_NOWHERE   ? CU_MEM_LOCATION_TYPE_INVALID
	       : place == AGC_AT_HOST ? CU_MEM_LOCATION_TYPE_HOST
				      : CU_MEM_LOCATION_TYPE_DEVICE;
}

CUresult call_cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute a, CUdeviceptr p, size_t count)
{
	struct agc_block b;
	int32_t v;
	AGC_CURRENT();
	if (!data || size < 4 || size % 4 || !managed_range(p, count, &b))
		return CUDA_ERROR_INVALID_VALUE;
	switch (a) {
	case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:                 v = b.read_mostly; break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:       v = b.preferred; break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:   v = b.prefetched; break;
	case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:     v = location_type(b.preferred); break;
	case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE: v = location_type(b.prefetched); break;
	case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
		for (size_t i = 0; i < size / 4; i++)
			((int32_t *)data)[i] = i == 0 && b.accessed_by ? 0 : AGC_NOWHERE;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (size != 4)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(data, &v, 4);
	return CUDA_SUCCESS;
}

CUresult call_cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *attributes, size_t n,
				      CUdeviceptr p, size_t count)
{
	AGC_CURRENT();
	if (!data || !sizes || !attributes || !n)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < n; i++) {
		CUresult r = call_cuMemRangeGetAttribute(data[i], sizes[i], attributes[i], p, count);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

/* soft_alloc.c - cuMemAlloc and its kin, host and managed memory, registration of the program's own memory. */
#include <sys/mman.h>
#include "soft_internal.h"

CUresult soft_cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	uint64_t f, t;
	soft_memory_info(&f, &t);
	if (free_bytes)
		*free_bytes = f;
	if (total)
		*total = t;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemAlloc_v2(CUdeviceptr *out, size_t size)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_range *range;
	r = out ? soft_capture_forbid_unsafe(c) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = soft_heap_alloc(c->heap, size, 0, SOFT_R_DEVICE, c, &range);
	if (!r)
		*out = range->e.base;
	return soft_leave(r);
}

CUresult soft_cuMemAllocPitch_v2(CUdeviceptr *out, size_t *pitch, size_t width, size_t height, unsigned int element)
{
	if (!out || !pitch || !width || !height || (element != 4 && element != 8 && element != 16))
		return CUDA_ERROR_INVALID_VALUE;
	size_t p, size;
	if (__builtin_add_overflow(width, (size_t)511, &p) || __builtin_mul_overflow(p &= ~(size_t)511, height, &size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	CUresult r = soft_cuMemAlloc_v2(out, size);
	if (!r)
		*pitch = p;
	return r;
}

/* Frees what starts at addr; as on hardware, after all work of the context.  Lock held. */
static CUresult free_range(struct soft_ctx *c, uint64_t addr, bool host)
{
	struct soft_range *r = soft_range_at(addr);
	if (!r || r->e.base != addr || r->type == SOFT_R_REGISTERED || r->type == SOFT_R_VMM ||
	    r->type == SOFT_R_ARRAY || r->variable || (r->type == SOFT_R_HOST) != host)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult error = soft_ctx_sync(r->ctx ? r->ctx : c);
	if (error)
		return error;
	if (soft_range_at(addr) != r) /* another thread freed it while this one waited */
		return CUDA_ERROR_INVALID_VALUE;
	if (r->type == SOFT_R_POOL) {
		soft_pool_free(r);
	} else if (r->block) {
		soft_heap_release(r);
	} else {
		struct soft_span *span = r->span;
		soft_range_remove(r);
		soft_span_free(span);
	}
	return CUDA_SUCCESS;
}

CUresult soft_cuMemFree_v2(CUdeviceptr addr)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (!addr)
		return soft_leave(CUDA_SUCCESS);
	r = soft_capture_forbid_unsafe(c);
	return soft_leave(r ? r : free_range(c, addr, false));
}

CUresult soft_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr addr)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_range *range = soft_range_at(addr);
	if (!range)
		return soft_leave(CUDA_ERROR_NOT_FOUND);
	if (base)
		*base = range->e.base;
	if (size)
		*size = range->e.size;
	return soft_leave(CUDA_SUCCESS);
}

/* --- host and managed memory: pages of their own in the arena, the same address for host and device --- */

static CUresult pages(struct soft_ctx *c, size_t size, enum soft_type type, unsigned flags, uint64_t *addr)
{
	uint64_t unit = type == SOFT_R_MANAGED ? 64 << 10 : soft_host_page(), whole;
	if (!size)
		return CUDA_ERROR_INVALID_VALUE;
	if (__builtin_add_overflow(size, unit - 1, &whole))
		return CUDA_ERROR_OUT_OF_MEMORY;
	whole &= ~(unit - 1);
	struct soft_span *span = soft_span_new(0, whole, whole >= SOFT_GRANULE ? SOFT_GRANULE : unit);
	if (!span)
		return CUDA_ERROR_OUT_OF_MEMORY;
	struct soft_range *r = NULL;
	if (!mprotect((void *)span->e.base, whole, PROT_READ | PROT_WRITE))
		r = soft_range_add(span->e.base, size, type, c);
	if (!r) {
		soft_span_free(span);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (whole >= SOFT_GRANULE)
		madvise((void *)span->e.base, whole, MADV_HUGEPAGE);
	r->span = span;
	r->flags = flags;
	*addr = span->e.base;
	return CUDA_SUCCESS;
}

CUresult soft_cuMemHostAlloc(void **out, size_t size, unsigned int flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	unsigned known = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
	uint64_t addr;
	r = out && !(flags & ~known) ? pages(c, size, SOFT_R_HOST, flags | CU_MEMHOSTALLOC_DEVICEMAP, &addr)
		: CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*out = (void *)addr;
	return soft_leave(r);
}

CUresult soft_cuMemAllocHost_v2(void **out, size_t size)
{
	return soft_cuMemHostAlloc(out, size, 0);
}

CUresult soft_cuMemFreeHost(void *p)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	return soft_leave(p ? free_range(c, (uint64_t)(uintptr_t)p, true) : CUDA_SUCCESS);
}

CUresult soft_cuMemAllocManaged(CUdeviceptr *out, size_t size, unsigned int flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	uint64_t addr;
	r = out && (flags == CU_MEM_ATTACH_GLOBAL || flags == CU_MEM_ATTACH_HOST)
		    ? pages(c, size, SOFT_R_MANAGED, flags, &addr)
		    : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*out = addr;
	return soft_leave(r);
}

/* --- registration --- */

/* Every page of the range is mapped by the process. */
static bool process_maps(uint64_t base, uint64_t end)
{
	unsigned char residence[4096];
	uint64_t page = soft_host_page();
	for (uint64_t at = base & ~(page - 1); at < end; at += page * sizeof residence) {
		uint64_t n = end - at < page * sizeof residence ? end - at : page * sizeof residence;
		if (mincore((void *)at, n, residence))
			return false;
	}
	return true;
}

static bool overlaps(uint64_t base, uint64_t size)
{
	return !soft_map_free(&soft_ranges, base, size);
}

CUresult soft_cuMemHostRegister_v2(void *p, size_t size, unsigned int flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	unsigned known = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_IOMEMORY |
		CU_MEMHOSTREGISTER_READ_ONLY;
	uint64_t base = (uint64_t)(uintptr_t)p;
	if (!p || !size || flags & ~known || size > UINT64_MAX - base)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (flags & CU_MEMHOSTREGISTER_IOMEMORY)
		return soft_leave(CUDA_ERROR_NOT_SUPPORTED);
	struct soft_range *old = soft_range_at(base);
	if (overlaps(base, size)) {
		bool host = !old || soft_is_host(old->type);
		return soft_leave(host ? CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED : CUDA_ERROR_INVALID_VALUE);
	}
	if (soft_span_at(base) || soft_span_at(base + size - 1) || !process_maps(base, base + size))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_range *range = soft_range_add(base, size, SOFT_R_REGISTERED, c);
	if (!range)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	range->flags = flags;
	if (!soft_host_snapshot(NULL)) {
		soft_range_remove(range);
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	}
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemHostUnregister(void *p)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	uint64_t base = (uint64_t)(uintptr_t)p;
	if (!p)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_range *range = soft_range_at(base);
	if (!range || range->type != SOFT_R_REGISTERED || range->e.base != base)
		return soft_leave(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
	r = soft_ctx_sync(range->ctx);
	if (!r && soft_range_at(base) == range) {
		if (soft_host_snapshot(range))
			soft_range_remove(range);
		else
			r = CUDA_ERROR_OUT_OF_MEMORY;
	}
	return soft_leave(r);
}

CUresult soft_cuMemHostGetDevicePointer_v2(CUdeviceptr *out, void *p, unsigned int flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_range *range = soft_range_at((uint64_t)(uintptr_t)p);
	if (!out || flags || !range || !(soft_is_host(range->type) || range->type == SOFT_R_MANAGED))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*out = (CUdeviceptr)(uintptr_t)p;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemHostGetFlags(unsigned int *flags, void *p)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_range *range = soft_range_at((uint64_t)(uintptr_t)p);
	if (!flags || !range || !soft_is_host(range->type))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*flags = range->flags;
	return soft_leave(CUDA_SUCCESS);
}

/* --- registered memory outside the arena, for the processor ---
 *
 * Grids ask on every access outside the arena, from many threads and without the lock: they read an immutable snapshot.
 * Old snapshots are freed when a new one is made and no grid runs. */

struct snapshot {
	struct snapshot *older;
	size_t n;
	struct soft_extent v[];
};

static struct snapshot *snapshots;

bool soft_host_snapshot(const struct soft_range *without)
{
	size_t n = 0;
	for (size_t i = 0; i < soft_ranges.n; i++)
		n += ((struct soft_range *)soft_ranges.v[i])->type == SOFT_R_REGISTERED;
	struct snapshot *s = malloc(sizeof *s + n * sizeof *s->v);
	if (!s)
		return false;
	s->n = 0;
	for (size_t i = 0; i < soft_ranges.n; i++) {
		const struct soft_range *r = (const struct soft_range *)soft_ranges.v[i];
		bool outside = r->e.base < SOFT_ARENA_BASE || r->e.base >= SOFT_ARENA_END;
		if (r->type == SOFT_R_REGISTERED && outside && r != without)
			s->v[s->n++] = r->e;
	}
	s->older = snapshots;
	__atomic_store_n(&snapshots, s, __ATOMIC_RELEASE);
	while (!soft_grids && s->older) {
		struct snapshot *old = s->older;
		s->older = old->older;
		free(old);
	}
	return true;
}

bool soft_host_range(uint64_t addr, uint64_t len)
{
	const struct snapshot *s = __atomic_load_n(&snapshots, __ATOMIC_ACQUIRE);
	size_t lo = 0, hi = s ? s->n : 0;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->v[mid].base + s->v[mid].size > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return s && lo < s->n && s->v[lo].base <= addr && len <= s->v[lo].base + s->v[lo].size - addr;
}

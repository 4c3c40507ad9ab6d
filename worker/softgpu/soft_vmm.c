/* soft_vmm.c - virtual memory management: reservations, allocations without an address, mappings, access rights.
 * None of this belongs to a context; a mapping keeps its allocation alive after the handle is released. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "soft_internal.h"

static bool granular(uint64_t x)
{
	return x % SOFT_GRANULE == 0;
}

CUresult soft_cuMemGetAllocationGranularity(size_t *out, const CUmemAllocationProp *prop,
	CUmemAllocationGranularity_flags option)
{
	if (!out || !prop || option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED ||
	    prop->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE && !soft_device_ok(prop->location.id))
		return CUDA_ERROR_INVALID_DEVICE;
	*out = SOFT_GRANULE;
	return CUDA_SUCCESS;
}

/* --- addresses --- */

CUresult soft_cuMemAddressReserve(CUdeviceptr *out, size_t size, size_t align, CUdeviceptr addr,
				  unsigned long long flags)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!out || flags || !size || !granular(size) || (align & (align - 1)) || !granular(addr))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (align < SOFT_GRANULE)
		align = SOFT_GRANULE;
	/* The address is a hint: where it cannot be had, another is given. */
	struct soft_span *s = addr && addr % align == 0 ? soft_span_new(addr, size, align) : NULL;
	if (!s)
		s = soft_span_new(0, size, align);
	if (!s)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	s->reserved_by_user = true;
	*out = s->e.base;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemAddressFree(CUdeviceptr addr, size_t size)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_span *s = soft_span_at(addr);
	if (!s || !s->reserved_by_user || s->e.base != addr || s->e.size != size ||
	    !soft_map_free(&soft_ranges, addr, size))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	soft_span_free(s);
	return soft_leave(CUDA_SUCCESS);
}

/* --- allocations --- */

static CUresult prop_ok(const CUmemAllocationProp *p)
{
	if (!p || p->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	switch (p->location.type) {
	case CU_MEM_LOCATION_TYPE_DEVICE:
		if (!soft_device_ok(p->location.id))
			return CUDA_ERROR_INVALID_DEVICE;
		break;
	case CU_MEM_LOCATION_TYPE_HOST:
	case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
		break;
	case CU_MEM_LOCATION_TYPE_HOST_NUMA:
		if (p->location.id != 0)
			return CUDA_ERROR_INVALID_VALUE;
		break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	if (p->requestedHandleTypes & ~(unsigned)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return CUDA_ERROR_NOT_SUPPORTED;
	return CUDA_SUCCESS;
}

CUresult soft_cuMemCreate(CUmemGenericAllocationHandle *out, size_t size, const CUmemAllocationProp *prop,
	unsigned long long flags)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	r = out && !flags && size && granular(size) ? prop_ok(prop) : CUDA_ERROR_INVALID_VALUE;
	struct soft_phys *p;
	if (!r)
		r = soft_phys_new(size, prop, &p);
	if (!r) {
		p->prop.allocFlags.compressionType = CU_MEM_ALLOCATION_COMP_NONE;
		p->handles = 1;
		*out = (CUmemGenericAllocationHandle)(uintptr_t)p;
	}
	return soft_leave(r);
}

static struct soft_phys *phys_of(CUmemGenericAllocationHandle h)
{
	struct soft_phys *p = soft_obj_find(SOFT_PHYS, (void *)(uintptr_t)h);
	return p && p->handles ? p : NULL;
}

CUresult soft_cuMemRelease(CUmemGenericAllocationHandle h)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_phys *p = phys_of(h);
	if (!p)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	p->handles--;
	if (!p->handles && !p->maps)
		soft_phys_drop(p);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *out, void *addr)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_range *range = soft_range_at((uint64_t)(uintptr_t)addr);
	if (!out || !range || range->type != SOFT_R_VMM)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	range->phys->handles++;
	*out = (CUmemGenericAllocationHandle)(uintptr_t)range->phys;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop, CUmemGenericAllocationHandle h)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_phys *p = phys_of(h);
	if (!p || !prop)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*prop = p->prop;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemExportToShareableHandle(void *out, CUmemGenericAllocationHandle h, CUmemAllocationHandleType type,
	unsigned long long flags)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_phys *p = phys_of(h);
	if (!p || !out || flags)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return soft_leave(CUDA_ERROR_NOT_SUPPORTED);
	if (!(p->prop.requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) || p->fd < 0)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return soft_leave(CUDA_ERROR_OPERATING_SYSTEM);
	memcpy(out, &fd, sizeof fd);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *out, void *os_handle,
					     CUmemAllocationHandleType type)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!out)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
		return soft_leave(CUDA_ERROR_NOT_SUPPORTED);
	/* What the descriptor is must be certain before it is mapped: one of our sealed files of whole granules. */
	int given = (int)(intptr_t)os_handle, seals = fcntl(given, F_GET_SEALS);
	struct stat st;
	bool ours = seals >= 0 && (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) == (F_SEAL_SHRINK | F_SEAL_GROW);
	if (!ours || fstat(given, &st) || st.st_size <= 0 || !granular((uint64_t)st.st_size))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_phys *p;
	CUmemAllocationProp prop = {
		.type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.location = { .type = CU_MEM_LOCATION_TYPE_HOST }, /* not counted twice: the exporter's device holds
								      it */
		.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
	};
	r = soft_phys_new((uint64_t)st.st_size, &prop, &p);
	if (r)
		return soft_leave(r);
	p->handles = 1;
	p->prop.location = (CUmemLocation){ .type = CU_MEM_LOCATION_TYPE_DEVICE };
	if (dup3(given, p->fd, O_CLOEXEC) < 0) {
		p->handles = 0;
		soft_phys_drop(p);
		return soft_leave(CUDA_ERROR_OPERATING_SYSTEM);
	}
	*out = (CUmemGenericAllocationHandle)(uintptr_t)p;
	return soft_leave(CUDA_SUCCESS);
}

/* --- mappings --- */

/* [addr, addr+size) lies in one reservation of the program. */
static bool reserved(uint64_t addr, uint64_t size)
{
	struct soft_span *s = soft_span_at(addr);
	return s && s->reserved_by_user && size <= s->e.base + s->e.size - addr;
}

/* The offset must be zero, as cuda.h says of cuMemMap. */
CUresult soft_cuMemMap(CUdeviceptr addr, size_t size, size_t offset, CUmemGenericAllocationHandle h,
	unsigned long long flags)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_phys *p = phys_of(h);
	if (!p || flags || offset || !size || !granular(addr) || !granular(size) || size > p->size ||
	    !reserved(addr, size) || !soft_map_free(&soft_ranges, addr, size))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_range *range = soft_range_add(addr, size, SOFT_R_VMM, NULL);
	if (!range)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	if (!soft_phys_map(p, offset, addr, size, PROT_NONE)) {
		soft_span_clear(addr, size);
		soft_range_remove(range);
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	}
	range->phys = p;
	range->access = CU_MEM_ACCESS_FLAGS_PROT_NONE;
	p->maps++;
	return soft_leave(CUDA_SUCCESS);
}

/* [addr, addr+size) is made of whole mappings, one after the other. */
static bool whole_mappings(uint64_t addr, uint64_t size)
{
	uint64_t at = addr;
	for (size_t i = soft_map_after(&soft_ranges, addr); at - addr < size; i++) {
		struct soft_range *r = i < soft_ranges.n ? (struct soft_range *)soft_ranges.v[i] : NULL;
		if (!r || r->type != SOFT_R_VMM || r->e.base != at || r->e.size > size - (at - addr))
			return false;
		at += r->e.size;
	}
	return true;
}

CUresult soft_cuMemUnmap(CUdeviceptr addr, size_t size)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!size || !granular(addr) || !granular(size) || !reserved(addr, size) || !whole_mappings(addr, size))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	soft_wait_unpinned(addr, size);
	if (!whole_mappings(addr, size)) /* somebody else's unmapping got in while this one waited */
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (!soft_span_clear(addr, size))
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	size_t first = soft_map_after(&soft_ranges, addr), n = 0;
	while (first + n < soft_ranges.n && soft_ranges.v[first + n]->base < addr + size) {
		struct soft_range *range = (struct soft_range *)soft_ranges.v[first + n++];
		struct soft_phys *p = range->phys;
		free(range);
		if (!--p->maps && !p->handles)
			soft_phys_drop(p);
	}
	memmove(soft_ranges.v + first, soft_ranges.v + first + n, (soft_ranges.n - first - n) * sizeof *soft_ranges.v);
	soft_ranges.n -= n;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemSetAccess(CUdeviceptr addr, size_t size, const CUmemAccessDesc *desc, size_t count)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!size || !desc || !count || !granular(addr) || !granular(size) || !reserved(addr, size) ||
			!whole_mappings(addr, size))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	CUmemAccess_flags access = CU_MEM_ACCESS_FLAGS_PROT_NONE;
	for (size_t i = 0; i < count; i++) {
		bool device = desc[i].location.type == CU_MEM_LOCATION_TYPE_DEVICE;
		bool host = desc[i].location.type >= CU_MEM_LOCATION_TYPE_HOST &&
			desc[i].location.type <= CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
		if (device && !soft_device_ok(desc[i].location.id))
			return soft_leave(CUDA_ERROR_INVALID_DEVICE);
		bool known = desc[i].flags == CU_MEM_ACCESS_FLAGS_PROT_NONE ||
			     desc[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READ ||
			     desc[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
		if (!known || (!device && !host))
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		access |= desc[i].flags;
	}
	soft_wait_unpinned(addr, size);
	int prot = access == CU_MEM_ACCESS_FLAGS_PROT_READWRITE ? PROT_READ | PROT_WRITE
		: access == CU_MEM_ACCESS_FLAGS_PROT_READ ? PROT_READ : PROT_NONE;
	if (!whole_mappings(addr, size))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (mprotect((void *)addr, size, prot))
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	for (size_t i = soft_map_after(&soft_ranges, addr); i < soft_ranges.n && soft_ranges.v[i]->base < addr + size;
	     i++)
		((struct soft_range *)soft_ranges.v[i])->access = access;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr addr)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_range *range = soft_range_at(addr);
	if (!flags || !location || !range || range->type != SOFT_R_VMM)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (location->type != CU_MEM_LOCATION_TYPE_DEVICE || !soft_device_ok(location->id))
		return soft_leave(CUDA_ERROR_INVALID_DEVICE);
	*flags = range->access;
	return soft_leave(CUDA_SUCCESS);
}

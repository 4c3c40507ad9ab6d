/* vmm.c - the virtual memory functions (cuMemAddressReserve, cuMemCreate, cuMemMap, ...), as bookkeeping inside the
 * window.
 *
 * The window's addresses are backed when they are granted, so a reservation takes its memory at once and a handle is
 * a claim on whatever range it is mapped to.  What programs can observe holds: contents follow the handle when it is
 * mapped elsewhere, sizes and granularity are checked, ranges must be reserved, mapped once, and given access.  Not
 * possible here, and refused: one handle mapped at two places.
 *
 * A handle that is unmapped but alive leaves its contents where they are, until something else needs the place: then
 * they are copied away.  A reservation that is freed lives on while such contents need it.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#define GRAIN AG_GRANULE

struct handle {
	ag_id id;
	uint64_t bytes, at;              /* contents: where, 0 none yet */
	bool mapped, released;
	unsigned refs;
	CUmemAccess_flags access;
	CUmemAllocationProp prop;
	struct handle *next;
};
struct reservation { uint64_t addr, bytes; bool freed; struct reservation *next; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle *handles;
static struct reservation *reservations;

static bool on_device(const CUmemLocation *l) { return l->type == CU_MEM_LOCATION_TYPE_DEVICE && l->id == 0; }

static CUresult check_prop(const CUmemAllocationProp *p)
{
	if (!p || p->type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	if (p->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (p->location.id != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	return p->requestedHandleTypes ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

CUresult call_cuMemGetAllocationGranularity(size_t *grain, const CUmemAllocationProp *prop,
					    CUmemAllocationGranularity_flags option)
{
	AGC_READY();
	if (!grain || (option != CU_MEM_ALLOC_GRANULARITY_MINIMUM && option != CU_MEM_ALLOC_GRANULARITY_RECOMMENDED))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = check_prop(prop);
	if (r == CUDA_SUCCESS)
		*grain = GRAIN;
	return r;
}

/* --- reservations ------------------------------------------------------------------------------------------------- */

static struct reservation *reservation_of(uint64_t addr, uint64_t bytes)
{
	struct reservation *r = reservations;
	while (r && (addr < r->addr || bytes > r->bytes || addr - r->addr > r->bytes - bytes))
		r = r->next;
	return r;
}

static bool holds(const struct reservation *r, const struct handle *h)
{
	return h->at && h->at - r->addr < r->bytes;
}

/* Frees what is freed and holds nothing any more. Under lock. */
static void sweep(void)
{
	for (struct reservation **p = &reservations; *p;) {
		struct reservation *r = *p;
		bool needed = !r->freed;
		for (struct handle *h = handles; h && !needed; h = h->next)
			needed = holds(r, h);
		if (needed) {
			p = &r->next;
			continue;
		}
		*p = r->next;
		agc_device_free(r->addr);
		free(r);
	}
}

static CUresult reserve(uint64_t bytes, uint64_t align, bool freed, uint64_t *addr)
{
	struct reservation *n = malloc(sizeof *n);
	CUresult r = n ? agc_device_alloc(bytes, align > GRAIN ? align : GRAIN, AGC_B_VMM, 0, addr)
		       : CUDA_ERROR_OUT_OF_MEMORY;
	if (r) {
		free(n);
		return r;
	}
	*n = (struct reservation){ *addr, bytes, freed, reservations };
	reservations = n;
	return CUDA_SUCCESS;
}

CUresult call_cuMemAddressReserve(CUdeviceptr *out, size_t bytes, size_t align, CUdeviceptr hint,
				  unsigned long long flags)
{
	uint64_t addr = 0;
	(void)hint;                      /* documented: the hint may be ignored */
	AGC_READY();
	if (!out || !bytes || bytes % GRAIN || (align & (align - 1)) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	CUresult r = reserve(bytes, align, false, &addr);
	pthread_mutex_unlock(&lock);
	if (r == CUDA_SUCCESS)
		*out = addr;
	return r;
}

CUresult call_cuMemAddressFree(CUdeviceptr addr, size_t bytes)
{
	AGC_READY();
	pthread_mutex_lock(&lock);
	struct reservation *r = reservation_of(addr, bytes);
	bool ok = r && r->addr == addr && r->bytes == bytes && !r->freed;
	for (struct handle *h = handles; ok && h; h = h->next)
		ok = !(h->mapped && holds(r, h));
	if (ok) {
		r->freed = true;
		sweep();
	}
	pthread_mutex_unlock(&lock);
	return ok ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* --- handles ------------------------------------------------------------------------------------------------------ */

static void handle_drop(struct handle *h)
{
	for (struct handle **p = &handles; *p; p = &(*p)->next)
		if (*p == h) {
			*p = h->next;
			break;
		}
	free(h);
	sweep();
}

CUresult call_cuMemCreate(CUmemGenericAllocationHandle *out, size_t bytes, const CUmemAllocationProp *prop,
			  unsigned long long flags)
{
	AGC_READY();
	if (!out || !bytes || bytes % GRAIN || flags)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = check_prop(prop);
	if (r)
		return r;
	if (bytes > agc_s.shm->device[0].total_mem)
		return CUDA_ERROR_OUT_OF_MEMORY;
	struct handle *h = calloc(1, sizeof *h);
	if (!h || !(h->id = agc_id_new(AG_K_MEMHANDLE, h))) {
		free(h);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	h->bytes = bytes;
	h->refs = 1;
	h->prop = *prop;
	pthread_mutex_lock(&lock);
	h->next = handles;
	handles = h;
	pthread_mutex_unlock(&lock);
	*out = h->id;
	return CUDA_SUCCESS;
}

static struct handle *handle_of(CUmemGenericAllocationHandle id)
{
	return agc_id_state(AG_K_MEMHANDLE, (void *)(uintptr_t)id, NULL);
}

CUresult call_cuMemRelease(CUmemGenericAllocationHandle id)
{
	AGC_READY();
	pthread_mutex_lock(&lock);
	struct handle *h = handle_of(id);
	if (h && --h->refs == 0) {
		agc_id_free(h->id);
		h->released = true;
		if (!h->mapped)
			handle_drop(h);
	}
	pthread_mutex_unlock(&lock);
	return h ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* The handle mapped at addr. Under lock. */
static struct handle *mapped_at(uint64_t addr)
{
	struct handle *h = handles;
	while (h && !(h->mapped && addr - h->at < h->bytes))
		h = h->next;
	return h;
}

CUresult call_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *out, void *addr)
{
	AGC_READY();
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	struct handle *h = mapped_at((uint64_t)(uintptr_t)addr);
	if (h && h->released) {          /* only its mapping kept it: it gets a name again */
		h->id = agc_id_new(AG_K_MEMHANDLE, h);
		h->released = !h->id;
	}
	if (h && !h->released) {
		h->refs++;
		*out = h->id;
	} else {
		h = NULL;
	}
	pthread_mutex_unlock(&lock);
	return h ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop, CUmemGenericAllocationHandle id)
{
	AGC_READY();
	struct handle *h = handle_of(id);
	if (!prop || !h)
		return CUDA_ERROR_INVALID_VALUE;
	*prop = h->prop;
	return CUDA_SUCCESS;
}

/* --- mappings ----------------------------------------------------------------------------------------------------- */

static CUresult move(struct handle *h, uint64_t to)
{
	CUresult r = h->at ? agc_copy(to, h->at, h->bytes, &agc_legacy, true) : CUDA_SUCCESS;
	if (r == CUDA_SUCCESS && h->at)
		r = agc_sync_all();      /* the old place may be given away now */
	if (r == CUDA_SUCCESS)
		h->at = to;
	return r;
}

/* Contents of unmapped handles that lie where something is to be mapped move to a place of their own. */
static CUresult clear_place(const struct handle *except, uint64_t addr, uint64_t bytes)
{
	for (struct handle *h = handles; h; h = h->next) {
		uint64_t to;
		if (h == except || h->mapped || !h->at || h->at >= addr + bytes || addr >= h->at + h->bytes)
			continue;
		CUresult r = reserve(h->bytes, GRAIN, true, &to);
		if (r == CUDA_SUCCESS)
			r = move(h, to);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;
}

static CUresult map(struct handle *h, uint64_t addr, uint64_t bytes)
{
	struct reservation *res = reservation_of(addr, bytes);
	if (!h || !res || res->freed || bytes != h->bytes)
		return CUDA_ERROR_INVALID_VALUE;
	for (struct handle *o = handles; o; o = o->next)
		if (o->mapped && o->at < addr + bytes && addr < o->at + o->bytes)
			return CUDA_ERROR_INVALID_VALUE;
	if (h->mapped) {
		agc_log("cuMemMap: one allocation at two addresses is not supported");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	CUresult r = clear_place(h, addr, bytes);
	if (r == CUDA_SUCCESS && h->at != addr)
		r = move(h, addr);
	if (r)
		return r;
	h->mapped = true;
	h->access = CU_MEM_ACCESS_FLAGS_PROT_NONE;
	sweep();
	return CUDA_SUCCESS;
}

CUresult call_cuMemMap(CUdeviceptr addr, size_t bytes, size_t offset, CUmemGenericAllocationHandle id,
		       unsigned long long flags)
{
	AGC_CURRENT();
	if (!bytes || bytes % GRAIN || addr % GRAIN || offset || flags)
		return CUDA_ERROR_INVALID_VALUE;         /* documented: the offset must be 0 */
	pthread_mutex_lock(&lock);
	CUresult r = map(handle_of(id), addr, bytes);
	pthread_mutex_unlock(&lock);
	return r;
}

/* Calls `each` for the mappings that make up exactly [addr, addr+bytes); false: they do not. Under lock. */
static bool for_range(uint64_t addr, uint64_t bytes, void (*each)(struct handle *, void *), void *arg)
{
	for (int pass = 0; pass < 2; pass++)
		for (uint64_t at = addr, n; at < addr + bytes; at += n) {
			struct handle *h = mapped_at(at);
			if (!h || h->at != at || h->bytes > addr + bytes - at)
				return false;
			n = h->bytes;
			if (pass)
				each(h, arg);
		}
	return true;
}

static void unmap_one(struct handle *h, void *arg)
{
	(void)arg;
	h->mapped = false;
}

CUresult call_cuMemUnmap(CUdeviceptr addr, size_t bytes)
{
	AGC_READY();
	if (!bytes || addr + bytes < addr)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_sync_all();     /* NVIDIA's driver waits, too */
	pthread_mutex_lock(&lock);
	bool ok = for_range(addr, bytes, unmap_one, NULL);
	for (struct handle *h = handles, *next; ok && h; h = next) {
		next = h->next;
		if (h->released && !h->mapped)
			handle_drop(h);
	}
	pthread_mutex_unlock(&lock);
	return ok ? r : CUDA_ERROR_INVALID_VALUE;
}

static void access_one(struct handle *h, void *flags)
{
	h->access = *(CUmemAccess_flags *)flags;
}

CUresult call_cuMemSetAccess(CUdeviceptr addr, size_t bytes, const CUmemAccessDesc *desc, size_t n)
{
	AGC_READY();
	if (!bytes || addr + bytes < addr || !desc || !n)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < n; i++) {
		if (desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE && desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
		    desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
			return CUDA_ERROR_INVALID_VALUE;
		if (!on_device(&desc[i].location))
			return desc[i].location.type == CU_MEM_LOCATION_TYPE_DEVICE ? CUDA_ERROR_INVALID_DEVICE
										    : CUDA_ERROR_NOT_SUPPORTED;
	}
	CUmemAccess_flags flags = desc[n - 1].flags;
	pthread_mutex_lock(&lock);
	bool ok = for_range(addr, bytes, access_one, &flags);
	pthread_mutex_unlock(&lock);
	return ok ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuMemGetAccess(unsigned long long *flags, const CUmemLocation *loc, CUdeviceptr addr)
{
	AGC_READY();
	if (!flags || !loc)
		return CUDA_ERROR_INVALID_VALUE;
	if (!on_device(loc))
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&lock);
	struct handle *h = mapped_at(addr);
	if (h)
		*flags = h->access;
	pthread_mutex_unlock(&lock);
	return h ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

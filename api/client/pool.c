/* pool.c - stream-ordered allocation.  Freed memory waits in its pool with the stream it was freed on: the same
 * stream may have it again at once, anyone else when the work before the free is over.  Pools are client-local:
 * bookkeeping over the one device heap.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#define HELD_MAX 256                  /* blocks that wait per process; more go back to the heap */

struct pool {
	ag_id id;
	struct agc_ctx *ctx;
	uint64_t threshold, used, used_high, reserved, reserved_high;
	int reuse[3];                 /* follow event dependencies, opportunistic, internal dependencies */
	bool is_default;
};

struct held { struct agc_block block; struct agc_stream *stream; uint64_t size, busy; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool default_pool = { .is_default = true, .reuse = { 1, 1, 1 } };
static struct pool *current_pool = &default_pool;
static struct held held[HELD_MAX];
static unsigned nheld;

static CUmemoryPool handle_of(struct pool *p)
{
	if (!p->id)
		p->id = agc_id_new(AG_K_MEMPOOL, p);
	return (CUmemoryPool)(uintptr_t)p->id;
}

#define POOL(p, h) \
	AGC_FOUND(struct pool, p, AGC_READY, agc_id_state(AG_K_MEMPOOL, h, NULL), CUDA_ERROR_INVALID_VALUE)

/* --- waiting blocks ----------------------------------------------------------------------------------------------- */

static void let_go(unsigned i)
{
	agc_range_release(held[i].block.addr, held[i].busy);
	held[i] = held[--nheld];
}

/* Gives everything that waits back to the heap; what is still busy keeps its number there. */
void agc_pools_flush(bool idle_only)
{
	pthread_mutex_lock(&lock);
	uint64_t done = atomic_load(&agc_s.completed);
	for (unsigned i = 0; i < nheld;) {
		if (idle_only && held[i].busy > done)
			i++;
		else
			let_go(i);
	}
	pthread_mutex_unlock(&lock);
}

/* A waiting block of this very size that `s` may use. Under lock. */
static bool reuse(struct agc_stream *s, uint64_t size, struct agc_block *out)
{
	uint64_t done = atomic_load(&agc_s.completed);
	for (unsigned i = 0; i < nheld; i++) {
		if (held[i].size != size || (held[i].stream != s && held[i].busy > done))
			continue;
		*out = held[i].block;
		held[i] = held[--nheld];
		return true;
	}
	return false;
}

/* --- allocation --------------------------------------------------------------------------------------------------- */

static void account(struct pool *p, int64_t used)
{
	pthread_mutex_lock(&lock);
	p->used += (uint64_t)used;
	if (p->used > p->used_high)
		p->used_high = p->used;
	p->reserved = p->used;
	for (unsigned i = 0; i < nheld; i++)
		if (held[i].block.pool == p->id)
			p->reserved += held[i].size;
	if (p->reserved > p->reserved_high)
		p->reserved_high = p->reserved;
	pthread_mutex_unlock(&lock);
}

static CUresult alloc(CUdeviceptr *out, size_t bytes, struct pool *p, CUstream h)
{
	struct agc_block b;
	uint64_t size = (bytes + 511) & ~(uint64_t)511, addr = 0;
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!out || !bytes || size < bytes)
		return CUDA_ERROR_INVALID_VALUE;
	/* The capture's replays use it after its free: it is the graph's. */
	if (agc_captured(s->id))
		return agc_capture_alloc(s->id, bytes, out);
	pthread_mutex_lock(&lock);
	bool again = reuse(s, size, &b);
	handle_of(p);
	pthread_mutex_unlock(&lock);
	if (again) {
		b.bytes = bytes;
		b.ctx = agc_t.ctx;
		b.pool = p->id;
		if (!agc_block_show(&b)) {
			agc_range_release(b.addr, agc_submitted());
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		addr = b.addr;
	} else {
		CUresult r = agc_device_alloc(bytes, 512, AGC_B_ASYNC, 0, &addr);
		if (r == CUDA_ERROR_OUT_OF_MEMORY) {
			agc_pools_flush(false);
			r = agc_device_alloc(bytes, 512, AGC_B_ASYNC, 0, &addr);
		}
		if (r)
			return r;
		if (agc_block_at(addr, &b)) {
			b.pool = p->id;
			agc_block_mark(&b);
		}
	}
	account(p, (int64_t)size);
	*out = addr;
	return CUDA_SUCCESS;
}

CUresult call_cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream h)
{
	return alloc(out, bytes, current_pool, h);
}

CUresult call_cuMemAllocFromPoolAsync(CUdeviceptr *out, size_t bytes, CUmemoryPool pool, CUstream h)
{
	POOL(p, pool);
	return alloc(out, bytes, p, h);
}

CUresult call_cuMemFreeAsync(CUdeviceptr addr, CUstream h)
{
	struct agc_block b;
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!addr || agc_graph_holds(addr))
		return CUDA_SUCCESS;
	if (agc_captured(s->id))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (!agc_block_at(addr, &b) || (b.kind != AGC_B_ASYNC && b.kind != AGC_B_DEVICE) || !agc_block_hide(addr, &b))
		return CUDA_ERROR_INVALID_VALUE;
	struct pool *p = b.pool ? agc_id_state(AG_K_MEMPOOL, (void *)(uintptr_t)b.pool, NULL) : NULL;
	uint64_t size = (b.bytes + 511) & ~(uint64_t)511;
	b.kind = AGC_B_ASYNC;
	pthread_mutex_lock(&lock);
	if (nheld == HELD_MAX)
		let_go(0);
	held[nheld++] = (struct held){ b, s, size, agc_submitted() };
	pthread_mutex_unlock(&lock);
	if (p)
		account(p, -(int64_t)size);
	return CUDA_SUCCESS;
}

/* --- pools -------------------------------------------------------------------------------------------------------- */

CUresult call_cuMemPoolCreate(CUmemoryPool *out, const CUmemPoolProps *props)
{
	AGC_READY();
	if (!out || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
	    props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	if (props->location.id != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	if (props->handleTypes != CU_MEM_HANDLE_TYPE_NONE)
		return CUDA_ERROR_NOT_SUPPORTED;
	struct pool *p = calloc(1, sizeof *p);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p->reuse[0] = p->reuse[1] = p->reuse[2] = 1;
	p->ctx = agc_t.ctx;
	*out = handle_of(p);
	if (*out)
		return CUDA_SUCCESS;
	free(p);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult call_cuMemPoolDestroy(CUmemoryPool h)
{
	POOL(p, h);
	if (p->is_default)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	if (current_pool == p)
		current_pool = &default_pool;    /* documented */
	pthread_mutex_unlock(&lock);
	agc_id_free(p->id);
	free(p);
	return CUDA_SUCCESS;
}

CUresult call_cuMemPoolTrimTo(CUmemoryPool h, size_t keep)
{
	POOL(p, h);
	(void)p;
	(void)keep;                      /* a lower bound: nothing is kept that could go */
	agc_look();
	agc_pools_flush(true);
	return CUDA_SUCCESS;
}

CUresult call_cuMemPoolSetAttribute(CUmemoryPool h, CUmemPool_attribute a, void *value)
{
	POOL(p, h);
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	switch (a) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:   p->reuse[0] = *(int *)value; break;
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:         p->reuse[1] = *(int *)value; break;
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: p->reuse[2] = *(int *)value; break;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:                 p->threshold = *(cuuint64_t *)value; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
		if (*(cuuint64_t *)value)
			return CUDA_ERROR_INVALID_VALUE;         /* documented: may only be reset */
		*(a == CU_MEMPOOL_ATTR_USED_MEM_HIGH ? &p->used_high : &p->reserved_high) = 0;
		break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult call_cuMemPoolGetAttribute(CUmemoryPool h, CUmemPool_attribute a, void *value)
{
	POOL(p, h);
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	account(p, 0);                   /* blocks that waited may have gone since */
	switch (a) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:   *(int *)value = p->reuse[0]; break;
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:         *(int *)value = p->reuse[1]; break;
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES: *(int *)value = p->reuse[2]; break;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:                 *(cuuint64_t *)value = p->threshold; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:              *(cuuint64_t *)value = p->reserved; break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:                 *(cuuint64_t *)value = p->reserved_high; break;
	case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:                  *(cuuint64_t *)value = p->used; break;
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH:                     *(cuuint64_t *)value = p->used_high; break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult call_cuMemPoolSetAccess(CUmemoryPool h, const CUmemAccessDesc *map, size_t count)
{
	POOL(p, h);
	(void)p;
	if (!map || !count)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++) {
		if (map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE)
			return CUDA_ERROR_INVALID_VALUE;
		if (map[i].location.id != 0)
			return CUDA_ERROR_INVALID_DEVICE;
		if (map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
			return CUDA_ERROR_INVALID_VALUE;         /* documented: the owning device always has access */
	}
	return CUDA_SUCCESS;
}

CUresult call_cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool h, CUmemLocation *loc)
{
	POOL(p, h);
	(void)p;
	if (!flags || !loc || loc->type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	if (loc->id != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	*flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceGetDefaultMemPool(CUmemoryPool *out, CUdevice dev)
{
	AGC_READY();
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&lock);
	*out = handle_of(&default_pool);
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceGetMemPool(CUmemoryPool *out, CUdevice dev)
{
	AGC_READY();
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&lock);
	*out = handle_of(current_pool);
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceSetMemPool(CUdevice dev, CUmemoryPool h)
{
	POOL(p, h);
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&lock);
	current_pool = p;
	pthread_mutex_unlock(&lock);
	return CUDA_SUCCESS;
}

static bool on_device(const CUmemLocation *loc)
{
	return loc && loc->type == CU_MEM_LOCATION_TYPE_DEVICE && loc->id == 0;
}

CUresult call_cuMemGetDefaultMemPool(CUmemoryPool *out, CUmemLocation *loc, CUmemAllocationType type)
{
	return on_device(loc) && type == CU_MEM_ALLOCATION_TYPE_PINNED ? call_cuDeviceGetDefaultMemPool(out, 0)
								       : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuMemGetMemPool(CUmemoryPool *out, CUmemLocation *loc, CUmemAllocationType type)
{
	return on_device(loc) && type == CU_MEM_ALLOCATION_TYPE_PINNED ? call_cuDeviceGetMemPool(out, 0)
								       : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuMemSetMemPool(CUmemLocation *loc, CUmemAllocationType type, CUmemoryPool pool)
{
	return on_device(loc) && type == CU_MEM_ALLOCATION_TYPE_PINNED ? call_cuDeviceSetMemPool(0, pool)
								       : CUDA_ERROR_INVALID_VALUE;
}

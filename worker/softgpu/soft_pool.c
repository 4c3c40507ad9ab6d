/* soft_pool.c - memory pools and stream-ordered allocation.
 *
 * An allocation takes its memory at the call, which is earlier than stream order asks for and so always allowed; a free
 * gives it back in stream order.  When the memory does not suffice, frees that are still queued are waited for.
 * Owns: pools and their heaps. */
#include "soft_internal.h"

struct soft_pool {
	struct soft_obj obj;
	struct soft_heap *heap;
	struct soft_pool *next;
	bool is_default;
	uint64_t threshold, max_size, used, used_high, reserved_high;
	int reuse[3];                    /* event dependencies, opportunistic, internal dependencies */
	CUmemAccess_flags access;
	CUmemPoolProps props;
};

static struct soft_pool *pools, *default_pool, *current_pool;

static void pool_destroy(struct soft_obj *o)
{
	struct soft_pool *p = (struct soft_pool *)o, **q = &pools;
	while (*q != p)
		q = &(*q)->next;
	*q = p->next;
	soft_heap_free(p->heap);
	free(p);
}

static CUresult pool_new(struct soft_pool **out)
{
	struct soft_pool *p = calloc(1, sizeof *p);
	if (!p || !(p->heap = soft_heap_new())) {
		free(p);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	soft_obj_init(&p->obj, SOFT_POOL, pool_destroy);
	for (int i = 0; i < 3; i++)
		p->reuse[i] = 1;
	p->access = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
	p->next = pools;
	pools = p;
	*out = p;
	return CUDA_SUCCESS;
}

static CUresult get_default(struct soft_pool **out)
{
	CUresult r = CUDA_SUCCESS;
	if (!default_pool) {
		r = pool_new(&default_pool);
		if (r)
			return r;
		default_pool->is_default = true;
	}
	*out = default_pool;
	return r;
}

static CUresult get_current(struct soft_pool **out)
{
	*out = current_pool;
	return current_pool ? CUDA_SUCCESS : get_default(out);
}

static CUresult pool_alloc(struct soft_pool *p, struct soft_ctx *c, size_t size, uint64_t *addr)
{
	struct soft_range *r;
	if (!size)
		return CUDA_ERROR_INVALID_VALUE;
	if (p->max_size && (size > p->max_size || p->used > p->max_size - size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	CUresult e = soft_heap_alloc(p->heap, size, 0, SOFT_R_POOL, c, &r);
	if (e == CUDA_ERROR_OUT_OF_MEMORY) { /* queued frees, and blocks that pools keep */
		e = soft_ctx_sync(c);
		if (!e && c->destroyed)
			e = CUDA_ERROR_CONTEXT_IS_DESTROYED;
		for (struct soft_pool *q = pools; q && !e; q = q->next)
			soft_heap_trim(q->heap, 0);
		if (!e)
			e = soft_heap_alloc(p->heap, size, 0, SOFT_R_POOL, c, &r);
	}
	if (e)
		return e;
	r->pool = p;
	soft_ref(&p->obj);
	p->used += size;
	p->used_high = p->used > p->used_high ? p->used : p->used_high;
	uint64_t reserved = soft_heap_reserved(p->heap);
	p->reserved_high = reserved > p->reserved_high ? reserved : p->reserved_high;
	*addr = r->e.base;
	return CUDA_SUCCESS;
}

void soft_pool_free(struct soft_range *r)
{
	struct soft_pool *p = r->pool;
	p->used -= r->e.size;
	soft_heap_release(r);
	soft_unref(&p->obj);
}

void soft_pools_drop(struct soft_ctx *c)
{
	for (size_t i = soft_ranges.n; i-- > 0;) {
		struct soft_range *r = (struct soft_range *)soft_ranges.v[i];
		if (r->type != SOFT_R_POOL || r->ctx != c)
			continue;
		soft_pool_free(r);
		i = soft_ranges.n;
	}
}

struct free_op {
	struct soft_op op;
	uint64_t addr, id;
};

static CUresult run_free(struct soft_op *op, struct soft_stream *s)
{
	(void)s;
	struct free_op *f = (struct free_op *)op;
	soft_lock();
	struct soft_range *r = soft_range_at(f->addr);
	if (r && r->buffer_id == f->id)
		soft_pool_free(r);
	soft_unlock();
	return CUDA_SUCCESS;
}

static CUresult alloc_async(CUdeviceptr *out, size_t size, struct soft_pool *named, CUstream hs)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	struct soft_pool *p = named ? soft_obj_find(SOFT_POOL, named) : NULL;
	if (!out || (named && !p))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (soft_capturing(s))
		return soft_leave(soft_capture_unsupported(s));
	r = p ? CUDA_SUCCESS : get_current(&p);
	uint64_t addr;
	if (!r)
		r = pool_alloc(p, s->ctx, size, &addr);
	if (!r)
		*out = addr;
	return soft_leave(r);
}

CUresult soft_cuMemAllocAsync(CUdeviceptr *out, size_t size, CUstream s)
{
	return alloc_async(out, size, NULL, s);
}

CUresult soft_cuMemAllocFromPoolAsync(CUdeviceptr *out, size_t size, CUmemoryPool pool, CUstream s)
{
	return pool ? alloc_async(out, size, (struct soft_pool *)pool, s) : CUDA_ERROR_INVALID_VALUE;
}

CUresult soft_cuMemFreeAsync(CUdeviceptr addr, CUstream hs)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!addr)
		return soft_leave(CUDA_SUCCESS);
	struct soft_range *range = soft_range_at(addr);
	bool freeable = range && range->e.base == addr &&
			(range->type == SOFT_R_POOL || range->type == SOFT_R_DEVICE) && !range->variable &&
			!range->busy_free;
	if (!freeable)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (soft_capturing(s))
		return soft_leave(soft_capture_unsupported(s));
	if (range->type == SOFT_R_DEVICE) { /* memory of cuMemAlloc is freed by waiting */
		soft_unlock();
		return soft_cuMemFree_v2(addr);
	}
	struct free_op *f = soft_op_new(sizeof *f, run_free, NULL);
	if (!f)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	f->addr = addr;
	f->id = range->buffer_id;
	f->op.light = true;
	range->busy_free = true;
	return soft_leave(soft_submit(s, &f->op));
}

/* --- pools --- */

CUresult soft_cuMemPoolCreate(CUmemoryPool *out, const CUmemPoolProps *props)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!out || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (props->location.type != CU_MEM_LOCATION_TYPE_DEVICE || props->handleTypes != CU_MEM_HANDLE_TYPE_NONE)
		return soft_leave(CUDA_ERROR_NOT_SUPPORTED);
	if (!soft_device_ok(props->location.id))
		return soft_leave(CUDA_ERROR_INVALID_DEVICE);
	struct soft_pool *p;
	r = pool_new(&p);
	if (!r) {
		p->props = *props;
		p->max_size = props->maxSize;
		*out = (CUmemoryPool)p;
	}
	return soft_leave(r);
}

CUresult soft_cuMemPoolDestroy(CUmemoryPool h)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_pool *p = soft_obj_find(SOFT_POOL, h);
	if (!p || p->is_default)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (current_pool == p)
		current_pool = NULL;
	soft_obj_hide(&p->obj); /* goes with the last allocation */
	soft_unref(&p->obj);
	return soft_leave(CUDA_SUCCESS);
}

static CUresult enter_pool(CUmemoryPool h, const void *argument, struct soft_pool **p)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*p = soft_obj_find(SOFT_POOL, h);
	return *p && argument ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult soft_cuMemPoolTrimTo(CUmemoryPool h, size_t keep)
{
	struct soft_pool *p;
	CUresult r = enter_pool(h, h, &p);
	if (r)
		return r;
	soft_heap_trim(p->heap, keep);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuMemPoolGetAttribute(CUmemoryPool h, CUmemPool_attribute attr, void *value)
{
	struct soft_pool *p;
	CUresult r = enter_pool(h, value, &p);
	if (r)
		return r;
	switch (attr) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
		*(int *)value = p->reuse[attr - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES];
		break;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
		*(cuuint64_t *)value = p->threshold;
		break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
		*(cuuint64_t *)value = soft_heap_reserved(p->heap);
		break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
		*(cuuint64_t *)value = p->reserved_high;
		break;
	case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
		*(cuuint64_t *)value = p->used;
		break;
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
		*(cuuint64_t *)value = p->used_high;
		break;
	default:
		r = CUDA_ERROR_INVALID_VALUE;
	}
	return soft_leave(r);
}

CUresult soft_cuMemPoolSetAttribute(CUmemoryPool h, CUmemPool_attribute attr, void *value)
{
	struct soft_pool *p;
	CUresult r = enter_pool(h, value, &p);
	if (r)
		return r;
	switch (attr) {
	case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
	case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
		p->reuse[attr - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = *(int *)value != 0;
		break;
	case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
		p->threshold = *(cuuint64_t *)value;
		soft_heap_keep(p->heap, p->threshold);
		break;
	case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: /* the high marks can only be set back */
		if (*(cuuint64_t *)value)
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		p->reserved_high = soft_heap_reserved(p->heap);
		break;
	case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
		if (*(cuuint64_t *)value)
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
		p->used_high = p->used;
		break;
	default:
		r = CUDA_ERROR_INVALID_VALUE;
	}
	return soft_leave(r);
}

/* The only device is the pool's own: its access cannot be taken away. */
CUresult soft_cuMemPoolSetAccess(CUmemoryPool h, const CUmemAccessDesc *desc, size_t count)
{
	struct soft_pool *p;
	CUresult r = enter_pool(h, desc, &p);
	if (r)
		return r;
	for (size_t i = 0; i < count && !r; i++) {
		if (desc[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE || !soft_device_ok(desc[i].location.id))
			r = CUDA_ERROR_INVALID_DEVICE;
		else if (desc[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
			r = CUDA_ERROR_INVALID_VALUE;
	}
	return soft_leave(r);
}

CUresult soft_cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool h, CUmemLocation *location)
{
	struct soft_pool *p;
	CUresult r = enter_pool(h, flags && location ? flags : NULL, &p);
	if (r)
		return r;
	if (location->type != CU_MEM_LOCATION_TYPE_DEVICE || !soft_device_ok(location->id))
		return soft_leave(CUDA_ERROR_INVALID_DEVICE);
	*flags = p->access;
	return soft_leave(CUDA_SUCCESS);
}

static CUresult device_pool(CUmemoryPool *out, CUdevice dev, CUresult (*get)(struct soft_pool **))
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!out || !soft_device_ok(dev))
		return soft_leave(out ? CUDA_ERROR_INVALID_DEVICE : CUDA_ERROR_INVALID_VALUE);
	struct soft_pool *p;
	r = get(&p);
	if (!r)
		*out = (CUmemoryPool)p;
	return soft_leave(r);
}

CUresult soft_cuDeviceGetDefaultMemPool(CUmemoryPool *out, CUdevice dev)
{
	return device_pool(out, dev, get_default);
}

CUresult soft_cuDeviceGetMemPool(CUmemoryPool *out, CUdevice dev)
{
	return device_pool(out, dev, get_current);
}

CUresult soft_cuDeviceSetMemPool(CUdevice dev, CUmemoryPool h)
{
	struct soft_pool *p;
	CUresult r = enter_pool(h, h, &p);
	if (r)
		return r;
	if (!soft_device_ok(dev))
		return soft_leave(CUDA_ERROR_INVALID_DEVICE);
	current_pool = p->is_default ? NULL : p;
	return soft_leave(CUDA_SUCCESS);
}

/* The same by location; only the device has pools. */
static CUresult located(CUmemoryPool *out, const CUmemLocation *l, CUmemAllocationType type,
	CUresult (*get)(struct soft_pool **))
{
	if (!l || type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	return l->type == CU_MEM_LOCATION_TYPE_DEVICE ? device_pool(out, l->id, get) : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult soft_cuMemGetDefaultMemPool(CUmemoryPool *out, CUmemLocation *location, CUmemAllocationType type)
{
	return located(out, location, type, get_default);
}

CUresult soft_cuMemGetMemPool(CUmemoryPool *out, CUmemLocation *location, CUmemAllocationType type)
{
	return located(out, location, type, get_current);
}

CUresult soft_cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool)
{
	if (!location || type != CU_MEM_ALLOCATION_TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	return location->type == CU_MEM_LOCATION_TYPE_DEVICE ? soft_cuDeviceSetMemPool(location->id, pool)
		: CUDA_ERROR_NOT_SUPPORTED;
}

/* soft_context.c - contexts: the primary one and created ones, each thread's stack of them, limits, sticky errors.
 *
 * A context that failed stays failed: every call that needs it returns the error, as on hardware, until it is destroyed
 * or (primary) reset.  Destruction ends running grids, waits for the streams, and frees what the context owns. */
#include "soft_internal.h"

enum { MAX_DEPTH = 64 };

static _Thread_local struct soft_ctx *stack[MAX_DEPTH]; /* [depth-1] is current; may hold stale contexts */
static _Thread_local unsigned depth;
static struct soft_ctx primary_object; /* one handle for the process's life, as programs keep it across a reset */
static struct soft_ctx *primary;       /* NULL while inactive */
static unsigned primary_refs, primary_flags;
struct soft_ctx *soft_contexts;
static struct exec_fault last_fault;
static CUresult last_error;
static char last_kernel[256];
static bool output_pending;
_Thread_local bool soft_in_callback;

static void ctx_free(struct soft_obj *o)
{
	if ((struct soft_ctx *)o != &primary_object)
		free(o);
}

/* The current context, as long as it lives. */
struct soft_ctx *soft_current(void)
{
	struct soft_ctx *c = depth ? soft_obj_find(SOFT_CTX, stack[depth - 1]) : NULL;
	return c && !c->destroyed ? c : NULL;
}

CUresult soft_enter_sick(struct soft_ctx **ctx)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*ctx = soft_current();
	if (*ctx)
		return CUDA_SUCCESS;
	bool stale = depth && stack[depth - 1];
	return soft_leave(stale ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_INVALID_CONTEXT);
}

CUresult soft_enter(struct soft_ctx **ctx)
{
	CUresult r = soft_enter_sick(ctx);
	if (r)
		return r;
	return (*ctx)->error ? soft_leave((*ctx)->error) : CUDA_SUCCESS;
}

static void default_limits(struct soft_ctx *c)
{
	c->limits[CU_LIMIT_STACK_SIZE] = 1024;
	c->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = 7340032;
	c->limits[CU_LIMIT_MALLOC_HEAP_SIZE] = 8388608;
	c->limits[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
	c->limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 128;
	c->limits[CU_LIMIT_PERSISTING_L2_CACHE_SIZE] = 0;
}

static CUresult ctx_new(struct soft_ctx *c, unsigned flags, unsigned api_version, struct soft_ctx **out)
{
	struct soft_heap *heap = soft_heap_new();
	if (!c || !heap) {
		if (heap)
			soft_heap_free(heap);
		if (c != &primary_object)
			free(c);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	/* Threads that still wait for the primary context's former life give back their references to this one. */
	unsigned stale = c == &primary_object ? c->obj.refs : 0;
	memset(c, 0, sizeof *c);
	c->heap = heap;
	soft_obj_init(&c->obj, SOFT_CTX, ctx_free);
	c->obj.refs += stale;
	c->flags = flags;
	c->api_version = api_version;
	c->id = soft_next_id();
	default_limits(c);
	CUresult r = soft_stream_new(c, 0, 0, &c->legacy);
	if (r) {
		soft_heap_free(c->heap);
		soft_unref(&c->obj);
		return r;
	}
	c->legacy->legacy = true;
	c->next = soft_contexts;
	soft_contexts = c;
	*out = c;
	return CUDA_SUCCESS;
}

/* Host memory, managed memory and arrays that the context owns; its heap is freed apart. */
static void drop_ranges(struct soft_ctx *c)
{
	for (size_t i = soft_ranges.n; i-- > 0;) {
		struct soft_range *r = (struct soft_range *)soft_ranges.v[i];
		if (r->ctx != c || r->block)
			continue;
		struct soft_span *span = r->span;
		if (r->type == SOFT_R_REGISTERED && !soft_host_snapshot(r))
			soft_log("out of memory: kernels may still reach host memory that a destroyed context had "
				 "registered");
		soft_range_remove(r);
		if (span)
			soft_span_free(span);
		i = soft_ranges.n; /* the lock may have been released: begin again */
	}
}

static void ctx_destroy(struct soft_ctx *c)
{
	if (c->destroyed)
		return;
	c->destroyed = true;
	soft_ref(&c->obj);
	__atomic_store_n(&c->cancel, 1, __ATOMIC_RELEASE);
	soft_progress();
	soft_ctx_sync(c);
	while (c->streams) {
		struct soft_stream *s = c->streams;
		soft_stream_close(s);
		if (s == c->streams)
			soft_wait_progress();
	}
	c->legacy = NULL;
	soft_modules_drop(c);
	soft_textures_drop(c);
	soft_arrays_drop(c);
	soft_events_drop(c);
	soft_pools_drop(c);
	drop_ranges(c);
	soft_heap_free(c->heap);
	c->heap = NULL;
	struct soft_ctx **p = &soft_contexts;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	soft_obj_hide(&c->obj);
	soft_unref(&c->obj); /* ours */
	soft_unref(&c->obj); /* the creator's */
}

void soft_ctx_fail(struct soft_ctx *c, CUresult error, const struct exec_fault *fault, const char *kernel)
{
	if (c->destroyed)
		return;
	if (fault) {
		last_fault = *fault;
		last_error = error;
		snprintf(last_kernel, sizeof last_kernel, "%s", kernel);
		const char *name = "?";
		soft_cuGetErrorName(error, &name);
		soft_log("%s in %s, PTX line %u, block (%u,%u,%u), thread (%u,%u,%u), address 0x%llx: %s", name, kernel,
			fault->line, fault->ctaid[0], fault->ctaid[1], fault->ctaid[2], fault->tid[0], fault->tid[1],
			fault->tid[2], (unsigned long long)fault->addr, fault->what);
	}
	if (!c->error)
		c->error = error;
	__atomic_store_n(&c->cancel, 1, __ATOMIC_RELEASE);
	soft_progress();
}

bool soft_last_fault(struct exec_fault *fault, CUresult *error, char *kernel, size_t kernel_size)
{
	soft_lock();
	bool any = last_error != CUDA_SUCCESS;
	if (any) {
		*fault = last_fault;
		*error = last_error;
		snprintf(kernel, kernel_size, "%s", last_kernel);
	}
	soft_unlock();
	return any;
}

void soft_output_pending(void)
{
	output_pending = true;
}

void soft_flush_output(void)
{
	if (!output_pending)
		return;
	output_pending = false;
	fflush(stdout);
}

/* --- the primary context --- */

CUresult soft_primary(struct soft_ctx **ctx)
{
	if (!primary) {
		CUresult r = ctx_new(&primary_object, primary_flags, 3020, &primary);
		if (r) {
			primary = NULL;
			return r;
		}
		primary->primary = true;
	}
	*ctx = primary;
	return CUDA_SUCCESS;
}

static void primary_drop(void)
{
	struct soft_ctx *c = primary;
	primary = NULL;
	if (c)
		ctx_destroy(c);
}

static CUresult enter_device(CUdevice dev)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	return soft_device_ok(dev) ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_DEVICE);
}

CUresult soft_cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice dev)
{
	CUresult r = enter_device(dev);
	if (r)
		return r;
	struct soft_ctx *c = NULL;
	r = out ? soft_primary(&c) : CUDA_ERROR_INVALID_VALUE;
	if (!r) {
		primary_refs++;
		*out = (CUcontext)c;
	}
	return soft_leave(r);
}

CUresult soft_cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
	CUresult r = enter_device(dev);
	if (r)
		return r;
	if (!primary_refs)
		return soft_leave(CUDA_ERROR_INVALID_CONTEXT);
	if (--primary_refs == 0)
		primary_drop();
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuDevicePrimaryCtxRelease(CUdevice dev)
{
	return soft_cuDevicePrimaryCtxRelease_v2(dev);
}

/* Resetting keeps the references and the handle; the next retain makes the state anew. */
CUresult soft_cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
	CUresult r = enter_device(dev);
	if (r)
		return r;
	primary_drop();
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuDevicePrimaryCtxReset(CUdevice dev)
{
	return soft_cuDevicePrimaryCtxReset_v2(dev);
}

static bool flags_ok(unsigned flags)
{
	unsigned sched = flags & CU_CTX_SCHED_MASK;
	bool one = sched == CU_CTX_SCHED_AUTO || sched == CU_CTX_SCHED_SPIN || sched == CU_CTX_SCHED_YIELD ||
		sched == CU_CTX_SCHED_BLOCKING_SYNC;
	return one && !(flags & ~(unsigned)CU_CTX_FLAGS_MASK);
}

CUresult soft_cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags)
{
	CUresult r = enter_device(dev);
	if (r)
		return r;
	if (!flags_ok(flags))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	primary_flags = flags;
	if (primary)
		primary->flags = flags;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
	return soft_cuDevicePrimaryCtxSetFlags_v2(dev, flags);
}

CUresult soft_cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
	CUresult r = enter_device(dev);
	if (r)
		return r;
	if (!flags || !active)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*flags = primary ? primary->flags : primary_flags;
	*active = primary != NULL;
	return soft_leave(CUDA_SUCCESS);
}

/* --- created contexts --- */

static CUresult create(CUcontext *out, unsigned flags, CUdevice dev, unsigned api_version)
{
	CUresult r = enter_device(dev);
	if (r)
		return r;
	if (!out || !flags_ok(flags))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (depth == MAX_DEPTH)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	struct soft_ctx *c;
	r = ctx_new(malloc(sizeof *c), flags, api_version, &c);
	if (!r) {
		stack[depth++] = c;
		*out = (CUcontext)c;
	}
	return soft_leave(r);
}

CUresult soft_cuCtxCreate_v2(CUcontext *ctx, unsigned int flags, CUdevice dev)
{
	return create(ctx, flags, dev, 3020);
}

CUresult soft_cuCtxCreate(CUcontext *ctx, unsigned int flags, CUdevice dev)
{
	return create(ctx, flags, dev, 3010);
}

CUresult soft_cuCtxCreate_v3(CUcontext *ctx, CUexecAffinityParam *params, int n, unsigned int flags, CUdevice dev)
{
	(void)params;
	return n ? CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY : create(ctx, flags, dev, 3020);
}

CUresult soft_cuCtxCreate_v4(CUcontext *ctx, CUctxCreateParams *params, unsigned int flags, CUdevice dev)
{
	if (params && params->cigParams)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (params && params->numExecAffinityParams)
		return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
	return create(ctx, flags, dev, 3020);
}

CUresult soft_cuCtxDestroy_v2(CUcontext ctx)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_ctx *c = soft_obj_find(SOFT_CTX, ctx);
	if (!c || c->primary || c->destroyed)
		return soft_leave(CUDA_ERROR_INVALID_CONTEXT);
	if (depth && stack[depth - 1] == c)
		depth--;
	ctx_destroy(c);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuCtxDestroy(CUcontext ctx)
{
	return soft_cuCtxDestroy_v2(ctx);
}

CUresult soft_cuCtxPushCurrent_v2(CUcontext ctx)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_ctx *c = soft_obj_find(SOFT_CTX, ctx);
	if (!c)
		return soft_leave(ctx ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE);
	if (depth == MAX_DEPTH)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	stack[depth++] = c;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuCtxPushCurrent(CUcontext ctx)
{
	return soft_cuCtxPushCurrent_v2(ctx);
}

CUresult soft_cuCtxPopCurrent_v2(CUcontext *ctx)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!depth)
		return soft_leave(CUDA_ERROR_INVALID_CONTEXT);
	depth--;
	if (ctx)
		*ctx = (CUcontext)stack[depth];
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuCtxPopCurrent(CUcontext *ctx)
{
	return soft_cuCtxPopCurrent_v2(ctx);
}

CUresult soft_cuCtxSetCurrent(CUcontext ctx)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_ctx *c = soft_obj_find(SOFT_CTX, ctx);
	if (ctx && !c)
		return soft_leave(CUDA_ERROR_INVALID_CONTEXT);
	if (!c && depth)
		depth--;
	else if (c)
		stack[depth ? depth - 1 : depth++] = c;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuCtxGetCurrent(CUcontext *ctx)
{
	CUresult r = soft_enter_any();
	return SOFT_GIVE(r, ctx, depth ? (CUcontext)stack[depth - 1] : NULL);
}

CUresult soft_cuCtxGetDevice(CUdevice *dev)
{
	struct soft_ctx *c;
	CUresult r = soft_enter_sick(&c);
	return SOFT_GIVE(r, dev, 0);
}

/* The context that a call means: the given one, or the current one for NULL.  Takes the lock. */
static CUresult enter_named(CUcontext ctx, struct soft_ctx **c)
{
	if (!ctx)
		return soft_enter_sick(c);
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*c = soft_obj_find(SOFT_CTX, ctx);
	return *c && !(*c)->destroyed ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_CONTEXT);
}

CUresult soft_cuCtxGetDevice_v2(CUdevice *dev, CUcontext ctx)
{
	struct soft_ctx *c;
	CUresult r = enter_named(ctx, &c);
	return SOFT_GIVE(r, dev, 0);
}

CUresult soft_cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
	struct soft_ctx *c;
	CUresult r = enter_named(ctx, &c);
	return SOFT_GIVE(r, version, c->api_version);
}

CUresult soft_cuCtxGetId(CUcontext ctx, unsigned long long *id)
{
	struct soft_ctx *c;
	CUresult r = enter_named(ctx, &c);
	return SOFT_GIVE(r, id, c->id);
}

CUresult soft_cuCtxGetFlags(unsigned int *flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter_sick(&c);
	return SOFT_GIVE(r, flags, c->flags);
}

CUresult soft_cuCtxSetFlags(unsigned int flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (!flags_ok(flags))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	c->flags = flags;
	return soft_leave(CUDA_SUCCESS);
}

static CUresult synchronize(struct soft_ctx *c)
{
	CUresult r = soft_capture_forbid(c, NULL);
	if (!r)
		r = soft_ctx_sync(c);
	soft_flush_output();
	return soft_leave(r);
}

CUresult soft_cuCtxSynchronize(void)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	return r ? r : synchronize(c);
}

CUresult soft_cuCtxSynchronize_v2(CUcontext ctx)
{
	struct soft_ctx *c;
	CUresult r = enter_named(ctx, &c);
	return r ? r : synchronize(c);
}

/* --- limits and preferences --- */

static CUresult limit_known(CUlimit limit)
{
	switch (limit) {
	case CU_LIMIT_STACK_SIZE:
	case CU_LIMIT_PRINTF_FIFO_SIZE:
	case CU_LIMIT_MALLOC_HEAP_SIZE:
	case CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT:
	case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
	case CU_LIMIT_PERSISTING_L2_CACHE_SIZE:
		return CUDA_SUCCESS;
	case CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH: /* gone with compute capability 9.0 */
	case CU_LIMIT_SHMEM_SIZE:
	case CU_LIMIT_CIG_ENABLED:
	case CU_LIMIT_CIG_SHMEM_FALLBACK_ENABLED:
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

CUresult soft_cuCtxGetLimit(size_t *value, CUlimit limit)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	r = value ? limit_known(limit) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*value = c->limits[limit];
	return soft_leave(r);
}

CUresult soft_cuCtxSetLimit(CUlimit limit, size_t value)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	r = limit_known(limit);
	if (!r && limit == CU_LIMIT_STACK_SIZE) {
		if (value > 512 * 1024)
			r = CUDA_ERROR_INVALID_VALUE;
		value = (value + 15) & ~(size_t)15;
	}
	if (!r && limit == CU_LIMIT_MAX_L2_FETCH_GRANULARITY)
		value = value > 128 ? 128 : value;
	if (!r && limit == CU_LIMIT_PERSISTING_L2_CACHE_SIZE && value > 39321600)
		r = CUDA_ERROR_INVALID_VALUE;
	if (!r)
		c->limits[limit] = value;
	return soft_leave(r);
}

CUresult soft_cuCtxGetCacheConfig(CUfunc_cache *config)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	return SOFT_GIVE(r, config, c->cache_config);
}

CUresult soft_cuCtxSetCacheConfig(CUfunc_cache config)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (config > CU_FUNC_CACHE_PREFER_EQUAL)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	c->cache_config = config;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	/* the only one this architecture has */
	return SOFT_GIVE(r, config, CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE);
}

CUresult soft_cuCtxSetSharedMemConfig(CUsharedconfig config)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	return soft_leave(config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS);
}

CUresult soft_cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (least)
		*least = 0;
	if (greatest)
		*greatest = -5;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuCtxResetPersistingL2Cache(void)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	return r ? r : soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuCtxGetExecAffinity(CUexecAffinityParam *param, CUexecAffinityType type)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	(void)param;
	return soft_leave(type == CU_EXEC_AFFINITY_TYPE_SM_COUNT ? CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY
		: CUDA_ERROR_INVALID_VALUE);
}

/* One device: the only peer would be itself. */
CUresult soft_cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	if (flags)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	return soft_leave(soft_obj_find(SOFT_CTX, peer) ? CUDA_ERROR_PEER_ACCESS_UNSUPPORTED
							: CUDA_ERROR_INVALID_CONTEXT);
}

CUresult soft_cuCtxDisablePeerAccess(CUcontext peer)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	return soft_leave(soft_obj_find(SOFT_CTX, peer) ? CUDA_ERROR_PEER_ACCESS_NOT_ENABLED
							: CUDA_ERROR_INVALID_CONTEXT);
}

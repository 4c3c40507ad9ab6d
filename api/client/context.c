/* context.c - contexts.  They are client-local objects over the one session: a context owns what was made while it
 * was current, and destroying it gives that back.  The stack of current contexts is each thread's own.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define STACK_MAX 64
#define FLAGS_OK                                                                                                     \
	(CU_CTX_SCHED_MASK | CU_CTX_MAP_HOST | CU_CTX_LMEM_RESIZE_TO_MAX | CU_CTX_COREDUMP_ENABLE |                  \
	 CU_CTX_USER_COREDUMP_ENABLE | CU_CTX_SYNC_MEMOPS)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct agc_ctx primary = { .primary = true };
static struct agc_ctx *contexts; /* all that were ever made: a destroyed one may still be current somewhere */
static uint64_t next_uid = 1;
static __thread struct agc_ctx *below[STACK_MAX]; /* the thread's stack under the current context */
static __thread unsigned depth;

/* --- making and ending -------------------------------------------------------------------------------------------- */

static void limits_default(struct agc_ctx *c)
{
	memset(c->limit, 0, sizeof c->limit);
	c->limit[CU_LIMIT_STACK_SIZE] = 1024;
	c->limit[CU_LIMIT_PRINTF_FIFO_SIZE] = AG_PRINTF_BYTES;
	c->limit[CU_LIMIT_MALLOC_HEAP_SIZE] = 8u << 20;
	c->limit[CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2;
	c->limit[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
	c->limit[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
	c->limit[CU_LIMIT_PERSISTING_L2_CACHE_SIZE] = 0;
}

static bool begin(struct agc_ctx *c, unsigned flags)
{
	c->id = agc_id_new(AG_K_CONTEXT, c);
	if (!c->id)
		return false;
	c->flags = flags;
	c->uid = next_uid++;
	c->cache = CU_FUNC_CACHE_PREFER_NONE;
	c->bank = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
	limits_default(c);
	c->live = true;
	return true;
}

/* What the context owned goes back, in the order that leaves nothing dangling. */
static CUresult release(struct agc_ctx *c)
{
	CUresult r = agc_sync_all();
	agc_modules_drop(c);
	if (c->primary)
		agc_modules_stale();
	agc_streams_drop(c);
	agc_memory_drop(c);
	return r;
}

static void end(struct agc_ctx *c)
{
	c->live = false;
	agc_id_free(c->id);
	c->id = 0;
}

struct agc_ctx *agc_ctx_of(CUcontext h)
{
	return agc_id_state(AG_K_CONTEXT, h, NULL);
}

/* --- the primary context ------------------------------------------------------------------------------------------ */

CUresult call_cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice dev)
{
	AGC_READY();
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&lock);
	bool ok = primary.live || begin(&primary, primary.flags);
	if (ok) {
		primary.retained++;
		*out = agc_ctx_handle(&primary);
	}
	pthread_mutex_unlock(&lock);
	return ok ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Under lock. */
static CUresult primary_end(void)
{
	CUresult r = primary.live ? release(&primary) : CUDA_SUCCESS;
	if (primary.live)
		end(&primary);
	primary.retained = 0;
	return r;
}

CUresult call_cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
	AGC_READY();
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&lock);
	CUresult r = primary.retained == 0     ? CUDA_ERROR_INVALID_CONTEXT
		     : --primary.retained == 0 ? primary_end()
					       : CUDA_SUCCESS;
	pthread_mutex_unlock(&lock);
	return r;
}

CUresult call_cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
	AGC_READY();
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	pthread_mutex_lock(&lock);
	agc_sync_all(); /* a fault under way is of the old context, too */
	CUresult r = agc_recover();
	if (!r)
		r = primary_end();
	pthread_mutex_unlock(&lock);
	return r;
}

CUresult call_cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned flags)
{
	AGC_READY();
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	if (flags & ~(unsigned)FLAGS_OK)
		return CUDA_ERROR_INVALID_VALUE;
	primary.flags = flags;
	return CUDA_SUCCESS;
}

CUresult call_cuDevicePrimaryCtxGetState(CUdevice dev, unsigned *flags, int *active)
{
	AGC_READY();
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	if (flags)
		*flags = primary.flags;
	if (active)
		*active = primary.live;
	return CUDA_SUCCESS;
}

/* --- the thread's stack ------------------------------------------------------------------------------------------- */

static CUresult push(struct agc_ctx *c)
{
	if (depth == STACK_MAX)
		return CUDA_ERROR_OUT_OF_MEMORY;
	below[depth++] = agc_t.ctx;
	agc_t.ctx = c;
	return CUDA_SUCCESS;
}

CUresult call_cuCtxPushCurrent_v2(CUcontext h)
{
	AGC_READY();
	struct agc_ctx *c = agc_ctx_of(h);
	return c ? push(c) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult call_cuCtxPopCurrent_v2(CUcontext *out)
{
	AGC_READY();
	if (!agc_t.ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (out)
		*out = agc_ctx_handle(agc_t.ctx);
	agc_t.ctx = depth ? below[--depth] : NULL;
	return CUDA_SUCCESS;
}

CUresult call_cuCtxSetCurrent(CUcontext h)
{
	AGC_READY();
	struct agc_ctx *c = h ? agc_ctx_of(h) : NULL;
	if (h && !c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (c)
		agc_t.ctx = c;           /* replaces the top */
	else
		agc_t.ctx = depth ? below[--depth] : NULL;
	return CUDA_SUCCESS;
}

CUresult call_cuCtxGetCurrent(CUcontext *out)
{
	AGC_READY();
	return AGC_GIVE(out, agc_ctx_handle(agc_t.ctx));
}

/* --- created contexts --------------------------------------------------------------------------------------------- */

static CUresult create(CUcontext *out, unsigned flags, CUdevice dev)
{
	AGC_READY();
	if (!out || flags & ~(unsigned)FLAGS_OK)
		return CUDA_ERROR_INVALID_VALUE;
	if (dev != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	struct agc_ctx *c = calloc(1, sizeof *c);
	pthread_mutex_lock(&lock);
	bool ok = c && begin(c, flags);
	if (ok) {
		c->next = contexts;
		contexts = c;
	}
	pthread_mutex_unlock(&lock);
	if (!ok) {
		free(c);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	CUresult r = push(c);
	if (r == CUDA_SUCCESS)
		*out = agc_ctx_handle(c);
	return r;
}

CUresult call_cuCtxCreate_v4(CUcontext *out, CUctxCreateParams *params, unsigned flags, CUdevice dev)
{
	if (params && (params->execAffinityParams || params->numExecAffinityParams || params->cigParams)) {
		agc_log("cuCtxCreate: execution affinity and graphics interoperation are not supported");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	return create(out, flags, dev);
}

CUresult call_cuCtxDestroy_v2(CUcontext h)
{
	AGC_READY();
	struct agc_ctx *c = agc_ctx_of(h);
	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (c->primary)
		return CUDA_ERROR_INVALID_CONTEXT;       /* documented: primary contexts are released, not destroyed */
	pthread_mutex_lock(&lock);
	CUresult r = c->live ? release(c) : CUDA_ERROR_INVALID_CONTEXT;
	if (c->live)
		end(c);
	pthread_mutex_unlock(&lock);
	if (agc_t.ctx == c)
		agc_t.ctx = depth ? below[--depth] : NULL;
	return r;
}

/* --- properties --------------------------------------------------------------------------------------------------- */

CUresult call_cuCtxSynchronize(void)
{
	AGC_CURRENT();
	return agc_sync_all();
}

CUresult call_cuCtxSynchronize_v2(CUcontext h)
{
	AGC_READY();
	return !h ? call_cuCtxSynchronize() : agc_ctx_of(h) ? agc_sync_all() : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult call_cuCtxGetDevice(CUdevice *dev)
{
	AGC_READY();
	if (!agc_t.ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	return AGC_GIVE(dev, agc_t.ctx->device);
}

CUresult call_cuCtxGetDevice_v2(CUdevice *dev, CUcontext h)
{
	AGC_READY();
	struct agc_ctx *c = h ? agc_ctx_of(h) : agc_t.ctx;
	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	return AGC_GIVE(dev, c->device);
}

CUresult call_cuCtxGetFlags(unsigned *flags)
{
	AGC_CURRENT();
	return AGC_GIVE(flags, agc_t.ctx->flags | CU_CTX_MAP_HOST);
}

CUresult call_cuCtxSetFlags(unsigned flags)
{
	AGC_CURRENT();
	if (flags & ~(unsigned)FLAGS_OK)
		return CUDA_ERROR_INVALID_VALUE;
	agc_t.ctx->flags = flags;
	return CUDA_SUCCESS;
}

CUresult call_cuCtxGetId(CUcontext h, unsigned long long *id)
{
	AGC_READY();
	struct agc_ctx *c = h ? agc_ctx_of(h) : agc_t.ctx;
	if (!c)
		return h ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_INVALID_CONTEXT;
	return AGC_GIVE(id, c->uid);
}

CUresult call_cuCtxGetApiVersion(CUcontext h, unsigned *version)
{
	AGC_READY();
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	if (h ? !agc_ctx_of(h) : !agc_t.ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	*version = 3020;
	return CUDA_SUCCESS;
}

CUresult call_cuCtxGetCacheConfig(CUfunc_cache *config)
{
	AGC_CURRENT();
	return AGC_GIVE(config, agc_t.ctx->cache);
}

CUresult call_cuCtxSetCacheConfig(CUfunc_cache config)
{
	AGC_CURRENT();
	if ((unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL)
		return CUDA_ERROR_INVALID_VALUE;
	agc_t.ctx->cache = config;       /* a preference only */
	return CUDA_SUCCESS;
}

CUresult call_cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
	AGC_CURRENT();
	return AGC_GIVE(config, agc_t.ctx->bank);
}

CUresult call_cuCtxSetSharedMemConfig(CUsharedconfig config)
{
	AGC_CURRENT();
	/* Banks have four bytes since compute capability 5.0; setting anything has no effect there. */
	return (unsigned)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult call_cuCtxResetPersistingL2Cache(void) { return agc_current(); }

CUresult call_cuCtxEnablePeerAccess(CUcontext peer, unsigned flags)
{
	AGC_CURRENT();
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	struct agc_ctx *c = agc_ctx_of(peer);
	if (!c || c == agc_t.ctx)
		return CUDA_ERROR_INVALID_CONTEXT;
	return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
}

CUresult call_cuCtxDisablePeerAccess(CUcontext peer)
{
	AGC_CURRENT();
	return agc_ctx_of(peer) ? CUDA_ERROR_PEER_ACCESS_NOT_ENABLED : CUDA_ERROR_INVALID_CONTEXT;
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

CUresult call_cuCtxGetLimit(size_t *value, CUlimit limit)
{
	AGC_CURRENT();
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	if ((unsigned)limit >= CU_LIMIT_MAX || limit == CU_LIMIT_SHMEM_SIZE || limit == CU_LIMIT_CIG_ENABLED ||
	    limit == CU_LIMIT_CIG_SHMEM_FALLBACK_ENABLED)
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	*value = agc_t.ctx->limit[limit];
	return CUDA_SUCCESS;
}

CUresult call_cuCtxSetLimit(CUlimit limit, size_t value)
{
	AGC_CURRENT();
	switch (limit) {
	case CU_LIMIT_STACK_SIZE:
		if (value > 512u << 10)
			return CUDA_ERROR_INVALID_VALUE;
		agc_t.ctx->limit[limit] = (value + 15) & ~(size_t)15;
		return CUDA_SUCCESS;
	case CU_LIMIT_PRINTF_FIFO_SIZE:
		/* The ring has one size; asking for no more than that is met. */
		agc_t.ctx->limit[limit] = value > AG_PRINTF_BYTES ? value : AG_PRINTF_BYTES;
		return CUDA_SUCCESS;
	case CU_LIMIT_MALLOC_HEAP_SIZE:
		agc_t.ctx->limit[limit] = value;
		return agc_heap_resize(value);
	case CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH:
	case CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT:
	case CU_LIMIT_PERSISTING_L2_CACHE_SIZE:
		agc_t.ctx->limit[limit] = value;
		return CUDA_SUCCESS;
	case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
		if (value > 128)
			return CUDA_ERROR_INVALID_VALUE;
		agc_t.ctx->limit[limit] = value;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	}
}

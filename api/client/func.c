/* func.c - attributes of functions and kernels, and occupancy.  Attributes come from what module_prepare said; only
 * those that a program may change go to the worker.
 */
#include "internal.h"

#include <string.h>

static CUresult get_attribute(const struct agc_function *cf, CUfunction_attribute a, int *out)
{
	struct agc_function *f = (struct agc_function *)cf;
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	switch (a) {
	case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:  *out = (int)f->max_threads; break;
	case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:      *out = (int)f->static_shared; break;
	case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:       *out = (int)f->const_bytes; break;
	case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:       *out = (int)f->local_bytes; break;
	case CU_FUNC_ATTRIBUTE_NUM_REGS:               *out = (int)f->num_regs; break;
	case CU_FUNC_ATTRIBUTE_PTX_VERSION:            *out = f->ptx_version; break;
	case CU_FUNC_ATTRIBUTE_BINARY_VERSION:         *out = f->binary_version; break;
	case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:          *out = f->cache_mode_ca; break;
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *out = atomic_load(&f->max_dynamic_shared); break;
	case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: *out = atomic_load(&f->preferred_carveout); break;
	case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET: *out = f->cluster_must_be_set; break;
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:  *out = atomic_load(&f->cluster[0]); break;
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT: *out = atomic_load(&f->cluster[1]); break;
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:  *out = atomic_load(&f->cluster[2]); break;
	case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED: *out = atomic_load(&f->nonportable_cluster); break;
	case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE: *out = atomic_load(&f->cluster_policy); break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

/* Where a settable attribute is remembered, when `value` is one it may have. */
static _Atomic int32_t *settable(struct agc_function *f, CUfunction_attribute a, int value)
{
	const int32_t *dev = agc_s.shm->device[0].attr;
	int room = dev[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN] - (int)f->static_shared;
	switch (a) {
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
		return value >= 0 && value <= room ? &f->max_dynamic_shared : NULL;
	case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
		return value >= -1 && value <= 100 ? &f->preferred_carveout : NULL;
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
		return value >= 0 && !f->cluster_declared ? &f->cluster[a - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH]
							  : NULL;
	case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
		return value == 0 || value == 1 ? &f->nonportable_cluster : NULL;
	case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
		return value >= 0 && value <= CU_CLUSTER_SCHEDULING_POLICY_LOAD_BALANCING ? &f->cluster_policy : NULL;
	default:
		return NULL;
	}
}

static CUresult set_attribute(struct agc_function *f, CUfunction_attribute a, int value)
{
	_Atomic int32_t *where = settable(f, a, value);
	if (!where)
		return CUDA_ERROR_INVALID_VALUE;
	struct msg_func_attr_set *m = agc_begin(AG_OP_func_attr_set, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->module = f->module_id;
	m->kernel = f->index;
	m->attr = (uint32_t)a;
	m->value = value;
	m->pad = 0;
	CUresult r = agc_call(m, NULL, 0, NULL, NULL);
	if (r == CUDA_SUCCESS)
		atomic_store(where, value);
	return r;
}

static CUresult param_info(const struct agc_function *f, size_t i, size_t *offset, size_t *size)
{
	if (!offset || i >= f->nparams)
		return CUDA_ERROR_INVALID_VALUE;
	*offset = f->param[i][0];
	if (size)
		*size = f->param[i][1];
	return CUDA_SUCCESS;
}

#define FUNCTION(f, h)                                                                                               \
	struct agc_function *f;                                                                                      \
	do {                                                                                                         \
		AGC_CURRENT();                                                                                       \
		CUresult r_ = agc_function_of(h, &f);                                                                \
		if (r_)                                                                                              \
			return r_;                                                                                   \
	} while (0)

CUresult call_cuFuncGetAttribute(int *out, CUfunction_attribute a, CUfunction h)
{
	FUNCTION(f, h);
	return get_attribute(f, a, out);
}

CUresult call_cuFuncSetAttribute(CUfunction h, CUfunction_attribute a, int value)
{
	FUNCTION(f, h);
	return set_attribute(f, a, value);
}

CUresult call_cuFuncSetCacheConfig(CUfunction h, CUfunc_cache config)
{
	FUNCTION(f, h);
	(void)f;
	return (unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_ERROR_INVALID_VALUE
							     : CUDA_SUCCESS; /* a preference only */
}

CUresult call_cuFuncSetSharedMemConfig(CUfunction h, CUsharedconfig config)
{
	FUNCTION(f, h);
	(void)f;
	return (unsigned)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE ? CUDA_ERROR_INVALID_VALUE
									    : CUDA_SUCCESS; /* no effect since 5.0 */
}

CUresult call_cuFuncGetModule(CUmodule *out, CUfunction h)
{
	FUNCTION(f, h);
	return AGC_GIVE(out, (CUmodule)(uintptr_t)f->module_id);
}

CUresult call_cuFuncGetName(const char **name, CUfunction h)
{
	FUNCTION(f, h);
	return AGC_GIVE(name, f->name);
}

CUresult call_cuFuncGetParamInfo(CUfunction h, size_t i, size_t *offset, size_t *size)
{
	FUNCTION(f, h);
	return param_info(f, i, offset, size);
}

CUresult call_cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction h)
{
	FUNCTION(f, h);
	(void)f;
	return AGC_GIVE(state, CU_FUNCTION_LOADING_STATE_LOADED);
}

CUresult call_cuFuncLoad(CUfunction h)
{
	FUNCTION(f, h);
	(void)f;
	return CUDA_SUCCESS;
}

CUresult call_cuKernelGetAttribute(int *out, CUfunction_attribute a, CUkernel h, CUdevice dev)
{
	AGC_KERNEL(f, h);
	return dev ? CUDA_ERROR_INVALID_DEVICE : get_attribute(f, a, out);
}

CUresult call_cuKernelSetAttribute(CUfunction_attribute a, int value, CUkernel h, CUdevice dev)
{
	AGC_KERNEL(f, h);
	return dev ? CUDA_ERROR_INVALID_DEVICE : set_attribute(f, a, value);
}

CUresult call_cuKernelSetCacheConfig(CUkernel h, CUfunc_cache config, CUdevice dev)
{
	AGC_KERNEL(f, h);
	(void)f;
	if (dev)
		return CUDA_ERROR_INVALID_DEVICE;
	return (unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult call_cuKernelGetParamInfo(CUkernel h, size_t i, size_t *offset, size_t *size)
{
	AGC_KERNEL(f, h);
	return param_info(f, i, offset, size);
}

/* --- occupancy ---------------------------------------------------------------------------------------------------- */

enum { ACTIVE_BLOCKS = 0, BLOCK_SIZE = 1, DYNAMIC_SHARED = 2, ACTIVE_CLUSTERS = 3, CLUSTER_SIZE = 4 };

static CUresult occupancy(const struct agc_function *f, uint32_t what, uint64_t shared, int block, int blocks,
			  unsigned flags, struct rep_occupancy *rep)
{
	struct msg_occupancy *m = agc_begin(AG_OP_occupancy, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->module = f->module_id;
	m->kernel = f->index;
	m->what = what;
	m->shared = shared;
	m->block = block;
	m->blocks = blocks;
	m->flags = flags;
	memset(m->grid3, 0, sizeof m->grid3);
	memset(m->block3, 0, sizeof m->block3);
	memset(m->cluster, 0, sizeof m->cluster);
	return agc_call(m, rep, sizeof *rep, NULL, NULL);
}

CUresult agc_active_blocks(const struct agc_function *f, int block, size_t shared, int *blocks)
{
	struct rep_occupancy rep;
	CUresult r = occupancy(f, ACTIVE_BLOCKS, shared, block, 0, CU_OCCUPANCY_DEFAULT, &rep);
	if (r == CUDA_SUCCESS)
		*blocks = (int)rep.a;
	return r;
}

CUresult call_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction h, int block,
								   size_t shared, unsigned flags)
{
	struct rep_occupancy rep;
	FUNCTION(f, h);
	if (!blocks || block <= 0 || flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = occupancy(f, ACTIVE_BLOCKS, shared, block, 0, flags, &rep);
	if (r == CUDA_SUCCESS)
		*blocks = (int)rep.a;
	return r;
}

CUresult call_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction h, int block, size_t shared)
{
	return call_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, h, block, shared,
									 CU_OCCUPANCY_DEFAULT);
}

CUresult call_cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction h, int blocks, int block)
{
	struct rep_occupancy rep;
	FUNCTION(f, h);
	if (!bytes || blocks <= 0 || block <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = occupancy(f, DYNAMIC_SHARED, 0, block, blocks, 0, &rep);
	if (r == CUDA_SUCCESS)
		*bytes = rep.a;
	return r;
}

/* Shared memory depends on the block size through a function of the program, so the search over block sizes is here. */
static CUresult search(const struct agc_function *f, int *grid, int *best_block, CUoccupancyB2DSize size_of,
		       int limit, unsigned flags)
{
	const int32_t *a = agc_s.shm->device[0].attr;
	int most = f->max_threads ? (int)f->max_threads : a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
	    warp = a[CU_DEVICE_ATTRIBUTE_WARP_SIZE];
	int best = 0, top = a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR];
	if (limit > 0 && limit < most)
		most = limit;
	*best_block = *grid = 0;
	for (int up = (most + warp - 1) / warp * warp; up > 0; up -= warp) {
		int block = up < most ? up : most;
		struct rep_occupancy rep;
		CUresult r = occupancy(f, ACTIVE_BLOCKS, size_of(block), block, 0, flags, &rep);
		if (r)
			return r;
		if ((int)rep.a * block > best) {
			best = (int)rep.a * block;
			*best_block = block;
			*grid = (int)rep.a * a[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT];
		}
		if (best == top)
			break;
	}
	return CUDA_SUCCESS;
}

CUresult call_cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction h,
							CUoccupancyB2DSize size_of, size_t shared, int limit,
							unsigned flags)
{
	struct rep_occupancy rep;
	FUNCTION(f, h);
	if (!grid || !block || flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
		return CUDA_ERROR_INVALID_VALUE;
	if (size_of)
		return search(f, grid, block, size_of, limit, flags);
	CUresult r = occupancy(f, BLOCK_SIZE, shared, limit, 0, flags, &rep);
	if (r == CUDA_SUCCESS) {
		*grid = (int)rep.a;
		*block = (int)rep.b;
	}
	return r;
}

CUresult call_cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction h, CUoccupancyB2DSize size_of,
					       size_t shared, int limit)
{
	return call_cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, h, size_of, shared, limit,
							      CU_OCCUPANCY_DEFAULT);
}

/* One question about a configuration, of which grid, block, dynamic shared memory and the cluster count. */
static CUresult ask_clusters(int *out, CUfunction h, const CUlaunchConfig *c, uint32_t what)
{
	struct rep_occupancy rep;
	FUNCTION(f, h);
	if (!out || !c || (c->numAttrs && !c->attrs))
		return CUDA_ERROR_INVALID_VALUE;
	struct msg_occupancy *m = agc_begin(AG_OP_occupancy, sizeof *m, 0);
	if (!m)
		return agc_error();
	*m = (struct msg_occupancy){ .h = m->h, .module = f->module_id, .kernel = f->index, .what = what,
		.shared = c->sharedMemBytes, .grid3 = { c->gridDimX, c->gridDimY, c->gridDimZ },
		.block3 = { c->blockDimX, c->blockDimY, c->blockDimZ } };
	for (unsigned i = 0; i < c->numAttrs; i++) {
		const CUlaunchAttribute *a = &c->attrs[i];
		if (a->id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
			continue;
		m->cluster[0] = a->value.clusterDim.x;
		m->cluster[1] = a->value.clusterDim.y;
		m->cluster[2] = a->value.clusterDim.z;
	}
	CUresult r = agc_call(m, &rep, sizeof rep, NULL, NULL);
	if (r == CUDA_SUCCESS)
		*out = (int)rep.a;
	return r;
}

CUresult call_cuOccupancyMaxActiveClusters(int *clusters, CUfunction h, const CUlaunchConfig *c)
{
	return ask_clusters(clusters, h, c, ACTIVE_CLUSTERS);
}

CUresult call_cuOccupancyMaxPotentialClusterSize(int *size, CUfunction h, const CUlaunchConfig *c)
{
	return ask_clusters(size, h, c, CLUSTER_SIZE);
}

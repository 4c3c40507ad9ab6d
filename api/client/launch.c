/* launch.c - kernel launches: checks with NVIDIA's error codes, then one message.
 *
 * What is checked here is what NVIDIA's driver answers at once; everything that matters for safety the worker checks
 * again.
 */
#include "internal.h"

#include <string.h>

struct launch {
	uint32_t grid[3], block[3], cluster[3], shared, flags;
	CUstream stream;
};

static CUresult check_sizes(const struct agc_function *f, const struct launch *l)
{
	const int32_t *a = agc_s.shm->device[0].attr;
	for (int i = 0; i < 3; i++) {
		if (l->grid[i] == 0 || l->block[i] == 0 ||
		    l->grid[i] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X + i] ||
		    l->block[i] > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X + i])
			return CUDA_ERROR_INVALID_VALUE;
	}
	uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];
	if (threads > (uint32_t)a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK])
		return CUDA_ERROR_INVALID_VALUE;
	uint32_t required = f->reqntid[0] ? f->reqntid[0] : 0;
	if (required && (l->block[0] != f->reqntid[0] || l->block[1] != (f->reqntid[1] ? f->reqntid[1] : 1) ||
			 l->block[2] != (f->reqntid[2] ? f->reqntid[2] : 1)))
		return CUDA_ERROR_INVALID_VALUE;
	if (f->max_threads && threads > f->max_threads)
		return f->maxntid[0] ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	if (l->shared >
	    (uint32_t)atomic_load_explicit(&((struct agc_function *)f)->max_dynamic_shared, memory_order_relaxed))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

/* The kernel's own cluster, declared or set as an attribute, and the launch's must not contradict; what fits every
 * device is 8 blocks, what fits some 16. */
static CUresult check_cluster(const struct agc_function *f, const struct launch *l)
{
	uint64_t blocks = 1;
	bool any = false;
	for (int i = 0; i < 3; i++) {
		uint32_t own = (uint32_t)atomic_load_explicit(&((struct agc_function *)f)->cluster[i],
							      memory_order_relaxed);
		uint32_t n = l->cluster[i] ? l->cluster[i] : own;
		if (own && l->cluster[i] && own != l->cluster[i])
			return CUDA_ERROR_INVALID_CLUSTER_SIZE;
		if (n && l->grid[i] % n)
			return CUDA_ERROR_INVALID_VALUE;
		any |= n != 0;
		blocks *= n > 64 ? 64 : n ? n : 1;
	}
	if (!any)
		return f->cluster_must_be_set ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
	bool large = atomic_load_explicit(&((struct agc_function *)f)->nonportable_cluster, memory_order_relaxed);
	return blocks > (large ? 16 : 8) ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
}

/* `extra` as the program gave it -> the parameter buffer. */
static CUresult extra_params(void **extra, const void **buffer, size_t *bytes)
{
	*buffer = NULL;
	*bytes = 0;
	for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
		if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
			*buffer = extra[1];
		else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[1])
			*bytes = *(const size_t *)extra[1];
		else
			return CUDA_ERROR_INVALID_VALUE;
	}
	return *buffer || !*bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* A cooperative grid must fit the device at once. */
static CUresult check_cooperative(const struct agc_function *f, const struct launch *l)
{
	int blocks = 0, sms = agc_s.shm->device[0].attr[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT];
	int threads = (int)(l->block[0] * l->block[1] * l->block[2]);
	CUresult r = agc_active_blocks(f, threads, l->shared, &blocks);
	if (r)
		return r;
	return (uint64_t)l->grid[0] * l->grid[1] * l->grid[2] > (uint64_t)blocks * (uint64_t)sms
		       ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
		       : CUDA_SUCCESS;
}

static CUresult launch(CUfunction handle, const struct launch *l, void **params, void **extra)
{
	struct agc_function *f;
	const void *buffer = NULL;
	size_t bytes = 0;
	ag_id wire;
	AGC_CURRENT();
	CUresult r = agc_function_of(handle, &f);
	if (r)
		return r;
	if ((params && extra) || (f->nparams && !params && !extra))
		return CUDA_ERROR_INVALID_VALUE;
	if ((r = check_sizes(f, l)) || (r = check_cluster(f, l)) ||
	    (extra && (r = extra_params(extra, &buffer, &bytes))))
		return r;
	if ((l->flags & AG_LAUNCH_COOPERATIVE) && (r = check_cooperative(f, l)))
		return r;
	/* A buffer must have exactly the parameters' bytes, without trailing padding (seen on an H200). */
	if (extra && bytes != (f->nparams ? f->param[f->nparams - 1][0] + f->param[f->nparams - 1][1] : 0))
		return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	if (!agc_stream(l->stream, &wire))
		return CUDA_ERROR_INVALID_HANDLE;
	struct msg_launch *m = agc_begin(AG_OP_launch, sizeof *m, f->param_bytes);
	if (!m)
		return agc_error();
	m->module = f->module_id;
	m->kernel = f->index;
	m->flags = l->flags;
	memcpy(m->grid, l->grid, sizeof m->grid);
	memcpy(m->block, l->block, sizeof m->block);
	memcpy(m->cluster, l->cluster, sizeof m->cluster);
	m->shared = l->shared;
	m->stream = wire;
	uint8_t *tail = (uint8_t *)(m + 1);
	if (extra) {
		size_t n = bytes < f->param_bytes ? bytes : f->param_bytes;
		memcpy(tail, buffer, n);
		memset(tail + n, 0, f->param_bytes - n);
	} else {
		for (uint32_t i = 0; i < f->nparams; i++)
			memcpy(tail + f->param[i][0], params[i], f->param[i][1]);
	}
	return agc_post(m);
}

CUresult call_cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
			     unsigned bz, unsigned shared, CUstream stream, void **params, void **extra)
{
	struct launch l = { .grid = { gx, gy, gz }, .block = { bx, by, bz }, .shared = shared, .stream = stream };
	return launch(f, &l, params, extra);
}

CUresult call_cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
					unsigned bz, unsigned shared, CUstream stream, void **params)
{
	struct launch l = { .grid = { gx, gy, gz },
			    .block = { bx, by, bz },
			    .shared = shared,
			    .stream = stream,
			    .flags = AG_LAUNCH_COOPERATIVE };
	return launch(f, &l, params, NULL);
}

/* Attributes that change what is computed are carried; hints may be dropped; what would promise more than is kept is
 * refused. */
static CUresult attribute(struct launch *l, const CUlaunchAttribute *a)
{
	switch (a->id) {
	case CU_LAUNCH_ATTRIBUTE_IGNORE:
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
	case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
	case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
	case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
	/* Starting after the earlier kernel's end instead of near it is allowed: it permits overlap, it does not
	 * promise it. */
	case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
		l->flags |= a->value.cooperative ? AG_LAUNCH_COOPERATIVE : 0;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
		l->cluster[0] = a->value.clusterDim.x;
		l->cluster[1] = a->value.clusterDim.y;
		l->cluster[2] = a->value.clusterDim.z;
		return l->cluster[0] && l->cluster[1] && l->cluster[2] ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	default:
		agc_log("launch attribute %d is not supported", (int)a->id);
		return CUDA_ERROR_NOT_SUPPORTED;
	}
}

CUresult call_cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **params, void **extra)
{
	if (!c || (c->numAttrs && !c->attrs))
		return CUDA_ERROR_INVALID_VALUE;
	struct launch l = { .grid = { c->gridDimX, c->gridDimY, c->gridDimZ },
			    .block = { c->blockDimX, c->blockDimY, c->blockDimZ },
			    .shared = c->sharedMemBytes,
			    .stream = c->hStream };
	for (unsigned i = 0; i < c->numAttrs; i++) {
		CUresult r = attribute(&l, &c->attrs[i]);
		if (r)
			return r;
	}
	return launch(f, &l, params, extra);
}

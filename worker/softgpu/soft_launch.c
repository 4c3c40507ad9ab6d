/* soft_launch.c - launches: checking a configuration the way the driver does, packing arguments, running the grid. */
#include "soft_internal.h"

enum { MAX_BLOCK_SHARED = 232448 };

struct launch_op {
	struct soft_op op;
	struct soft_module *module;      /* kept until the grid has ended */
	struct soft_func *func;
	const struct exec_kernel *k;
	struct soft_config cfg;
	uint64_t params[];               /* 8-byte aligned */
};

unsigned soft_grids;
static uint64_t last_grid;

static CUresult run_launch(struct soft_op *op, struct soft_stream *s)
{
	struct launch_op *o = (struct launch_op *)op;
	struct soft_ctx *c = s->ctx;
	struct exec_fault fault = { 0 };
	struct exec_launch l = {
		.kernel = o->k, .dyn_shared = o->cfg.dyn_shared, .params = o->params, .cooperative = o->cfg.cooperative,
		.cancel = &c->cancel,
	};
	memcpy(l.grid, o->cfg.grid, sizeof l.grid);
	memcpy(l.block, o->cfg.block, sizeof l.block);
	memcpy(l.cluster, o->cfg.cluster, sizeof l.cluster);
	soft_lock();
	l.grid_id = ++last_grid;
	soft_grids++;
	soft_unlock();
	CUresult r = exec_grid(&l, &fault);
	soft_lock();
	soft_grids--;
	soft_output_pending();
	if (r && !c->error)
		soft_ctx_fail(c, r, &fault, o->k->name);
	soft_unlock();
	return r;
}

static void release_launch(struct soft_op *op)
{
	soft_unref(&((struct launch_op *)op)->module->obj);
}

static CUresult check_config(const struct soft_func *f, const struct soft_config *cfg)
{
	static const uint32_t max_block[] = { 1024, 1024, 64 }, max_grid[] = { INT32_MAX, 65535, 65535 };
	const struct exec_kernel *k = f->k;
	for (int i = 0; i < 3; i++)
		if (!cfg->grid[i] || cfg->grid[i] > max_grid[i] || !cfg->block[i] || cfg->block[i] > max_block[i])
			return CUDA_ERROR_INVALID_VALUE;
	uint64_t threads = (uint64_t)cfg->block[0] * cfg->block[1] * cfg->block[2];
	if (threads > k->max_threads || threads > 1024)
		return CUDA_ERROR_INVALID_VALUE;
	if (k->reqntid[0] && memcmp(k->reqntid, cfg->block, sizeof k->reqntid))
		return CUDA_ERROR_INVALID_VALUE;
	if (cfg->dyn_shared > (uint32_t)f->max_dynamic_shared || cfg->dyn_shared + k->static_shared > MAX_BLOCK_SHARED)
		return CUDA_ERROR_INVALID_VALUE;
	if (threads > soft_func_max_threads(f))
		return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	if (!cfg->cooperative)
		return CUDA_SUCCESS;
	uint64_t blocks = (uint64_t)cfg->grid[0] * cfg->grid[1], fit = (uint64_t)SOFT_SM_COUNT *
		(uint64_t)soft_blocks_per_sm(f, (uint32_t)threads, cfg->dyn_shared);
	bool fits = blocks <= fit && blocks * cfg->grid[2] <= fit;
	return fits ? CUDA_SUCCESS : CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
}

/* Arguments by pointers, or as one buffer; never both. */
static CUresult pack(const struct exec_kernel *k, void **params, void **extra, uint8_t *to)
{
	if (params && extra)
		return CUDA_ERROR_INVALID_VALUE;
	if (!extra) {
		if (!params && k->nparams)
			return CUDA_ERROR_INVALID_VALUE;
		for (uint32_t i = 0; i < k->nparams; i++) {
			if (!params[i])
				return CUDA_ERROR_INVALID_VALUE;
			memcpy(to + k->param_offset[i], params[i], k->param_size[i]);
		}
		return CUDA_SUCCESS;
	}
	const void *buffer = NULL;
	const size_t *size = NULL;
	for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
		if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
			buffer = extra[1];
		else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
			size = extra[1];
		else
			return CUDA_ERROR_INVALID_VALUE;
	}
	uint32_t need = k->nparams ? k->param_offset[k->nparams - 1] + k->param_size[k->nparams - 1] : 0;
	if (need && (!buffer || !size || *size < need))
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(to, buffer, need);
	return CUDA_SUCCESS;
}

CUresult soft_launch_op(struct soft_ctx *c, CUfunction h, const struct soft_config *cfg, void **params, void **extra,
	struct soft_op **out)
{
	struct soft_func *f = soft_func_find(h);
	if (!f || (f->module->ctx && f->module->ctx != c))
		return CUDA_ERROR_INVALID_HANDLE;
	struct soft_config with_cluster = *cfg;
	CUresult r = check_config(f, cfg);
	if (!r)
		r = soft_cluster_size(f, &with_cluster);
	if (r)
		return r;
	struct launch_op *o = soft_op_new(sizeof *o + (f->k->param_bytes + 15) / 8 * 8, run_launch, NULL);
	if (!o)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = pack(f->k, params, extra, (uint8_t *)o->params);
	if (r) {
		soft_op_unref(&o->op);
		return r;
	}
	o->func = f;
	o->module = f->module;
	soft_ref(&f->module->obj);
	o->op.release = release_launch;
	o->k = f->k;
	o->cfg = with_cluster;
	*out = &o->op;
	return CUDA_SUCCESS;
}

uint32_t soft_launch_params(const struct soft_op *op)
{
	return ((const struct launch_op *)op)->k->nparams;
}

void soft_launch_describe(const struct soft_op *op, CUDA_KERNEL_NODE_PARAMS *p, void **pointers)
{
	const struct launch_op *o = (const struct launch_op *)op;
	*p = (CUDA_KERNEL_NODE_PARAMS){
		.func = (CUfunction)o->func,
		.gridDimX = o->cfg.grid[0],
		.gridDimY = o->cfg.grid[1],
		.gridDimZ = o->cfg.grid[2],
		.blockDimX = o->cfg.block[0],
		.blockDimY = o->cfg.block[1],
		.blockDimZ = o->cfg.block[2],
		.sharedMemBytes = o->cfg.dyn_shared,
		.kernelParams = pointers,
	};
	for (uint32_t i = 0; i < o->k->nparams; i++)
		pointers[i] = (uint8_t *)o->params + o->k->param_offset[i];
}

static CUresult launch(CUfunction f, const struct soft_config *cfg, CUstream hs, void **params, void **extra,
	struct soft_event *completion)
{
	struct soft_stream *s;
	struct soft_op *op;
	struct soft_ctx *c;
	CUresult r = soft_enter(&c); /* a current context is needed even with a stream of another */
	if (r)
		return r;
	r = soft_stream_get(c, hs, &s);
	if (!r && s->ctx != c)
		r = s->ctx->error ? s->ctx->error : CUDA_ERROR_INVALID_HANDLE;
	if (!r)
		r = soft_launch_op(c, f, cfg, params, extra, &op);
	if (!r)
		r = soft_capturing(s) ? soft_capture_op(s, op, CU_GRAPH_NODE_TYPE_KERNEL) : soft_submit(s, op);
	if (!r && completion)
		r = soft_event_record(s, completion);
	return soft_leave(r);
}

#define CONFIG(coop) { .grid = { gx, gy, gz }, .block = { bx, by, bz }, .dyn_shared = shared, .cooperative = (coop) }

CUresult soft_cuLaunchKernel(CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
	unsigned int by, unsigned int bz, unsigned int shared, CUstream s, void **params, void **extra)
{
	struct soft_config cfg = CONFIG(false);
	return launch(f, &cfg, s, params, extra, NULL);
}

CUresult soft_cuLaunchCooperativeKernel(CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz,
					unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared,
					CUstream s, void **params)
{
	struct soft_config cfg = CONFIG(true);
	return launch(f, &cfg, s, params, NULL, NULL);
}

/* Attributes that only tune hardware are accepted; those with a meaning of their own are kept or refused. */
static CUresult read_attribute(const CUlaunchAttribute *a, struct soft_config *cfg, CUevent *completion)
{
	switch (a->id) {
	case CU_LAUNCH_ATTRIBUTE_IGNORE:
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
	case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
	case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
	case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
	case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
		cfg->cooperative = a->value.cooperative != 0;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
		cfg->cluster[0] = a->value.clusterDim.x;
		cfg->cluster[1] = a->value.clusterDim.y;
		cfg->cluster[2] = a->value.clusterDim.z;
		return cfg->cluster[0] && cfg->cluster[1] && cfg->cluster[2] ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
		return CUDA_SUCCESS;     /* a hint: the cluster dimension alone is what the program can rely on */
	case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
		*completion = a->value.programmaticEvent.event;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
		*completion = a->value.launchCompletionEvent.event;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
		return CUDA_ERROR_NOT_SUPPORTED;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

/* Cluster, event and the rest of a launch configuration's attributes. */
CUresult soft_read_config(const CUlaunchConfig *config, struct soft_config *cfg, CUevent *completion)
{
	if (!config || (config->numAttrs && !config->attrs))
		return CUDA_ERROR_INVALID_VALUE;
	*cfg = (struct soft_config){
		.grid = { config->gridDimX, config->gridDimY, config->gridDimZ },
		.block = { config->blockDimX, config->blockDimY, config->blockDimZ },
		.dyn_shared = config->sharedMemBytes,
	};
	*completion = NULL;
	CUresult r = CUDA_SUCCESS;
	for (unsigned i = 0; i < config->numAttrs && !r; i++)
		r = read_attribute(&config->attrs[i], cfg, completion);
	return r;
}

CUresult soft_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **params, void **extra)
{
	struct soft_config cfg;
	CUevent completion;
	CUresult r = soft_read_config(config, &cfg, &completion);
	if (r)
		return r;
	struct soft_event *e = NULL;
	if (completion) {
		soft_lock();
		e = soft_obj_find(SOFT_EVENT, completion);
		soft_unlock();
		if (!e)
			return CUDA_ERROR_INVALID_HANDLE;
	}
	return launch(f, &cfg, config->hStream, params, extra, e);
}

/* --- cudaProfiler.h --- */

CUresult soft_cuProfilerStart(void);
CUresult soft_cuProfilerStop(void);

/* No profiler is attached: there is nothing to start or stop, and the driver says success. */
CUresult soft_cuProfilerStart(void)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	return r ? r : soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuProfilerStop(void)
{
	return soft_cuProfilerStart();
}

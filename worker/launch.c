/* launch.c - kernels: launches, attributes, occupancy.
 *
 * The parameter block's size, the hidden parameter and the least dynamic shared memory come from the verifier's
 * verdict; with them a launch keeps the guard's launch contract (guard.h) whatever the client asked for.
 */
#include <stdlib.h>
#include <string.h>
#include "limits.h"
#include "module.h"
#include "worker_calls.h"

#define PARAM_MAX 32768u
#define WORKSPACE_BYTES 64u
#define WORKSPACES ((uint32_t)((AG_GRANULE - GUARD_SLACK) / WORKSPACE_BYTES))

static const struct guard_kernel *kernel_of(const struct module *m, uint32_t i)
{
	const struct guard_result *g = m ? &module_prepared(m)->result : NULL;

	return g && i < g->nkernels ? g->kernels + i : NULL;
}

/* Least dynamic shared size and whether it counts at all. An unguarded kernel has no verdict and needs no room for
 * fences. */
static uint32_t shared_bytes(const struct variant *v, const struct guard_kernel *k, uint32_t asked)
{
	const struct verify_kernel *f = prepared_verdict(v->p, k->index);

	if (!f || !f->uses_dyn_shared)
		return asked;
	uint32_t n = asked > f->min_dyn_shared ? asked : f->min_dyn_shared;
	return (n + 15) & ~15u;
}

static CUresult workspace(struct session *s, struct stream *st, CUdeviceptr *out)
{
	for (uint32_t slot = 1; !st->workspace && slot < WORKSPACES; slot++) {
		bool used = false;
		for (const struct stream *o = s->st.all; o && !used; o = o->next)
			used = o->workspace == slot;
		if (!used)
			st->workspace = slot;
	}
	if (!st->workspace)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*out = window_base(s->win) + GUARD_SLACK + (CUdeviceptr)st->workspace * WORKSPACE_BYTES;
	return s->d->cuMemsetD8Async(*out, 0, WORKSPACE_BYTES, st->real);
}

CUresult check_launch(const struct session *s, const struct msg_launch *q, const void *tail, uint32_t ntail)
{
	(void)tail;
	const struct module *m = module_find(s, q->module);
	const struct guard_kernel *k = kernel_of(m, q->kernel);

	if (!k || !m->loaded || !session_stream_ok(s, q->stream))
		return CUDA_ERROR_INVALID_HANDLE;
	if (ntail != k->param_bytes || ntail > PARAM_MAX - 16)
		return AG_MALFORMED;
	if (q->flags & ~AG_LAUNCH_COOPERATIVE || q->shared > (1u << 20))
		return CUDA_ERROR_INVALID_VALUE;
	bool cluster = q->cluster[0] || q->cluster[1] || q->cluster[2];
	if (!limit_blocks(q->grid))
		return CUDA_ERROR_INVALID_VALUE;
	if (cluster && !(q->cluster[0] && q->cluster[1] && q->cluster[2]))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult launch_ex(struct session *s, CUfunction f, const struct msg_launch *q, uint32_t shared, CUstream stream,
                          void **extra)
{
	CUlaunchAttribute attr[2];
	CUlaunchConfig c;

	memset(attr, 0, sizeof attr);
	memset(&c, 0, sizeof c);
	c.gridDimX = q->grid[0], c.gridDimY = q->grid[1], c.gridDimZ = q->grid[2];
	c.blockDimX = q->block[0], c.blockDimY = q->block[1], c.blockDimZ = q->block[2];
	c.sharedMemBytes = shared;
	c.hStream = stream;
	c.attrs = attr;
	if (q->flags & AG_LAUNCH_COOPERATIVE) {
		attr[c.numAttrs].id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
		attr[c.numAttrs++].value.cooperative = 1;
	}
	if (q->cluster[0]) {
		attr[c.numAttrs].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
		attr[c.numAttrs].value.clusterDim.x = q->cluster[0];
		attr[c.numAttrs].value.clusterDim.y = q->cluster[1];
		attr[c.numAttrs++].value.clusterDim.z = q->cluster[2];
	}
	return s->d->cuLaunchKernelEx(&c, f, NULL, extra);
}

CUresult invoke_launch(struct session *s, const struct msg_launch *q, const void *tail, uint32_t ntail, void *rep,
                       struct ag_out *out)
{
	(void)rep, (void)out;
	struct module *m = module_find(s, q->module);
	const struct guard_kernel *k = kernel_of(m, q->kernel);
	struct stream *st = stream_find(s, q->stream);
	struct variant *v;
	_Alignas(16) uint8_t params[PARAM_MAX];
	size_t n = ntail;

	CUresult r = module_variant(s, m, &v);
	if (!r)
		r = stream_order(s, st);
	if (r)
		return r;
	memcpy(params, tail, ntail);
	if (k->hidden_coop) {
		CUdeviceptr ws = 0; /* an ordinary launch has no grid barrier, and none is needed */
		n = (n + 7) & ~(size_t)7;
		memset(params + ntail, 0, n - ntail);
		if (q->flags & AG_LAUNCH_COOPERATIVE)
			r = workspace(s, st, &ws);
		if (r)
			return r;
		memcpy(params + n, &ws, 8);
		n += 8;
	}
	void *extra[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, params, CU_LAUNCH_PARAM_BUFFER_SIZE, &n,
		          CU_LAUNCH_PARAM_END };
	void **block = n ? extra : NULL;
	uint32_t shared = shared_bytes(v, k, q->shared);
	CUfunction f = v->fn[q->kernel];
	if (v->no_room[q->kernel])
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (q->flags || q->cluster[0])
		r = launch_ex(s, f, q, shared, st->real, block);
	else
		r = s->d->cuLaunchKernel(f, q->grid[0], q->grid[1], q->grid[2], q->block[0], q->block[1], q->block[2],
		                         shared, st->real, NULL, block);
	if (!r)
		atomic_fetch_add_explicit(&s->launches, 1, memory_order_relaxed);
	return r;
}

/* --- attributes ------------------------------------------------------------------------------------- */

CUresult check_func_attr_set(const struct session *s, const struct msg_func_attr_set *q, const void *tail,
                             uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (!kernel_of(module_find(s, q->module), q->kernel))
		return CUDA_ERROR_INVALID_HANDLE;
	switch (q->attr) {
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
	case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
	case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
	case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE: return CUDA_SUCCESS;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
}

/* For a variant that is loaded later. */
static CUresult remember(struct module *m, uint32_t kernel, CUfunction_attribute attr, int value)
{
	struct func_attr *a = m->attrs;

	while (a && (a->kernel != kernel || a->attr != attr))
		a = a->next;
	if (!a) {
		a = calloc(1, sizeof *a);
		if (!a)
			return CUDA_ERROR_OUT_OF_MEMORY;
		a->next = m->attrs;
		m->attrs = a;
	}
	a->kernel = kernel;
	a->attr = attr;
	a->value = value;
	return CUDA_SUCCESS;
}

CUresult invoke_func_attr_set(struct session *s, const struct msg_func_attr_set *q, const void *tail, uint32_t ntail,
                              void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct module *m = module_find(s, q->module);
	const struct guard_kernel *k = kernel_of(m, q->kernel);
	CUresult r = CUDA_SUCCESS;
	int value = q->value;

	for (int i = 0; i < 2 && !r; i++) {
		struct variant *v = &m->v[i];
		if (!v->mod)
			continue;
		if (q->attr == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && value > 0)
			value = (int)shared_bytes(v, k, (uint32_t)value);
		r = s->d->cuFuncSetAttribute(v->fn[q->kernel], (CUfunction_attribute)q->attr, value);
	}
	return r ? r : remember(m, q->kernel, (CUfunction_attribute)q->attr, value);
}

/* --- occupancy ---------------------------------------------------------------------------------------- */

enum { ACTIVE_BLOCKS, BLOCK_SIZE, AVAILABLE_SHARED, ACTIVE_CLUSTERS, CLUSTER_SIZE };

CUresult check_occupancy(const struct session *s, const struct msg_occupancy *q, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (!kernel_of(module_find(s, q->module), q->kernel))
		return CUDA_ERROR_INVALID_HANDLE;
	return q->what <= CLUSTER_SIZE && q->shared < (1u << 30) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult ask_clusters(struct session *s, CUfunction f, const struct msg_occupancy *q, uint32_t shared, int *out)
{
	CUlaunchAttribute a;
	CUlaunchConfig c;

	memset(&a, 0, sizeof a);
	memset(&c, 0, sizeof c);
	c.gridDimX = q->grid3[0], c.gridDimY = q->grid3[1], c.gridDimZ = q->grid3[2];
	c.blockDimX = q->block3[0], c.blockDimY = q->block3[1], c.blockDimZ = q->block3[2];
	c.sharedMemBytes = shared;
	a.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
	a.value.clusterDim.x = q->cluster[0];
	a.value.clusterDim.y = q->cluster[1];
	a.value.clusterDim.z = q->cluster[2];
	c.attrs = &a;
	c.numAttrs = q->cluster[0] || q->cluster[1] || q->cluster[2];
	return q->what == ACTIVE_CLUSTERS ? s->d->cuOccupancyMaxActiveClusters(out, f, &c)
	                                  : s->d->cuOccupancyMaxPotentialClusterSize(out, f, &c);
}

CUresult invoke_occupancy(struct session *s, const struct msg_occupancy *q, const void *tail, uint32_t ntail,
                          struct rep_occupancy *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)out;
	struct module *m = module_find(s, q->module);
	const struct variant *v = m->v[0].mod ? &m->v[0] : &m->v[1];
	CUfunction f = v->fn[q->kernel];
	size_t shared = shared_bytes(v, kernel_of(m, q->kernel), (uint32_t)q->shared), bytes = 0;
	int a = 0, b = 0;
	CUresult r;

	switch (q->what) {
	case ACTIVE_BLOCKS:
		r = s->d->cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&a, f, q->block, shared, q->flags);
		break;
	case BLOCK_SIZE:
		r = s->d->cuOccupancyMaxPotentialBlockSizeWithFlags(&a, &b, f, NULL, shared, q->block, q->flags);
		break;
	case ACTIVE_CLUSTERS: case CLUSTER_SIZE:
		r = ask_clusters(s, f, q, (uint32_t)shared, &a);
		break;
	default:
		r = s->d->cuOccupancyAvailableDynamicSMemPerBlock(&bytes, f, q->blocks, q->block);
		rep->a = bytes;
		return r;
	}
	rep->a = (uint64_t)(int64_t)a;
	rep->b = (uint64_t)(int64_t)b;
	return r;
}

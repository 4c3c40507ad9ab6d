/* soft_graph.c - building graphs: nodes, edges, parameters, clones.  See soft_graph.h for ownership. */
#include "soft_graph.h"

static void user_drop(struct soft_graph *g);

/* --- nodes and graphs --- */

static void node_free(struct soft_obj *o)
{
	struct soft_node *n = (struct soft_node *)o;
	if (n->op)
		soft_op_unref(n->op);
	if (n->child)
		soft_unref(&n->child->obj);
	free(n->pointers);
	free(n->deps);
	free(n);
}

static void graph_free(struct soft_obj *o)
{
	struct soft_graph *g = (struct soft_graph *)o;
	for (unsigned i = 0; i < g->n; i++) {
		soft_obj_hide(&g->nodes[i]->obj);
		soft_unref(&g->nodes[i]->obj);
	}
	user_drop(g);
	free(g->nodes);
	free(g);
}

CUresult soft_graph_new(struct soft_ctx *c, struct soft_graph **out)
{
	struct soft_graph *g = calloc(1, sizeof *g);
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	soft_obj_init(&g->obj, SOFT_GRAPH, graph_free);
	g->ctx = c;
	*out = g;
	return CUDA_SUCCESS;
}

struct soft_graph *soft_graph_find(CUgraph h)
{
	return soft_obj_find(SOFT_GRAPH, h);
}

struct soft_node *soft_node_find(CUgraphNode h)
{
	return soft_obj_find(SOFT_NODE, h);
}

CUresult soft_node_depend(struct soft_node *n, struct soft_node *on)
{
	for (unsigned i = 0; i < n->ndeps; i++)
		if (n->deps[i] == on)
			return CUDA_SUCCESS;
	struct soft_node **v = realloc(n->deps, (n->ndeps + 1) * sizeof *v);
	if (!v)
		return CUDA_ERROR_OUT_OF_MEMORY;
	n->deps = v;
	v[n->ndeps++] = on;
	return CUDA_SUCCESS;
}

static CUresult append(struct soft_graph *g, struct soft_node *n)
{
	if (g->n == g->cap) {
		unsigned cap = g->cap ? 2 * g->cap : 8;
		struct soft_node **v = realloc(g->nodes, cap * sizeof *v);
		if (!v)
			return CUDA_ERROR_OUT_OF_MEMORY;
		g->nodes = v;
		g->cap = cap;
	}
	g->nodes[g->n++] = n;
	return CUDA_SUCCESS;
}

CUresult soft_node_add(struct soft_graph *g, CUgraphNodeType type, struct soft_op *op, struct soft_node *const *deps,
	unsigned ndeps, struct soft_node **out)
{
	struct soft_node *n = calloc(1, sizeof *n);
	if (!n) {
		if (op)
			soft_op_unref(op);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	soft_obj_init(&n->obj, SOFT_NODE, node_free);
	n->graph = g;
	n->type = type;
	n->op = op;
	CUresult r = CUDA_SUCCESS;
	if (type == CU_GRAPH_NODE_TYPE_KERNEL &&
	    !(n->pointers = calloc(soft_launch_params(op) + 1, sizeof *n->pointers)))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	for (unsigned i = 0; i < ndeps && !r; i++)
		r = deps[i]->graph == g ? soft_node_depend(n, deps[i]) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = append(g, n);
	if (r)
		soft_unref(&n->obj);
	else
		*out = n;
	return r;
}

static void number(struct soft_graph *g)
{
	for (unsigned i = 0; i < g->n; i++)
		g->nodes[i]->mark = i;
}

CUresult soft_graph_order(struct soft_graph *g, unsigned *order)
{
	unsigned done = 0;
	bool *placed = calloc(g->n + 1, sizeof *placed);
	if (!placed)
		return CUDA_ERROR_OUT_OF_MEMORY;
	number(g);
	for (unsigned before = 1; done < g->n && before; ) {
		before = 0; /* passes over what is left, in the order of addition; most graphs need one or two */
		for (unsigned i = 0; i < g->n; i++) {
			bool ready = !placed[i];
			for (unsigned d = 0; d < g->nodes[i]->ndeps && ready; d++)
				ready = placed[g->nodes[i]->deps[d]->mark];
			if (!ready)
				continue;
			placed[i] = true;
			order[done++] = i;
			before++;
		}
	}
	free(placed);
	return done == g->n ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult soft_graph_clone(const struct soft_graph *from, struct soft_graph **out)
{
	struct soft_graph *g;
	CUresult r = soft_graph_new(from->ctx, &g);
	if (r)
		return r;
	for (unsigned i = 0; i < from->n && !r; i++) {
		struct soft_node *o = from->nodes[i], *n;
		if (o->op)
			soft_op_ref(o->op);
		r = soft_node_add(g, o->type, o->op, NULL, 0, &n);
		if (r)
			break;
		n->event = o->event;
		n->cloned_from = o;
		o->mark = i;
		if (o->child)
			r = soft_graph_clone(o->child, &n->child);
		if (n->child)
			n->child->is_child = true;
	}
	for (unsigned i = 0; i < from->n && !r; i++)
		for (unsigned d = 0; d < from->nodes[i]->ndeps && !r; d++)
			r = soft_node_depend(g->nodes[i], g->nodes[from->nodes[i]->deps[d]->mark]);
	if (r)
		soft_unref(&g->obj);
	else
		*out = g;
	return r;
}

/* --- prologues --- */

static CUresult enter_graph(CUgraph h, struct soft_graph **g)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*g = soft_graph_find(h);
	return *g ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult enter_node(CUgraphNode h, const void *argument, struct soft_node **n)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*n = soft_node_find(h);
	return *n && argument ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_VALUE);
}

static CUresult enter_typed(CUgraphNode h, const void *argument, CUgraphNodeType type, struct soft_node **n)
{
	CUresult r = enter_node(h, argument, n);
	if (r)
		return r;
	return (*n)->type == type ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult soft_cuGraphCreate(CUgraph *out, unsigned int flags)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_graph *g;
	struct soft_ctx *c = soft_current();
	r = !out || flags ? CUDA_ERROR_INVALID_VALUE : soft_graph_new(c, &g);
	if (!r)
		*out = (CUgraph)g;
	return soft_leave(r);
}

CUresult soft_cuGraphDestroy(CUgraph h)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	if (g->is_child)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	soft_obj_hide(&g->obj); /* a capture into it may still hold it */
	soft_unref(&g->obj);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphClone(CUgraph *out, CUgraph h)
{
	struct soft_graph *g, *clone;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	r = out ? soft_graph_clone(g, &clone) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*out = (CUgraph)clone;
	return soft_leave(r);
}

CUresult soft_cuGraphNodeFindInClone(CUgraphNode *out, CUgraphNode original, CUgraph h)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	r = CUDA_ERROR_INVALID_VALUE;
	for (unsigned i = 0; i < g->n && out; i++) {
		if ((CUgraphNode)g->nodes[i]->cloned_from == original) {
			*out = (CUgraphNode)g->nodes[i];
			r = CUDA_SUCCESS;
		}
	}
	return soft_leave(r);
}

/* --- operations from parameters --- */

static CUresult kernel_op(struct soft_ctx *c, const CUDA_KERNEL_NODE_PARAMS *p, struct soft_op **out)
{
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	struct soft_config cfg = {
		.grid = { p->gridDimX, p->gridDimY, p->gridDimZ },
		.block = { p->blockDimX, p->blockDimY, p->blockDimZ },
		.dyn_shared = p->sharedMemBytes,
	};
	return soft_launch_op(c, p->func ? p->func : (CUfunction)p->kern, &cfg, p->kernelParams, p->extra, out);
}

static CUresult memcpy_op(const CUDA_MEMCPY3D *p, struct soft_op **out)
{
	struct soft_side dst, src;
	if (!p || !p->WidthInBytes || !p->Height || !p->Depth)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = soft_copy_3d(p, &dst, &src);
	return r ? r : soft_copy_op(dst, src, p->WidthInBytes, p->Height, p->Depth, out);
}

static CUresult memset_op(const CUDA_MEMSET_NODE_PARAMS *p, struct soft_op **out)
{
	if (!p || (p->elementSize != 1 && p->elementSize != 2 && p->elementSize != 4) || !p->width || !p->height)
		return CUDA_ERROR_INVALID_VALUE;
	return soft_memset_op(p->dst, p->pitch, p->elementSize, p->value, p->width, p->height, out);
}

static CUresult host_op(const CUDA_HOST_NODE_PARAMS *p, struct soft_op **out)
{
	return p && p->fn ? soft_host_op(p->fn, p->userData, out) : CUDA_ERROR_INVALID_VALUE;
}

CUresult soft_graph_op(struct soft_ctx *c, CUgraphNodeType type, const void *params, struct soft_op **out)
{
	switch (type) {
	case CU_GRAPH_NODE_TYPE_KERNEL:
		return kernel_op(c, params, out);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return memcpy_op(params, out);
	case CU_GRAPH_NODE_TYPE_MEMSET:
		return memset_op(params, out);
	default:
		return host_op(params, out);
	}
}

/* --- adding nodes --- */

/* Takes the reference to op.  Lock held. */
static CUresult add(CUgraphNode *out, struct soft_graph *g, const CUgraphNode *deps, size_t ndeps, CUgraphNodeType type,
	struct soft_op *op, struct soft_node **made)
{
	struct soft_node *n = NULL;
	CUresult r = out && (deps || !ndeps) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	if (r && op)
		soft_op_unref(op);
	if (!r)
		r = soft_node_add(g, type, op, NULL, 0, &n);
	for (size_t i = 0; i < ndeps && !r; i++) {
		struct soft_node *d = soft_node_find(deps[i]);
		r = d && d->graph == g && d != n ? soft_node_depend(n, d) : CUDA_ERROR_INVALID_VALUE;
		if (r) {
			g->n--;
			soft_unref(&n->obj);
		}
	}
	if (!r) {
		*out = (CUgraphNode)n;
		if (made)
			*made = n;
	}
	return r;
}

CUresult soft_cuGraphAddEmptyNode(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	return r ? r : soft_leave(add(out, g, deps, ndeps, CU_GRAPH_NODE_TYPE_EMPTY, NULL, NULL));
}

static struct soft_ctx *context_for(const struct soft_graph *g)
{
	struct soft_ctx *c = soft_current();
	return c ? c : g->ctx;
}

static CUresult add_op(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps, CUgraphNodeType type,
	const void *params)
{
	struct soft_graph *g;
	struct soft_op *op;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	r = soft_graph_op(context_for(g), type, params, &op);
	return soft_leave(r ? r : add(out, g, deps, ndeps, type, op, NULL));
}

CUresult soft_cuGraphAddKernelNode_v2(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps,
	const CUDA_KERNEL_NODE_PARAMS *p)
{
	return add_op(out, h, deps, ndeps, CU_GRAPH_NODE_TYPE_KERNEL, p);
}

CUresult soft_cuGraphAddMemcpyNode(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps,
	const CUDA_MEMCPY3D *p, CUcontext ctx)
{
	(void)ctx;
	return add_op(out, h, deps, ndeps, CU_GRAPH_NODE_TYPE_MEMCPY, p);
}

CUresult soft_cuGraphAddMemsetNode(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps,
	const CUDA_MEMSET_NODE_PARAMS *p, CUcontext ctx)
{
	(void)ctx;
	return add_op(out, h, deps, ndeps, CU_GRAPH_NODE_TYPE_MEMSET, p);
}

CUresult soft_cuGraphAddHostNode(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps,
	const CUDA_HOST_NODE_PARAMS *p)
{
	return add_op(out, h, deps, ndeps, CU_GRAPH_NODE_TYPE_HOST, p);
}

CUresult soft_cuGraphAddChildGraphNode(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps,
				       CUgraph child)
{
	struct soft_graph *g, *clone;
	struct soft_node *n;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	struct soft_graph *c = soft_graph_find(child);
	r = c && c != g ? soft_graph_clone(c, &clone) : CUDA_ERROR_INVALID_VALUE;
	if (r)
		return soft_leave(r);
	r = add(out, g, deps, ndeps, CU_GRAPH_NODE_TYPE_GRAPH, NULL, &n);
	if (r) {
		soft_unref(&clone->obj);
	} else {
		clone->is_child = true;
		n->child = clone;
	}
	return soft_leave(r);
}

static CUresult add_event(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps, CUgraphNodeType type,
	CUevent event)
{
	struct soft_graph *g;
	struct soft_node *n;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	r = soft_obj_find(SOFT_EVENT, event) ? add(out, g, deps, ndeps, type, NULL, &n) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		n->event = event;
	return soft_leave(r);
}

CUresult soft_cuGraphAddEventRecordNode(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps,
					CUevent event)
{
	return add_event(out, h, deps, ndeps, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult soft_cuGraphAddEventWaitNode(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, size_t ndeps, CUevent event)
{
	return add_event(out, h, deps, ndeps, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

CUresult soft_cuGraphAddNode_v2(CUgraphNode *out, CUgraph h, const CUgraphNode *deps, const CUgraphEdgeData *data,
	size_t ndeps, CUgraphNodeParams *p)
{
	static const CUgraphEdgeData plain;
	for (size_t i = 0; i < ndeps && data; i++)
		if (memcmp(&data[i], &plain, sizeof plain))
			return CUDA_ERROR_NOT_SUPPORTED;
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	CUDA_KERNEL_NODE_PARAMS k;
	CUDA_MEMSET_NODE_PARAMS m;
	CUDA_HOST_NODE_PARAMS f;
	switch (p->type) {
	case CU_GRAPH_NODE_TYPE_EMPTY:
		return soft_cuGraphAddEmptyNode(out, h, deps, ndeps);
	case CU_GRAPH_NODE_TYPE_KERNEL:
		memcpy(&k, &p->kernel, sizeof k);
		return soft_cuGraphAddKernelNode_v2(out, h, deps, ndeps, &k);
	case CU_GRAPH_NODE_TYPE_MEMCPY:
		return soft_cuGraphAddMemcpyNode(out, h, deps, ndeps, &p->memcpy.copyParams, p->memcpy.copyCtx);
	case CU_GRAPH_NODE_TYPE_MEMSET:
		m = (CUDA_MEMSET_NODE_PARAMS){ p->memset.dst, p->memset.pitch, p->memset.value, p->memset.elementSize,
			p->memset.width, p->memset.height };
		return soft_cuGraphAddMemsetNode(out, h, deps, ndeps, &m, p->memset.ctx);
	case CU_GRAPH_NODE_TYPE_HOST:
		f = (CUDA_HOST_NODE_PARAMS){ .fn = p->host.fn, .userData = p->host.userData };
		return soft_cuGraphAddHostNode(out, h, deps, ndeps, &f);
	case CU_GRAPH_NODE_TYPE_GRAPH:
		return soft_cuGraphAddChildGraphNode(out, h, deps, ndeps, p->graph.graph);
	case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
		return soft_cuGraphAddEventRecordNode(out, h, deps, ndeps, p->eventRecord.event);
	case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
		return soft_cuGraphAddEventWaitNode(out, h, deps, ndeps, p->eventWait.event);
	default:
		return CUDA_ERROR_NOT_SUPPORTED;
	}
}

/* --- edges --- */

static CUresult edges(CUgraph h, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *data,
		      size_t count, bool remove)
{
	static const CUgraphEdgeData plain;
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	if (count && (!from || !to))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	for (size_t i = 0; i < count && !r; i++) {
		struct soft_node *a = soft_node_find(from[i]), *b = soft_node_find(to[i]);
		if (!a || !b || a == b || a->graph != g || b->graph != g)
			r = CUDA_ERROR_INVALID_VALUE;
		else if (data && memcmp(&data[i], &plain, sizeof plain))
			r = CUDA_ERROR_NOT_SUPPORTED;
		else if (!remove)
			r = soft_node_depend(b, a);
		for (unsigned d = 0; !r && remove && d < b->ndeps; d++)
			if (b->deps[d] == a)
				b->deps[d--] = b->deps[--b->ndeps];
	}
	return soft_leave(r);
}

CUresult soft_cuGraphAddDependencies_v2(CUgraph h, const CUgraphNode *from, const CUgraphNode *to,
	const CUgraphEdgeData *data, size_t count)
{
	return edges(h, from, to, data, count, false);
}

CUresult soft_cuGraphRemoveDependencies_v2(CUgraph h, const CUgraphNode *from, const CUgraphNode *to,
	const CUgraphEdgeData *data, size_t count)
{
	return edges(h, from, to, data, count, true);
}

/* Fills up to *count entries, the rest with NULL, and tells how many there are. */
struct list { CUgraphNode *out, *out2; size_t room, n; };

static void put(struct list *l, struct soft_node *a, struct soft_node *b)
{
	if (l->out && l->n < l->room)
		l->out[l->n] = (CUgraphNode)a;
	if (l->out2 && l->n < l->room)
		l->out2[l->n] = (CUgraphNode)b;
	l->n++;
}

static void finish(struct list *l, size_t *count)
{
	for (size_t i = l->n; l->out && i < l->room; i++) {
		l->out[i] = NULL;
		if (l->out2)
			l->out2[i] = NULL;
	}
	*count = l->out && l->n > l->room ? l->room : l->n;
}

CUresult soft_cuGraphGetNodes(CUgraph h, CUgraphNode *out, size_t *count)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	if (!count)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct list l = { out, NULL, *count, 0 };
	for (unsigned i = 0; i < g->n; i++)
		put(&l, g->nodes[i], NULL);
	finish(&l, count);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphGetRootNodes(CUgraph h, CUgraphNode *out, size_t *count)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	if (!count)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct list l = { out, NULL, *count, 0 };
	for (unsigned i = 0; i < g->n; i++)
		if (!g->nodes[i]->ndeps)
			put(&l, g->nodes[i], NULL);
	finish(&l, count);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphGetEdges_v2(CUgraph h, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data, size_t *count)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	if (!count || !from != !to)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct list l = { from, to, *count, 0 };
	for (unsigned i = 0; i < g->n; i++)
		for (unsigned d = 0; d < g->nodes[i]->ndeps; d++)
			put(&l, g->nodes[i]->deps[d], g->nodes[i]);
	finish(&l, count);
	if (data)
		memset(data, 0, *count * sizeof *data);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphNodeGetDependencies_v2(CUgraphNode h, CUgraphNode *out, CUgraphEdgeData *data, size_t *count)
{
	struct soft_node *n;
	CUresult r = enter_node(h, count, &n);
	if (r)
		return r;
	struct list l = { out, NULL, *count, 0 };
	for (unsigned d = 0; d < n->ndeps; d++)
		put(&l, n->deps[d], NULL);
	finish(&l, count);
	if (data)
		memset(data, 0, *count * sizeof *data);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphNodeGetDependentNodes_v2(CUgraphNode h, CUgraphNode *out, CUgraphEdgeData *data, size_t *count)
{
	struct soft_node *n;
	CUresult r = enter_node(h, count, &n);
	if (r)
		return r;
	struct list l = { out, NULL, *count, 0 };
	for (unsigned i = 0; i < n->graph->n; i++)
		for (unsigned d = 0; d < n->graph->nodes[i]->ndeps; d++)
			if (n->graph->nodes[i]->deps[d] == n)
				put(&l, n->graph->nodes[i], NULL);
	finish(&l, count);
	if (data)
		memset(data, 0, *count * sizeof *data);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphNodeGetType(CUgraphNode h, CUgraphNodeType *type)
{
	struct soft_node *n;
	CUresult r = enter_node(h, type, &n);
	if (r)
		return r;
	*type = n->type;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphDestroyNode(CUgraphNode h)
{
	struct soft_node *n;
	CUresult r = enter_node(h, h, &n);
	if (r)
		return r;
	struct soft_graph *g = n->graph;
	unsigned kept = 0;
	for (unsigned i = 0; i < g->n; i++) {
		struct soft_node *o = g->nodes[i];
		for (unsigned d = 0; d < o->ndeps; d++)
			if (o->deps[d] == n)
				o->deps[d--] = o->deps[--o->ndeps];
		if (o != n)
			g->nodes[kept++] = o;
	}
	g->n = kept;
	soft_obj_hide(&n->obj);
	soft_unref(&n->obj);
	return soft_leave(CUDA_SUCCESS);
}

/* --- parameters --- */

static CUresult swap(struct soft_node *n, struct soft_op *op)
{
	if (n->type == CU_GRAPH_NODE_TYPE_KERNEL) {
		void **p = calloc(soft_launch_params(op) + 1, sizeof *p);
		if (!p) {
			soft_op_unref(op);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		free(n->pointers);
		n->pointers = p;
	}
	soft_op_unref(n->op);
	n->op = op;
	return CUDA_SUCCESS;
}

CUresult soft_cuGraphKernelNodeGetParams_v2(CUgraphNode h, CUDA_KERNEL_NODE_PARAMS *p)
{
	struct soft_node *n;
	CUresult r = enter_typed(h, p, CU_GRAPH_NODE_TYPE_KERNEL, &n);
	if (r)
		return r;
	soft_launch_describe(n->op, p, n->pointers);
	return soft_leave(CUDA_SUCCESS);
}

static CUresult set_op(CUgraphNode h, CUgraphNodeType type, const void *params)
{
	struct soft_node *n;
	struct soft_op *op;
	CUresult r = enter_typed(h, params, type, &n);
	if (r)
		return r;
	r = soft_graph_op(context_for(n->graph), type, params, &op);
	return soft_leave(r ? r : swap(n, op));
}

CUresult soft_cuGraphKernelNodeSetParams_v2(CUgraphNode h, const CUDA_KERNEL_NODE_PARAMS *p)
{
	return set_op(h, CU_GRAPH_NODE_TYPE_KERNEL, p);
}

#define PARAMS(Name, TYPE, type, describe)                                                            \
	CUresult soft_cuGraph##Name##NodeGetParams(CUgraphNode h, type *p)                            \
	{                                                                                             \
		struct soft_node *n;                                                                  \
		CUresult r = enter_typed(h, p, CU_GRAPH_NODE_TYPE_##TYPE, &n);                        \
		if (r)                                                                                \
			return r;                                                                     \
		describe(n->op, p);                                                                   \
		return soft_leave(CUDA_SUCCESS);                                                      \
	}                                                                                             \
	CUresult soft_cuGraph##Name##NodeSetParams(CUgraphNode h, const type *p)                      \
	{                                                                                             \
		return set_op(h, CU_GRAPH_NODE_TYPE_##TYPE, p);                                       \
	}

PARAMS(Memcpy, MEMCPY, CUDA_MEMCPY3D, soft_copy_describe)
PARAMS(Memset, MEMSET, CUDA_MEMSET_NODE_PARAMS, soft_memset_describe)
PARAMS(Host, HOST, CUDA_HOST_NODE_PARAMS, soft_host_describe)

#define EVENT_PARAMS(Name, TYPE)                                                                      \
	CUresult soft_cuGraph##Name##NodeGetEvent(CUgraphNode h, CUevent *event)                      \
	{                                                                                             \
		struct soft_node *n;                                                                  \
		CUresult r = enter_typed(h, event, CU_GRAPH_NODE_TYPE_##TYPE, &n);                    \
		if (r)                                                                                \
			return r;                                                                     \
		*event = n->event;                                                                    \
		return soft_leave(CUDA_SUCCESS);                                                      \
	}                                                                                             \
	CUresult soft_cuGraph##Name##NodeSetEvent(CUgraphNode h, CUevent event)                       \
	{                                                                                             \
		struct soft_node *n;                                                                  \
		CUresult r = enter_typed(h, event, CU_GRAPH_NODE_TYPE_##TYPE, &n);                    \
		if (r)                                                                                \
			return r;                                                                     \
		if (!soft_obj_find(SOFT_EVENT, event))                                                \
			return soft_leave(CUDA_ERROR_INVALID_VALUE);                                  \
		n->event = event;                                                                     \
		return soft_leave(CUDA_SUCCESS);                                                      \
	}

EVENT_PARAMS(EventRecord, EVENT_RECORD)
EVENT_PARAMS(EventWait, WAIT_EVENT)

CUresult soft_cuGraphChildGraphNodeGetGraph(CUgraphNode h, CUgraph *out)
{
	struct soft_node *n;
	CUresult r = enter_typed(h, out, CU_GRAPH_NODE_TYPE_GRAPH, &n);
	if (r)
		return r;
	*out = (CUgraph)n->child;
	return soft_leave(CUDA_SUCCESS);
}

/* --- user objects: memory whose life is tied to graphs --- */

struct soft_user_object {
	struct soft_obj obj;             /* refs: the program's and the graphs' together */
	CUhostFn destroy;
	void *ptr;
};

static void user_free(struct soft_obj *o)
{
	struct soft_user_object *u = (struct soft_user_object *)o;
	u->destroy(u->ptr); /* must not call CUDA, says the API */
	free(u);
}

static void user_drop(struct soft_graph *g)
{
	for (struct soft_user_ref *r = g->users, *next; r; r = next) {
		next = r->next;
		for (unsigned i = 0; i < r->count; i++)
			soft_unref(&r->object->obj);
		free(r);
	}
}

CUresult soft_cuUserObjectCreate(CUuserObject *out, void *ptr, CUhostFn destroy, unsigned int refs, unsigned int flags)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	if (!out || !destroy || !refs || refs > INT32_MAX || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_user_object *u = calloc(1, sizeof *u);
	if (!u)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	soft_obj_init(&u->obj, SOFT_USER_OBJECT, user_free);
	u->obj.refs = refs;
	u->destroy = destroy;
	u->ptr = ptr;
	*out = (CUuserObject)u;
	return soft_leave(CUDA_SUCCESS);
}

static CUresult user_count(CUuserObject h, unsigned count, bool retain)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	struct soft_user_object *u = soft_obj_find(SOFT_USER_OBJECT, h);
	if (!u || !count || count > INT32_MAX || (!retain && count > u->obj.refs))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	for (unsigned i = 0; i < count; i++)
		retain ? soft_ref(&u->obj) : soft_unref(&u->obj);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuUserObjectRetain(CUuserObject h, unsigned int count)
{
	return user_count(h, count, true);
}

CUresult soft_cuUserObjectRelease(CUuserObject h, unsigned int count)
{
	return user_count(h, count, false);
}

CUresult soft_cuGraphRetainUserObject(CUgraph h, CUuserObject object, unsigned int count, unsigned int flags)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	struct soft_user_object *u = soft_obj_find(SOFT_USER_OBJECT, object);
	bool move = flags == CU_GRAPH_USER_OBJECT_MOVE;
	if (!u || !count || count > INT32_MAX || flags & ~(unsigned)CU_GRAPH_USER_OBJECT_MOVE ||
	    (move && count > u->obj.refs))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	struct soft_user_ref *ref = malloc(sizeof *ref);
	if (!ref)
		return soft_leave(CUDA_ERROR_OUT_OF_MEMORY);
	*ref = (struct soft_user_ref){ g->users, u, count };
	g->users = ref;
	u->obj.refs += move ? 0 : count;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphReleaseUserObject(CUgraph h, CUuserObject object, unsigned int count)
{
	struct soft_graph *g;
	CUresult r = enter_graph(h, &g);
	if (r)
		return r;
	for (struct soft_user_ref **p = &g->users; *p; p = &(*p)->next) {
		struct soft_user_ref *ref = *p;
		if ((CUuserObject)ref->object != object || ref->count < count)
			continue;
		for (unsigned i = 0; i < count; i++)
			soft_unref(&ref->object->obj);
		ref->count -= count;
		if (!ref->count) {
			*p = ref->next;
			free(ref);
		}
		return soft_leave(CUDA_SUCCESS);
	}
	return soft_leave(CUDA_ERROR_INVALID_VALUE);
}

/* soft_graph_exec.c - executable graphs: instantiation, launch, update.
 *
 * A launch is one operation of its stream, which runs the nodes one after the other in an order that respects the
 * edges. Launches of one executable graph follow each other, as the API says. Owns: executable graphs; they hold
 * references to the nodes' templates. */
#include "soft_graph.h"

struct step {
	CUgraphNode node;                /* identity in the graph it came from */
	CUgraphNodeType type;
	struct soft_op *op;
	CUevent event;
	bool disabled;
	unsigned *deps, ndeps;           /* indices of steps, to compare topologies */
	unsigned depth;                  /* of child graphs around it */
};

struct soft_graph_exec {
	struct soft_obj obj;
	struct soft_ctx *ctx;
	unsigned long long flags;
	unsigned n, cap;
	struct step *steps;
	struct soft_op *last;            /* the latest launch */
	struct soft_graph *users;        /* keeps the graph's user objects alive: a clone of nothing but them */
};

static void drop_steps(struct soft_graph_exec *x)
{
	for (unsigned i = 0; i < x->n; i++) {
		if (x->steps[i].op)
			soft_op_unref(x->steps[i].op);
		free(x->steps[i].deps);
	}
	free(x->steps);
	x->steps = NULL;
	x->n = x->cap = 0;
}

static void exec_free(struct soft_obj *o)
{
	struct soft_graph_exec *x = (struct soft_graph_exec *)o;
	drop_steps(x);
	if (x->last)
		soft_op_unref(x->last);
	if (x->users)
		soft_unref(&x->users->obj);
	free(x);
}

/* --- instantiation --- */

static struct step *new_step(struct soft_graph_exec *x)
{
	if (x->n == x->cap) {
		unsigned cap = x->cap ? 2 * x->cap : 16;
		struct step *v = realloc(x->steps, cap * sizeof *v);
		if (!v)
			return NULL;
		x->steps = v;
		x->cap = cap;
	}
	struct step *s = &x->steps[x->n++];
	memset(s, 0, sizeof *s);
	return s;
}

static CUresult flatten(struct soft_graph_exec *x, struct soft_graph *g, unsigned depth)
{
	unsigned *order = malloc((g->n + 1) * sizeof *order), *at = malloc((g->n + 1) * sizeof *at);
	CUresult r = !order || !at ? CUDA_ERROR_OUT_OF_MEMORY : depth > 32 ? CUDA_ERROR_NOT_SUPPORTED
		: soft_graph_order(g, order);
	for (unsigned i = 0; i < g->n && !r; i++) {
		struct soft_node *n = g->nodes[order[i]];
		struct step *s = new_step(x);
		if (!s || !(s->deps = malloc((n->ndeps + 1) * sizeof *s->deps))) {
			r = CUDA_ERROR_OUT_OF_MEMORY;
			break;
		}
		at[order[i]] = x->n - 1;
		s->node = (CUgraphNode)n;
		s->type = n->type;
		s->depth = depth;
		s->event = n->event;
		if (n->op)
			soft_op_ref(s->op = n->op);
		for (unsigned d = 0; d < n->ndeps; d++)
			s->deps[s->ndeps++] = at[n->deps[d]->mark];
		if (n->child)
			r = flatten(x, n->child, depth + 1);
	}
	free(order);
	free(at);
	return r;
}

static CUresult keep_users(struct soft_graph_exec *x, const struct soft_graph *g)
{
	CUresult r = g->users ? soft_graph_new(g->ctx, &x->users) : CUDA_SUCCESS;
	for (const struct soft_user_ref *u = g->users; u && !r; u = u->next) {
		struct soft_user_ref *copy = malloc(sizeof *copy);
		if (!copy)
			return CUDA_ERROR_OUT_OF_MEMORY;
		*copy = (struct soft_user_ref){ x->users->users, u->object, 1 };
		soft_ref((struct soft_obj *)u->object);
		x->users->users = copy;
	}
	return r;
}

static CUresult instantiate(struct soft_graph *g, unsigned long long flags, struct soft_graph_exec **out)
{
	unsigned long long known =
		CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD |
		CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY | CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH;
	if (flags & ~known)
		return CUDA_ERROR_INVALID_VALUE;
	if (flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH)
		return CUDA_ERROR_NOT_SUPPORTED;
	struct soft_graph_exec *x = calloc(1, sizeof *x);
	if (!x)
		return CUDA_ERROR_OUT_OF_MEMORY;
	soft_obj_init(&x->obj, SOFT_GRAPH_EXEC, exec_free);
	x->flags = flags;
	x->ctx = soft_current();
	CUresult r = flatten(x, g, 0);
	if (!r)
		r = keep_users(x, g);
	if (r)
		soft_unref(&x->obj);
	else
		*out = x;
	return r;
}

CUresult soft_cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph h, unsigned long long flags)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_graph *g = soft_graph_find(h);
	struct soft_graph_exec *x;
	r = out && g ? instantiate(g, flags, &x) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		*out = (CUgraphExec)x;
	return soft_leave(r);
}

CUresult soft_cuGraphInstantiateWithParams(CUgraphExec *out, CUgraph h, CUDA_GRAPH_INSTANTIATE_PARAMS *p)
{
	if (!p)
		return CUDA_ERROR_INVALID_VALUE;
	p->hErrNode_out = NULL;
	CUresult r = soft_cuGraphInstantiateWithFlags(out, h, p->flags);
	p->result_out = r ? CUDA_GRAPH_INSTANTIATE_ERROR : CUDA_GRAPH_INSTANTIATE_SUCCESS;
	return r;
}

static CUresult enter_exec(CUgraphExec h, struct soft_graph_exec **x)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*x = soft_obj_find(SOFT_GRAPH_EXEC, h);
	return *x ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_VALUE);
}

CUresult soft_cuGraphExecDestroy(CUgraphExec h)
{
	struct soft_graph_exec *x;
	CUresult r = enter_exec(h, &x);
	if (r)
		return r;
	soft_obj_hide(&x->obj); /* a launch that still runs holds its own references */
	soft_unref(&x->obj);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphExecGetFlags(CUgraphExec h, cuuint64_t *flags)
{
	struct soft_graph_exec *x;
	CUresult r = enter_exec(h, &x);
	return SOFT_GIVE(r, flags, x->flags);
}

/* --- launch --- */

struct graph_op {
	struct soft_op op;
	unsigned n;
	struct todo {
		struct soft_op *op; /* a template; or for an event: what marks the record, or what to wait for */
		CUgraphNodeType type;
	} steps[];
};

static CUresult run_graph(struct soft_op *op, struct soft_stream *s)
{
	struct graph_op *g = (struct graph_op *)op;
	CUresult r = CUDA_SUCCESS;
	for (unsigned i = 0; i < g->n && !r; i++) {
		struct todo *t = &g->steps[i];
		soft_lock();
		bool over = s->ctx->error || s->ctx->destroyed;
		if (!over && t->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD)
			soft_op_finish(t->op);
		if (!over && t->type == CU_GRAPH_NODE_TYPE_WAIT_EVENT)
			soft_op_wait(t->op);
		soft_unlock();
		if (over)
			break;
		if (t->type != CU_GRAPH_NODE_TYPE_EVENT_RECORD && t->type != CU_GRAPH_NODE_TYPE_WAIT_EVENT)
			r = t->op->run(t->op, s);
	}
	return r;
}

static void release_graph(struct soft_op *op)
{
	struct graph_op *g = (struct graph_op *)op;
	for (unsigned i = 0; i < g->n; i++) {
		if (g->steps[i].type == CU_GRAPH_NODE_TYPE_EVENT_RECORD && !g->steps[i].op->done)
			soft_op_finish(g->steps[i].op); /* dropped with the context: nobody may wait for it for ever */
		soft_op_unref(g->steps[i].op);
	}
	g->n = 0;
}

/* The event takes the mark as its latest record. */
static struct soft_op *record_mark(CUevent h)
{
	struct soft_event *e = soft_obj_find(SOFT_EVENT, h);
	struct soft_op *mark = e ? soft_op_new(sizeof *mark, NULL, NULL) : NULL;
	if (!mark)
		return NULL;
	if (e->op)
		soft_op_unref(e->op);
	e->op = mark;
	soft_op_ref(mark);
	return mark;
}

static CUresult graph_op_new(const struct soft_graph_exec *x, struct graph_op **out)
{
	struct graph_op *g = soft_op_new(sizeof *g + x->n * sizeof *g->steps, run_graph, release_graph);
	if (!g)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (unsigned i = 0; i < x->n; i++) {
		const struct step *s = &x->steps[i];
		struct soft_op *op = s->disabled ? NULL : s->op;
		if (op)
			soft_op_ref(op);
		if (s->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) {
			op = record_mark(s->event);
			if (!op) {
				soft_op_unref(&g->op);
				return CUDA_ERROR_OUT_OF_MEMORY;
			}
		}
		if (s->type == CU_GRAPH_NODE_TYPE_WAIT_EVENT) {
			struct soft_event *e = soft_obj_find(SOFT_EVENT, s->event);
			op = e ? e->op : NULL;
			if (op)
				soft_op_ref(op);
		}
		if (op)
			g->steps[g->n++] = (struct todo){ op, s->type };
	}
	*out = g;
	return CUDA_SUCCESS;
}

CUresult soft_cuGraphLaunch(CUgraphExec h, CUstream hs)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	struct soft_graph_exec *x = soft_obj_find(SOFT_GRAPH_EXEC, h);
	if (!x)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (soft_capturing(s))
		return soft_leave(soft_capture_unsupported(s));
	struct graph_op *g;
	r = graph_op_new(x, &g);
	if (r)
		return soft_leave(r);
	r = soft_op_depend(&g->op, x->last);
	if (r) {
		soft_op_unref(&g->op);
		return soft_leave(r);
	}
	soft_op_ref(&g->op);
	r = soft_submit(s, &g->op);
	if (r) {
		soft_op_unref(&g->op);
		return soft_leave(r);
	}
	if (x->last)
		soft_op_unref(x->last);
	x->last = &g->op;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphUpload(CUgraphExec h, CUstream hs)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	return soft_leave(soft_obj_find(SOFT_GRAPH_EXEC, h) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

/* --- changing what an executable graph does --- */

static struct step *step_of(struct soft_graph_exec *x, CUgraphNode n, CUgraphNodeType type)
{
	for (unsigned i = 0; i < x->n; i++)
		if (x->steps[i].node == n && x->steps[i].type == type)
			return &x->steps[i];
	return NULL;
}

static CUresult set_step(CUgraphExec h, CUgraphNode n, CUgraphNodeType type, const void *params)
{
	struct soft_graph_exec *x;
	struct soft_op *op;
	CUresult r = enter_exec(h, &x);
	if (r)
		return r;
	r = soft_graph_op(x->ctx, type, params, &op);
	if (r)
		return soft_leave(r);
	struct step *s = step_of(x, n, type);
	soft_op_unref(s ? s->op : op);
	if (s)
		s->op = op;
	return soft_leave(s ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

CUresult soft_cuGraphExecKernelNodeSetParams_v2(CUgraphExec h, CUgraphNode n, const CUDA_KERNEL_NODE_PARAMS *p)
{
	return set_step(h, n, CU_GRAPH_NODE_TYPE_KERNEL, p);
}

CUresult soft_cuGraphExecMemcpyNodeSetParams(CUgraphExec h, CUgraphNode n, const CUDA_MEMCPY3D *p, CUcontext ctx)
{
	(void)ctx;
	return set_step(h, n, CU_GRAPH_NODE_TYPE_MEMCPY, p);
}

CUresult soft_cuGraphExecMemsetNodeSetParams(CUgraphExec h, CUgraphNode n, const CUDA_MEMSET_NODE_PARAMS *p,
					     CUcontext ctx)
{
	(void)ctx;
	return set_step(h, n, CU_GRAPH_NODE_TYPE_MEMSET, p);
}

CUresult soft_cuGraphExecHostNodeSetParams(CUgraphExec h, CUgraphNode n, const CUDA_HOST_NODE_PARAMS *p)
{
	return set_step(h, n, CU_GRAPH_NODE_TYPE_HOST, p);
}

static CUresult set_event(CUgraphExec h, CUgraphNode n, CUgraphNodeType type, CUevent event)
{
	struct soft_graph_exec *x;
	CUresult r = enter_exec(h, &x);
	if (r)
		return r;
	struct step *s = step_of(x, n, type);
	if (!s || !soft_obj_find(SOFT_EVENT, event))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	s->event = event;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphExecEventRecordNodeSetEvent(CUgraphExec h, CUgraphNode n, CUevent event)
{
	return set_event(h, n, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult soft_cuGraphExecEventWaitNodeSetEvent(CUgraphExec h, CUgraphNode n, CUevent event)
{
	return set_event(h, n, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

/* Only kernels, copies and fills can be switched off. */
static struct step *switchable(struct soft_graph_exec *x, CUgraphNode n)
{
	struct step *s = step_of(x, n, CU_GRAPH_NODE_TYPE_KERNEL);
	if (!s)
		s = step_of(x, n, CU_GRAPH_NODE_TYPE_MEMCPY);
	return s ? s : step_of(x, n, CU_GRAPH_NODE_TYPE_MEMSET);
}

CUresult soft_cuGraphNodeSetEnabled(CUgraphExec h, CUgraphNode n, unsigned int enabled)
{
	struct soft_graph_exec *x;
	CUresult r = enter_exec(h, &x);
	if (r)
		return r;
	struct step *s = switchable(x, n);
	if (!s)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	s->disabled = !enabled;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuGraphNodeGetEnabled(CUgraphExec h, CUgraphNode n, unsigned int *enabled)
{
	struct soft_graph_exec *x;
	CUresult r = enter_exec(h, &x);
	if (r)
		return r;
	struct step *s = switchable(x, n);
	if (!s || !enabled)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*enabled = !s->disabled;
	return soft_leave(CUDA_SUCCESS);
}

/* Is b like the steps of a from `first` on?  Dependencies of b count from its own first step. */
static CUgraphExecUpdateResult compare(const struct soft_graph_exec *a, unsigned first, const struct soft_graph_exec *b,
	CUgraphNode *at)
{
	if (a->n - first < b->n)
		return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
	for (unsigned i = 0; i < b->n; i++) {
		const struct step *s = &a->steps[first + i], *t = &b->steps[i];
		*at = t->node;
		if (s->type != t->type)
			return CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
		bool same = s->ndeps == t->ndeps;
		for (unsigned d = 0; d < s->ndeps && same; d++)
			same = s->deps[d] == t->deps[d] + first;
		if (!same)
			return CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
	}
	*at = NULL;
	return CU_GRAPH_EXEC_UPDATE_SUCCESS;
}

/* What the steps do changes; the nodes' identities stay those of the original graph. */
static void take_over(struct soft_graph_exec *x, unsigned first, struct soft_graph_exec *fresh)
{
	for (unsigned i = 0; i < fresh->n; i++) {
		struct step *s = &x->steps[first + i];
		struct soft_op *old = s->op;
		s->op = fresh->steps[i].op;
		s->event = fresh->steps[i].event;
		fresh->steps[i].op = old;
	}
}

/* Steps that belong to the child graph whose own step is the given one. */
static unsigned inside(const struct soft_graph_exec *x, unsigned at)
{
	unsigned n = 0;
	while (at + 1 + n < x->n && x->steps[at + 1 + n].depth > x->steps[at].depth)
		n++;
	return n;
}

CUresult soft_cuGraphExecChildGraphNodeSetParams(CUgraphExec h, CUgraphNode n, CUgraph child)
{
	struct soft_graph_exec *x, *fresh;
	CUgraphNode at;
	CUresult r = enter_exec(h, &x);
	if (r)
		return r;
	struct step *s = step_of(x, n, CU_GRAPH_NODE_TYPE_GRAPH);
	struct soft_graph *g = soft_graph_find(child);
	r = s && g ? instantiate(g, x->flags, &fresh) : CUDA_ERROR_INVALID_VALUE;
	if (r)
		return soft_leave(r);
	unsigned first = (unsigned)(s - x->steps) + 1;
	if (inside(x, first - 1) == fresh->n && compare(x, first, fresh, &at) == CU_GRAPH_EXEC_UPDATE_SUCCESS)
		take_over(x, first, fresh);
	else
		r = CUDA_ERROR_INVALID_VALUE;
	soft_unref(&fresh->obj);
	return soft_leave(r);
}

CUresult soft_cuGraphExecUpdate_v2(CUgraphExec h, CUgraph hg, CUgraphExecUpdateResultInfo *info)
{
	struct soft_graph_exec *x, *fresh;
	CUresult r = enter_exec(h, &x);
	if (r)
		return r;
	struct soft_graph *g = soft_graph_find(hg);
	if (!g || !info)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	r = instantiate(g, x->flags, &fresh);
	if (r)
		return soft_leave(r);
	*info = (CUgraphExecUpdateResultInfo){ 0 };
	info->result = x->n == fresh->n ? compare(x, 0, fresh, &info->errorNode)
					: CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
	if (info->result == CU_GRAPH_EXEC_UPDATE_SUCCESS)
		take_over(x, 0, fresh);
	else
		r = CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
	soft_unref(&fresh->obj);
	return soft_leave(r);
}

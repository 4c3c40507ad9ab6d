/* soft_capture.c - stream capture: what is issued to a capturing stream becomes nodes of a graph.
 *
 * A capture begins at one stream and spreads to others through events.  Each capturing stream keeps its tips, the
 * nodes that its next node depends on.  A call that a capture cannot follow makes the capture invalid, and says so at
 * its end. Owns: captures; a reference to the graph passes to the program when the capture ends. */
#include "soft_graph.h"

struct soft_capture {
	struct soft_capture *next;
	struct soft_graph *graph;
	struct soft_stream *origin;
	CUstreamCaptureMode mode;
	uint64_t id, thread;
	bool invalid, made_graph;
	unsigned long refs;              /* streams and events */
};

static struct soft_capture *captures;
static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

bool soft_capturing(const struct soft_stream *s)
{
	return s->capture != NULL;
}

static void capture_unref(struct soft_capture *c)
{
	if (--c->refs)
		return;
	struct soft_capture **p = &captures;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	if (c->graph)
		soft_unref(&c->graph->obj);
	free(c);
}

static CUresult invalidate(struct soft_capture *c, CUresult error)
{
	c->invalid = true;
	return error;
}

static CUresult set_tips(struct soft_stream *s, struct soft_node *const *tips, unsigned n)
{
	struct soft_node **v = malloc((n + 1) * sizeof *v);
	if (!v)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (unsigned i = 0; i < n; i++)
		v[i] = tips[i];
	free(s->tips);
	s->tips = v;
	s->ntips = n;
	return CUDA_SUCCESS;
}

static void leave(struct soft_stream *s)
{
	struct soft_capture *c = s->capture;
	free(s->tips);
	s->tips = NULL;
	s->ntips = 0;
	s->capture = NULL;
	capture_unref(c);
}

static CUresult node(struct soft_stream *s, CUgraphNodeType type, struct soft_op *op, struct soft_node **out)
{
	struct soft_capture *c = s->capture;
	if (c->invalid) {
		if (op)
			soft_op_unref(op);
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	}
	CUresult r = soft_node_add(c->graph, type, op, s->tips, s->ntips, out);
	return r ? r : set_tips(s, out, 1);
}

CUresult soft_capture_op(struct soft_stream *s, struct soft_op *op, CUgraphNodeType type)
{
	struct soft_node *n;
	return node(s, type, op, &n);
}

void soft_capture_abandon(struct soft_stream *s)
{
	if (!s->capture)
		return;
	s->capture->invalid = true;
	if (s->capture->origin == s)
		s->capture->origin = NULL;
	leave(s);
}

/* --- events --- */

void soft_capture_forget_event(struct soft_event *e)
{
	if (!e->capture)
		return;
	capture_unref(e->capture);
	e->capture = NULL;
	free(e->captured);
	e->captured = NULL;
	e->ncaptured = 0;
}

CUresult soft_capture_event_record(struct soft_stream *s, struct soft_event *e, bool external)
{
	struct soft_capture *c = s->capture;
	struct soft_node *n;
	if (c->invalid)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (external) {
		CUresult r = node(s, CU_GRAPH_NODE_TYPE_EVENT_RECORD, NULL, &n);
		if (!r)
			n->event = (CUevent)e;
		return r;
	}
	struct soft_node **tips = malloc((s->ntips + 1) * sizeof *tips);
	if (!tips)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (unsigned i = 0; i < s->ntips; i++)
		tips[i] = s->tips[i];
	c->refs++;
	soft_capture_forget_event(e);
	e->capture = c;
	e->captured = tips;
	e->ncaptured = s->ntips;
	return CUDA_SUCCESS;
}

static CUresult add_tips(struct soft_stream *s, struct soft_node *const *tips, unsigned n)
{
	struct soft_node **all = malloc((s->ntips + n + 1) * sizeof *all);
	if (!all)
		return CUDA_ERROR_OUT_OF_MEMORY;
	unsigned count = 0;
	for (unsigned i = 0; i < s->ntips + n; i++) {
		struct soft_node *t = i < s->ntips ? s->tips[i] : tips[i - s->ntips];
		bool known = false;
		for (unsigned j = 0; j < count; j++)
			known = known || all[j] == t;
		if (!known)
			all[count++] = t;
	}
	free(s->tips);
	s->tips = all;
	s->ntips = count;
	return CUDA_SUCCESS;
}

CUresult soft_capture_wait_event(struct soft_stream *s, struct soft_event *e, bool external)
{
	struct soft_node *n;
	if (s->capture && external) {
		CUresult r = node(s, CU_GRAPH_NODE_TYPE_WAIT_EVENT, NULL, &n);
		if (!r)
			n->event = (CUevent)e;
		return r;
	}
	if (!e->capture) /* work outside the graph cannot be waited for inside it */
		return e->op ? invalidate(s->capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION) : CUDA_SUCCESS;
	if (s->capture && s->capture->invalid)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (e->capture->invalid || !e->capture->graph)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (s->legacy)
		return invalidate(e->capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
	if (s->capture && s->capture != e->capture) {
		invalidate(e->capture, CUDA_SUCCESS);
		return invalidate(s->capture, CUDA_ERROR_STREAM_CAPTURE_MERGE);
	}
	if (s->capture)
		return add_tips(s, e->captured, e->ncaptured);
	CUresult r = set_tips(s, e->captured, e->ncaptured);
	if (!r) {
		s->capture = e->capture;
		s->capture->refs++;
	}
	return r;
}

/* --- what may not happen meanwhile --- */

CUresult soft_capture_unsupported(struct soft_stream *s)
{
	return invalidate(s->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

CUresult soft_capture_legacy(struct soft_ctx *c)
{
	for (struct soft_capture *k = captures; k; k = k->next)
		if (k->origin && k->origin->ctx == c && !(k->origin->flags & CU_STREAM_NON_BLOCKING) && k->graph)
			return invalidate(k, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
	return CUDA_SUCCESS;
}

CUresult soft_capture_forbid(struct soft_ctx *c, struct soft_stream *s)
{
	if (s && s->capture)
		return invalidate(s->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	if (s)
		return s->legacy ? soft_capture_legacy(c) : CUDA_SUCCESS;
	for (struct soft_capture *k = captures; k; k = k->next)
		if (k->origin && k->origin->ctx == c && k->graph)
			return invalidate(k, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	return CUDA_SUCCESS;
}

CUresult soft_capture_forbid_unsafe(struct soft_ctx *c)
{
	if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_SUCCESS;
	for (struct soft_capture *k = captures; k; k = k->next) {
		bool mine = k->thread == soft_thread_id() && k->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
		bool global = thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL && k->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
		if (k->origin && k->origin->ctx == c && k->graph && (mine || global))
			return invalidate(k, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
	}
	return CUDA_SUCCESS;
}

CUresult soft_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
	if (!mode || *mode < CU_STREAM_CAPTURE_MODE_GLOBAL || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	CUstreamCaptureMode old = thread_mode;
	thread_mode = *mode;
	*mode = old;
	return CUDA_SUCCESS;
}

/* --- beginning and ending --- */

static CUresult start(struct soft_stream *s, CUstreamCaptureMode mode, struct soft_graph *into, const CUgraphNode *deps,
	size_t ndeps)
{
	if (mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED || (ndeps && !deps))
		return CUDA_ERROR_INVALID_VALUE;
	if (s->legacy)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (s->capture)
		return CUDA_ERROR_ILLEGAL_STATE;
	struct soft_capture *c = calloc(1, sizeof *c);
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	c->refs = 1;
	c->next = captures;
	captures = c;
	c->graph = into;
	c->made_graph = !into;
	if (into)
		soft_ref(&into->obj);
	CUresult r = into ? CUDA_SUCCESS : soft_graph_new(s->ctx, &c->graph);
	for (size_t i = 0; i < ndeps && !r; i++) {
		struct soft_node *d = soft_node_find(deps[i]);
		r = d && d->graph == into ? add_tips(s, &d, 1) : CUDA_ERROR_INVALID_VALUE;
	}
	if (r) {
		free(s->tips);
		s->tips = NULL;
		s->ntips = 0;
		capture_unref(c);
		return r;
	}
	c->origin = s;
	c->mode = mode;
	c->id = soft_next_id();
	c->thread = soft_thread_id();
	s->capture = c;
	return CUDA_SUCCESS;
}

CUresult soft_cuStreamBeginCapture_v2(CUstream hs, CUstreamCaptureMode mode)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	return r ? r : soft_leave(start(s, mode, NULL, NULL, 0));
}

CUresult soft_cuStreamBeginCaptureToGraph(CUstream hs, CUgraph hg, const CUgraphNode *deps, const CUgraphEdgeData *data,
	size_t ndeps, CUstreamCaptureMode mode)
{
	struct soft_stream *s;
	(void)data;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	struct soft_graph *g = soft_graph_find(hg);
	return soft_leave(g ? start(s, mode, g, deps, ndeps) : CUDA_ERROR_INVALID_VALUE);
}

/* Everything that a joined stream did must have come back to the origin. */
static bool joined(struct soft_capture *c)
{
	struct soft_graph *g = c->graph;
	for (unsigned i = 0; i < g->n; i++)
		g->nodes[i]->mark = 0;
	for (unsigned i = 0; i < c->origin->ntips; i++)
		c->origin->tips[i]->mark = 1;
	for (unsigned i = g->n; i-- > 0;) /* nodes of a capture depend on earlier ones only */
		for (unsigned d = 0; g->nodes[i]->mark && d < g->nodes[i]->ndeps; d++)
			g->nodes[i]->deps[d]->mark = 1;
	for (struct soft_stream *s = c->origin->ctx->streams; s; s = s->next)
		for (unsigned i = 0; s->capture == c && i < s->ntips; i++)
			if (!s->tips[i]->mark)
				return false;
	return true;
}

CUresult soft_cuStreamEndCapture(CUstream hs, CUgraph *out)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	struct soft_capture *c = s->capture;
	if (!out || !c)
		return soft_leave(out ? CUDA_ERROR_ILLEGAL_STATE : CUDA_ERROR_INVALID_VALUE);
	*out = NULL;
	if (c->origin != s)
		return soft_leave(invalidate(c, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED));
	if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && c->thread != soft_thread_id())
		return soft_leave(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
	if (c->invalid)
		r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	else if (!joined(c))
		r = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
	if (!r) {
		*out = (CUgraph)c->graph;
		if (c->made_graph)
			soft_ref(&c->graph->obj);
	}
	c->refs++;
	for (struct soft_stream *t = s->ctx->streams, *next; t; t = next) {
		next = t->next;
		if (t->capture == c)
			leave(t);
	}
	soft_unref(&c->graph->obj);
	c->graph = NULL; /* events may still refer to the capture */
	c->origin = NULL;
	capture_unref(c);
	return soft_leave(r);
}

/* --- queries --- */

static CUstreamCaptureStatus status(const struct soft_stream *s)
{
	return !s->capture ? CU_STREAM_CAPTURE_STATUS_NONE : s->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
		: CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

CUresult soft_cuStreamIsCapturing(CUstream hs, CUstreamCaptureStatus *out)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!out)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (s->legacy && (r = soft_capture_legacy(s->ctx)))
		return soft_leave(r);
	*out = status(s);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuStreamGetCaptureInfo_v3(CUstream hs, CUstreamCaptureStatus *out, cuuint64_t *id, CUgraph *graph,
	const CUgraphNode **deps, const CUgraphEdgeData **data, size_t *ndeps)
{
	struct soft_stream *s;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!out)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*out = status(s);
	if (*out == CU_STREAM_CAPTURE_STATUS_ACTIVE) {
		if (id)
			*id = s->capture->id;
		if (graph)
			*graph = (CUgraph)s->capture->graph;
		if (deps)
			*deps = (const CUgraphNode *)s->tips;
		if (data)
			*data = NULL;
		if (ndeps)
			*ndeps = s->ntips;
	}
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuStreamGetCaptureInfo_v2(CUstream hs, CUstreamCaptureStatus *out, cuuint64_t *id, CUgraph *graph,
	const CUgraphNode **deps, size_t *ndeps)
{
	return soft_cuStreamGetCaptureInfo_v3(hs, out, id, graph, deps, NULL, ndeps);
}

CUresult soft_cuStreamUpdateCaptureDependencies_v2(CUstream hs, CUgraphNode *deps, const CUgraphEdgeData *data,
	size_t ndeps, unsigned int flags)
{
	struct soft_stream *s;
	(void)data;
	CUresult r = soft_enter_stream(hs, &s);
	if (r)
		return r;
	if (!s->capture)
		return soft_leave(CUDA_ERROR_ILLEGAL_STATE);
	if ((ndeps && !deps) || flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	for (size_t i = 0; i < ndeps; i++) {
		struct soft_node *n = soft_node_find(deps[i]);
		if (!n || n->graph != s->capture->graph)
			return soft_leave(CUDA_ERROR_INVALID_VALUE);
	}
	if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES)
		r = set_tips(s, (struct soft_node **)deps, (unsigned)ndeps);
	else
		r = add_tips(s, (struct soft_node **)deps, (unsigned)ndeps);
	return soft_leave(r);
}

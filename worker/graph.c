/* graph.c - captures, and kernel nodes, which are made by capturing a launch: a node's kernel is guarded, checked and
 * given its parameters by the same code as any other launch.  The rest of the graph functions is generated
 * (api/cuda.lua).
 *
 * A capture is always a relaxed one here: the other modes forbid calls to the whole process, which is every client's.
 * While a stream captures nothing real runs on it: ordering and joins leave it out (`capturing`).
 */
#include <stdlib.h>
#include "session.h"
#include "worker_calls.h"

#define DEPENDENCIES_MAX 1024u

/* --- graphs that captures go on into --------------------------------------------------------------------- */

/* What NVIDIA's driver does about a graph that is changed from two sides is to crash the process, which is every
 * client's.  So while a stream captures into a graph that the program has an id of, that id is unknown (session_has),
 * and so are its nodes'.  Nodes that the capture adds have no ids yet, and child graphs never have any: the nodes are
 * listed once per capture, when one is first asked about.  The stream owns the list. */
struct taken {
	size_t n;
	CUgraphNode node[];
};

void graph_let_go(struct stream *st)
{
	free(st->taken);
	st->taken = NULL;
	st->into = NULL;
	st->origin = false;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

static struct taken *list_nodes(struct session *s, CUgraph graph)
{
	size_t n = 0;

	if (s->d->cuGraphGetNodes(graph, NULL, &n))
		return NULL;
	struct taken *t = calloc(1, sizeof *t + n * sizeof t->node[0]);
	if (!t)
		return NULL;
	t->n = n;
	if (n && s->d->cuGraphGetNodes(graph, t->node, &t->n)) {
		free(t);
		return NULL;
	}
	return t;
}

/* The driver is not trusted to look whose nodes it is given. */
static bool holds_all(struct session *s, CUgraph graph, const CUgraphNode *node, uint32_t n)
{
	struct taken *t = n ? list_nodes(s, graph) : NULL;
	uint32_t found = 0;

	for (uint32_t i = 0; t && i < n; i++)
		for (size_t k = 0; k < t->n; k++) {
			if (t->node[k] == node[i]) {
				found++;
				break;
			}
		}
	free(t);
	return found == n;
}

bool graph_taken(struct session *s, enum ag_kind kind, const void *real)
{
	for (struct stream *st = s->st.captures ? s->st.all : NULL; st; st = st->next) {
		if (!st->into)
			continue;
		if (kind == AG_K_GRAPH) {
			if (real == st->into)
				return true;
			continue;
		}
		if (!st->taken) {
			st->taken = list_nodes(s, st->into);
			if (!st->taken)
				return true; /* it may be one of them */
			qsort(st->taken->node, st->taken->n, sizeof st->taken->node[0], by_address);
		}
		if (bsearch(&real, st->taken->node, st->taken->n, sizeof st->taken->node[0], by_address))
			return true;
	}
	return false;
}

/* --- captures ------------------------------------------------------------------------------------------------ */

bool graph_pins(const struct session *s)
{
	return s->st.captures || s->table[AG_K_GRAPH].live || s->table[AG_K_GRAPHEXEC].live;
}

/* Which streams capture is the driver's word: waiting for a captured event draws a stream in, the capture's end lets it
 * go. Under the quiet lock. */
void graph_refresh(struct session *s)
{
	s->st.captures = 0;
	for (struct stream *st = s->st.all; st; st = st->next) {
		CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
		if (!st->real || s->d->cuStreamIsCapturing(st->real, &status))
			continue;
		st->capturing = status != CU_STREAM_CAPTURE_STATUS_NONE;
		s->st.captures += st->capturing;
		if (!st->capturing)
			graph_let_go(st);
	}
}

void graph_abandon(struct session *s, struct stream *st)
{
	CUgraph graph = NULL;

	s->d->cuStreamEndCapture(st->real, &graph);
	if (graph && !session_find(s, AG_K_GRAPH, graph))
		s->d->cuGraphDestroy(graph);
	st->capturing = false;
	graph_let_go(st);
}

void graph_abandon_all(struct session *s)
{
	for (struct stream *st = s->st.all; st; st = st->next)
		if (st->real && st->capturing)
			graph_abandon(s, st);
	s->st.captures = 0;
}

CUresult check_capture_begin(const struct session *s, const struct msg_capture_begin *m, const void *tail,
                             uint32_t ntail)
{
	const uint64_t *deps = tail;

	if (m->ndeps > DEPENDENCIES_MAX || ntail != m->ndeps * 8 || (m->ndeps && !m->graph))
		return AG_MALFORMED;
	if (!session_has(s, AG_K_STREAM, m->stream) || (m->graph && !session_has(s, AG_K_GRAPH, m->graph)))
		return CUDA_ERROR_INVALID_HANDLE;
	for (uint32_t i = 0; i < m->ndeps; i++)
		if (!session_has(s, AG_K_GRAPHNODE, deps[i]))
			return CUDA_ERROR_INVALID_HANDLE;
	const struct stream *st = stream_find(s, m->stream);
	if (st->capturing)
		return CUDA_ERROR_ILLEGAL_STATE;
	return st->head ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult invoke_capture_begin(struct session *s, const struct msg_capture_begin *m, const void *tail, uint32_t ntail,
                              void *rep, struct ag_out *out)
{
	(void)ntail, (void)rep, (void)out;
	struct stream *st = stream_find(s, m->stream);
	CUgraphNode deps[DEPENDENCIES_MAX];
	const uint64_t *ids = tail;
	CUresult r;

	for (uint32_t i = 0; i < m->ndeps; i++)
		deps[i] = session_get(s, AG_K_GRAPHNODE, ids[i]);
	CUgraph graph = m->graph ? session_get(s, AG_K_GRAPH, m->graph) : NULL;
	if (graph && !holds_all(s, graph, deps, m->ndeps))
		return CUDA_ERROR_INVALID_VALUE;
	r = stream_note_work(s, st);
	if (r)
		return r;
	quiet_streams_lock(s);
	if (graph)
		r = s->d->cuStreamBeginCaptureToGraph(st->real, graph, m->ndeps ? deps : NULL, NULL, m->ndeps,
		                                      CU_STREAM_CAPTURE_MODE_RELAXED);
	else
		r = s->d->cuStreamBeginCapture_v2(st->real, CU_STREAM_CAPTURE_MODE_RELAXED);
	if (!r)
		graph_refresh(s);
	quiet_streams_unlock(s);
	if (!r && st->capturing) {
		st->origin = true;
		st->into = graph;
	}
	return r;
}

CUresult check_capture_end(const struct session *s, const struct msg_capture_end *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if ((m->graph && !session_id_free(s, AG_K_GRAPH, m->graph)) ||
	    (m->node && !session_id_free(s, AG_K_GRAPHNODE, m->node)))
		return AG_MALFORMED;
	if (!session_has(s, AG_K_STREAM, m->stream))
		return CUDA_ERROR_INVALID_HANDLE;
	return stream_find(s, m->stream)->capturing ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_STATE;
}

/* The one node that the capture added last, unknown until now. */
static CUresult last_node(struct session *s, struct stream *st, CUgraphNode *node)
{
	CUstreamCaptureStatus status;
	const CUgraphNode *deps = NULL;
	size_t n = 0;
	CUresult r = s->d->cuStreamGetCaptureInfo_v3(st->real, &status, NULL, NULL, &deps, NULL, &n);

	if (r)
		return r;
	if (status != CU_STREAM_CAPTURE_STATUS_ACTIVE || n != 1 || session_find(s, AG_K_GRAPHNODE, deps[0]))
		return CUDA_ERROR_INVALID_VALUE;
	*node = deps[0];
	return CUDA_SUCCESS;
}

CUresult invoke_capture_end(struct session *s, const struct msg_capture_end *m, const void *tail, uint32_t ntail,
                            struct rep_capture_end *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)out;
	struct stream *st = stream_find(s, m->stream);
	CUgraphNode node = NULL;
	CUgraph graph = NULL;
	CUresult r = m->node ? last_node(s, st, &node) : CUDA_SUCCESS;
	quiet_streams_lock(s);
	CUresult end = s->d->cuStreamEndCapture(st->real, &graph);
	graph_refresh(s);
	quiet_streams_unlock(s);
	r = r ? r : end;
	rep->graph = graph ? session_find(s, AG_K_GRAPH, graph) : 0;
	if (graph && !rep->graph) {
		if (!r)
			r = m->graph ? session_put(s, AG_K_GRAPH, m->graph, graph) : CUDA_ERROR_INVALID_VALUE;
		if (r)
			s->d->cuGraphDestroy(graph);
		else
			rep->graph = m->graph;
	}
	if (!r && m->node)
		r = session_put(s, AG_K_GRAPHNODE, m->node, node);
	return r;
}

CUresult check_capture_info(const struct session *s, const struct msg_capture_info *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	return stream_find(s, m->stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult invoke_capture_info(struct session *s, const struct msg_capture_info *m, const void *tail, uint32_t ntail,
                             struct rep_capture_info *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)out;
	CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
	CUgraph graph = NULL;
	cuuint64_t id = 0;
	CUresult r = s->d->cuStreamGetCaptureInfo_v3(stream_find(s, m->stream)->real, &status, &id, &graph, NULL, NULL,
	                                             NULL);

	rep->status = (uint32_t)status;
	rep->id = id;
	return r;
}

CUresult check_graph_kernel_copy(const struct session *s, const struct msg_graph_kernel_copy *m, const void *tail,
                                 uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (!session_has(s, AG_K_GRAPHNODE, m->to) || !session_has(s, AG_K_GRAPHNODE, m->from))
		return CUDA_ERROR_INVALID_HANDLE;
	return !m->exec || session_has(s, AG_K_GRAPHEXEC, m->exec) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult kernel_node(struct session *s, CUgraphNode node)
{
	CUgraphNodeType type;
	CUresult r = s->d->cuGraphNodeGetType(node, &type);

	return r ? r : type == CU_GRAPH_NODE_TYPE_KERNEL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult invoke_graph_kernel_copy(struct session *s, const struct msg_graph_kernel_copy *m, const void *tail,
                                  uint32_t ntail, void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	CUgraphNode to = session_get(s, AG_K_GRAPHNODE, m->to), from = session_get(s, AG_K_GRAPHNODE, m->from);
	CUDA_KERNEL_NODE_PARAMS p;
	CUresult r = kernel_node(s, to);

	if (!r)
		r = kernel_node(s, from);
	if (!r)
		r = s->d->cuGraphKernelNodeGetParams_v2(from, &p);
	if (r)
		return r;
	if (m->exec)
		return s->d->cuGraphExecKernelNodeSetParams_v2(session_get(s, AG_K_GRAPHEXEC, m->exec), to, &p);
	return s->d->cuGraphKernelNodeSetParams_v2(to, &p);
}

/* graph.c - captures, kernel nodes and memory nodes of graphs; all other graph functions are generated (api/cuda.lua).
 *
 * A kernel node is a launch captured into the graph after the node's dependencies, on a stream kept for that, so that a
 * node's kernel takes the
 * same way as any other launch.  While anything captures in this process, waits ask the worker whether their stream
 * does.
 *
 * Memory of allocation nodes comes from the client's heap when the node is made and keeps its address: it belongs to
 * the graphs and
 * executable graphs that hold the node, and goes with the last of them.  In the graph itself such nodes are empty ones.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

_Atomic int agc_captures;
static pthread_mutex_t node_lock = PTHREAD_MUTEX_INITIALIZER;    /* order: before every other lock */
static CUstream node_stream;
static __thread CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

/* --- captures
 * ----------------------------------------------------------------------------------------------------------- */

static CUresult info(ag_id wire, struct rep_capture_info *rep)
{
	struct msg_capture_info *m = agc_begin(AG_OP_capture_info, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->stream = wire;
	return agc_call(m, rep, sizeof *rep, NULL, NULL);
}

bool agc_capturing(ag_id wire)
{
	struct rep_capture_info rep;
	return info(wire, &rep) == CUDA_SUCCESS && rep.status != CU_STREAM_CAPTURE_STATUS_NONE;
}

static CUresult capture_begin(ag_id stream, CUgraph graph, const CUgraphNode *deps, size_t n)
{
	if (n > 1024)
		return CUDA_ERROR_NOT_SUPPORTED;
	struct msg_capture_begin *m = agc_begin(AG_OP_capture_begin, sizeof *m, (uint32_t)n * 8);
	if (!m)
		return agc_error();
	m->stream = stream;
	m->graph = agc_id(graph);
	m->ndeps = (uint32_t)n;
	m->pad = 0;
	for (size_t i = 0; i < n; i++)
		((uint64_t *)(m + 1))[i] = agc_id(deps[i]);
	CUresult r = agc_call(m, NULL, 0, NULL, NULL);
	if (r == CUDA_SUCCESS)
		atomic_fetch_add(&agc_captures, 1);
	return r;
}

static CUresult capture_end(ag_id stream, ag_id graph, ag_id node, ag_id *got)
{
	struct rep_capture_end rep;
	struct msg_capture_end *m = agc_begin(AG_OP_capture_end, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->stream = stream;
	m->graph = graph;
	m->node = node;
	CUresult r = agc_call(m, &rep, sizeof rep, NULL, NULL);
	if (r != CUDA_ERROR_ILLEGAL_STATE)
		atomic_fetch_sub(&agc_captures, 1);
	if (r == CUDA_SUCCESS && got)
		*got = rep.graph;
	return r;
}

/* The stream of a capture: not the legacy one, and idle, because the worker holds nothing back inside a capture. */
static CUresult capturable(CUstream h, struct agc_stream **out)
{
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	if (s == &agc_legacy)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	*out = s;
	return CUDA_SUCCESS;
}

CUresult call_cuStreamBeginCaptureToGraph(CUstream h, CUgraph graph, const CUgraphNode *deps,
	const CUgraphEdgeData *edges, size_t n,
                                          CUstreamCaptureMode mode)
{
	struct agc_stream *s;
	CUresult r = capturable(h, &s);
	if (r)
		return r;
	if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED || (n && !deps))
		return CUDA_ERROR_INVALID_VALUE;
	if (edges)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (atomic_load(&agc_captures) && agc_capturing(s->id))
		return CUDA_ERROR_ILLEGAL_STATE;
	r = agc_stream_sync(s);
	atomic_store(&s->broken, false);
	return r ? r : capture_begin(s->id, graph, deps, n);
}

CUresult call_cuStreamBeginCapture_v2(CUstream h, CUstreamCaptureMode mode)
{
	return call_cuStreamBeginCaptureToGraph(h, NULL, NULL, NULL, 0, mode);
}

CUresult call_cuStreamGetCaptureInfo_v3(CUstream h, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
	const CUgraphNode **deps,
                                        const CUgraphEdgeData **edges, size_t *ndeps)
{
	struct rep_capture_info rep = { 0 };
	AGC_CURRENT();
	struct agc_stream *s = agc_stream_of(h);
	if (!s)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!status)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = atomic_load(&agc_captures) ? info(s->id, &rep) : CUDA_SUCCESS;
	if (r)
		return r;
	if (rep.status && (graph || deps || edges || ndeps)) {
		agc_log("cuStreamGetCaptureInfo: the graph of a running capture is not supported");
		return CUDA_ERROR_NOT_SUPPORTED;
	}
	*status = rep.status && atomic_load(&s->broken) ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
							: (CUstreamCaptureStatus)rep.status;
	if (id)
		*id = rep.id;
	return CUDA_SUCCESS;
}

CUresult call_cuStreamIsCapturing(CUstream h, CUstreamCaptureStatus *status)
{
	return call_cuStreamGetCaptureInfo_v3(h, status, NULL, NULL, NULL, NULL, NULL);
}

/* The mode of the thread guards against calls that would break a capture; ours cannot, every capture is relaxed in the
 * worker. */
CUresult call_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
	AGC_READY();
	if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	CUstreamCaptureMode old = thread_mode;
	thread_mode = *mode;
	*mode = old;
	return CUDA_SUCCESS;
}

/* --- kernel nodes
 * --------------------------------------------------------------------------------------------------------- */

/* Under node_lock: the stream on which nodes are captured. */
static CUresult node_stream_get(ag_id *id)
{
	bool valid = false;
	if (node_stream)
		agc_id_state(AG_K_STREAM, node_stream, &valid);
	CUresult r = valid ? CUDA_SUCCESS : call_cuStreamCreate(&node_stream, CU_STREAM_DEFAULT);
	*id = agc_id(node_stream);
	return r;
}

static CUresult captured_launch(CUgraph graph, const CUgraphNode *deps, size_t n, const CUDA_KERNEL_NODE_PARAMS *p,
	ag_id node)
{
	ag_id stream;
	CUfunction f = p->func ? p->func : (CUfunction)p->kern;
	CUresult r = node_stream_get(&stream);
	if (r || (r = capture_begin(stream, graph, deps, n)))
		return r;
	CUresult launched = call_cuLaunchKernel(f, p->gridDimX, p->gridDimY, p->gridDimZ, p->blockDimX, p->blockDimY,
		p->blockDimZ,
	                                        p->sharedMemBytes, node_stream, p->kernelParams, p->extra);
	r = capture_end(stream, 0, launched ? 0 : node, NULL);
	if (r && !launched)
		launched = agc_take_async_error();
	return launched ? launched : r;
}

CUresult call_cuGraphAddKernelNode_v2(CUgraphNode *out, CUgraph graph, const CUgraphNode *deps, size_t n,
	const CUDA_KERNEL_NODE_PARAMS *p)
{
	AGC_CURRENT();
	if (!out || !graph || !p || (n && !deps))
		return CUDA_ERROR_INVALID_VALUE;
	ag_id node = agc_id_new(AG_K_GRAPHNODE, NULL);
	if (!node)
		return CUDA_ERROR_OUT_OF_MEMORY;
	pthread_mutex_lock(&node_lock);
	CUresult r = captured_launch(graph, deps, n, p, node);
	pthread_mutex_unlock(&node_lock);
	if (r)
		agc_id_free(node);
	else
		*out = (CUgraphNode)(uintptr_t)node;
	return r;
}

static CUresult kernel_copy(CUgraphExec exec, CUgraphNode to, CUgraphNode from)
{
	struct msg_graph_kernel_copy *m = agc_begin(AG_OP_graph_kernel_copy, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->exec = agc_id(exec);
	m->to = agc_id(to);
	m->from = agc_id(from);
	return agc_call(m, NULL, 0, NULL, NULL);
}

/* New parameters: those of a node in a graph made for it. */
static CUresult kernel_set(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p)
{
	CUgraph scratch;
	CUgraphNode from;
	CUresult r = call_cuGraphCreate(&scratch, 0);
	if (r)
		return r;
	r = call_cuGraphAddKernelNode_v2(&from, scratch, NULL, 0, p);
	if (!r)
		r = kernel_copy(exec, node, from);
	CUresult gone = call_cuGraphDestroy(scratch);
	return r ? r : gone;
}

CUresult call_cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p)
{
	return node && p ? kernel_set(NULL, node, p) : CUDA_ERROR_INVALID_VALUE;
}

CUresult call_cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p)
{
	return exec && node && p ? kernel_set(exec, node, p) : CUDA_ERROR_INVALID_VALUE;
}

/* --- memory nodes
 * ---------------------------------------------------------------------------------------------------------- */

/* Memory that graphs hold.  owner: graph and executable graphs, 0 ends the list. */
struct held {
	struct held *next;
	uint64_t addr;
	ag_id node;
	CUDA_MEM_ALLOC_NODE_PARAMS params;
	ag_id *owner;
	size_t owners;
};
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static struct held *held_list;
static _Atomic int held_count;

static bool holds(const struct held *h, ag_id owner)
{
	for (size_t i = 0; i < h->owners; i++)
		if (h->owner[i] == owner)
			return true;
	return false;
}

static bool add_owner(struct held *h, ag_id owner)
{
	ag_id *more = realloc(h->owner, (h->owners + 1) * sizeof *more);
	if (!more)
		return false;
	h->owner = more;
	h->owner[h->owners++] = owner;
	return true;
}

bool agc_graph_holds(uint64_t addr)
{
	bool found = false;
	if (!atomic_load_explicit(&held_count, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&held_lock);
	for (struct held *h = held_list; h && !found; h = h->next)
		found = h->addr == addr;
	pthread_mutex_unlock(&held_lock);
	return found;
}

/* `owner` was made from `from` and names the same memory. */
void agc_graph_shares(ag_id owner, ag_id from)
{
	pthread_mutex_lock(&held_lock);
	for (struct held *h = held_list; h; h = h->next)
		if (holds(h, from) && !add_owner(h, owner))
			agc_log("out of memory: a graph's memory will go before the graph");
	pthread_mutex_unlock(&held_lock);
}

/* `owner` is gone, and with its last owner the memory. */
void agc_graph_gone(ag_id owner)
{
	struct held *gone = NULL;
	if (!atomic_load(&held_count))
		return;
	pthread_mutex_lock(&held_lock);
	for (struct held **p = &held_list; *p;) {
		struct held *h = *p;
		for (size_t i = 0; i < h->owners;)
			if (h->owner[i] == owner)
				h->owner[i] = h->owner[--h->owners];
			else
				i++;
		if (h->owners) {
			p = &h->next;
			continue;
		}
		*p = h->next;
		h->next = gone;
		gone = h;
		atomic_fetch_sub(&held_count, 1);
	}
	pthread_mutex_unlock(&held_lock);
	while (gone) {
		struct held *next = gone->next;
		agc_device_free(gone->addr);
		free(gone->owner);
		free(gone);
		gone = next;
	}
}

static CUresult hold(ag_id owner, ag_id node, CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	struct held *h = calloc(1, sizeof *h);
	CUresult r = h && add_owner(h, owner) ? agc_device_alloc(p->bytesize, 512, AGC_B_DEVICE, 0, &h->addr)
					      : CUDA_ERROR_OUT_OF_MEMORY;
	if (r) {
		if (h)
			free(h->owner);
		free(h);
		return r;
	}
	p->dptr = h->addr;
	h->node = node;
	h->params = *p;
	h->params.accessDescs = NULL;
	h->params.accessDescCount = 0;
	pthread_mutex_lock(&held_lock);
	h->next = held_list;
	held_list = h;
	atomic_fetch_add(&held_count, 1);
	pthread_mutex_unlock(&held_lock);
	return CUDA_SUCCESS;
}

CUresult call_cuGraphAddMemAllocNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *deps, size_t n,
	CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	AGC_CURRENT();
	if (!out || !graph || !p || !p->bytesize || p->poolProps.allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
	    p->poolProps.handleTypes != CU_MEM_HANDLE_TYPE_NONE ||
	    p->poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = call_cuGraphAddEmptyNode(out, graph, deps, n);
	if (r == CUDA_SUCCESS && (r = hold(agc_id(graph), agc_id(*out), p)))
		agc_table()->cuGraphDestroyNode(*out);
	return r;
}

/* The capture that a stream is part of, as an owner: its number has no kind, so no object has it. 0: none. */
static ag_id capture_owner(ag_id stream)
{
	struct rep_capture_info rep;
	return info(stream, &rep) == CUDA_SUCCESS && rep.status == CU_STREAM_CAPTURE_STATUS_ACTIVE
		? rep.id & (((uint64_t)1 << 56) - 1) : 0;
}

CUresult agc_capture_alloc(ag_id stream, size_t bytes, CUdeviceptr *out)
{
	CUDA_MEM_ALLOC_NODE_PARAMS p = { .bytesize = bytes, .poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
		.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE };
	ag_id owner = capture_owner(stream);
	CUresult r = owner ? hold(owner, 0, &p) : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (r == CUDA_SUCCESS)
		*out = p.dptr;
	return r;
}

/* Ends a capture; what was allocated inside is the graph's from now on, or nobody's. */
static CUresult end_with_memory(ag_id stream, ag_id graph, ag_id *got)
{
	ag_id owner = atomic_load(&held_count) ? capture_owner(stream) : 0;
	CUresult r = capture_end(stream, graph, 0, got);
	if (owner && r != CUDA_ERROR_ILLEGAL_STATE) {
		if (*got)
			agc_graph_shares(*got, owner);
		agc_graph_gone(owner);
	}
	return r;
}

CUresult call_cuStreamEndCapture(CUstream h, CUgraph *out)
{
	struct agc_stream *s;
	CUresult r = capturable(h, &s);
	if (r)
		return r;
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	ag_id id = agc_id_new(AG_K_GRAPH, NULL), got = 0;
	if (!id)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = end_with_memory(s->id, id, &got);
	if (got != id)
		agc_id_free(id);
	CUresult failed = agc_take_async_error();
	if (got && atomic_load(&s->broken)) {
		agc_table()->cuGraphDestroy((CUgraph)(uintptr_t)got);
		got = 0;
		r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	}
	*out = (CUgraph)(uintptr_t)got;
	return r ? r : failed;
}

CUresult call_cuGraphMemAllocNodeGetParams(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS *p)
{
	CUresult r = CUDA_ERROR_INVALID_VALUE;
	AGC_CURRENT();
	pthread_mutex_lock(&held_lock);
	for (struct held *h = held_list; p && h; h = h->next)
		if (h->node == agc_id(node)) {
			*p = h->params;
			r = CUDA_SUCCESS;
		}
	pthread_mutex_unlock(&held_lock);
	return r;
}

CUresult call_cuGraphAddMemFreeNode(CUgraphNode *out, CUgraph graph, const CUgraphNode *deps, size_t n,
	CUdeviceptr dptr)
{
	AGC_CURRENT();
	if (!out || !graph || !agc_graph_holds(dptr))
		return CUDA_ERROR_INVALID_VALUE;
	return call_cuGraphAddEmptyNode(out, graph, deps, n);
}

/* What graphs hold of the heap is theirs alone; nothing is cached beyond it. */
static uint64_t held_bytes(void)
{
	uint64_t sum = 0;
	pthread_mutex_lock(&held_lock);
	for (struct held *h = held_list; h; h = h->next)
		sum += h->params.bytesize;
	pthread_mutex_unlock(&held_lock);
	return sum;
}

static _Atomic uint64_t held_high;

CUresult call_cuDeviceGetGraphMemAttribute(CUdevice dev, CUgraphMem_attribute attr, void *value)
{
	AGC_READY();
	if (dev < 0 || (uint32_t)dev >= agc_s.shm->ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	if (!value || (unsigned)attr > CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH)
		return CUDA_ERROR_INVALID_VALUE;
	uint64_t now = held_bytes(), high = atomic_load(&held_high);
	if (now > high)
		atomic_store(&held_high, high = now);
	*(cuuint64_t *)value = attr == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH || attr == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH
		? high : now;
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceSetGraphMemAttribute(CUdevice dev, CUgraphMem_attribute attr, void *value)
{
	AGC_READY();
	if (dev < 0 || (uint32_t)dev >= agc_s.shm->ndevices)
		return CUDA_ERROR_INVALID_DEVICE;
	if (!value || *(cuuint64_t *)value != 0 || (attr != CU_GRAPH_MEM_ATTR_USED_MEM_HIGH
		&& attr != CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH))
		return CUDA_ERROR_INVALID_VALUE;
	atomic_store(&held_high, held_bytes());
	return CUDA_SUCCESS;
}

CUresult call_cuDeviceGraphMemTrim(CUdevice dev)
{
	AGC_READY();
	return dev < 0 || (uint32_t)dev >= agc_s.shm->ndevices ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

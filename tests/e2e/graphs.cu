/* graphs.cu - captures, also across streams, of memory, and broken ones; nodes of each kind made one by one; what
 * graphs tell about themselves; new parameters and updates; clones; memory nodes; arrays with their objects. */
#include <pthread.h>
#include "check.h"

__global__ void add(float *a, float v, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) a[i] += v;
}

__global__ void mul(float *a, float v, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) a[i] *= v;
}

enum { N = 1000 };
static float *d, *d2, *h;
static cudaStream_t s, s2;

static bool filled(float want)
{
	for (int i = 0; i < N; i++)
		if (h[i] != want) return false;
	return true;
}

static void launch(cudaGraphExec_t x, int times = 1)
{
	for (int i = 0; i < times; i++) MUST(cudaGraphLaunch(x, s));
	MUST(cudaStreamSynchronize(s));
}

static void capture()
{
	cudaGraph_t g;
	cudaGraphExec_t x;
	cudaStreamCaptureStatus st;
	MUST(cudaMemset(d, 0, N * 4));
	MUST(cudaStreamIsCapturing(s, &st));
	e2e_case("capture_none", st == cudaStreamCaptureStatusNone);
	MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
	for (int i = 0; i < 3; i++) add<<<4, 256, 0, s>>>(d, 1.0f, N);
	MUST(cudaMemcpyAsync(h, d, N * 4, cudaMemcpyDeviceToHost, s));
	MUST(cudaStreamIsCapturing(s, &st));
	e2e_case("capture_active", st == cudaStreamCaptureStatusActive);
	MUST(cudaStreamEndCapture(s, &g));
	h[0] = -1;
	size_t n = 0;
	MUST(cudaGraphGetNodes(g, NULL, &n));
	e2e_case("capture_nodes", n == 4 && h[0] == -1);
	MUST(cudaGraphInstantiate(&x, g, 0));
	launch(x, 10);
	e2e_case("capture_replay", filled(30));
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphDestroy(g));
}

static void forked()
{
	cudaGraph_t g;
	cudaGraphExec_t x;
	cudaEvent_t a, b;
	MUST(cudaEventCreateWithFlags(&a, cudaEventDisableTiming));
	MUST(cudaEventCreateWithFlags(&b, cudaEventDisableTiming));
	MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
	MUST(cudaMemsetAsync(d, 0, N * 4, s));
	MUST(cudaEventRecord(a, s));
	MUST(cudaStreamWaitEvent(s2, a, 0));
	add<<<4, 256, 0, s>>>(d, 1.0f, N);
	MUST(cudaMemsetAsync(d2, 0, N * 4, s2));
	add<<<4, 256, 0, s2>>>(d2, 5.0f, N);
	MUST(cudaEventRecord(b, s2));
	MUST(cudaStreamWaitEvent(s, b, 0));
	MUST(cudaMemcpyAsync(h, d2, N * 4, cudaMemcpyDeviceToHost, s));
	MUST(cudaStreamEndCapture(s, &g));
	size_t n = 0;
	MUST(cudaGraphGetEdges(g, NULL, NULL, NULL, &n));
	e2e_case("fork_edges", n == 5);
	MUST(cudaGraphInstantiate(&x, g, 0));
	launch(x, 2);
	e2e_case("fork_replay", filled(5));
	add<<<4, 256, 0, s2>>>(d2, 1.0f, N);
	MUST(cudaMemcpyAsync(h, d2, N * 4, cudaMemcpyDeviceToHost, s2));
	MUST(cudaStreamSynchronize(s2));
	e2e_case("fork_stream_free_again", filled(6));
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphDestroy(g));
	MUST(cudaEventDestroy(a));
	MUST(cudaEventDestroy(b));
}

static void nodes()
{
	cudaGraph_t g, copy, sub;
	cudaGraphExec_t x, y;
	cudaGraphNode_t set, k1, k2, out, empty, child, found[8];
	cudaGraphNodeType type;
	MUST(cudaGraphCreate(&g, 0));
	cudaMemsetParams mp = {};
	mp.dst = d, mp.elementSize = 4, mp.width = N, mp.height = 1, mp.pitch = N * 4;
	MUST(cudaGraphAddMemsetNode(&set, g, NULL, 0, &mp));
	float v = 2;
	int n = N;
	void *args[] = { &d, &v, &n };
	cudaKernelNodeParams kp = {};
	kp.func = (void *)add, kp.gridDim = dim3(4), kp.blockDim = dim3(256), kp.kernelParams = args;
	MUST(cudaGraphAddKernelNode(&k1, g, &set, 1, &kp));
	v = 5;
	MUST(cudaGraphAddKernelNode(&k2, g, &k1, 1, &kp));
	MUST(cudaGraphAddMemcpyNode1D(&out, g, &k2, 1, h, d, N * 4, cudaMemcpyDeviceToHost));
	MUST(cudaGraphAddEmptyNode(&empty, g, &out, 1));
	size_t count = 8;
	MUST(cudaGraphGetRootNodes(g, found, &count));
	e2e_case("nodes_root", count == 1 && found[0] == set && found[1] == NULL);
	count = 8;
	MUST(cudaGraphNodeGetDependencies(k2, found, NULL, &count));
	e2e_case("nodes_dependencies", count == 1 && found[0] == k1);
	MUST(cudaGraphNodeGetType(k2, &type));
	e2e_case("nodes_type", type == cudaGraphNodeTypeKernel);
	MUST(cudaGraphInstantiate(&x, g, 0));
	launch(x);
	e2e_case("nodes_replay", filled(7));
	v = 100;
	MUST(cudaGraphExecKernelNodeSetParams(x, k2, &kp));
	mp.value = 0x3f800000;
	MUST(cudaGraphExecMemsetNodeSetParams(x, set, &mp));
	launch(x);
	e2e_case("nodes_new_parameters", filled(103));
	MUST(cudaGraphKernelNodeSetParams(k1, &kp));
	MUST(cudaGraphInstantiate(&y, g, 0));
	launch(y);
	e2e_case("nodes_new_in_graph", filled(105));
	MUST(cudaGraphClone(&copy, g));
	MUST(cudaGraphNodeFindInClone(&found[0], k1, copy));
	e2e_case("nodes_in_clone", found[0] && found[0] != k1);
	MUST(cudaGraphCreate(&sub, 0));
	MUST(cudaGraphAddChildGraphNode(&child, sub, NULL, 0, copy));
	MUST(cudaGraphDestroy(copy));
	MUST(cudaGraphExecDestroy(y));
	MUST(cudaGraphInstantiate(&y, sub, 0));
	h[0] = 0;
	launch(y);
	e2e_case("nodes_child", filled(105));
	MUST(cudaGraphDestroyNode(empty));
	count = 8;
	MUST(cudaGraphGetNodes(g, found, &count));
	e2e_case("nodes_destroyed", count == 4);
	GIVES("nodes_null", cudaErrorInvalidValue, cudaGraphAddEmptyNode(NULL, g, NULL, 0));
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphExecDestroy(y));
	MUST(cudaGraphDestroy(sub));
	MUST(cudaGraphDestroy(g));
}

static void memory()
{
	cudaGraph_t g;
	cudaGraphExec_t x;
	cudaGraphNode_t a, set, k, out, f;
	MUST(cudaGraphCreate(&g, 0));
	cudaMemAllocNodeParams ap = {};
	ap.poolProps.allocType = cudaMemAllocationTypePinned;
	ap.poolProps.location.type = cudaMemLocationTypeDevice;
	ap.bytesize = N * 4;
	MUST(cudaGraphAddMemAllocNode(&a, g, NULL, 0, &ap));
	cudaMemsetParams mp = {};
	mp.dst = ap.dptr, mp.elementSize = 4, mp.width = N, mp.height = 1, mp.pitch = N * 4;
	MUST(cudaGraphAddMemsetNode(&set, g, &a, 1, &mp));
	float v = 3;
	int n = N;
	void *args[] = { &ap.dptr, &v, &n };
	cudaKernelNodeParams kp = {};
	kp.func = (void *)add, kp.gridDim = dim3(4), kp.blockDim = dim3(256), kp.kernelParams = args;
	MUST(cudaGraphAddKernelNode(&k, g, &set, 1, &kp));
	MUST(cudaGraphAddMemcpyNode1D(&out, g, &k, 1, h, ap.dptr, N * 4, cudaMemcpyDeviceToHost));
	MUST(cudaGraphAddMemFreeNode(&f, g, &out, 1, ap.dptr));
	MUST(cudaGraphInstantiate(&x, g, 0));
	MUST(cudaGraphDestroy(g));
	launch(x, 3);
	e2e_case("memory_nodes", filled(3));
	MUST(cudaGraphExecDestroy(x));
}

static void events()
{
	cudaGraph_t g;
	cudaGraphExec_t x;
	cudaGraphNode_t r;
	cudaEvent_t e, got;
	MUST(cudaEventCreate(&e));
	MUST(cudaGraphCreate(&g, 0));
	MUST(cudaGraphAddEventRecordNode(&r, g, NULL, 0, e));
	MUST(cudaGraphEventRecordNodeGetEvent(r, &got));
	e2e_case("events_node", got == e);
	MUST(cudaGraphInstantiate(&x, g, 0));
	launch(x);
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphDestroy(g));
	MUST(cudaEventDestroy(e));
}

static void arrays()
{
	cudaArray_t a;
	cudaChannelFormatDesc c = cudaCreateChannelDesc<float>(), got;
	cudaExtent e;
	unsigned flags;
	MUST(cudaMallocArray(&a, &c, 64, 4, cudaArraySurfaceLoadStore));
	MUST(cudaArrayGetInfo(&got, &e, &flags, a));
	e2e_case("arrays_info", got.x == 32 && got.f == cudaChannelFormatKindFloat && e.width == 64 && e.height == 4);
	for (int i = 0; i < 256; i++) h[i] = (float)i;
	MUST(cudaMemcpy2DToArray(a, 0, 0, h, 64 * 4, 64 * 4, 4, cudaMemcpyHostToDevice));
	memset(h, 0, N * 4);
	MUST(cudaMemcpy2DFromArray(h, 64 * 4, a, 0, 0, 64 * 4, 4, cudaMemcpyDeviceToHost));
	bool same = true;
	for (int i = 0; i < 256; i++) same = same && h[i] == (float)i;
	e2e_case("arrays_copy", same);
	cudaResourceDesc r = {}, back = {};
	r.resType = cudaResourceTypeArray;
	r.res.array.array = a;
	cudaTextureDesc t = {};
	t.readMode = cudaReadModeElementType;
	cudaTextureObject_t tex;
	cudaSurfaceObject_t surf;
	MUST(cudaCreateTextureObject(&tex, &r, &t, NULL));
	MUST(cudaCreateSurfaceObject(&surf, &r));
	MUST(cudaGetTextureObjectResourceDesc(&back, tex));
	e2e_case("arrays_texture", back.resType == cudaResourceTypeArray && back.res.array.array == a);
	MUST(cudaDestroySurfaceObject(surf));
	MUST(cudaDestroyTextureObject(tex));
	MUST(cudaFreeArray(a));
}

/* A graph captured again with other values takes the place of the one before; one of another shape does not. */
static void update()
{
	cudaGraph_t g[3];
	cudaGraphExec_t x;
	cudaGraphExecUpdateResultInfo info = {};
	for (int k = 0; k < 3; k++) {
		MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
		MUST(cudaMemsetAsync(d, 0, N * 4, s));
		add<<<4, 256, 0, s>>>(d, k + 1.f, N);
		if (k == 2) mul<<<4, 256, 0, s>>>(d, 2.f, N);
		MUST(cudaMemcpyAsync(h, d, N * 4, cudaMemcpyDeviceToHost, s));
		MUST(cudaStreamEndCapture(s, &g[k]));
	}
	MUST(cudaGraphInstantiate(&x, g[0], 0));
	launch(x);
	e2e_case("update_before", filled(1));
	MUST(cudaGraphExecUpdate(x, g[1], &info));
	launch(x);
	e2e_case("update_values", info.result == cudaGraphExecUpdateSuccess && filled(2));
	GIVES("update_shape", cudaErrorGraphExecUpdateFailure, cudaGraphExecUpdate(x, g[2], &info));
	cudaGetLastError();
	e2e_case("update_reason", info.result == cudaGraphExecUpdateErrorTopologyChanged
		|| info.result == cudaGraphExecUpdateError);
	launch(x);
	e2e_case("update_refused_changes_nothing", filled(2));
	for (int k = 0; k < 3; k++) MUST(cudaGraphDestroy(g[k]));
	launch(x);
	e2e_case("update_outlives_graphs", filled(2));
	MUST(cudaGraphUpload(x, s));
	MUST(cudaGraphExecDestroy(x));
}

static void copies()
{
	cudaGraph_t g;
	cudaGraphExec_t x;
	cudaGraphNode_t in, out, wait, rec, nodes[8];
	cudaEvent_t e;
	float *from, *other;
	MUST(cudaMallocHost(&from, N * 4));
	MUST(cudaMallocHost(&other, N * 4));
	for (int i = 0; i < N; i++) from[i] = 4, other[i] = 9;
	MUST(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
	MUST(cudaGraphCreate(&g, 0));
	MUST(cudaGraphAddMemcpyNode1D(&in, g, NULL, 0, d, from, N * 4, cudaMemcpyHostToDevice));
	cudaMemcpy3DParms p = {};
	p.srcPtr = make_cudaPitchedPtr(d, N * 4, N * 4, 1), p.dstPtr = make_cudaPitchedPtr(h, N * 4, N * 4, 1);
	p.extent = make_cudaExtent(N * 4, 1, 1), p.kind = cudaMemcpyDeviceToHost;
	MUST(cudaGraphAddMemcpyNode(&out, g, NULL, 0, &p));
	MUST(cudaGraphAddDependencies(g, &in, &out, NULL, 1));
	MUST(cudaGraphAddEventRecordNode(&rec, g, &out, 1, e));
	MUST(cudaGraphAddEventWaitNode(&wait, g, &rec, 1, e));
	size_t n = 8;
	MUST(cudaGraphNodeGetDependentNodes(in, nodes, NULL, &n));
	e2e_case("copies_dependents", n == 1 && nodes[0] == out);
	MUST(cudaGraphInstantiate(&x, g, 0));
	launch(x, 2);
	e2e_case("copies_replay", filled(4));
	e2e_case("copies_event", cudaEventQuery(e) == cudaSuccess);
	MUST(cudaGraphExecMemcpyNodeSetParams1D(x, in, d, other, N * 4, cudaMemcpyHostToDevice));
	launch(x);
	e2e_case("copies_new_source", filled(9));
	MUST(cudaGraphNodeSetEnabled(x, in, 0));
	unsigned on = 7;
	MUST(cudaGraphNodeGetEnabled(x, in, &on));
	MUST(cudaMemset(d, 0, N * 4));
	launch(x);
	e2e_case("copies_disabled_node", on == 0 && filled(0));
	MUST(cudaGraphRemoveDependencies(g, &in, &out, NULL, 1));
	n = 8;
	MUST(cudaGraphGetEdges(g, NULL, NULL, NULL, &n));
	e2e_case("copies_edge_removed", n == 2);
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphDestroy(g));
	MUST(cudaEventDestroy(e));
	MUST(cudaFreeHost(from));
	MUST(cudaFreeHost(other));
}

static void captured_memory()
{
	cudaGraph_t g;
	cudaGraphExec_t x;
	float *p;
	MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
	MUST(cudaMallocAsync(&p, N * 4, s));
	MUST(cudaMemsetAsync(p, 0, N * 4, s));
	add<<<4, 256, 0, s>>>(p, 6, N);
	MUST(cudaMemcpyAsync(h, p, N * 4, cudaMemcpyDeviceToHost, s));
	MUST(cudaFreeAsync(p, s));
	MUST(cudaStreamEndCapture(s, &g));
	MUST(cudaGraphInstantiate(&x, g, 0));
	launch(x, 3);
	e2e_case("memory_captured", filled(6));
	MUST(cudaGraphExecDestroy(x));
	MUST(cudaGraphDestroy(g));
	MUST(cudaDeviceGraphMemTrim(0));
}

static void broken()
{
	cudaGraph_t g = (cudaGraph_t)1;
	cudaStreamCaptureStatus st;
	unsigned long long id = 0, id2 = 0;
	MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
	MUST(cudaStreamGetCaptureInfo(s, &st, &id));
	e2e_case("broken_id", st == cudaStreamCaptureStatusActive && id != 0);
	GIVES("broken_sync", cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(s));
	MUST(cudaStreamIsCapturing(s, &st));
	e2e_case("broken_status", st == cudaStreamCaptureStatusInvalidated);
	GIVES("broken_end", cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(s, &g));
	e2e_case("broken_no_graph", g == NULL);
	cudaGetLastError();
	MUST(cudaStreamSynchronize(s));
	e2e_case("broken_stream_works", true);
}
/* Each thread builds a graph of its own, of nodes that come one after the other. */
static void *builder(void *)
{
	cudaGraph_t g;
	cudaGraphNode_t last, next;
	size_t n = 0;
	float v = 1;
	int elements = N;
	void *args[] = { &d2, &v, &elements };
	cudaKernelNodeParams kp = {};
	kp.func = (void *)add, kp.gridDim = dim3(4), kp.blockDim = dim3(256), kp.kernelParams = args;
	if (cudaGraphCreate(&g, 0) || cudaGraphAddEmptyNode(&last, g, NULL, 0))
		return NULL;
	for (int i = 0; i < 100; i++) {
		if (i % 2 ? cudaGraphAddEmptyNode(&next, g, &last, 1) : cudaGraphAddKernelNode(&next, g, &last, 1, &kp))
			return NULL;
		last = next;
	}
	if (cudaGraphGetNodes(g, NULL, &n) || cudaGraphDestroy(g))
		return NULL;
	return n == 101 ? &d2 : NULL;
}

static void built_at_once()
{
	pthread_t t[4];
	bool ok = true;
	for (int i = 0; i < 4; i++)
		ok &= !pthread_create(t + i, NULL, builder, NULL);
	for (int i = 0; i < 4; i++) {
		void *good = NULL;
		pthread_join(t[i], &good);
		ok &= good != NULL;
	}
	e2e_case("built_at_once", ok);
}

int main()
{
	MUST(cudaMalloc(&d, N * 4));
	MUST(cudaMalloc(&d2, N * 4));
	MUST(cudaMallocHost(&h, N * 4));
	MUST(cudaStreamCreate(&s));
	MUST(cudaStreamCreate(&s2));
	capture();
	forked();
	nodes();
	memory();
	events();
	arrays();
	update();
	copies();
	broken();
	captured_memory();
	built_at_once();
	GIVES("capture_legacy", cudaErrorStreamCaptureUnsupported, cudaStreamBeginCapture(cudaStreamLegacy,
		cudaStreamCaptureModeGlobal));
	cudaGraph_t g;
	GIVES("capture_not_begun", cudaErrorIllegalState, cudaStreamEndCapture(s, &g));
	return e2e_done();
}

/* captured.cu - a graph that a capture goes on into: the graph of a running capture is not handed out; one that the
 * program gave for it is out of everybody's reach until the capture ends.  No end-to-end program: NVIDIA's driver takes
 * some of these calls, and crashes at others. */
#include "tests/e2e/check.h"

enum { N = 1000 };
static float *d, *h;
static cudaStream_t s, s2;
static cudaGraph_t g, other;
static cudaGraphNode_t set, dep;

__global__ void add(float *a, float v, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i < n) a[i] += v;
}

static cudaError_t kernel_node(cudaGraphNode_t *node, cudaGraph_t graph, cudaGraphNode_t after)
{
	float v = 3;
	int elements = N;
	void *args[] = { &d, &v, &elements };
	cudaKernelNodeParams kp = {};
	kp.func = (void *)add, kp.gridDim = dim3(4), kp.blockDim = dim3(256), kp.kernelParams = args;
	return cudaGraphAddKernelNode(node, graph, &after, 1, &kp);
}

static void refused(const char *name, cudaError_t got)
{
	e2e_case(name, got == cudaErrorInvalidResourceHandle || got == cudaErrorNotSupported, cudaGetErrorName(got));
	(void)cudaGetLastError();
}

static void out_of_reach()
{
	cudaGraph_t copy;
	cudaGraphExec_t x;
	cudaGraphNode_t node;
	cudaGraphNodeType type;
	cudaStreamCaptureStatus st;
	unsigned long long id = 0;
	size_t n;
	MUST(cudaStreamGetCaptureInfo(s, &st, &id, NULL, NULL, NULL, NULL));
	e2e_case("status", st == cudaStreamCaptureStatusActive && id);
	refused("info_graph", cudaStreamGetCaptureInfo(s, &st, NULL, &copy, NULL, NULL, NULL));
	refused("new_dependencies", cudaStreamUpdateCaptureDependencies(s, &dep, NULL, 1,
		cudaStreamSetCaptureDependencies));
	refused("kernel_node", kernel_node(&node, g, set));
	refused("node", cudaGraphAddEmptyNode(&node, g, NULL, 0));
	refused("node_after", cudaGraphAddEmptyNode(&node, other, &set, 1));
	refused("child", cudaGraphAddChildGraphNode(&node, other, NULL, 0, g));
	refused("second_capture", cudaStreamBeginCaptureToGraph(s2, g, NULL, NULL, 0,
		cudaStreamCaptureModeThreadLocal));
	refused("second_capture_after", cudaStreamBeginCaptureToGraph(s2, other, &set, NULL, 1,
		cudaStreamCaptureModeThreadLocal));
	refused("copy", cudaGraphClone(&copy, g));
	refused("instantiate", cudaGraphInstantiate(&x, g, 0));
	refused("nodes", cudaGraphGetNodes(g, NULL, &n));
	refused("type", cudaGraphNodeGetType(set, &type));
	refused("destroy_node", cudaGraphDestroyNode(set));
	refused("destroy", cudaGraphDestroy(g));
}

int main()
{
	cudaGraph_t got;
	cudaGraphExec_t x;
	cudaGraphNode_t node;
	size_t n;
	MUST(cudaMalloc(&d, N * 4));
	MUST(cudaMallocHost(&h, N * 4));
	MUST(cudaStreamCreate(&s));
	MUST(cudaStreamCreate(&s2));
	cudaMemsetParams mp = {};
	mp.dst = d, mp.elementSize = 4, mp.width = N, mp.height = 1, mp.pitch = N * 4;
	MUST(cudaGraphCreate(&g, 0));
	MUST(cudaGraphCreate(&other, 0));
	MUST(cudaGraphAddMemsetNode(&set, g, NULL, 0, &mp));
	MUST(cudaGraphAddMemsetNode(&dep, other, NULL, 0, &mp));
	MUST(cudaStreamBeginCaptureToGraph(s, g, &set, NULL, 1, cudaStreamCaptureModeThreadLocal));
	out_of_reach();
	MUST(kernel_node(&node, other, dep));
	MUST(cudaGraphDestroy(other));
	e2e_case("other_graphs", true);
	add<<<4, 256, 0, s>>>(d, 2.0f, N);
	MUST(cudaMemcpyAsync(h, d, N * 4, cudaMemcpyDeviceToHost, s));
	MUST(cudaStreamEndCapture(s, &got));
	MUST(cudaGraphGetNodes(g, NULL, &n));
	e2e_case("ends", got == g && n == 3);
	MUST(cudaGraphInstantiate(&x, g, 0));
	MUST(cudaGraphLaunch(x, s));
	MUST(cudaStreamSynchronize(s));
	e2e_case("replay", h[0] == 2 && h[N - 1] == 2);
	MUST(cudaGraphExecDestroy(x));
	/* the program ends in the middle of another */
	MUST(cudaStreamBeginCaptureToGraph(s, g, NULL, NULL, 0, cudaStreamCaptureModeThreadLocal));
	return e2e_done();
}

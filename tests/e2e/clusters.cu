/* clusters.cu - thread-block clusters: sizes by attribute and by declaration, shared memory of other blocks, what a
 * launch can and cannot ask for. */
#include "check.h"
#include <cooperative_groups.h>
#include <vector>

namespace cg = cooperative_groups;

/* Bins spread over the blocks of a cluster. */
__global__ void histogram(int *out, const int *in, int n, int bins)
{
	extern __shared__ int mine[];
	cg::cluster_group cluster = cg::this_cluster();
	int each = bins / cluster.num_blocks();
	for (int i = threadIdx.x; i < each; i += blockDim.x) mine[i] = 0;
	cluster.sync();
	unsigned first = blockIdx.x / cluster.num_blocks() * cluster.num_threads() + cluster.thread_rank();
	for (int i = first; i < n; i += gridDim.x * blockDim.x) {
		int b = in[i] % bins;
		atomicAdd(cluster.map_shared_rank(mine, b / each) + b % each, 1);
	}
	cluster.sync();
	for (int i = threadIdx.x; i < each; i += blockDim.x) atomicAdd(out + cluster.block_rank() * each + i, mine[i]);
}

__global__ void __cluster_dims__(2, 2, 1) ring(int *out, int rounds)
{
	__shared__ int box[64];
	cg::cluster_group cluster = cg::this_cluster();
	int block = blockIdx.y * gridDim.x + blockIdx.x;
	box[threadIdx.x] = cluster.block_rank() * 100 + threadIdx.x;
	for (int r = 0; r < rounds; r++) {
		cluster.sync();
		int v = cluster.map_shared_rank(box, (cluster.block_rank() + 1) % cluster.num_blocks())[threadIdx.x];
		cluster.sync();
		box[threadIdx.x] = v;
	}
	out[block * blockDim.x + threadIdx.x] = box[threadIdx.x];
}

/* Blocks push into the next one and wait with arrive and wait apart. */
__global__ void push(int *out)
{
	__shared__ int got;
	cg::cluster_group cluster = cg::this_cluster();
	if (threadIdx.x == 0) got = 0;
	cluster.sync();
	int *next = cluster.map_shared_rank(&got, (cluster.block_rank() + 1) % cluster.num_blocks());
	atomicAdd(next, (int)(cluster.block_rank() * blockDim.x + threadIdx.x));
	cluster.barrier_arrive();
	int own = threadIdx.x;
	cluster.barrier_wait();
	out[blockIdx.x * blockDim.x + threadIdx.x] = got + own;
}

static cudaError_t launch(void (*f)(int *), int grid, int block, int cluster, int *out)
{
	cudaLaunchAttribute a = {};
	a.id = cudaLaunchAttributeClusterDimension;
	a.val.clusterDim = { (unsigned)cluster, 1, 1 };
	cudaLaunchConfig_t c = {};
	c.gridDim = dim3(grid);
	c.blockDim = dim3(block);
	c.attrs = &a;
	c.numAttrs = cluster ? 1 : 0;
	return cudaLaunchKernelEx(&c, f, out);
}

static void pushes(int *d)
{
	for (int cluster = 1; cluster <= 8; cluster *= 2) {
		char name[64];
		std::vector<int> h(16 * 64);
		MUST(launch(push, 16, 64, cluster, d));
		MUST(cudaMemcpy(h.data(), d, h.size() * 4, cudaMemcpyDeviceToHost));
		bool ok = true;
		for (int i = 0; i < 16 * 64; i++) {
			int rank = i / 64 % cluster, from = (rank + cluster - 1) % cluster;
			ok &= h[i] == from * 64 * 64 + 63 * 64 / 2 + i % 64;
		}
		snprintf(name, sizeof name, "clusters of %d", cluster);
		e2e_case(name, ok);
	}
	MUST(launch(push, 16, 64, 0, d));
	MUST(cudaDeviceSynchronize());
	e2e_case("a kernel for clusters, without one", true);
}

static void bins(int *d)
{
	enum { N = 40000, BINS = 1024 };
	std::vector<int> in(N), want(BINS), got(BINS);
	int *din;
	for (int i = 0; i < N; i++) want[(in[i] = (i * 2654435761u) >> 8) % BINS]++;
	MUST(cudaMalloc(&din, N * 4));
	MUST(cudaMemcpy(din, in.data(), N * 4, cudaMemcpyHostToDevice));
	MUST(cudaMemset(d, 0, BINS * 4));
	cudaLaunchAttribute a = {};
	a.id = cudaLaunchAttributeClusterDimension;
	a.val.clusterDim = { 4, 1, 1 };
	cudaLaunchConfig_t c = {};
	c.gridDim = dim3(16);
	c.blockDim = dim3(128);
	c.dynamicSmemBytes = BINS / 4 * 4;
	c.attrs = &a;
	c.numAttrs = 1;
	int clusters = 0, size = 0;
	MUST(cudaOccupancyMaxActiveClusters(&clusters, histogram, &c));
	e2e_case("some clusters fit", clusters >= 16 && clusters <= 33 * 16);
	MUST(cudaOccupancyMaxPotentialClusterSize(&size, histogram, &c));
	e2e_case("eight blocks are portable", size == 8);
	MUST(cudaLaunchKernelEx(&c, histogram, d, (const int *)din, (int)N, (int)BINS));
	MUST(cudaMemcpy(got.data(), d, BINS * 4, cudaMemcpyDeviceToHost));
	e2e_case("histogram over four blocks", got == want);
	MUST(cudaFree(din));
}

static void declared(int *d)
{
	std::vector<int> h(8 * 64);
	cudaFuncAttributes attr;
	ring<<<dim3(4, 2), 64>>>(d, 3);
	MUST(cudaMemcpy(h.data(), d, h.size() * 4, cudaMemcpyDeviceToHost));
	bool ok = true;
	for (int i = 0; i < 8 * 64; i++) {
		int x = i / 64 % 4, y = i / 256, rank = x % 2 + y % 2 * 2;
		ok &= h[i] == (rank + 3) % 4 * 100 + i % 64;
	}
	e2e_case("ring of a declared cluster", ok);
	MUST(cudaFuncGetAttributes(&attr, ring));
	e2e_case("declared size", attr.requiredClusterWidth == 2 && attr.requiredClusterHeight == 2
		&& attr.requiredClusterDepth == 1);
	MUST(cudaFuncGetAttributes(&attr, push));
	e2e_case("no declared size", attr.requiredClusterWidth == 0 && attr.clusterDimMustBeSet == 0);
}

int main()
{
	int supported = 0, *d;
	MUST(cudaDeviceGetAttribute(&supported, cudaDevAttrClusterLaunch, 0));
	e2e_case("clusters are supported", supported == 1);
	MUST(cudaMalloc(&d, 1 << 16));
	pushes(d);
	bins(d);
	declared(d);
	GIVES("sixteen blocks are not portable", cudaErrorInvalidClusterSize, launch(push, 16, 64, 16, d));
	e2e_case("a grid is whole clusters", launch(push, 15, 64, 4, d) != cudaSuccess);
	cudaGetLastError();
	MUST(cudaDeviceSynchronize());
	MUST(cudaFree(d));
	return e2e_done();
}

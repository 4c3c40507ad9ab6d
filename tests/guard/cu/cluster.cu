// cluster.cu - thread-block clusters: histograms in the shared memory of others, a ring with dynamic memory, barriers
// in divergent code. One thread's result never depends on another's order.
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

extern "C" __global__ void __cluster_dims__(4, 1, 1) histogram(int *out, const int *in, int n)
{
	__shared__ int bins[64];
	cg::cluster_group cluster = cg::this_cluster();
	for (int i = threadIdx.x; i < 64; i += blockDim.x)
		bins[i] = 0;
	cluster.sync();
	for (int i = cluster.thread_rank(); i < n; i += cluster.num_threads()) {
		int b = in[i] & 255;
		atomicAdd(cluster.map_shared_rank(bins, b / 64) + b % 64, 1);
	}
	cluster.sync();
	for (int i = threadIdx.x; i < 64; i += blockDim.x)
		out[blockIdx.x * 64 + i] = bins[i];
}

extern "C" __global__ void __cluster_dims__(2, 2, 1) ring(float *out, int rounds)
{
	extern __shared__ float mine[];
	cg::cluster_group cluster = cg::this_cluster();
	unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
	mine[threadIdx.x] = cluster.block_rank() * 100.0f + threadIdx.x;
	for (int r = 0; r < rounds; r++) {
		cluster.barrier_arrive();
		cluster.barrier_wait();
		float v = cluster.map_shared_rank(mine, (cluster.block_rank() + 1) % cluster.num_blocks())[threadIdx.x];
		cluster.sync();
		mine[threadIdx.x] = v + 1;
	}
	unsigned rank = cluster.query_shared_rank(cluster.map_shared_rank(mine, 1));
	out[block * blockDim.x + threadIdx.x] = mine[threadIdx.x] + rank * 1000.0f;
}

// Forms that have no name in CUDA C++, in divergent code; some blocks have nothing to store.
extern "C" __global__ void __cluster_dims__(4, 1, 1) uneven(int *out, int n)
{
	__shared__ int box[32];
	unsigned rank = cg::this_cluster().block_rank(), to = (rank + 1) % 4, from, seen = 0;
	box[threadIdx.x % 32] = rank;
	asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory");
	unsigned at = (unsigned)__cvta_generic_to_shared(&box[threadIdx.x % 32]);
	asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(from) : "r"(at), "r"(to));
	if (threadIdx.x & 1) {
		asm volatile("barrier.cluster.arrive.relaxed; barrier.cluster.wait;" ::: "memory");
		seen += 100;
	} else {
		asm volatile("barrier.cluster.arrive;" ::: "memory");
		seen += 10;
		asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
	}
	asm volatile("{ .reg .u32 a; ld.shared::cluster.u32 a, [%1]; add.u32 %0, %0, a; }" : "+r"(seen) : "r"(from));
	asm volatile("barrier.cluster.arrive; barrier.cluster.wait;" ::: "memory");
	if ((int)rank >= n)
		return;
	out[blockIdx.x * blockDim.x + threadIdx.x] = seen;
}

// The barrier alone: no address of another block.
extern "C" __global__ void __cluster_dims__(8, 1, 1) barrier_only(int *out, int n)
{
	cg::cluster_group cluster = cg::this_cluster();
	unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
	for (int r = 0; r < n; r++) {
		out[i] += cluster.block_rank();
		cluster.sync();
	}
}

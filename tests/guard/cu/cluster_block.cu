/* Barriers of the block beside barriers of its cluster: where strangers meet, the former are software. */
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

extern "C" __global__ void __cluster_dims__(4, 1, 1) both(int *out, int n)
{
	__shared__ int s[64];
	cg::cluster_group cluster = cg::this_cluster();
	int t = threadIdx.x, v = out[blockIdx.x * blockDim.x + t];

	for (int r = 0; r < n; r++) {
		s[t] = v;
		__syncthreads();
		v = s[(t + 1) % blockDim.x] * 3 + __syncthreads_count(v & 1);
		cluster.sync();
		s[t] = v + r;
		cluster.sync();
		v += cluster.map_shared_rank(s, (cluster.block_rank() + 1) % 4)[t];
		cluster.sync();
	}
	out[blockIdx.x * blockDim.x + t] = v;
}

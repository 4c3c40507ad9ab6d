/* Grid-wide synchronisation through the cooperative workspace. */
#include <cooperative_groups.h>
namespace cg = cooperative_groups;

__global__ void grid_sum(float *o, int n)
{
	cg::grid_group g = cg::this_grid();
	o[g.thread_rank()] = 1;
	g.sync();
	for (int i = 0; i < n; i++) {
		float v = o[i];
		g.sync();
		o[g.thread_rank() + 1] += v;
		g.sync();
	}
}

__global__ void tiles(int *o)
{
	auto block = cg::this_thread_block();
	auto tile = cg::tiled_partition<16>(block);
	int v = o[threadIdx.x];
	for (int i = tile.size() / 2; i; i /= 2)
		v += tile.shfl_down(v, i);
	block.sync();
	auto active = cg::coalesced_threads();
	if (tile.thread_rank() == 0)
		o[threadIdx.x] = v + active.size();
}

/* cp.async. */
#include <cuda_pipeline.h>

__global__ void copies(const float4 *g, float4 *o)
{
	__shared__ float4 s[128];
	__pipeline_memcpy_async(&s[threadIdx.x], &g[threadIdx.x], 16);
	__pipeline_commit();
	__pipeline_wait_prior(0);
	__syncthreads();
	o[threadIdx.x] = s[threadIdx.x ^ 1];
}

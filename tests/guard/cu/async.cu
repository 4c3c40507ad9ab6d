/* cp.async and mbarrier. */
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

__global__ void mbar(int *o)
{
	__shared__ unsigned long long bar;
	unsigned a = (unsigned)__cvta_generic_to_shared(&bar);
	if (threadIdx.x == 0)
		asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(a), "r"(blockDim.x));
	__syncthreads();
	unsigned long long state;
	asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(state) : "r"(a));
	asm volatile("{\n.reg .pred p;\nW: mbarrier.try_wait.shared.b64 p, [%0], %1;\n@!p bra W;\n}" ::"r"(a),
		"l"(state));
	o[threadIdx.x] = 1;
}

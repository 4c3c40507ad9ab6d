/* ldmatrix and mma. */
#include <cuda_fp16.h>

__global__ void tensor(const __half *g, float *o)
{
	__shared__ __half s[512];
	unsigned r[4], p = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x * 8]);
	s[threadIdx.x] = g[threadIdx.x];
	__syncthreads();
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]),
		"=r"(r[2]), "=r"(r[3]) : "r"(p));
	float d[4] = { 0, 0, 0, 0 };
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(r[0]), "r"(r[1]), "r"(r[2]));
	o[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}

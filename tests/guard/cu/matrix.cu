/* ldmatrix and mma. */
#include <cuda_fp16.h>

__global__ void tensor(const __half *g, float *o)
{
	__shared__ __half s[512];
	unsigned r[4], p = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x * 8]);
	for (int i = threadIdx.x; i < 512; i += 32)
		s[i] = g[i];
	__syncthreads();
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]),
		"=r"(r[2]), "=r"(r[3]) : "r"(p));
	float d[4] = { 0, 0, 0, 0 };
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
		: "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(r[0]), "r"(r[1]), "r"(r[2]));
	o[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}

#include <mma.h>
using namespace nvcuda;

/* C = A * B of n x n matrices, one warp a tile of 16 x 16, through global and through shared memory. */
__global__ void fragments(const __half *a, const __half *b, float *c, int n)
{
	__shared__ __half s[16 * 24];
	wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> fa;
	wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> fb;
	wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
	int row = blockIdx.y * 16, col = blockIdx.x * 16;
	wmma::load_matrix_sync(fc, c + row * n + col, n, wmma::mem_row_major);
	for (int k = 0; k < n; k += 16) {
		for (int i = threadIdx.x; i < 256; i += 32)
			s[i / 16 * 24 + i % 16] = a[(row + i / 16) * n + k + i % 16];
		__syncwarp();
		wmma::load_matrix_sync(fa, s, 24);
		wmma::load_matrix_sync(fb, b + col * n + k, n);
		wmma::mma_sync(fc, fa, fb, fc);
		__syncwarp();
	}
	wmma::store_matrix_sync(c + row * n + col, fc, n, wmma::mem_row_major);
}
